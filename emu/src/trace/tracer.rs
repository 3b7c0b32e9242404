//! The tracer: joins the machine's events into records.
//!
//! A page fault is three things that happen far apart: the trap, what the kernel does about it,
//! and the return to the same instruction — or the end of the process. The tracer keeps the first
//! until the last, and infers what the kernel did from the page table and the frames in between.
//! That works on any kernel; the in-tree kernel's hints and a foreign kernel's debug information
//! add names and counts.

use std::collections::HashMap;

use abi::hint::{FaultClass, Hint};
use abi::syscall::Syscall;
use isa::Priv;
use isa::trap::{Cause, Exception};

use super::awareness::{ProcReader, Programs, read_name};
use super::kinds::Kinds;
use super::outputs::Outputs;
use super::peek;
use super::record::{
    Access, Fault, Frame, Moment, Outcome, Place, Reason, Record, VERSION, Via, Who,
};
use crate::events::{Events, View};
use crate::mem::Ram;
use crate::symbols::Symbols;

/// What is known of the guest.
#[derive(Default)]
pub struct Guest {
    /// The kernel's symbols.
    pub kernel: Option<Symbols>,
    /// How to find out which process runs.
    pub reader: Option<ProcReader>,
    /// The user programs.
    pub programs: Programs,
}

/// A fault between trap and return.
struct Open {
    fault: Fault,
    satp: u64,
    retired: u64,
    before: peek::Seen,
    allocated: Vec<u64>,
}

/// A system call between `ecall` and return.
struct Call {
    at: Moment,
    who: Who,
    retired: u64,
    number: u64,
    args: [u64; 6],
    place: Place,
}

/// What a hart is doing.
#[derive(Clone, Default)]
struct OnHart {
    /// The process, as the kernel's hints say.
    hinted: Option<Who>,
    /// Whose trap is being handled.
    handling: Option<i64>,
    /// Why the coming page-fault trap is taken.
    refused: Option<crate::mmu::Fault>,
}

/// Joins events into records and hands them to the outputs.
pub struct Tracer {
    kinds: Kinds,
    guest: Guest,
    probes: Vec<Probe>,
    outputs: Outputs,
    harts: Vec<OnHart>,
    open: HashMap<i64, Open>,
    calls: HashMap<i64, Call>,
    free: Option<u64>,
    fault_traps: u64,
    last: Moment,
    /// Where earlier lives of the machine ended.
    before: Moment,
}

/// What the tracer wants to see executed in a foreign kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    pc: u64,
    what: Probed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probed {
    /// `kalloc` is about to return.
    Allocated,
    /// `kfree` begins.
    Freed,
    /// `exit` begins.
    Exits,
}

impl Tracer {
    /// A tracer of a machine with that many harts.
    pub fn new(guest: Guest, harts: usize, outputs: Outputs) -> Tracer {
        let probes = guest.kernel.as_ref().map_or_else(Vec::new, probes_of);
        let kinds = outputs.kinds();
        Tracer {
            kinds,
            guest,
            probes,
            outputs,
            harts: vec![OnHart::default(); harts],
            open: HashMap::new(),
            calls: HashMap::new(),
            free: None,
            fault_traps: 0,
            last: Moment::default(),
            before: Moment::default(),
        }
    }

    /// Writes the header.
    pub fn begin(&mut self, kernel: &str, ram: u64) {
        let harts = self.harts.len() as u32;
        let (kernel, ram_start) = (kernel.to_owned(), crate::board::RAM_BASE);
        self.outputs.record(&Record::Header { version: VERSION, kernel, harts, ram, ram_start });
    }

    /// The machine starts again: what was open never returned, and its time goes on from where
    /// the last life ended.
    pub fn restarted(&mut self) {
        self.close_open();
        self.before = self.last;
        self.harts.fill(OnHart::default());
        self.free = None;
    }

    /// Writes records from now on, or counts on silently.
    pub fn set_recording(&mut self, on: bool) {
        self.kinds = if on { self.outputs.kinds() } else { Kinds::default() };
    }

