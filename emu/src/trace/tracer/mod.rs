//! The tracer: joins the machine's events into records.
//!
//! A page fault is three things that happen far apart: the trap, what the kernel does about it,
//! and the return to the same instruction — or the end of the process. The tracer keeps the first
//! until the last, and infers what the kernel did from the page table and the frames in between.
//! That works on any kernel; the in-tree kernel's hints and a foreign kernel's symbols and debug
//! information add names and counts.

mod calls;
mod faults;
mod frames;
mod hints;
mod infer;
mod leak;
pub(super) mod on_hart;
mod probes;
mod probing;
mod tell;
mod watched;

use std::sync::Arc;

use abi::hint::Hint;
use isa::Priv;
use isa::trap::{Cause, Exception};

use self::calls::Calls;
use self::faults::OpenFaults;
use self::frames::Run;
use self::leak::Leak;
use self::on_hart::{OnHart, Process};
pub(crate) use self::probes::returns_of;
use self::probes::{Probes, probes_of};
use self::probing::{Copy, Freeing};
use super::awareness::ProcReader;
use super::courier::Courier;
use super::kinds::Kinds;
use super::peek;
use super::programs::Programs;
use super::quick::QuickMap;
use super::record::{FreePages, Moment, Place, Record, VERSION, Who, Word};
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

/// Where an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// Nobody knows.
    Unknown,
    /// The kernel.
    Kernel,
    /// The call in the kernel that returns there.
    Call,
    /// One of the programs.
    Program(usize),
}

/// A place whose name is not looked up yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    pub origin: Origin,
    pub pc: u64,
}

impl Guest {
    /// An address in the kernel.
    fn in_kernel(&self, pc: u64) -> Spot {
        let origin = if self.kernel.is_some() { Origin::Kernel } else { Origin::Unknown };
        Spot { origin, pc }
    }

    /// What is at `pc` in the user program of `satp`.
    fn in_program(&mut self, ram: &Ram, pc: u64, satp: u64) -> Spot {
        let pa = peek::look(ram, satp, pc).and_then(|seen| seen.pa);
        let program = pa.and_then(|pa| self.programs.of(ram, pc, pa));
        Spot { origin: program.map_or(Origin::Unknown, Origin::Program), pc }
    }

    /// What is there.
    fn place(&self, Spot { origin, pc }: Spot) -> Arc<Place> {
        let known = match origin {
            Origin::Unknown => None,
            Origin::Kernel => self.kernel.as_ref().map(|kernel| kernel.place(pc)),
            Origin::Call => self.kernel.as_ref().map(|kernel| kernel.call(pc)),
            Origin::Program(index) => self.programs.place(index, pc),
        };
        known.unwrap_or_else(|| Arc::new(Place { pc, ..Place::default() }))
    }
}

/// Joins events into records and hands them to the outputs.
pub struct Tracer {
    kinds: Kinds,
    guest: Guest,
    probes: Probes,
    /// Where a C xv6 keeps the head of its free list.
    kmem: Option<u64>,
    outputs: Courier,
    harts: Vec<OnHart>,
    open: OpenFaults,
    calls: Calls,
    run: Run,
    leak: Leak,
    /// Calls of `kfree`.
    freeing: Vec<Freeing>,
    /// Frames of which a call of `kfree` is over, not known to be free since: the call was for one
    /// reference of several, or the next owner is already filling the frame. And where it was called.
    freed: QuickMap<u64, u64>,
    /// Calls of the copy functions by stack pointer.
    copying: QuickMap<u64, Copy>,
    free: Option<u64>,
    /// Free pages before the first allocation, and the fewest.
    free_range: Option<(u64, u64)>,
    /// A frame was allocated: until then, what is freed is the memory that the kernel found.
    allocates: bool,
    fault_traps: u64,
    last: Moment,
    /// Where earlier lives of the machine ended.
    before: Moment,
}

/// Calls that are kept in mind; a kernel that never returns from them must not fill memory.
const MAX_PENDING: usize = 1 << 12;

