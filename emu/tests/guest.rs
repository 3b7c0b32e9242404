//! The in-tree guest, watched from outside: its ledger against a recount of raw memory, and what
//! a fork costs.

mod common;
mod raw_frames;

use std::collections::{BTreeMap, BTreeSet};

use abi::hint::{FaultClass, Hint, Owner};
use common::guest::{self, Ended};
use emu::events::{Events, View};
use emu::loader::{Extent, Program};
use emu::mmu::{Access, Leaf};
use isa::Priv;
use isa::paging::{PAGE_SIZE, Ppn, Satp};

/// What a process did while it was in a system call, or outside of one (number 0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    user: u64,
    tables: u64,
    others: u64,
    freed: u64,
    copies: u64,
    last_users: u64,
}

/// What the kernel's hints say.
#[derive(Default)]
struct Ledger {
    roots: Vec<Ppn>,
    /// Free frames before the first allocation, and now.
    total: u64,
    free: u64,
    /// One beyond the highest frame.
    end: u64,
    /// One beyond the kernel's last byte.
    kernel_end: u64,
    /// References to each frame that is not free, and what it was allocated for.
    frames: BTreeMap<u64, (u64, u64)>,
    /// Of each hart: the process that it runs.
    running: BTreeMap<usize, u64>,
    /// Of each process: the system call that it is in.
    calls: BTreeMap<u64, u64>,
    costs: BTreeMap<(u64, u64), Cost>,
    exited: Vec<u64>,
    /// Pages that each process has written in user mode since it was another program.
    written: BTreeMap<u64, BTreeSet<u64>>,
    /// Those that it had written when it became its last program.
    before_exec: BTreeMap<u64, BTreeSet<u64>>,
}

const FORK: u64 = 1;
const EXIT: u64 = 2;
const EXEC: u64 = 7;
const NO_CALL: u64 = 0;

impl Ledger {
    fn cost(&mut self, hart: usize) -> &mut Cost {
        let pid = self.running.get(&hart).copied().unwrap_or(0);
        let call = self.calls.get(&pid).copied().unwrap_or(NO_CALL);
        self.costs.entry((pid, call)).or_default()
    }
}

impl Events for Ledger {
    fn satp_written(&mut self, _view: &View, _old: Satp, new: Satp) {
        if new.ppn.0 != 0 && !self.roots.contains(&new.ppn) {
            self.roots.push(new.ppn);
        }
    }

    fn walked(&mut self, view: &View, va: u64, access: Access, _leaf: &Leaf) {
        if access == Access::Store && view.hart.privilege == Priv::User {
            let pid = self.running.get(&view.hart.id).copied().unwrap_or(0);
            self.written.entry(pid).or_default().insert(va / PAGE_SIZE);
        }
    }

    fn hinted(&mut self, view: &View, _pc: u64, kind: i32) {
        let [a0, a1, a2] = [10, 11, 12].map(|n| view.hart.ctx.x[n]);
        let hart = view.hart.id;
        match Hint::from_imm(kind) {
            Some(Hint::FrameAllocated) => {
                if self.total == 0 {
                    (self.total, self.end) = (a1 + 1, a0 + PAGE_SIZE);
                }
                self.free = a1;
                assert_eq!(self.frames.insert(a0, (1, a2)), None, "{a0:#x} was not free");
                let cost = self.cost(hart);
                match a2 {
                    owner if owner == Owner::User as u64 => cost.user += 1,
                    owner if owner == Owner::PageTable as u64 => cost.tables += 1,
                    _ => cost.others += 1,
                }
            }
            Some(Hint::FrameFreed) => {
                self.free = a1;
                assert!(self.frames.remove(&a0).is_some(), "{a0:#x} was free already");
                self.cost(hart).freed += 1;
            }
            Some(Hint::FrameRefs) => self.frames.get_mut(&a0).expect("a frame in use").0 = a2,
            Some(Hint::FaultClassified) if a1 == FaultClass::CowCopy as u64 => {
                self.cost(hart).copies += 1;
            }
            Some(Hint::FaultClassified) if a1 == FaultClass::CowLast as u64 => {
                self.cost(hart).last_users += 1;
            }
            Some(Hint::ProcSwitched) => drop(self.running.insert(hart, a0)),
            Some(Hint::SyscallEntered) => drop(self.calls.insert(a1, a0)),
            Some(Hint::SyscallReturned) => drop(self.calls.remove(&a1)),
            Some(Hint::Execed) => {
                let written = self.written.remove(&a0).unwrap_or_default();
                self.before_exec.insert(a0, written);
            }
            Some(Hint::Exited) => {
                self.exited.push(a0);
                self.calls.insert(a0, EXIT);
            }
            _ => {}
        }
    }
}

/// Runs a command on the guest.
fn run(command: &str, flags: &str, harts: usize) -> Ended<Ledger> {
    let flags = format!("{flags} run=\"{command}\"");
    let kernel = guest::kernel("kernel.elf");
    guest::run(&kernel, &flags, harts, &[], |args| {
        let program = Program::open_kernel(&kernel, Extent::of(args.memory)).expect("a kernel");
        Ledger { kernel_end: program.extent().1, ..Ledger::default() }
    })
}