    /// Whether an output was a pipe that nobody reads any more.
    pub fn is_unread(&self) -> bool {
        self.outputs.is_unread()
    }

    /// Page-fault traps that were taken.
    pub fn fault_traps(&self) -> u64 {
        self.fault_traps
    }

    /// Ends the trace: faults that are still open never returned. Hands the outputs back.
    pub fn end(mut self, status: i32) -> Outputs {
        self.close_open();
        let (at, fault_traps) = (self.last, self.fault_traps);
        self.outputs.record(&Record::End { at, status, fault_traps });
        self.outputs
    }

    fn close_open(&mut self) {
        self.calls.clear();
        let mut open: Vec<Open> = self.open.drain().map(|(_, open)| open).collect();
        open.sort_by_key(|open| open.fault.at.insns);
        for mut open in open {
            open.fault.outcome = Outcome::NeverReturned;
            self.emit_fault(open.fault);
        }
    }

    fn moment(&mut self, view: &View) -> Moment {
        self.last = Moment {
            ns: self.before.ns + view.ns(),
            insns: self.before.insns + view.insns(),
            hart: view.hart.id as u32,
        };
        self.last
    }

    /// The process that a hart runs.
    fn who(&self, view: &View) -> Who {
        let satp = view.hart.csr.satp.bits();
        if let Some(who) = self.harts[view.hart.id].hinted.clone() {
            return Who { satp, ..who };
        }
        let current =
            self.guest.reader.and_then(|reader| reader.current(view.ram(), view.hart.id as u64));
        let (pid, name) = current.map_or((None, None), |(pid, name)| (Some(pid), Some(name)));
        Who { pid, name, satp }
    }

    /// What the instruction at `pc` belongs to: the kernel, or the program of `satp`.
    fn place(&mut self, ram: &Ram, pc: u64, satp: u64, user: bool) -> Place {
        let known = if user {
            peek::look(ram, satp, pc)
                .and_then(|seen| seen.pa)
                .and_then(|pa| self.guest.programs.place(ram, pc, pa))
        } else {
            self.guest.kernel.as_ref().map(|kernel| kernel.place(pc))
        };
        known.unwrap_or(Place { pc, ..Place::default() })
    }

    fn open_fault(&mut self, view: &View, pc: u64, from: Priv) {
        self.fault_traps += 1;
        let Some(refused) = self.harts[view.hart.id].refused.take() else { return };
        if !self.kinds.faults {
            return;
        }
        let (at, who) = (self.moment(view), self.who(view));
        let (satp, user) = (who.satp, from == Priv::User);
        let place = self.place(view.ram(), pc, satp, user);
        let key = key(&who);
        let fault = Fault {
            at,
            who,
            place,
            user,
            access: access(refused.access),
            va: refused.va,
            reason: reason(refused.reason),
            level: u32::from(refused.level),
            pte: refused.pte.0,
            via: Via::Trap,
            outcome: Outcome::NeverReturned,
            cost: None,
            returned: None,
            allocated: 0,
            freed: 0,
            free: None,
            class: None,
        };
        let before = peek::look(view.ram(), satp, refused.va).unwrap_or_default();
        let retired = view.hart.retired();
        if user {
            self.harts[view.hart.id].handling = Some(key);
        }
        let open = Open { fault, satp, retired, before, allocated: Vec::new() };
        if let Some(older) = self.open.insert(key, open) {
            // A second fault while the first is handled: the kernel itself faulted.
            self.emit_fault(older.fault);
        }
    }

