//! Machine code for loads, stores and the frequent atomic operations.
//!
//! The fast path compares one tag of the fast TLB, with the bits that alignment wants to be zero;
//! everything else is the interpreter's. Neighbouring accesses with the same base register, as in
//! the prologues of functions, share one comparison.

use std::mem::offset_of;

use isa::{Inst, Op};

use super::asm::{Alu, Asm, Cond, Label, Place, Reg, Shift, Width::*};
use super::stubs::{SPACE, context, host, saved_x, width};
use super::translate::{Emit, Source};
use crate::hart::state::SINK;
use crate::mem::PAGE_SIZE;
use crate::mmu::Space;
use crate::mmu::tlb::{ENTRIES, Entry};

/// Most bytes from the first to the last of accesses that share a comparison.
const SPAN: i32 = 256;

/// Kind and size of an access.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// It stores.
    pub(super) store: bool,
    /// Bytes.
    pub(super) size: u64,
}

impl Kind {
    /// That of an integer load or store.
    pub(super) fn of(op: Op) -> Option<Kind> {
        let (store, size) = match op {
            Op::Lb | Op::Lbu => (false, 1),
            Op::Lh | Op::Lhu => (false, 2),
            Op::Lw | Op::Lwu => (false, 4),
            Op::Ld => (false, 8),
            Op::Sb => (true, 1),
            Op::Sh => (true, 2),
            Op::Sw => (true, 4),
            Op::Sd => (true, 8),
            _ => return None,
        };
        Some(Kind { store, size })
    }
}

/// Memory that many bytes from where rdx points.
fn pointed(displacement: i32) -> Place {
    Place::At(Reg::Rdx, displacement)
}

/// Makes the virtual address in rdx a host address. Returns the jumps that are taken if the
/// fast TLB does not allow the access, or the one `further` bytes on, which must be in the
/// same page. Clobbers rax.
pub(super) fn find_page(asm: &mut Asm, store: bool, size: u64, further: i32) -> Vec<Label> {
    const SHIFT: u8 = size_of::<Entry>().trailing_zeros() as u8;
    const { assert!(size_of::<Entry>() == 1 << SHIFT) };
    let array = if store { offset_of!(Space, write) } else { offset_of!(Space, read) };
    let field = |offset: usize| Place::Indexed(SPACE, Reg::Rax, 0, (array + offset) as i32);
    // As `mmu::tlb::index`, times the size of an entry.
    asm.mov(W32, Reg::Rax, Reg::Rdx);
    asm.shift_imm(W32, Shift::Shr, Reg::Rax, 10);
    asm.alu(W32, Alu::Xor, Reg::Rax, Reg::Rdx);
    asm.shift_imm(W32, Shift::Shr, Reg::Rax, 12 - SHIFT);
    asm.alu_imm(W32, Alu::And, Reg::Rax, ((ENTRIES - 1) << SHIFT) as i32);
    // What remains of a matching address is its offset in the page.
    asm.alu(W64, Alu::Xor, Reg::Rdx, field(offset_of!(Entry, tag)));
    let mut slow = Vec::new();
    asm.test_imm(W64, Reg::Rdx, -(PAGE_SIZE as i32) | (size as i32 - 1));
    slow.push(asm.jump_if_later(Cond::Ne));
    if further > 0 {
        asm.alu_imm(W32, Alu::Cmp, Reg::Rdx, PAGE_SIZE as i32 - further);
        slow.push(asm.jump_if_later(Cond::Ae));
    }
    asm.alu(W64, Alu::Add, Reg::Rdx, field(offset_of!(Entry, host)));
    slow
}

