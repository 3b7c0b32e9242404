//! The machine as gdbstub wants it.

use std::num::NonZeroUsize;

use gdbstub::arch::Arch;
use gdbstub::common::{Signal, Tid};
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadResume, MultiThreadResumeOps, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::base::single_register_access::{
    SingleRegisterAccess, SingleRegisterAccessOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps,
    SwBreakpoint, SwBreakpointOps, WatchKind,
};
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd, MonitorCmdOps, outputln};
use gdbstub::target::ext::target_description_xml_override::{
    TargetDescriptionXmlOverride, TargetDescriptionXmlOverrideOps,
};
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{Target, TargetError, TargetResult};
use gdbstub_arch::riscv::reg::RiscvCoreRegs;
use gdbstub_arch::riscv::reg::id::RiscvRegId;

use super::{Interrupted, xml};
use crate::bus::Exit;
use crate::cli::failure::guest_status;
use crate::console::host::Console;
use crate::inspect::{Debuggee, Hit, Points, Watch};
use crate::machine::Stop;
use crate::monitor::Monitor;

/// Instructions of a hart that goes on alone, between looks at the socket.
const ALONE: u32 = 1000;

/// RV64 with gdbstub's registers and our description of them.
pub enum Rv64 {}

impl Arch for Rv64 {
    type Usize = u64;
    type Registers = RiscvCoreRegs<u64>;
    type BreakpointKind = usize;
    type RegId = RiscvRegId<u64>;
}

/// A machine in a debugger's hands.
pub struct Debugger<'a> {
    machine: &'a mut dyn Debuggee,
    console: &'a mut Console,
    monitor: Monitor,
    /// Where the debugger wants the machine to stop.
    pub points: Points,
    /// The hart that is to execute one instruction; otherwise all go on.
    step: Option<usize>,
    /// The hart that is to go on alone, if `locked`.
    chosen: Option<usize>,
    /// Harts that were not mentioned stand still.
    locked: bool,
    /// The hart that the debugger last dealt with.
    current: usize,
    xml: String,
    /// Why the machine ended.
    pub ended: Option<Stop>,
}

fn tid(hart: usize) -> Tid {
    NonZeroUsize::MIN.saturating_add(hart)
}

fn hart(tid: Tid) -> usize {
    tid.get() - 1
}

impl<'a> Debugger<'a> {
    pub fn new(
        machine: &'a mut dyn Debuggee,
        console: &'a mut Console,
        points: Points,
    ) -> Debugger<'a> {
        let xml = xml::describe(|number| machine.csr(0, number).is_some());
        Debugger {
            machine,
            console,
            monitor: Monitor::default(),
            points,
            step: None,
            chosen: None,
            locked: false,
            current: 0,
            xml,
            ended: None,
        }
    }

    /// Does what the debugger asked for, until the machine stops or `look` says so.
    pub fn resumed(
        &mut self,
        mut look: impl FnMut() -> bool,
    ) -> Option<MultiThreadStopReason<u64>> {
        if let Some(hart) = self.step {
            self.current = hart;
            return match self.machine.step(hart) {
                None => Some(signal(hart, Signal::SIGTRAP)),
                Some(stop) => self.stopped(stop),
            };
        }
        if let Some(hart) = self.chosen.filter(|_| self.locked) {
            return self.alone(hart, &mut look);
        }
        let mut console = Interrupted::new(self.console, look);
        let stop = self.machine.go(&mut console, &self.points);
        self.stopped(stop)
    }

    /// One hart goes on while the others stand still, for some instructions.
    fn alone(
        &mut self,
        hart: usize,
        look: &mut impl FnMut() -> bool,
    ) -> Option<MultiThreadStopReason<u64>> {
        self.current = hart;
        while !look() {
            for _ in 0..ALONE {
                if let Some(stop) = self.machine.step(hart) {
                    return self.stopped(stop);
                }
                if self.points.breakpoints.contains(&self.machine.pc(hart)) {
                    return Some(MultiThreadStopReason::SwBreak(tid(hart)));
                }
            }
        }
        None
    }

    /// What the debugger is told. A stop that the console or the socket wants is not its affair,
    /// unless the console wants to end the run; nor is one after which the machine starts again.
    fn stopped(&mut self, stop: Stop) -> Option<MultiThreadStopReason<u64>> {
        let reason = match stop {
            Stop::Console if !self.console.has_wish() => return None,
            Stop::Exit(Exit::LegacyVirtio) => {
                self.ended = Some(stop);
                return None;
            }
            Stop::Point { hart, hit } => {
                self.current = hart;
                return Some(match hit {
                    Hit::Breakpoint => MultiThreadStopReason::SwBreak(tid(hart)),
                    Hit::Watch(watch) => {
                        let (tid, addr) = (tid(hart), watch.va);
                        MultiThreadStopReason::Watch { tid, kind: kind_of(&watch), addr }
                    }
                    Hit::Observer => signal(hart, Signal::SIGTRAP),
                });
            }
            // One may look, and perhaps mend it.
            Stop::Trapped { hart, .. } => {
                self.current = hart;
                return Some(signal(hart, Signal::SIGSEGV));
            }
            Stop::Exit(Exit::Code(code)) => MultiThreadStopReason::Exited(guest_status(code)),
            _ => MultiThreadStopReason::Terminated(Signal::SIGTERM),
        };
        self.ended = Some(stop);
        Some(reason)
    }

    /// The debugger's Ctrl-C.
    pub fn interrupted(&self) -> MultiThreadStopReason<u64> {
        signal(self.current, Signal::SIGINT)
    }
}

