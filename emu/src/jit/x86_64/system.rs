//! Machine code for accesses to the CSRs that kernels touch all the time.
//!
//! Everything about `sstatus` but the interrupt-enable and previous-mode bits, and enabling
//! interrupts while one is pending, is the interpreter's; so is what U-mode attempts.

use std::mem::offset_of;

use isa::csr::mstatus::{FS_DIRTY, MPRV, SD, SIE, SPIE, SPP, SSTATUS, TSR, TVM, WRITABLE};
use isa::{Inst, Op, Priv, csr};

use super::asm::{Alu, Bit, Cond, Label, Place, Reg, Shift, Width::*};
use super::stubs::{BIAS, CTX, SPACE, context, dispatch};
use super::translate::Emit;
use crate::hart::Hart;
use crate::hart::state::{Csrs, SINK};
use crate::mmu::{Key, Space};

/// The bits of `sstatus` that matter only to traps.
const QUIET: u64 = SIE | SPIE | SPP;

/// A field of [`Hart`] as an operand.
fn hart(offset: usize) -> Place {
    Place::At(CTX, offset as i32 - offset_of!(Hart, ctx) as i32 - BIAS)
}

/// A field of [`Csrs`] as an operand.
macro_rules! csrs {
    ($field:ident) => {
        hart(offset_of!(Hart, csr) + offset_of!(Csrs, $field))
    };
}

/// What an instruction does to a register.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    Replace,
    Set,
    Clear,
}

impl Change {
    fn of(i: &Inst) -> Change {
        match i.op {
            Op::Csrrw | Op::Csrrwi => Change::Replace,
            _ if i.rs1 == 0 => Change::Nothing,
            Op::Csrrs | Op::Csrrsi => Change::Set,
            _ => Change::Clear,
        }
    }
}