    /// The process is back in user mode.
    fn returned(&mut self, view: &View) {
        let who = self.who(view);
        let key = key(&who);
        let at = self.moment(view);
        self.harts[view.hart.id].handling = None;
        if let Some(mut open) = self.open.remove(&key) {
            let same_place = view.hart.ctx.pc == open.fault.place.pc && who.satp == open.satp;
            open.fault.outcome = if same_place {
                outcome(view.ram(), &open, self.free.is_some())
            } else {
                // Its address space runs something else: what faulted is gone.
                Outcome::Killed
            };
            if same_place {
                open.fault.returned = Some(at.ns);
                let same_hart = at.hart == open.fault.at.hart;
                open.fault.cost = same_hart.then(|| view.hart.retired() - open.retired);
            }
            open.fault.free = self.free;
            self.emit_fault(open.fault);
        }
        if let Some(call) = self.calls.remove(&key) {
            let same_hart = at.hart == call.at.hart;
            let cost = same_hart.then(|| view.hart.retired() - call.retired);
            self.emit_call(call, Some(view.hart.x(10)), cost);
        }
    }

    fn emit_fault(&mut self, fault: Fault) {
        self.outputs.record(&Record::Fault(fault));
    }

    fn emit_call(&mut self, call: Call, result: Option<u64>, cost: Option<u64>) {
        if self.kinds.sys {
            let Call { at, who, number, args, .. } = call;
            let name = Syscall::from_number(number).map(|call| call.name().to_owned());
            self.outputs.record(&Record::Syscall {
                at,
                who,
                number,
                call: name,
                args,
                result,
                cost,
            });
        }
    }

    fn open_call(&mut self, view: &View, pc: u64) {
        let (at, who) = (self.moment(view), self.who(view));
        let key = key(&who);
        let args = [10, 11, 12, 13, 14, 15].map(|register| view.hart.x(register));
        let place = self.place(view.ram(), pc, who.satp, true);
        let (number, retired) = (view.hart.x(17), view.hart.retired());
        self.harts[view.hart.id].handling = Some(key);
        self.calls.insert(key, Call { at, who, retired, number, args, place });
    }

    fn frame_allocated(&mut self, view: &View, pa: u64, free: u64) {
        self.free = Some(free);
        if let Some(open) = self.handled(view) {
            open.allocated.push(pa);
            open.fault.allocated += 1;
        }
        self.frame(view, pa, free, Record::FrameAllocated);
    }

    fn frame_freed(&mut self, view: &View, pa: u64, free: u64) {
        self.free = Some(free);
        if let Some(open) = self.handled(view) {
            open.fault.freed += 1;
        }
        self.frame(view, pa, free, Record::FrameFreed);
    }

    fn handled(&mut self, view: &View) -> Option<&mut Open> {
        self.open.get_mut(&self.harts[view.hart.id].handling?)
    }

    fn frame(&mut self, view: &View, pa: u64, free: u64, record: fn(Frame) -> Record) {
        if self.kinds.frames {
            let (at, who) = (self.moment(view), self.who(view));
            // The allocator's caller: its return address is the best guess without a stack walk.
            let caller = self.guest.kernel.as_ref().map(|kernel| kernel.place(view.hart.x(1)));
            self.outputs.record(&record(Frame { at, who, pa, free, caller }));
        }
    }

    /// A process ends: what it has open ends with it.
    fn exited(&mut self, view: &View, who: Who, status: i32) {
        let key = key(&who);
        if let Some(mut open) = self.open.remove(&key) {
            open.fault.outcome = Outcome::Killed;
            open.fault.free = self.free;
            self.emit_fault(open.fault);
        }
        if let Some(call) = self.calls.remove(&key) {
            self.emit_call(call, None, None);
        }
        if self.kinds.proc {
            let at = self.moment(view);
            self.outputs.record(&Record::Exited { at, who, status });
        }
    }