/// Every frame in raw memory is where the kernel says, and is referred to as often as it says.
fn recount(ended: &Ended<Ledger>, what: &str) {
    let ledger = &ended.machine.events;
    let base = ledger.end - ledger.total * PAGE_SIZE;
    // Between the kernel and the frames there is room for the ledger: some bytes a frame.
    let between = base - ledger.kernel_end;
    assert!((ledger.total..=ledger.total * 8).contains(&between), "{between} bytes in front");
    let ram = &ended.machine.sys.bus.ram;
    let raw = raw_frames::count(ram, base..ledger.end, &ledger.roots, ended.tree);
    assert_eq!(raw.spaces, 1, "{what}: only init is left");
    assert_eq!(raw.free.len() as u64, ledger.free, "{what}: free frames");
    let others: Vec<_> = raw.others.iter().map(|frame| (frame, ledger.frames[frame])).collect();
    let small = [Owner::Kernel, Owner::Kmalloc].map(|owner| owner as u64);
    assert!(others.len() <= 2, "{what}: {others:?} are in no table");
    assert!(others.iter().all(|(_, (_, owner))| small.contains(owner)), "{what}: {others:?}");
    for (frame, (refs, owner)) in &ledger.frames {
        let leaves = raw.leaves.get(frame).copied().unwrap_or(0);
        let tables = u64::from(raw.tables.contains(frame));
        let others = u64::from(raw.others.contains(frame));
        let found = leaves + tables + others;
        assert_eq!(*refs, found, "{what}: references to {frame:#x}, owner {owner}");
    }
}

#[test]
#[ignore = "needs the guest: cargo xtask test"]
fn a_recount_of_raw_memory_agrees_with_the_ledger() {
    let commands = [
        "leakcheck mmaptest",
        "leakcheck alloctest mmap",
        "leakcheck alloctest fork",
        "leakcheck alloctest pipe",
        "leakcheck test-shared2",
        "leakcheck prodcons3 keep",
        "leakcheck prodcons-sem",
        "leakcheck kmalloctest",
        "leakcheck lazytests",
        "leakcheck forktest",
    ];
    for harts in [1, 3] {
        for sbrk in ["lazy", "eager"] {
            for fork in ["cow", "copy"] {
                for command in commands {
                    let flags = format!("sbrk={sbrk} fork={fork}");
                    let what = format!("{command} ({flags}, {harts} harts)");
                    recount(&run(command, &flags, harts), &what);
                }
            }
        }
    }
}

/// What `echo` costs in a shell.
#[derive(Debug)]
struct Echo {
    fork: Cost,
    /// The child, until it becomes `echo`.
    child: Cost,
    exec: Cost,
    exit: Cost,
    /// The shell, on its own.
    parent: Cost,
    /// Pages that the child writes until it becomes `echo`.
    written: u64,
}

fn echo(flags: &str) -> Echo {
    let ended = run("echo hi; echo there", flags, 1);
    assert!(ended.output.ends_with("hi\nthere\n"), "{}", ended.output);
    let ledger = &ended.machine.events;
    // Process 1 is init, 2 the shell, 3 the first echo.
    assert_eq!(ledger.exited[0], 3);
    let cost = |pid, call| ledger.costs.get(&(pid, call)).copied().unwrap_or_default();
    let echo = Echo {
        fork: cost(2, FORK),
        child: cost(3, NO_CALL),
        exec: cost(3, EXEC),
        exit: cost(3, EXIT),
        parent: cost(2, NO_CALL),
        written: ledger.before_exec[&3].len() as u64,
    };
    println!("{flags}: {echo:#?}");
    echo
}

#[test]
#[ignore = "needs the guest: cargo xtask test"]
fn fork_and_exec_of_echo_copy_what_is_written() {
    let (cow, copy) = (echo("fork=cow"), echo("fork=copy"));
    assert_eq!((cow.fork.user, cow.fork.copies), (0, 0), "fork itself copies nothing");
    assert!(cow.child.copies > 0 && cow.child.copies <= cow.written);
    assert!(cow.child.user == cow.child.copies, "the child's pages are copies");
    assert!(copy.fork.user > cow.child.copies, "copying everything takes more");
    assert_eq!((copy.child.user, copy.child.copies, copy.parent.copies), (0, 0, 0));
    let table = |cost: Cost| (cost.tables, cost.others);
    assert_eq!(table(cow.fork), table(copy.fork), "the rest of a process costs the same");
    let allocated = |cost: Cost| (cost.user, cost.tables, cost.others);
    assert_eq!(allocated(cow.exec), allocated(copy.exec), "and so does a new program");
    for Echo { exec, exit, .. } in [cow, copy] {
        // The page of arguments went with exec, and the trap frame came with fork.
        assert_eq!(exit.freed, exec.user + exec.tables + exec.others, "exit leaves nothing");
    }
}
