//! Checkers: rules of memory management that a kernel must keep, watched while it runs.
//!
//! They work on any kernel with symbols: frames are known from `kalloc` and `kfree` (or from the
//! in-tree kernel's hints), page tables from `satp`, changes of them from the stores. They share
//! no code with the kernel, nor with the machine's walk. What they find says both sides: the
//! instruction that broke the rule, and who made the state in which it does.

pub mod deed;
mod follow;
pub mod frames;
pub mod leak;
mod rules;
pub mod stale;
pub mod tables;

use std::collections::{BTreeSet, HashMap, HashSet};

use abi::hint::{Hint, Owner};
use isa::Priv;
use isa::paging::{Mode, Satp};
use isa::trap::{Cause, Exception};

use crate::events::{View, Wishes};
use crate::mem::PAGE_SIZE;
use crate::mmu::{Access, Fault, Leaf};
use crate::symbols::Symbols;
use crate::trace::awareness::ProcReader;
use crate::trace::tracer::returns_of;
use deed::{Deed, Layout};
use frames::{Ending, Frames};
use stale::Stale;
use tables::{COW, Mirror, TABLE};

/// Faults in a row without an instruction between them.
const MAX_FAULTS: u32 = 8;
/// Kernel stacks that are data of the kernel: of a C xv6, and of the in-tree kernel.
const STACKS: [&str; 4] = [
    "stack0",
    "guest_kernel::stack::LAST_STACK",
    "guest_kernel::stack::HART_STACKS",
    "guest_kernel::stack::PROC_STACKS",
];
/// What xv6's allocator fills freed frames with.
const JUNK: u64 = 0x0101_0101_0101_0101;

/// `--check=LIST`: which rules are watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// Frames that are freed while they are mapped, freed twice, or mapped more often than they
    /// are counted.
    pub frames: bool,
    /// Stale TLB entries.
    pub tlb: bool,
    /// Writes to frames that somebody holds copy-on-write.
    pub cow: bool,
    /// Frames without an owner, at marks and at the end.
    pub leak: bool,
    /// The machine stops where one of these finds something.
    pub stop: bool,
}

impl std::str::FromStr for Checks {
    type Err = String;

    fn from_str(list: &str) -> Result<Checks, String> {
        let mut checks = Checks::default();
        for word in list.split(',') {
            match word {
                "frames" => checks.frames = true,
                "tlb" => checks.tlb = true,
                "cow" => checks.cow = true,
                "leak" => checks.leak = true,
                "stop" => checks.stop = true,
                _ => return Err(format!("`{word}` is no check; frames, tlb, cow and leak are")),
            }
        }
        let any = checks.frames || checks.tlb || checks.cow || checks.leak;
        if any { Ok(checks) } else { Err("`stop` needs something to stop for".to_owned()) }
    }
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which checker found it, as in `--check`.
    pub check: &'static str,
    /// What is wrong, both sides named.
    pub message: String,
}

/// What a hart is doing.
#[derive(Clone, Default)]
struct OnHart {
    /// The process, as the kernel's hints say.
    hinted: Option<i32>,
    /// The last page fault, and how often it came in a row: pc, address, instructions retired
    /// at the return from it.
    fault: Option<(u64, u64, u64)>,
    faults: u32,
}

/// What a probe is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probed {
    AllocEnds,
    FreeBegins,
    FreeEnds,
}

/// What is known of the kernel.
#[derive(Default)]
pub struct Kernel {
    /// Its symbols.
    pub symbols: Option<Symbols>,
    /// How to find out which process runs.
    pub reader: Option<ProcReader>,
}

/// The checkers.
pub struct Checker {
    wanted: Checks,
    kernel: Kernel,
    layout: Layout,
    data: Option<(u64, u64)>,
    /// Stacks among the data, by address.
    stacks: Vec<(u64, u64)>,
    probes: HashMap<u64, Probed>,
    harts: Vec<OnHart>,
    memory: u64,
    mirror: Mirror,
    frames: Frames,
    stale: Stale,
    /// Frames whose mappings in a table changed since the table was used last.
    changed: HashMap<u64, BTreeSet<u64>>,
    /// Last known process of every table.
    owners: HashMap<u64, i32>,
    lost: HashSet<u64>,
    /// Pages that were allocated for tables, and are part of none yet.
    young: BTreeSet<u64>,
    /// Frames were allocated since the process table was looked at.
    grown: bool,
    findings: Vec<Finding>,
    /// A finding is to stop the machine.
    stop: bool,
    alike: HashMap<(&'static str, u64), u32>,
}

impl Checker {
    /// Checkers for a machine with that many harts and that much memory.
    pub fn new(wanted: Checks, kernel: Kernel, harts: usize, memory: u64) -> Checker {
        let symbols = kernel.symbols.as_ref();
        let address = |name: &str| symbols.and_then(|symbols| symbols.address(name));
        let text_end = address("etext").or(address("text_end")).unwrap_or(0);
        let data = address("rodata_end").or(address("etext")).zip(address("end"));
        let layout = Layout {
            text: (crate::board::RAM_BASE, text_end),
            frame_pointers: address("kalloc").is_some(),
            allocator: symbols.and_then(|symbols| symbols.extent("kalloc")).unwrap_or_default(),
            since: 0,
        };
        let named = |name: &&str| symbols.and_then(|symbols| symbols.extent(name));
        let mut stacks: Vec<(u64, u64)> = STACKS.iter().filter_map(named).collect();
        stacks.sort_unstable();
        let probes = symbols.map_or_else(HashMap::new, probes_of);
        Checker {
            wanted,
            kernel,
            layout,
            data,
            stacks,
            probes,
            harts: vec![OnHart::default(); harts],
            memory,
            mirror: Mirror::new(memory),
            frames: Frames::default(),
            stale: Stale::new(harts),
            changed: HashMap::new(),
            owners: HashMap::new(),
            lost: HashSet::new(),
            young: BTreeSet::new(),
            grown: false,
            findings: Vec::new(),
            stop: false,
            alike: HashMap::new(),
        }
    }