    /// A page that the kernel faulted in while it handled a system call.
    fn classified(&mut self, view: &View, va: u64, class: u64, pa: u64) {
        let class = CLASSES.iter().find(|known| **known as u64 == class).copied();
        let name = class.map(|class| format!("{class:?}"));
        if let Some(open) = self.handled(view) {
            open.fault.class = name;
            return;
        }
        let Some(key) = self.harts[view.hart.id].handling else { return };
        if !self.kinds.faults {
            return;
        }
        let at = self.moment(view);
        let Some(call) = self.calls.get(&key) else { return };
        let call_name = Syscall::from_number(call.number).map(|call| call.name().to_owned());
        let (outcome, reason) = soft_outcome(class, pa);
        let fault = Fault {
            at,
            who: call.who.clone(),
            place: call.place.clone(),
            user: true,
            access: if reason == Reason::NoWrite { Access::Store } else { Access::Load },
            va,
            reason,
            level: 0,
            pte: 0,
            via: Via::Syscall { number: call.number, name: call_name },
            outcome,
            cost: None,
            returned: None,
            allocated: 0,
            freed: 0,
            free: self.free,
            class: name,
        };
        self.emit_fault(fault);
    }

    fn hint(&mut self, view: &View, kind: Hint) {
        let [a0, a1, a2] = [10, 11, 12].map(|register| view.hart.x(register));
        match kind {
            Hint::ProcSwitched => {
                let name = Some(read_name(view.ram(), a1));
                let who = Who { pid: Some(a0 as i32), name, satp: a2 };
                self.harts[view.hart.id].hinted = Some(who.clone());
                if self.kinds.proc {
                    let at = self.moment(view);
                    self.outputs.record(&Record::ProcSwitched { at, who });
                }
            }
            Hint::Forked => {
                let (at, who, child) = (self.moment(view), self.who(view), a1 as i32);
                if self.kinds.proc {
                    self.outputs.record(&Record::Forked { at, who, child });
                }
            }
            Hint::Execed => {
                let name = Some(read_name(view.ram(), a1));
                let at = self.moment(view);
                let who = Who { pid: Some(a0 as i32), name, ..self.who(view) };
                self.harts[view.hart.id].hinted = Some(who.clone());
                if self.kinds.proc {
                    self.outputs.record(&Record::Execed { at, who });
                }
            }
            Hint::Exited => {
                let who = Who { pid: Some(a0 as i32), ..self.who(view) };
                self.exited(view, who, a1 as i32);
            }
            Hint::FrameAllocated => self.frame_allocated(view, a0, a1),
            Hint::FrameFreed => self.frame_freed(view, a0, a1),
            Hint::FaultClassified => self.classified(view, a0, a1, a2),
            Hint::Mark => {
                let (at, who) = (self.moment(view), self.who(view));
                self.outputs.record(&Record::Mark { at, who, values: [a0, a1, a2] });
            }
            // Known from the traps themselves, or not shown.
            Hint::FrameRefs | Hint::SyscallEntered | Hint::SyscallReturned => {}
        }
    }

    fn executed(&mut self, view: &View, pc: u64) {
        let (at, ram) = (self.moment(view), view.ram());
        let satp = view.hart.csr.satp.bits();
        let bare = view.hart.privilege == Priv::Machine || satp == 0;
        let half = |va: u64| {
            let pa = if bare { Some(va) } else { peek::look(ram, satp, va)?.pa };
            ram.read::<u16>(pa?).ok().map(u32::from)
        };
        let Some(low) = half(pc) else { return };
        // An instruction of four bytes may lie in two pages.
        let bits = if low & 3 == 3 { low | half(pc + 2).unwrap_or(0) << 16 } else { low };
        let text = isa::decode(bits).map_or_else(String::new, |i| isa::disasm(&i, pc).to_string());
        self.outputs.record(&Record::Insn { at, pc, bits, text });
    }

    fn trapped(&mut self, view: &View, cause: Cause, tval: u64, pc: u64, from: Priv) {
        let (at, who) = (self.moment(view), self.who(view));
        let place = self.place(view.ram(), pc, who.satp, from == Priv::User);
        let what = cause.name().to_owned();
        self.outputs.record(&Record::Trapped { at, who, cause: cause.bits(), what, tval, place });
    }
}

impl Events for Tracer {
    const PROBES: bool = true;

    fn page_faulted(&mut self, view: &View, _pc: u64, fault: &crate::mmu::Fault) {
        self.harts[view.hart.id].refused = Some(*fault);
    }