impl Tracer {
    /// A tracer of a machine with that many harts.
    pub fn new(guest: Guest, harts: usize, outputs: Courier) -> Tracer {
        let probes = Probes::new(guest.kernel.as_ref().map_or_else(Vec::new, probes_of));
        let kmem = guest.kernel.as_ref().and_then(|kernel| kernel.address("kmem"));
        Tracer {
            kmem,
            kinds: outputs.kinds(),
            guest,
            probes,
            outputs,
            harts: (0..harts).map(|_| OnHart::default()).collect(),
            open: OpenFaults::default(),
            calls: Calls::new(harts),
            run: Run::default(),
            leak: Leak::default(),
            freeing: Vec::new(),
            freed: QuickMap::default(),
            copying: QuickMap::default(),
            free: None,
            free_range: None,
            allocates: false,
            fault_traps: 0,
            last: Moment::default(),
            before: Moment::default(),
        }
    }

    /// Writes the header.
    pub fn begin(&mut self, kernel: &str, ram: u64) {
        let harts = self.harts.len() as u32;
        let (kernel, ram_start) = (kernel.to_owned(), crate::board::RAM_BASE);
        self.emit(Record::Header { version: VERSION, kernel, harts, ram, ram_start });
    }

    /// The machine starts again: what was open never returned, and its time goes on from where
    /// the last life ended.
    pub fn restarted(&mut self) {
        self.close_open();
        self.end_run();
        self.before = self.last;
        self.harts.fill_with(OnHart::default);
        (self.calls, self.leak) = (Calls::new(self.harts.len()), Leak::default());
        self.freeing.clear();
        self.freed.clear();
        self.copying.clear();
        (self.free, self.free_range, self.allocates) = (None, None, false);
    }

    /// When the present life of the machine began, in nanoseconds.
    pub fn since(&self) -> u64 {
        self.before.ns
    }

    /// Writes records from now on, or counts on silently.
    pub fn set_recording(&mut self, on: bool) {
        self.end_run();
        self.kinds = if on { self.outputs.kinds() } else { Kinds::default() };
    }

    /// There is time. Returns whether an output was a pipe that nobody reads any more.
    pub fn pause(&mut self) -> bool {
        self.outputs.pause();
        self.outputs.is_unread()
    }

    /// The machine will stand still: what was recorded is written now.
    pub fn hand_over(&mut self) {
        self.outputs.hand_over();
    }

    /// Page-fault traps that were taken.
    pub fn fault_traps(&self) -> u64 {
        self.fault_traps
    }

    /// Ends the trace: faults that are still open never returned. Returns whether all outputs were
    /// written in full.
    pub fn end(mut self, status: i32) -> bool {
        self.close_open();
        let (at, fault_traps) = (self.last, self.fault_traps);
        let range = self.free_range.zip(self.free);
        let leak = self.free.and_then(|free| self.leak.missing(free));
        let free = range.map(|((start, least), end)| FreePages { start, least, end, leak });
        self.emit(Record::End { at, status, fault_traps, free });
        self.outputs.finish()
    }

    /// When it is. The last moment that was asked for is the trace's end.
    pub fn moment(&mut self, view: &View) -> Moment {
        let (ns, insns) = (self.before.ns + view.ns(), self.before.insns + view.insns());
        // What is returned is not read from where it was just written: that would have to wait.
        let at = Moment { ns, insns, hart: view.hart.id as u32 };
        self.last = at;
        at
    }

    /// The process that a hart runs.
    fn who(&mut self, view: &View) -> Who {
        self.harts[view.hart.id].who(self.guest.reader.as_ref(), view).clone()
    }

    fn process(&mut self, view: &View) -> Process {
        self.harts[view.hart.id].process(self.guest.reader.as_ref(), view).clone()
    }

    /// What stands for the process that a hart works for, in its own code or in the kernel's.
    fn key(&self, view: &View) -> i64 {
        let hart = &self.harts[view.hart.id];
        let hinted = hart.known().and_then(|who| who.pid);
        let pid = hinted.or_else(|| self.guest.reader?.pid(view.ram(), view.hart.id as u64));
        match (pid, hart.handling) {
            (Some(pid), _) => i64::from(pid),
            (None, Some(handling)) => handling,
            (None, None) => key_of(None, view.hart.csr.satp.bits()),
        }
    }