impl Emit<'_> {
    /// Emits an access to memory; returns whether it is one that is emitted here.
    pub(super) fn access(&mut self, i: &Inst) -> bool {
        if let Some(kind) = Kind::of(i.op) {
            self.address(i.rs1, i.imm);
            let slow = self.find_page(kind.store, kind.size, 0);
            self.transfer(i, 0);
            self.otherwise_rare(slow);
            return true;
        }
        match i.op {
            Op::Flw | Op::Fld | Op::Fsw | Op::Fsd => self.float_access(i),
            Op::AmoswapW | Op::AmoswapD => self.swap(i),
            Op::AmoaddW | Op::AmoaddD => self.fetch_add(i),
            Op::AmoandW | Op::AmoandD => return self.fetch_alu(i, Alu::And),
            Op::AmoorW | Op::AmoorD => return self.fetch_alu(i, Alu::Or),
            Op::AmoxorW | Op::AmoxorD => return self.fetch_alu(i, Alu::Xor),
            _ => return false,
        }
        true
    }

    /// Emits the first instructions of `insts` together if they are accesses that can share a
    /// comparison; returns how many, or zero.
    pub(super) fn group(&mut self, insts: &[Inst]) -> usize {
        let Some(kind) = Kind::of(insts[0].op).filter(|kind| kind.size >= 4) else { return 0 };
        let (mut low, mut high) = (insts[0].imm, insts[0].imm);
        let mut count = 0;
        for inst in insts {
            let base = inst.rs1 == insts[0].rs1 && inst.rs1 != 0;
            let (least, greatest) = (low.min(inst.imm), high.max(inst.imm));
            // What is no access may have any number there.
            let near = greatest.wrapping_sub(least) <= SPAN - kind.size as i32;
            let aligned = inst.imm.wrapping_sub(insts[0].imm) % kind.size as i32 == 0;
            if Kind::of(inst.op) != Some(kind) || !base || !near || !aligned {
                break;
            }
            (low, high) = (least, greatest);
            count += 1;
            if !kind.store && inst.rd == inst.rs1 {
                break;
            }
        }
        if count < 2 {
            return 0;
        }
        self.address(insts[0].rs1, low);
        let slow = self.find_page(kind.store, kind.size, high - low);
        for inst in &insts[..count] {
            self.transfer(inst, inst.imm - low);
        }
        self.otherwise_rare_many(slow, count);
        count
    }

    /// Emits a store to a page that also holds code, if `i` is a store; what follows is for when
    /// it is not that, and the jump returned for when it was.
    pub(super) fn store_beside_code(&mut self, i: &Inst, stub: u64) -> Option<Label> {
        let kind = Kind::of(i.op).filter(|kind| kind.store)?;
        self.address(i.rs1, i.imm);
        let misaligned = (kind.size > 1).then(|| {
            self.asm.test_imm(W32, Reg::Rdx, kind.size as i32 - 1);
            self.asm.jump_if_later(Cond::Ne)
        });
        self.asm.call(stub);
        let other = self.asm.jump_if_later(Cond::Ne);
        self.transfer(i, 0);
        let done = self.asm.jump_later();
        misaligned.into_iter().for_each(|label| self.asm.bind(label));
        self.asm.bind(other);
        Some(done)
    }

    /// Emits an access that is misaligned but in one page, if `i` can be; what follows is for when
    /// it is not that, and the jump returned for when it was.
    pub(super) fn misaligned(&mut self, i: &Inst, stubs: &[[u64; 4]; 2]) -> Option<Label> {
        let kind = Kind::of(i.op).filter(|kind| kind.size > 1)?;
        self.address(i.rs1, i.imm);
        let size = kind.size.trailing_zeros() as usize;
        self.asm.call(stubs[usize::from(kind.store)][size]);
        let other = self.asm.jump_if_later(Cond::Ne);
        self.transfer(i, 0);
        let done = self.asm.jump_later();
        self.asm.bind(other);
        Some(done)
    }

    /// rdx = guest register + displacement.
    pub(super) fn address(&mut self, base: u8, displacement: i32) {
        match (self.source(base), host(base)) {
            (Source::Zero, _) => self.asm.mov_imm(Reg::Rdx, displacement as i64 as u64),
            (_, Some(base)) if displacement != 0 => {
                self.asm.lea(W64, Reg::Rdx, Place::At(base, displacement));
            }
            _ => {
                self.load_x(W64, Reg::Rdx, base);
                if displacement != 0 {
                    self.asm.alu_imm(W64, Alu::Add, Reg::Rdx, displacement);
                }
            }
        }
    }

    /// As [`find_page`].
    pub(super) fn find_page(&mut self, store: bool, size: u64, further: i32) -> Vec<Label> {
        find_page(&mut self.asm, store, size, further)
    }

    /// The access itself, `displacement` bytes from the host address in rdx.
    fn transfer(&mut self, i: &Inst, displacement: i32) {
        let place = pointed(displacement);
        let to = self.target(i.rd);
        match i.op {
            Op::Lb => self.asm.movsx8(to, place),
            Op::Lbu => self.asm.movzx8(to, place),
            Op::Lh => self.asm.movsx16(to, place),
            Op::Lhu => self.asm.movzx16(to, place),
            Op::Lw => self.asm.movsxd(to, place),
            Op::Lwu => self.asm.mov(W32, to, place),
            Op::Ld => self.asm.mov(W64, to, place),
            _ => return self.write(i, place),
        }
        self.put_x(i.rd, to);
    }

    fn write(&mut self, i: &Inst, place: Place) {
        if i.rs2 == 0 {
            return match i.op {
                Op::Sb => self.asm.store_imm8(place, 0),
                Op::Sh => self.asm.store_imm16(place, 0),
                Op::Sw => self.asm.store_imm(W32, place, 0),
                _ => self.asm.store_imm(W64, place, 0),
            };
        }
        let value = self.x_in_reg(i.rs2, Reg::Rax);
        match i.op {
            Op::Sb => self.asm.store8(place, value),
            Op::Sh => self.asm.store16(place, value),
            Op::Sw => self.asm.store(W32, place, value),
            _ => self.asm.store(W64, place, value),
        }
    }

    /// `flw`, `fld`, `fsw`, `fsd`.
    fn float_access(&mut self, i: &Inst) {
        let store = matches!(i.op, Op::Fsw | Op::Fsd);
        let size = if matches!(i.op, Op::Flw | Op::Fsw) { 4 } else { 8 };
        let mut slow = self.float_is_on();
        self.address(i.rs1, i.imm);
        slow.extend(self.find_page(store, size, 0));
        if store {
            self.asm.mov(width(size), Reg::Rax, self.f(i.rs2));
            self.asm.store(width(size), pointed(0), Reg::Rax);
        } else {
            self.asm.mov(width(size), Reg::Rax, pointed(0));
            self.put_f(width(size), i.rd, Reg::Rax);
        }
        self.otherwise_rare(slow);
        if !store {
            self.float_is_dirty();
        }
    }

    // Atomic operations: harts take turns, so that nothing comes between a load and a store.

    /// The old value is in rax.
    fn put_old(&mut self, i: &Inst, size: u64) {
        if i.rd != SINK {
            if size == 4 {
                self.asm.movsxd(Reg::Rax, Reg::Rax);
            }
            self.put_x(i.rd, Reg::Rax);
        }
        self.asm.store_imm16(context!(spins), 0);
    }

    fn atomic_size(op: Op) -> u64 {
        if (op as u8) < Op::LrD as u8 { 4 } else { 8 }
    }

    /// A swap that changes nothing may be a lock that is held: that is the interpreter's business.
    fn swap(&mut self, i: &Inst) {
        let size = Self::atomic_size(i.op);
        self.address(i.rs1, 0);
        let mut slow = self.find_page(true, size, 0);
        self.load_x(W64, Reg::Rax, i.rs2);
        self.asm.alu(width(size), Alu::Cmp, Reg::Rax, pointed(0));
        slow.push(self.asm.jump_if_later(Cond::E));
        self.asm.exchange(width(size), pointed(0), Reg::Rax);
        self.put_old(i, size);
        self.otherwise_rare(slow);
    }

    fn fetch_add(&mut self, i: &Inst) {
        let size = Self::atomic_size(i.op);
        self.address(i.rs1, 0);
        let slow = self.find_page(true, size, 0);
        self.load_x(W64, Reg::Rax, i.rs2);
        self.asm.exchange_add(width(size), pointed(0), Reg::Rax);
        self.put_old(i, size);
        self.otherwise_rare(slow);
    }

    /// Needs the operand in a host register.
    fn fetch_alu(&mut self, i: &Inst, op: Alu) -> bool {
        let Some(operand) = host(i.rs2) else { return false };
        let size = Self::atomic_size(i.op);
        self.address(i.rs1, 0);
        let slow = self.find_page(true, size, 0);
        self.asm.mov(width(size), Reg::Rax, pointed(0));
        self.asm.alu_store(width(size), op, pointed(0), operand);
        self.put_old(i, size);
        self.otherwise_rare(slow);
        true
    }

    /// Guest floating-point register `number`.
    pub(super) fn f(&self, number: u8) -> Place {
        let Place::At(base, f) = context!(f) else { return saved_x(0) };
        Place::At(base, f + 8 * i32::from(number))
    }
}