fn signal(hart: usize, signal: Signal) -> MultiThreadStopReason<u64> {
    MultiThreadStopReason::SignalWithThread { tid: tid(hart), signal }
}

fn kind_of(watch: &Watch) -> WatchKind {
    match (watch.loads, watch.stores) {
        (true, true) => WatchKind::ReadWrite,
        (true, false) => WatchKind::Read,
        _ => WatchKind::Write,
    }
}

impl Target for Debugger<'_> {
    type Arch = Rv64;
    type Error = &'static str;

    fn base_ops(&mut self) -> BaseOps<'_, Rv64, &'static str> {
        BaseOps::MultiThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }

    fn support_target_description_xml_override(
        &mut self,
    ) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadBase for Debugger<'_> {
    fn read_registers(
        &mut self,
        registers: &mut RiscvCoreRegs<u64>,
        tid: Tid,
    ) -> TargetResult<(), Self> {
        for (number, value) in registers.x.iter_mut().enumerate() {
            *value = self.machine.x(hart(tid), number);
        }
        registers.pc = self.machine.pc(hart(tid));
        Ok(())
    }

    fn write_registers(
        &mut self,
        registers: &RiscvCoreRegs<u64>,
        tid: Tid,
    ) -> TargetResult<(), Self> {
        for (number, value) in registers.x.iter().enumerate().skip(1) {
            self.machine.set_x(hart(tid), number, *value);
        }
        self.machine.set_pc(hart(tid), registers.pc);
        Ok(())
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, Tid, Self>> {
        Some(self)
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8], tid: Tid) -> TargetResult<usize, Self> {
        // As much as there is: up to the first byte that is not mapped.
        let mut done = 0;
        while done < data.len() {
            let at = start.wrapping_add(done as u64);
            let n = (4096 - (at & 4095) as usize).min(data.len() - done);
            if self.machine.read_virtual(hart(tid), at, &mut data[done..done + n]).is_err() {
                break;
            }
            done += n;
        }
        if done == 0 && !data.is_empty() { Err(TargetError::NonFatal) } else { Ok(done) }
    }

    fn write_addrs(&mut self, start: u64, data: &[u8], tid: Tid) -> TargetResult<(), Self> {
        self.machine.write_virtual(hart(tid), start, data).map_err(|_| TargetError::NonFatal)
    }

    fn list_active_threads(&mut self, active: &mut dyn FnMut(Tid)) -> Result<(), &'static str> {
        (0..self.machine.harts()).for_each(|hart| active(tid(hart)));
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl ThreadExtraInfo for Debugger<'_> {
    fn thread_extra_info(&self, tid: Tid, buffer: &mut [u8]) -> Result<usize, &'static str> {
        let hart = hart(tid);
        let waits = if self.machine.waits(hart) { ", waits" } else { "" };
        let text = format!("hart {hart}, mode {}{waits}", self.machine.privilege(hart).letter());
        Ok(copy(text.as_bytes(), buffer))
    }
}

/// Copies what fits; returns how much that is.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let n = from.len().min(to.len());
    to[..n].copy_from_slice(&from[..n]);
    n
}