    fn trap_taken(&mut self, view: &View, cause: Cause, tval: u64, pc: u64, from: Priv) {
        if self.kinds.traps {
            self.trapped(view, cause, tval, pc, from);
        }
        match cause {
            Cause::Exception(
                Exception::InstPageFault | Exception::LoadPageFault | Exception::StorePageFault,
            ) => self.open_fault(view, pc, from),
            Cause::Exception(Exception::EcallU) => self.open_call(view, pc),
            _ => {}
        }
    }

    fn trap_returned(&mut self, view: &View, _pc: u64) {
        if view.hart.privilege == Priv::User {
            self.returned(view);
        }
    }

    fn hinted(&mut self, view: &View, _pc: u64, kind: i32) {
        if let Some(kind) = Hint::from_imm(kind) {
            self.hint(view, kind);
        }
    }

    fn inst_executed(&mut self, view: &View, pc: u64, _inst: &isa::Inst) {
        if self.kinds.insn {
            self.executed(view, pc);
        }
    }

    fn probed(&mut self, view: &View, pc: u64) {
        let a0 = view.hart.x(10);
        let what = self.probes.iter().find(|probe| probe.pc == pc).map(|probe| probe.what);
        match what {
            Some(Probed::Allocated) if a0 != 0 => {
                let free = self.free.unwrap_or(0).saturating_sub(1);
                self.frame_allocated(view, a0, free);
            }
            Some(Probed::Freed) => {
                let free = self.free.unwrap_or(0) + 1;
                self.frame_freed(view, a0, free);
            }
            Some(Probed::Exits) => {
                let who = self.who(view);
                self.exited(view, who, a0 as i32);
            }
            _ => {}
        }
    }

    fn probes(&self) -> Vec<u64> {
        self.probes.iter().map(|probe| probe.pc).collect()
    }
}

/// Where a C xv6 allocates and frees frames and ends processes. A kernel that gives hints has its
/// own allocator's names, which these are not.
fn probes_of(kernel: &Symbols) -> Vec<Probe> {
    let mut probes: Vec<Probe> = returns_of(kernel, "kalloc")
        .into_iter()
        .map(|pc| Probe { pc, what: Probed::Allocated })
        .collect();
    probes.extend(kernel.address("kfree").map(|pc| Probe { pc, what: Probed::Freed }));
    let exit = kernel.address("kexit").or_else(|| kernel.address("exit"));
    probes.extend(exit.map(|pc| Probe { pc, what: Probed::Exits }));
    probes
}

/// The `ret` instructions of a function.
fn returns_of(kernel: &Symbols, name: &str) -> Vec<u64> {
    let Some(function) = kernel.function_named(name) else { return Vec::new() };
    let length = usize::try_from(function.end - function.start).unwrap_or(0);
    let Some(code) = kernel.loaded_bytes(function.start, length) else { return Vec::new() };
    let mut found = Vec::new();
    let mut offset = 0;
    while let Some(low) = code.get(offset..offset + 2) {
        let mut bits = u32::from(u16::from_le_bytes([low[0], low[1]]));
        if bits & 3 == 3 {
            let Some(high) = code.get(offset + 2..offset + 4) else { break };
            bits |= u32::from(u16::from_le_bytes([high[0], high[1]])) << 16;
        }
        let Some(inst) = isa::decode(bits) else { break };
        if inst.op == isa::Op::Jalr && inst.rd() == 0 && inst.rs1() == 1 {
            found.push(function.start + offset as u64);
        }
        offset += inst.len() as usize;
    }
    found
}

