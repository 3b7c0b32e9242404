//! Instructions of the privileged architecture and fences (privileged manual, "SYSTEM
//! Instructions" and "Supervisor Memory-Management Fence Instruction").

use isa::csr::mstatus;
use isa::trap::Exception;
use isa::{Inst, Op, Priv};

use super::code::{HINT, PAUSE};
use super::{Cpu, Next};
use crate::events::{Events, View};
use crate::hart::{Trap, Wants};

impl<E: Events> Cpu<'_, E> {
    /// What a fence may stand for: a hint to us, `pause`, or nothing.
    pub(super) fn fence(&mut self, inst: &Inst, pc: impl Fn() -> u64) -> Next {
        match inst.rd {
            HINT => {
                self.events.hinted(&View { hart: self.hart, sys: self.sys }, pc(), inst.imm);
                self.heed();
            }
            PAUSE => {
                self.hart.ctx.wants.0 |= if self.hart.alone { 0 } else { Wants::YIELD };
                return Next::Leave;
            }
            _ => {}
        }
        Next::Inst
    }

    pub(super) fn system_instruction(
        &mut self,
        inst: &Inst,
        pc: impl Fn() -> u64,
    ) -> Result<Next, Trap> {
        let privilege = self.hart.privilege;
        match inst.op {
            Op::Csrrw | Op::Csrrs | Op::Csrrc | Op::Csrrwi | Op::Csrrsi | Op::Csrrci => {
                let goes_on = self.csr_instruction(inst)?;
                return Ok(if goes_on { Next::Inst } else { Next::Leave });
            }
            Op::Ecall => {
                let exception = match privilege {
                    Priv::User => Exception::EcallU,
                    Priv::Supervisor => Exception::EcallS,
                    Priv::Machine => Exception::EcallM,
                };
                return Err(Trap::Exception(exception, 0));
            }
            Op::Ebreak => return Err(Trap::Exception(Exception::Breakpoint, pc())),
            Op::Mret | Op::Sret => {
                self.return_from_trap(inst, pc())?;
                return Ok(Next::Jump);
            }
            Op::Wfi => self.wait_for_interrupt()?,
            Op::SfenceVma | Op::SinvalVma => self.fence_translations(inst)?,
            Op::SfenceWInval | Op::SfenceInvalIr if privilege != Priv::User => {}
            // Stores drop stale code at once.
            Op::FenceI => {}
            _ => return Err(Trap::Illegal),
        }
        Ok(Next::Leave)
    }

    fn wait_for_interrupt(&mut self) -> Result<(), Trap> {
        let trapped = self.hart.ctx.mstatus & mstatus::TW != 0;
        match self.hart.privilege {
            Priv::Machine => {}
            Priv::Supervisor if !trapped => {}
            _ => return Err(Trap::Illegal),
        }
        self.hart.ctx.wants.0 |= Wants::WAIT;
        Ok(())
    }

    /// `sfence.vma` and `sinval.vma`: nothing that is remembered is ever older than the tables.
    /// Observers of walks are shown them anew.
    fn fence_translations(&mut self, inst: &Inst) -> Result<(), Trap> {
        let trapped = self.hart.ctx.mstatus & mstatus::TVM != 0;
        match self.hart.privilege {
            Priv::Machine => {}
            Priv::Supervisor if !trapped => {}
            _ => return Err(Trap::Illegal),
        }
        if E::WALKS {
            self.hart.flush_translations();
        }
        let operand = |number: usize| (number != 0).then(|| self.hart.x(number));
        let (va, asid) = (operand(inst.rs1()), operand(inst.rs2()));
        self.events.translations_fenced(
            &View { hart: self.hart, sys: self.sys },
            va,
            asid.map(|asid| asid as u16),
        );
        self.heed();
        Ok(())
    }
}
