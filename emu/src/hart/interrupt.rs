//! Interrupts: which one a hart takes, and when.
//!
//! Source: privileged manual, "Machine Interrupt Registers (mip and mie)".

use isa::Priv;
use isa::csr::{envcfg, mip, mstatus};
use isa::trap::{Cause, Interrupt};

use super::state::Hart;
use crate::bus::Bus;
use crate::events::Events;
use crate::exec::Cpu;

impl Hart {
    /// `mip` as of the last look at devices and timers.
    #[inline]
    pub fn mip(&self) -> u64 {
        let own = if self.has_stimecmp() { self.csr.mip & !mip::STIP } else { self.csr.mip };
        own | self.lines
    }

    /// Whether `stimecmp` drives STIP.
    #[inline]
    pub fn has_stimecmp(&self) -> bool {
        self.csr.menvcfg & envcfg::STCE != 0
    }

    /// Looks at devices and timers, at the machine's time `now`.
    pub(crate) fn look_at_lines(&mut self, bus: &Bus, now: u64) {
        self.lines = bus.mip(self.id, now);
        if self.has_stimecmp() && bus.time(now) >= self.csr.stimecmp {
            self.lines |= mip::STIP;
        }
    }

    /// The machine's time at which a timer line of this hart rises next, if one does.
    pub(crate) fn next_timer(&self, bus: &Bus, now: u64) -> Option<u64> {
        let machine = bus.mtimecmp(self.id, now);
        let time = bus.time(now);
        let supervisor = if self.has_stimecmp() && self.csr.stimecmp > time {
            now.saturating_add(self.csr.stimecmp - time)
        } else {
            u64::MAX
        };
        let rising = |at: u64| (at > now && at != u64::MAX).then_some(at);
        rising(machine).into_iter().chain(rising(supervisor)).min()
    }

    /// Whether WFI ends: an interrupt is pending and enabled by itself, whatever `mstatus` says.
    #[inline]
    pub fn wakes(&self) -> bool {
        self.mip() & self.csr.mie != 0
    }

    /// The pending interrupts that are not masked in the present mode; of those for M-mode and
    /// those for S-mode, the former if there are any.
    #[inline]
    fn takeable(&self) -> u64 {
        self.takeable_of(self.mip() & self.csr.mie)
    }

    #[inline]
    fn takeable_of(&self, pending: u64) -> u64 {
        if pending == 0 {
            return 0;
        }
        let enabled = |bit| self.ctx.mstatus & bit != 0;
        let machine = self.privilege < Priv::Machine || enabled(mstatus::MIE);
        let supervisor = self.privilege < Priv::Supervisor
            || self.privilege == Priv::Supervisor && enabled(mstatus::SIE);
        let for_machine = if machine { pending & !self.csr.mideleg } else { 0 };
        let for_supervisor = if supervisor { pending & self.csr.mideleg } else { 0 };
        if for_machine != 0 { for_machine } else { for_supervisor }
    }

    /// Whether an interrupt that may come makes a difference in the present mode.
    pub(crate) fn can_be_interrupted(&self) -> bool {
        let enabled = self.csr.mie;
        if self.waiting { enabled != 0 } else { self.takeable_of(enabled) != 0 }
    }

    /// Whether an interrupt is to be taken before the next instruction.
    #[inline]
    pub(crate) fn interrupt_ready(&self) -> bool {
        self.takeable() != 0
    }
}

impl<E: Events> Cpu<'_, E> {
    /// Takes the most urgent interrupt, if there is one; the hart is between instructions.
    pub(crate) fn take_interrupt(&mut self) {
        let takeable = self.hart.takeable();
        let urgent = Interrupt::BY_PRIORITY.into_iter().find(|i| takeable & i.bit() != 0);
        if let Some(interrupt) = urgent {
            self.enter_handler(Cause::Interrupt(interrupt), 0, self.hart.ctx.pc);
        }
    }
}