    /// The machine is reset, so many nanoseconds after the first time that it was switched on.
    pub fn restarted(&mut self, since: u64) {
        let kernel = std::mem::take(&mut self.kernel);
        *self = Checker::new(self.wanted, kernel, self.harts.len(), self.memory);
        self.layout.since = since;
    }

    /// Where the kernel's allocator begins and ends.
    pub fn probes(&self) -> impl Iterator<Item = u64> {
        self.probes.keys().copied()
    }

    /// What was found since the last call.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// Which stores the checkers want to be told of, and whether the machine is to stop.
    pub fn take_wishes(&mut self) -> Wishes {
        let (pages, stop) = (self.mirror.take_watched(), std::mem::take(&mut self.stop));
        Wishes { pages, stop, ..Wishes::default() }
    }

    fn pid(&self, view: &View) -> Option<i32> {
        let reader = || self.kernel.reader?.pid(view.ram(), view.hart.id as u64);
        self.harts[view.hart.id].hinted.or_else(reader)
    }

    /// What the hart is doing at `pc`.
    fn deed(&self, view: &View, pc: u64) -> Deed {
        let kernel = self.kernel.symbols.as_ref();
        Deed::new(view, &self.layout, kernel, self.pid(view), Some(pc))
    }

    /// A store of `length` bytes was done.
    pub fn stored(&mut self, view: &View, va: u64, pa: u64, length: u64) {
        let flags = self.mirror.flags(pa);
        if flags & COW != 0 && self.wanted.cow {
            self.store_to_cow(view, va, pa);
        }
        if flags & TABLE != 0 {
            let by = self.deed(view, view.hart.at);
            let changes = self.mirror.stored(view.ram(), pa, length, by);
            self.apply(&changes, by);
        }
    }

    /// The page tables allow an access.
    pub fn walked(&mut self, view: &View, va: u64, access: Access, leaf: &Leaf) {
        if !self.wanted.tlb {
            return;
        }
        let asid = view.hart.csr.satp.asid;
        let now = (leaf.pte.0, leaf.level, leaf.pte_pa);
        let used = self.stale.walked(view.hart.id, (asid, va, access), now, self.layout.ns(view));
        if let Some(used) = used {
            let pc = if access == Access::Fetch { va } else { view.hart.at };
            let by = self.deed(view, pc);
            self.stale_entry(&by, va, access, used, leaf.pte.0);
        }
    }

    /// The page tables refuse an access.
    pub fn faulted(&mut self, view: &View, pc: u64, fault: &Fault) {
        if !self.wanted.tlb {
            return;
        }
        let user = view.hart.privilege == Priv::User;
        let asid = view.hart.csr.satp.asid;
        let page = (asid, fault.va, fault.access);
        if let Some(used) = self.stale.refused(view.hart.id, page, user) {
            let by = self.deed(view, pc);
            self.stale_entry(&by, fault.va, fault.access, used, fault.pte.0);
        }
    }

    /// `sfence.vma` was executed.
    pub fn fenced(&mut self, view: &View, va: Option<u64>, asid: Option<u16>) {
        self.stale.fenced(view.hart.id, va, asid);
    }

    /// `satp` was written: a table is about to be used.
    pub fn satp_written(&mut self, view: &View, new: Satp) {
        if new.mode == Mode::Bare {
            return;
        }
        let root = new.ppn.pa().0;
        let by = self.deed(view, view.hart.at);
        if !self.mirror.knows(root) {
            self.adopt(view, root, by);
        }
        let changed = self.changed.remove(&root).unwrap_or_default();
        self.check_mappings(root, &changed, &by);
        self.check_dangling(root, &by);
    }

