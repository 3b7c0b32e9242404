//! Traps: taking them and returning from them.
//!
//! Source: privileged manual, "Machine Trap Delegation Registers", `mstatus`, `mtvec`, `mret`.

use isa::csr::{mstatus, tvec};
use isa::trap::{Cause, Exception};
use isa::{Inst, Priv};

use super::state::{Hart, Wants};
use crate::events::{Events, View};
use crate::exec::Cpu;

/// Why an instruction does not retire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// An exception that is not about memory, and the value for `mtval` or `stval`.
    Exception(Exception, u64),
    /// A refused access: [`Hart::refused`].
    Memory,
    /// The instruction is illegal; its bits are found when the trap is taken.
    Illegal,
}

/// An access was refused, for the reason that is in [`Hart::refused`]: so results stay small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl From<Refused> for Trap {
    fn from(_: Refused) -> Trap {
        Trap::Memory
    }
}

impl Hart {
    /// Enters the trap handler; `pc` is where the hart was.
    fn enter_trap(&mut self, cause: Cause, tval: u64, pc: u64) {
        let (delegated, code) = match cause {
            Cause::Exception(exception) => (self.csr.medeleg, exception.code()),
            Cause::Interrupt(interrupt) => (self.csr.mideleg, interrupt.code()),
        };
        let to_supervisor = self.privilege != Priv::Machine && delegated >> code & 1 != 0;
        let from = self.privilege as u64;
        let status = &mut self.ctx.mstatus;
        let vector;
        if to_supervisor {
            let enabled = *status & mstatus::SIE != 0;
            *status &= !(mstatus::SIE | mstatus::SPIE | mstatus::SPP);
            *status |= if enabled { mstatus::SPIE } else { 0 } | from << mstatus::SPP_SHIFT;
            (self.csr.sepc, self.csr.scause, self.csr.stval) = (pc, cause.bits(), tval);
            vector = self.csr.stvec;
            self.privilege = Priv::Supervisor;
        } else {
            let enabled = *status & mstatus::MIE != 0;
            *status &= !(mstatus::MIE | mstatus::MPIE | mstatus::MPP);
            *status |= if enabled { mstatus::MPIE } else { 0 } | from << mstatus::MPP_SHIFT;
            (self.csr.mepc, self.csr.mcause, self.csr.mtval) = (pc, cause.bits(), tval);
            vector = self.csr.mtvec;
            self.privilege = Priv::Machine;
        }
        let vectored = vector & tvec::MODE == tvec::VECTORED;
        let offset = match cause {
            Cause::Interrupt(interrupt) if vectored => 4 * interrupt.code(),
            _ => 0,
        };
        self.ctx.pc = (vector & !tvec::MODE).wrapping_add(offset);
        self.see_memory();
    }

    /// `mret`.
    fn return_from_machine(&mut self) {
        let status = &mut self.ctx.mstatus;
        let to = (*status & mstatus::MPP) >> mstatus::MPP_SHIFT;
        self.privilege = Priv::from_bits(to).unwrap_or(Priv::User);
        let enabled = *status & mstatus::MPIE != 0;
        *status &= !(mstatus::MIE | mstatus::MPP);
        *status |= if enabled { mstatus::MIE } else { 0 } | mstatus::MPIE;
        if self.privilege != Priv::Machine {
            *status &= !mstatus::MPRV;
        }
        self.ctx.pc = self.csr.mepc;
    }

    /// `sret`.
    fn return_from_supervisor(&mut self) {
        let status = &mut self.ctx.mstatus;
        let user = *status & mstatus::SPP == 0;
        self.privilege = if user { Priv::User } else { Priv::Supervisor };
        let enabled = *status & mstatus::SPIE != 0;
        *status &= !(mstatus::SIE | mstatus::SPP | mstatus::MPRV);
        *status |= if enabled { mstatus::SIE } else { 0 } | mstatus::SPIE;
        self.ctx.pc = self.csr.sepc;
    }
}

impl<E: Events> Cpu<'_, E> {
    /// Takes a trap of the instruction at `pc`; the hart continues in the handler.
    pub(crate) fn take(&mut self, trap: Trap, pc: u64) {
        // A trap uses up the turn without being an instruction: one that leads to itself ends it.
        self.hart.ctx.budget -= 1;
        self.hart.count_end = self.hart.count_end.wrapping_sub(1);
        let (exception, tval) = match trap {
            Trap::Exception(exception, tval) => (exception, tval),
            Trap::Illegal => (Exception::IllegalInst, self.bits_at(pc)),
            Trap::Memory => {
                let fault = self.hart.refused;
                let exception = fault.exception();
                if fault.reason.is_page_fault() {
                    self.events.page_faulted(&View { hart: self.hart, sys: self.sys }, pc, &fault);
                } else {
                    self.events.access_faulted(
                        &View { hart: self.hart, sys: self.sys },
                        pc,
                        &fault,
                    );
                }
                (exception, fault.va)
            }
        };
        self.enter_handler(Cause::Exception(exception), tval, pc);
    }

    /// The hart, which was at `pc`, goes to the handler.
    pub(crate) fn enter_handler(&mut self, cause: Cause, tval: u64, pc: u64) {
        let from = self.hart.privilege;
        self.hart.enter_trap(cause, tval, pc);
        if self.sys.stepping {
            self.hart.ctx.wants.0 |= Wants::STOP;
        }
        self.events.trap_taken(&View { hart: self.hart, sys: self.sys }, cause, tval, pc, from);
        self.heed();
    }

    /// `mret` and `sret`.
    pub(crate) fn return_from_trap(&mut self, inst: &Inst, pc: u64) -> Result<(), Trap> {
        let status = self.hart.ctx.mstatus;
        match (inst.op, self.hart.privilege) {
            (isa::Op::Mret, Priv::Machine) => self.hart.return_from_machine(),
            (isa::Op::Sret, Priv::Machine) => self.hart.return_from_supervisor(),
            (isa::Op::Sret, Priv::Supervisor) if status & mstatus::TSR == 0 => {
                self.hart.return_from_supervisor();
            }
            _ => return Err(Trap::Illegal),
        }
        self.hart.see_memory();
        self.hart.ctx.wants.0 |= Wants::CHECK * u32::from(self.hart.interrupt_ready());
        self.events.trap_returned(&View { hart: self.hart, sys: self.sys }, pc);
        self.heed();
        Ok(())
    }
}