impl SingleRegisterAccess<Tid> for Debugger<'_> {
    fn read_register(
        &mut self,
        tid: Tid,
        id: RiscvRegId<u64>,
        buffer: &mut [u8],
    ) -> TargetResult<usize, Self> {
        let (machine, hart) = (&self.machine, hart(tid));
        let value = match id {
            RiscvRegId::Gpr(number) => Some(machine.x(hart, number.into())),
            RiscvRegId::Fpr(number) => Some(machine.f(hart, number.into())),
            RiscvRegId::Pc => Some(machine.pc(hart)),
            RiscvRegId::Csr(number) => machine.csr(hart, number),
            RiscvRegId::Priv => Some(machine.privilege(hart) as u64),
            _ => None,
        };
        let value = value.ok_or(TargetError::NonFatal)?;
        Ok(copy(&value.to_le_bytes(), buffer))
    }

    fn write_register(
        &mut self,
        tid: Tid,
        id: RiscvRegId<u64>,
        bytes: &[u8],
    ) -> TargetResult<(), Self> {
        let mut word = [0; 8];
        copy(bytes, &mut word);
        let (value, hart) = (u64::from_le_bytes(word), hart(tid));
        match id {
            RiscvRegId::Gpr(0) => {}
            RiscvRegId::Gpr(number) => self.machine.set_x(hart, number.into(), value),
            RiscvRegId::Fpr(number) => self.machine.set_f(hart, number.into(), value),
            RiscvRegId::Pc => self.machine.set_pc(hart, value),
            RiscvRegId::Csr(number) if self.machine.set_csr(hart, number, value) => {}
            _ => return Err(TargetError::NonFatal),
        }
        Ok(())
    }
}

impl MultiThreadResume for Debugger<'_> {
    fn resume(&mut self) -> Result<(), &'static str> {
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), &'static str> {
        (self.step, self.chosen, self.locked) = (None, None, false);
        Ok(())
    }

    fn set_resume_action_continue(
        &mut self,
        tid: Tid,
        _: Option<Signal>,
    ) -> Result<(), &'static str> {
        self.chosen = Some(hart(tid));
        Ok(())
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSchedulerLocking for Debugger<'_> {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), &'static str> {
        self.locked = true;
        Ok(())
    }
}

impl MultiThreadSingleStep for Debugger<'_> {
    fn set_resume_action_step(&mut self, tid: Tid, _: Option<Signal>) -> Result<(), &'static str> {
        self.step = Some(hart(tid));
        Ok(())
    }
}

impl Breakpoints for Debugger<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Debugger<'_> {
    fn add_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.points.breakpoints.insert(address);
        Ok(true)
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.points.breakpoints.remove(&address))
    }
}

impl HwBreakpoint for Debugger<'_> {
    fn add_hw_breakpoint(&mut self, address: u64, kind: usize) -> TargetResult<bool, Self> {
        self.add_sw_breakpoint(address, kind)
    }

    fn remove_hw_breakpoint(&mut self, address: u64, kind: usize) -> TargetResult<bool, Self> {
        self.remove_sw_breakpoint(address, kind)
    }
}

fn watch(va: u64, len: u64, kind: WatchKind) -> Watch {
    Watch { va, len, loads: kind != WatchKind::Write, stores: kind != WatchKind::Read }
}

impl HwWatchpoint for Debugger<'_> {
    fn add_hw_watchpoint(
        &mut self,
        va: u64,
        len: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        self.points.watches.push(watch(va, len, kind));
        Ok(true)
    }

    fn remove_hw_watchpoint(
        &mut self,
        va: u64,
        len: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        let gone = watch(va, len, kind);
        let at = self.points.watches.iter().position(|watch| *watch == gone);
        Ok(at.map(|at| self.points.watches.remove(at)).is_some())
    }
}

impl MonitorCmd for Debugger<'_> {
    fn handle_monitor_cmd(
        &mut self,
        command: &[u8],
        mut out: ConsoleOutput<'_>,
    ) -> Result<(), &'static str> {
        let line = String::from_utf8_lossy(command);
        // Stopping and going on are gdb's to say.
        let (text, _) = self.monitor.execute(&line, &*self.machine);
        outputln!(out, "{}", text.trim_end());
        Ok(())
    }
}

impl TargetDescriptionXmlOverride for Debugger<'_> {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buffer: &mut [u8],
    ) -> TargetResult<usize, Self> {
        if annex != b"target.xml" {
            return Err(TargetError::NonFatal);
        }
        let rest = self.xml.as_bytes().get(offset as usize..).unwrap_or_default();
        Ok(copy(&rest[..rest.len().min(length)], buffer))
    }
}