/// What the kernel did, from the table and the frames before and after.
fn outcome(ram: &Ram, open: &Open, counted: bool) -> Outcome {
    let Some(after) = peek::look(ram, open.satp, open.fault.va) else { return Outcome::Unresolved };
    let (Some(pa), true) = (after.pa.map(|pa| pa & !0xfff), allows(after.pte, &open.fault)) else {
        return Outcome::Unresolved;
    };
    let fresh = open.allocated.contains(&pa);
    match open.before.pa.map(|pa| pa & !0xfff) {
        Some(_) if after.pte == open.before.pte => Outcome::Spurious,
        Some(old) if old == pa && open.fault.reason == Reason::NoWrite => {
            Outcome::MadeWritable { pa }
        }
        Some(old) if old == pa => Outcome::Remapped { pa, pte: after.pte },
        Some(old) if peek::is_same(ram, old, pa) => {
            Outcome::Copied { from: old, to: pa, refs: None }
        }
        _ if fresh || !counted => {
            if peek::is_zero(ram, pa) {
                Outcome::Zeroed { pa }
            } else {
                Outcome::Filled { pa }
            }
        }
        _ => Outcome::Joined { pa },
    }
}

/// Whether a leaf allows what the fault attempted.
fn allows(pte: u64, fault: &Fault) -> bool {
    let needed = match fault.access {
        Access::Load => 1 << 1,
        Access::Store => 1 << 2,
        Access::Fetch => 1 << 3,
    };
    pte & needed != 0 && (!fault.user || pte & 1 << 4 != 0)
}

const CLASSES: [FaultClass; 12] = [
    FaultClass::Lazy,
    FaultClass::CowCopy,
    FaultClass::CowLast,
    FaultClass::SharedJoin,
    FaultClass::FileFill,
    FaultClass::Spurious,
    FaultClass::Protection,
    FaultClass::Guard,
    FaultClass::BeyondBreak,
    FaultClass::ExecNx,
    FaultClass::Unmapped,
    FaultClass::OutOfMemory,
];

/// A fault that only the kernel's own word describes.
fn soft_outcome(class: Option<FaultClass>, pa: u64) -> (Outcome, Reason) {
    match class {
        Some(FaultClass::Lazy) => (Outcome::Zeroed { pa }, Reason::Invalid),
        Some(FaultClass::CowCopy) => {
            (Outcome::Copied { from: 0, to: pa, refs: None }, Reason::NoWrite)
        }
        Some(FaultClass::CowLast) => (Outcome::MadeWritable { pa }, Reason::NoWrite),
        Some(FaultClass::SharedJoin) => (Outcome::Joined { pa }, Reason::Invalid),
        Some(FaultClass::FileFill) => (Outcome::Filled { pa }, Reason::Invalid),
        Some(FaultClass::Spurious) => (Outcome::Spurious, Reason::Invalid),
        _ => (Outcome::Unresolved, Reason::Invalid),
    }
}

/// What stands for a process: its pid, else its address space.
fn key(who: &Who) -> i64 {
    who.pid.map_or_else(|| -((who.satp & 0xfff_ffff_ffff) as i64) - 1, i64::from)
}

fn access(access: crate::mmu::Access) -> Access {
    match access {
        crate::mmu::Access::Fetch => Access::Fetch,
        crate::mmu::Access::Load => Access::Load,
        crate::mmu::Access::Store => Access::Store,
    }
}

fn reason(reason: crate::mmu::Reason) -> Reason {
    use crate::mmu::Reason as Walk;
    match reason {
        Walk::NotCanonical => Reason::NotCanonical,
        Walk::Reserved => Reason::Reserved,
        Walk::NotUser => Reason::NotUser,
        Walk::UserFromSupervisor => Reason::UserFromSupervisor,
        Walk::NoRead => Reason::NoRead,
        Walk::NoWrite => Reason::NoWrite,
        Walk::NoExec => Reason::NoExec,
        Walk::Misaligned => Reason::Misaligned,
        Walk::NeedA => Reason::NeedA,
        Walk::NeedD => Reason::NeedD,
        // The others are access faults and never open a page fault.
        Walk::Invalid | Walk::Pmp | Walk::TablePmp | Walk::NoDevice | Walk::TableNotMemory => {
            Reason::Invalid
        }
    }
}