impl Emit<'_> {
    /// Emits an access to a CSR; returns whether it is one that is emitted here.
    pub(super) fn csr_access(&mut self, i: &Inst) -> bool {
        let csr = [Op::Csrrw, Op::Csrrs, Op::Csrrc, Op::Csrrwi, Op::Csrrsi, Op::Csrrci];
        if !csr.contains(&i.op) {
            return false;
        }
        let plain = match i.csr() {
            csr::SSTATUS => None,
            csr::SSCRATCH => Some(csrs!(sscratch)),
            csr::SCAUSE => Some(csrs!(scause)),
            csr::STVAL => Some(csrs!(stval)),
            csr::SEPC => Some(csrs!(sepc)),
            csr::STVEC => Some(csrs!(stvec)),
            _ => return false,
        };
        let replaces = i.op == Op::Csrrw;
        if plain.is_some() && !replaces && Change::of(i) != Change::Nothing {
            return false;
        }
        let mut slow = self.privileged();
        match plain {
            Some(register) => self.plain(i, register, &mut slow),
            None => self.status(i, &mut slow),
        }
        self.otherwise_rare(slow);
        true
    }

    /// Emits a fence of translations, which has nothing to do; returns whether it is one, and
    /// nobody wants to be told.
    pub(super) fn fence(&mut self, i: &Inst) -> bool {
        if !matches!(i.op, Op::SfenceVma | Op::SinvalVma) || self.fences_are_told {
            return false;
        }
        let mut slow = self.privileged();
        // S-mode may not manage its memory under TVM.
        self.asm.test_imm(W32, context!(mstatus), TVM as i32);
        slow.push(self.asm.jump_if_later(Cond::Ne));
        self.otherwise_rare(slow);
        true
    }

    /// Emits `pause`, which is nothing if no other hart waits for its turn.
    pub(super) fn pause(&mut self) {
        self.asm.movzx8(Reg::Rax, hart(offset_of!(Hart, alone)));
        self.asm.test(W32, Reg::Rax, Reg::Rax);
        let yields = self.asm.jump_if_later(Cond::E);
        self.go_behind();
        self.otherwise_rare(vec![yields]);
    }

    /// Emits `sret` as it is most of the time: from S-mode, to code that sees memory as that did
    /// which was left by the last trap, with no interrupt waiting.
    pub(super) fn return_from_supervisor(&mut self) {
        let key =
            |space: Reg, field: usize| Place::At(space, (offset_of!(Space, key) + field) as i32);
        let mut slow = Vec::new();
        self.asm.movzx8(Reg::Rax, hart(offset_of!(Hart, privilege)));
        self.asm.alu_imm(W32, Alu::Cmp, Reg::Rax, Priv::Supervisor as i32);
        slow.push(self.asm.jump_if_later(Cond::Ne));
        self.asm.mov(W64, Reg::Rdx, csrs!(mip));
        self.asm.alu(W64, Alu::Or, Reg::Rdx, hart(offset_of!(Hart, lines)));
        self.asm.test(W64, csrs!(mie), Reg::Rdx);
        slow.push(self.asm.jump_if_later(Cond::Ne));
        self.asm.mov(W64, Reg::Rax, context!(mstatus));
        self.asm.test_imm(W32, Reg::Rax, (TSR | MPRV) as i32);
        slow.push(self.asm.jump_if_later(Cond::Ne));
        self.asm.test_imm(W32, Reg::Rax, SPP as i32);
        let stays = self.asm.jump_if_later(Cond::Ne);
        self.asm.mov(W64, Reg::Rdx, context!(twin));
        self.asm.mov(W64, Reg::Rax, key(SPACE, offset_of!(Key, satp)));
        self.asm.alu(W64, Alu::Cmp, Reg::Rax, key(Reg::Rdx, offset_of!(Key, satp)));
        slow.push(self.asm.jump_if_later(Cond::Ne));
        self.asm.mov(W32, Reg::Rax, key(SPACE, offset_of!(Key, modes)));
        self.asm.alu_imm(W32, Alu::And, Reg::Rax, Key::MXR as i32);
        self.asm.alu(W64, Alu::Cmp, Reg::Rax, key(Reg::Rdx, offset_of!(Key, modes)));
        slow.push(self.asm.jump_if_later(Cond::Ne));
        self.asm.store(W64, context!(twin), SPACE);
        self.asm.store(W64, context!(space), Reg::Rdx);
        self.asm.mov(W64, SPACE, Reg::Rdx);
        self.asm.store_imm8(hart(offset_of!(Hart, privilege)), Priv::User as i8);
        self.asm.mov(W64, Reg::Rax, context!(mstatus));
        self.asm.bind(stays);
        const { assert!(SPIE >> 4 == SIE) };
        self.asm.mov(W64, Reg::Rdx, Reg::Rax);
        self.asm.shift_imm(W32, Shift::Shr, Reg::Rdx, 4);
        self.asm.alu_imm(W32, Alu::And, Reg::Rdx, SIE as i32);
        self.asm.alu_imm(W64, Alu::And, Reg::Rax, !(SIE | SPP) as i32);
        self.asm.alu(W64, Alu::Or, Reg::Rax, Reg::Rdx);
        self.asm.alu_imm(W64, Alu::Or, Reg::Rax, SPIE as i32);
        self.asm.store(W64, context!(mstatus), Reg::Rax);
        self.asm.mov(W64, Reg::Rax, csrs!(sepc));
        dispatch(&mut self.asm, self.stubs.leave);
        self.otherwise_rare(slow);
    }

    /// Returns a jump that is taken in U-mode, the first time in a block.
    fn privileged(&mut self) -> Vec<Label> {
        if std::mem::replace(&mut self.privileged, true) {
            return Vec::new();
        }
        self.asm.movzx8(Reg::Rax, hart(offset_of!(Hart, privilege)));
        self.asm.alu_imm(W32, Alu::Cmp, Reg::Rax, Priv::Supervisor as i32);
        vec![self.asm.jump_if_later(Cond::B)]
    }

    /// A read or `csrrw` of a register that holds what is written, but for its lowest bits.
    fn plain(&mut self, i: &Inst, register: Place, slow: &mut Vec<Label>) {
        if i.op != Op::Csrrw {
            let to = self.target(i.rd);
            self.asm.mov(W64, to, register);
            return self.put_x(i.rd, to);
        }
        self.load_x(W64, Reg::Rdx, i.rs1);
        if matches!(i.csr(), csr::SEPC | csr::STVEC) {
            self.asm.test_imm(W32, Reg::Rdx, 3);
            slow.push(self.asm.jump_if_later(Cond::Ne));
        }
        if i.rd != SINK {
            self.asm.mov(W64, Reg::Rax, register);
            self.put_x(i.rd, Reg::Rax);
        }
        self.asm.store(W64, register, Reg::Rdx);
    }

    fn status(&mut self, i: &Inst, slow: &mut Vec<Label>) {
        let change = Change::of(i);
        if change != Change::Nothing {
            self.status_change(i, change, slow);
        }
        self.asm.mov(W64, Reg::Rdx, context!(mstatus));
        if change != Change::Nothing {
            self.asm.alu_store(W64, Alu::Xor, context!(mstatus), Reg::Rax);
        }
        if i.rd == SINK {
            return;
        }
        self.asm.mov_imm(Reg::Rax, SSTATUS & !SD);
        self.asm.alu(W64, Alu::And, Reg::Rax, Reg::Rdx);
        self.asm.not(Reg::Rdx);
        self.asm.test_imm(W32, Reg::Rdx, FS_DIRTY as i32);
        let clean = self.asm.jump_if_later(Cond::Ne);
        self.asm.bit_imm(Bit::Set, Reg::Rax, 63);
        self.asm.bind(clean);
        self.put_x(i.rd, Reg::Rax);
    }

    /// rax = the bits that change; only quiet ones do.
    fn status_change(&mut self, i: &Inst, change: Change, slow: &mut Vec<Label>) {
        let immediate = matches!(i.op, Op::Csrrwi | Op::Csrrsi | Op::Csrrci);
        if immediate {
            self.asm.mov_imm(Reg::Rax, i.rs1.into());
        } else {
            self.load_x(W64, Reg::Rax, i.rs1);
        }
        self.asm.mov(W64, Reg::Rdx, context!(mstatus));
        match change {
            Change::Set => self.asm.not(Reg::Rdx),
            Change::Clear | Change::Nothing => {}
            Change::Replace => self.asm.alu(W64, Alu::Xor, Reg::Rax, Reg::Rdx),
        }
        if change != Change::Replace {
            self.asm.alu(W64, Alu::And, Reg::Rax, Reg::Rdx);
        }
        // The fields of `sstatus` that can be written are among the low 32 bits.
        self.asm.test_imm(W32, Reg::Rax, (SSTATUS & WRITABLE & !QUIET) as i32);
        slow.push(self.asm.jump_if_later(Cond::Ne));
        self.asm.alu_imm(W32, Alu::And, Reg::Rax, QUIET as i32);
        if change == Change::Clear {
            return;
        }
        // With an interrupt waiting, it might have to be taken now.
        self.asm.mov(W64, Reg::Rdx, csrs!(mip));
        self.asm.alu(W64, Alu::Or, Reg::Rdx, hart(offset_of!(Hart, lines)));
        self.asm.test(W64, csrs!(mie), Reg::Rdx);
        slow.push(self.asm.jump_if_later(Cond::Ne));
    }
}

const _: () = assert!(SSTATUS & WRITABLE <= u32::MAX as u64 >> 1);