    /// An instruction that the checkers asked for is about to be executed.
    pub fn probed(&mut self, view: &View, pc: u64) {
        let Some(what) = self.probes.get(&pc).copied() else { return };
        let (a0, sp) = (view.hart.x(10), view.hart.x(2));
        if what != Probed::FreeEnds && !is_frame(view, a0) {
            return;
        }
        let kernel = self.kernel.symbols.as_ref();
        let by = Deed::new(view, &self.layout, kernel, self.pid(view), None);
        match what {
            Probed::AllocEnds => self.allocated(a0, false, by),
            Probed::FreeBegins => {
                if let Some(before) = self.frames.ending(sp, a0) {
                    self.freed_twice(a0, &by, &before);
                }
                self.table_ends(a0, by);
            }
            // A kernel that counts references calls it for each; junk tells that it was the last.
            Probed::FreeEnds => {
                let ended = self.frames.ended(sp);
                let junk = |frame| view.ram().read::<u64>(frame + 64) == Ok(JUNK);
                match ended {
                    // It was free already, and that was said when this began.
                    None | Some(Ending { again: true, .. }) => {}
                    Some(Ending { frame, .. }) if junk(frame) => self.freed(frame, by),
                    Some(Ending { frame, .. }) => self.frames.released(frame),
                }
            }
        }
    }

    /// The in-tree kernel tells something. Programs can only set marks.
    pub fn hinted(&mut self, view: &View, pc: u64, kind: i32) {
        let Some(kind) = Hint::from_imm(kind) else { return };
        if view.hart.privilege == Priv::User && kind != Hint::Mark {
            return;
        }
        let [a0, a2] = [10, 12].map(|register| view.hart.x(register));
        let frames = matches!(kind, Hint::FrameAllocated | Hint::FrameFreed | Hint::FrameRefs);
        if frames && !is_frame(view, a0) {
            return;
        }
        match kind {
            Hint::ProcSwitched => {
                self.harts[view.hart.id].hinted = Some(a0 as i32);
            }
            Hint::FrameAllocated => {
                if a2 == Owner::PageTable as u64 {
                    self.young.insert(a0);
                }
                self.allocated(a0, true, self.deed(view, pc));
            }
            // The child's memory is complete, and was never used.
            Hint::Forked => self.adopt_young(view, pc, view.hart.x(11) as i32),
            Hint::FrameFreed => self.freed(a0, self.deed(view, pc)),
            Hint::FrameRefs => {
                self.frames.counted(a0, a2);
                if a2 == 0 {
                    self.table_ends(a0, self.deed(view, pc));
                }
            }
            Hint::Mark => self.look_for_leaks(view),
            _ => {}
        }
    }

    /// A trap was taken.
    pub fn trapped(&mut self, view: &View, cause: Cause, tval: u64, pc: u64) {
        use Exception::{InstPageFault, LoadPageFault, StorePageFault};
        if !matches!(cause, Cause::Exception(InstPageFault | LoadPageFault | StorePageFault)) {
            return;
        }
        let retired = view.hart.retired();
        let hart = &mut self.harts[view.hart.id];
        let again = hart.fault.replace((pc, tval, u64::MAX)) == Some((pc, tval, retired));
        hart.faults = if again { hart.faults + 1 } else { 0 };
        if hart.faults == MAX_FAULTS && self.wanted.frames {
            let by = Deed { stack: [pc, 0, 0, 0], ..self.deed(view, pc) };
            let message = format!(
                "the same {} at {tval:#x} comes again and again, by {}: the kernel returns and \
                 nothing has changed",
                cause.name(),
                self.tell(&by)
            );
            self.find("frames", pc, message);
        }
    }

    /// The hart returned from a trap, by the instruction at `pc`.
    pub fn returned(&mut self, view: &View, pc: u64) {
        let (retired, to) = (view.hart.retired(), view.hart.ctx.pc);
        let hart = &mut self.harts[view.hart.id];
        if let Some((at, _, back)) = &mut hart.fault
            && *at == to
        {
            // The return itself retires.
            *back = retired + 1;
        }
        if view.hart.privilege == Priv::User
            && let Some(pid) = self.pid(view)
        {
            self.adopt_from_table(view, pc);
            self.owners.insert(view.hart.csr.satp.ppn.pa().0, pid);
        }
    }
}

/// Whether this is the address of a frame: the guest may say anything.
fn is_frame(view: &View, pa: u64) -> bool {
    pa.is_multiple_of(PAGE_SIZE) && view.ram().contains(pa, PAGE_SIZE)
}

/// Where a C xv6 allocates and frees frames.
fn probes_of(kernel: &Symbols) -> HashMap<u64, Probed> {
    let ends = |name, what| returns_of(kernel, name).into_iter().map(move |pc| (pc, what));
    let begins = kernel.address("kfree").map(|pc| (pc, Probed::FreeBegins));
    ends("kalloc", Probed::AllocEnds).chain(ends("kfree", Probed::FreeEnds)).chain(begins).collect()
}