    /// What the instruction at `pc` belongs to: the kernel, or the program of `satp`.
    fn spot(&mut self, ram: &Ram, pc: u64, satp: u64, user: bool) -> Spot {
        if user { self.guest.in_program(ram, pc, satp) } else { self.guest.in_kernel(pc) }
    }

    fn forked(&mut self, view: &View, child: i32) {
        self.leak.forked(child);
        if self.kinds.proc {
            let (at, who) = (self.moment(view), self.who(view));
            self.emit(Record::Forked { at, who, child });
        }
    }

    /// A process ends: what it has open ends with it.
    fn exited(&mut self, view: &View, who: Who, status: i32) {
        let key = key_of(who.pid, who.satp);
        self.close_killed(key);
        self.leak.exited(key, self.free);
        if let Some(call) = self.calls.end(key) {
            self.emit_call(call, None, None);
        }
        if self.kinds.proc {
            let at = self.moment(view);
            self.emit(Record::Exited { at, who, status });
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
        self.emit(Record::Insn { at, pc, bits, text });
    }

    #[inline(never)]
    fn trapped(&mut self, view: &View, cause: Cause, tval: u64, pc: u64, from: Priv) {
        let (at, who) = (self.moment(view), self.who(view));
        let spot = self.spot(view.ram(), pc, who.satp, from == Priv::User);
        let place = self.guest.place(spot);
        let what = Word::Borrowed(cause.name());
        self.emit(Record::Trapped { at, who, cause: cause.bits(), what, tval, place });
    }

    /// The process is back in user mode, or another one is there.
    #[inline(never)]
    fn back_in_user_mode(&mut self, view: &View) {
        let key = self.key(view);
        let hart = &mut self.harts[view.hart.id];
        hart.handling = None;
        let hinted = hart.known().is_some();
        self.user_returned(view, key);
        self.open.wait_for(key, view.hart.id as u32, view.hart.retired());
        self.call_returned(view, key);
        if self.kinds.proc && !hinted {
            let who = self.who(view);
            let ran = &mut self.harts[view.hart.id].ran;
            if ran.as_ref().is_none_or(|(last, name)| *last != key || *name != who.name) {
                *ran = Some((key, who.name.clone()));
                let at = self.moment(view);
                self.emit(Record::ProcSwitched { at, who });
            }
        }
    }
}

impl Events for Tracer {
    const PROBES: bool = true;

    fn hears(kind: i32) -> bool {
        // System calls are known from the traps themselves.
        let known = |hint| !matches!(hint, Hint::SyscallEntered | Hint::SyscallReturned);
        Hint::from_imm(kind).is_some_and(known)
    }

    fn page_faulted(&mut self, view: &View, _pc: u64, fault: &crate::mmu::Fault) {
        self.harts[view.hart.id].refused = Some(*fault);
    }

    fn trap_taken(&mut self, view: &View, cause: Cause, tval: u64, pc: u64, from: Priv) {
        if self.kinds.traps {
            self.trapped(view, cause, tval, pc, from);
        }
        if from == Priv::User && !self.open.is_empty() {
            self.harts[view.hart.id].entered = view.hart.retired();
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
            let silent = self.open.is_empty() && !self.kinds.proc && !self.kinds.sys;
            if silent && self.calls.ends_at_once(view.hart.id, view.hart.csr.satp.bits()) {
                self.harts[view.hart.id].handling = None;
            } else {
                self.back_in_user_mode(view);
            }
        } else {
            self.kernel_returned(view);
        }
    }

    fn hinted(&mut self, view: &View, pc: u64, kind: i32) {
        self.hint(view, pc, kind);
    }

    fn inst_executed(&mut self, view: &View, pc: u64, _inst: &isa::Inst) {
        if self.kinds.insn {
            self.executed(view, pc);
        }
    }

    fn probed(&mut self, view: &View, pc: u64) {
        if let Some(probe) = self.probes.at(pc) {
            self.passed(view, probe);
        }
    }

    fn probes(&self) -> Vec<u64> {
        self.probes.addresses().collect()
    }
}

/// What stands for a process: its pid, else its address space.
fn key_of(pid: Option<i32>, satp: u64) -> i64 {
    pid.map_or_else(|| -((satp & 0xfff_ffff_ffff) as i64) - 1, i64::from)
}
