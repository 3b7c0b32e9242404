//! Machine code for loads, stores and the frequent atomic operations.
//!
//! A load or store compares its page with the one that it went to last (see [`crate::mmu::memo`]);
//! if that is another it looks into the fast TLB, and everything else is the interpreter's.
//! Neighbouring accesses with the same base register, as in the prologues of functions, share one
//! comparison; see [`super::rounds`] for others.

use std::mem::offset_of;

use isa::{Inst, Op};

use super::asm::{Alu, Asm, Cond, Label, Place, Reg, Shift, Width::*};
use super::site::Site;
use super::stubs::{SPACE, context, host, saved_x, width};
use super::translate::{Away, Emit, Source};
use crate::board::RAM_BASE;
use crate::hart::state::{Reservation, SINK};
use crate::mem::PAGE_SIZE;
use crate::mmu::Space;
use crate::mmu::memo::{Memo, Memos, Slot};
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
    /// What is loaded or stored is a floating-point register.
    float: bool,
}

impl Kind {
    /// That of an integer load or store.
    pub(super) fn of(op: Op) -> Option<Kind> {
        Kind::of_any(op).filter(|kind| !kind.float)
    }

    /// That of a load or store.
    pub(super) fn of_any(op: Op) -> Option<Kind> {
        let (store, size, float) = match op {
            Op::Lb | Op::Lbu => (false, 1, false),
            Op::Lh | Op::Lhu => (false, 2, false),
            Op::Lw | Op::Lwu => (false, 4, false),
            Op::Ld => (false, 8, false),
            Op::Sb => (true, 1, false),
            Op::Sh => (true, 2, false),
            Op::Sw => (true, 4, false),
            Op::Sd => (true, 8, false),
            Op::Flw => (false, 4, true),
            Op::Fld => (false, 8, true),
            Op::Fsw => (true, 4, true),
            Op::Fsd => (true, 8, true),
            _ => return None,
        };
        Some(Kind { store, size, float })
    }
}

/// Loads or stores with one base register that are all in the same page or executed one by one.
pub(super) struct Group<'a> {
    pub(super) insts: &'a [Inst],
    pub(super) kind: Kind,
    /// The lowest displacement.
    pub(super) low: i32,
    /// Bytes from the first to the last.
    pub(super) length: u64,
}

impl<'a> Group<'a> {
    /// The group at the beginning of `insts`, if the first of them is a load or store.
    pub(super) fn first(insts: &'a [Inst]) -> Option<Group<'a>> {
        let first = &insts[0];
        let kind = Kind::of_any(first.op)?;
        let size = kind.size as i32;
        let (mut low, mut high, mut count) = (first.imm, first.imm, 0);
        for inst in insts {
            let (least, greatest) = (low.min(inst.imm), high.max(inst.imm));
            // What is no access may have any number there.
            let near = greatest.wrapping_sub(least) <= SPAN - size;
            let same = inst.rs1 == first.rs1 && Kind::of_any(inst.op) == Some(kind);
            if !same || !near {
                break;
            }
            (low, high) = (least, greatest);
            count += 1;
            if !kind.store && !kind.float && inst.rd == inst.rs1 {
                break;
            }
        }
        Some(Group { insts: &insts[..count], kind, low, length: (high - low + size) as u64 })
    }
}

/// A field of a memo of the present space.
pub(super) fn memo(slot: Slot, offset: usize) -> Place {
    let memos = offset_of!(Space, memos) + offset_of!(Memos, memos);
    Place::At(SPACE, (memos + usize::from(slot.number) * size_of::<Memo>() + offset) as i32)
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
    /// Emits the loads or stores that `insts` begin with, all those that can be done together;
    /// returns how many.
    pub(super) fn accesses(&mut self, insts: &[Inst]) -> usize {
        let Some(group) = Group::first(insts) else { return 0 };
        let refused = if group.kind.float { self.float_is_on() } else { Vec::new() };
        if let Some(slot) = self.known() {
            self.by_memo(&group, slot);
            self.otherwise_rare(refused);
        } else {
            self.checked(&group, refused);
        }
        if group.kind.float && !group.kind.store {
            self.float_is_dirty();
        }
        group.insts.len()
    }

    /// Emits accesses that need no check.
    fn by_memo(&mut self, group: &Group<'_>, slot: Slot) {
        self.asm.mov(W64, Reg::Rdx, memo(slot, offset_of!(Memo, addend)));
        if host(group.insts[0].rs1).is_none() {
            self.asm.alu(W64, Alu::Add, Reg::Rdx, saved_x(group.insts[0].rs1));
        }
        self.by_addend(group);
    }

    /// Emits accesses that go to the page they remember, or look further.
    fn checked(&mut self, group: &Group<'_>, refused: Vec<Label>) {
        let slot = self.own_slot(group);
        let base = host(group.insts[0].rs1);
        let head = self.asm.here();
        // How far into the page the accesses begin.
        let into = match base {
            Some(_) => {
                self.address(group.insts[0].rs1, group.low);
                Reg::Rdx
            }
            None => {
                self.load_x(W64, Reg::Rdx, group.insts[0].rs1);
                self.asm.add_to(Reg::Rax, Reg::Rdx, group.low);
                Reg::Rax
            }
        };
        self.asm.alu(W64, Alu::Sub, into, memo(slot, offset_of!(Memo, page)));
        self.asm.alu(W64, Alu::Cmp, into, memo(slot, offset_of!(Memo, limit)));
        let other = self.asm.jump_if_later(Cond::Ae);
        match base {
            Some(_) => self.asm.mov(W64, Reg::Rdx, memo(slot, offset_of!(Memo, addend))),
            None => self.asm.alu(W64, Alu::Add, Reg::Rdx, memo(slot, offset_of!(Memo, addend))),
        }
        self.by_addend(group);
        let mut site = Site::new(slot, self.block, self.index, head, self.asm.here());
        let refund = self.in_rounds.as_ref().map(|rounds| {
            // The other rounds have sites of their own.
            site.lately *= rounds.count;
            self.refund
        });
        self.away.push(Away::Page { refused, other, site, refund });
    }

    /// The memo of the access at the present instruction, in whatever code of the block: none that
    /// others rely on without a check.
    fn own_slot(&mut self, group: &Group<'_>) -> Slot {
        let index = self.index;
        if self.own.len() <= index {
            self.own.resize(index + 1, None);
        }
        if let Some(slot) = self.own[index] {
            return slot;
        }
        let taken = std::mem::take(&mut self.shared);
        let slot = self.chooser().slot(index, group.kind.store, group.length, &taken);
        self.shared = taken;
        self.own[index] = Some(slot);
        slot
    }

    /// The accesses of a group; rdx has what to add to the base, if that is in a register, or else
    /// their sum.
    fn by_addend(&mut self, group: &Group<'_>) {
        for inst in group.insts {
            let place = match host(inst.rs1) {
                Some(base) => Place::Indexed(base, Reg::Rdx, 0, inst.imm),
                None => pointed(inst.imm),
            };
            self.transfer(inst, place);
        }
    }

    /// Emits what accesses do whose page is another one than they remember.
    pub(super) fn other_page(
        &mut self,
        refused: Vec<Label>,
        other: Label,
        mut site: Site,
        refund: Option<i32>,
    ) {
        let (start, back) = (site.index, site.back);
        let Some(group) = Group::first(&self.block.insts()[start..]) else { return };
        site.slow = self.asm.here();
        refused.into_iter().for_each(|label| self.asm.bind(label));
        match refund {
            Some(refund) => self.go_on_ordinarily(start, refund),
            None => {
                self.one_by_one(start, group.insts.len());
                self.asm.jump(back);
            }
        }
        self.asm.bind(other);
        self.address(group.insts[0].rs1, group.low);
        let slow = site.slow;
        let site = self.sites.add(site);
        self.asm.mov_imm(Reg::Rax, site);
        self.asm.call(self.stubs.remember[usize::from(group.kind.store)]);
        let nowhere = self.asm.jump_if_later(Cond::Ne);
        self.asm.bind_to(nowhere, slow);
        self.transfers(&group);
        self.asm.jump(back);
    }

    /// Emits what the accesses of a site do when they look into the fast TLB at once.
    pub(super) fn direct(&mut self, site: &Site) {
        let Some(group) = Group::first(&self.block.insts()[site.index..]) else { return };
        self.address(group.insts[0].rs1, group.low);
        let slow = find_page(&mut self.asm, group.kind.store, 1, group.length as i32 - 1);
        self.transfers(&group);
        self.asm.jump(site.back);
        slow.into_iter().for_each(|label| self.asm.bind_to(label, site.slow));
    }

    /// The accesses of a group; rdx has the host address of the lowest.
    fn transfers(&mut self, group: &Group<'_>) {
        for inst in group.insts {
            self.transfer(inst, pointed(inst.imm - group.low));
        }
    }

    /// Emits an atomic operation; returns whether it is one that is emitted here.
    pub(super) fn atomic(&mut self, i: &Inst) -> bool {
        match i.op {
            Op::AmoswapW | Op::AmoswapD => self.swap(i),
            Op::AmoaddW | Op::AmoaddD => self.fetch_add(i),
            Op::AmoandW | Op::AmoandD => return self.fetch_alu(i, Alu::And),
            Op::AmoorW | Op::AmoorD => return self.fetch_alu(i, Alu::Or),
            Op::AmoxorW | Op::AmoxorD => return self.fetch_alu(i, Alu::Xor),
            Op::LrW | Op::LrD => self.load_reserved(i),
            Op::ScW | Op::ScD => self.store_conditional(i),
            _ => return false,
        }
        true
    }

    /// Emits a store to a page that also holds code, or page tables, if `i` is a store; what
    /// follows is for when it is not that, and the jump returned for when it was.
    pub(super) fn store_aside(&mut self, i: &Inst) -> Option<Label> {
        let kind = Kind::of(i.op).filter(|kind| kind.store)?;
        self.address(i.rs1, i.imm);
        let misaligned = (kind.size > 1).then(|| {
            self.asm.test_imm(W32, Reg::Rdx, kind.size as i32 - 1);
            self.asm.jump_if_later(Cond::Ne)
        });
        self.asm.call(self.stubs.aside);
        let other = self.asm.jump_if_later(Cond::Ne);
        self.transfer(i, pointed(0));
        let done = self.asm.jump_later();
        misaligned.into_iter().for_each(|label| self.asm.bind(label));
        self.asm.bind(other);
        Some(done)
    }

    /// Emits an access that is in one page, of any alignment, if `i` is one; what follows is for
    /// when it is not that, and the jump returned for when it was.
    pub(super) fn within_page(&mut self, i: &Inst) -> Option<Label> {
        let kind = Kind::of(i.op)?;
        self.address(i.rs1, i.imm);
        let size = kind.size.trailing_zeros() as usize;
        self.asm.call(self.stubs.within_page[usize::from(kind.store)][size]);
        let other = self.asm.jump_if_later(Cond::Ne);
        self.transfer(i, pointed(0));
        let done = self.asm.jump_later();
        self.asm.bind(other);
        Some(done)
    }

    /// rdx = guest register + displacement.
    pub(super) fn address(&mut self, base: u8, displacement: i32) {
        match (self.source(base), host(base)) {
            (Source::Zero, _) => self.asm.mov_imm(Reg::Rdx, displacement as i64 as u64),
            (_, Some(base)) => self.asm.add_to(Reg::Rdx, base, displacement),
            _ => {
                self.load_x(W64, Reg::Rdx, base);
                if displacement != 0 {
                    self.asm.alu_imm(W64, Alu::Add, Reg::Rdx, displacement);
                }
            }
        }
    }

    /// As [`find_page`], of one access.
    fn find_page(&mut self, store: bool, size: u64) -> Vec<Label> {
        find_page(&mut self.asm, store, size, 0)
    }

    /// The access itself; clobbers rax.
    fn transfer(&mut self, i: &Inst, place: Place) {
        let to = self.target(i.rd);
        match i.op {
            Op::Lb => self.asm.movsx8(to, place),
            Op::Lbu => self.asm.movzx8(to, place),
            Op::Lh => self.asm.movsx16(to, place),
            Op::Lhu => self.asm.movzx16(to, place),
            Op::Lw => self.asm.movsxd(to, place),
            Op::Lwu => self.asm.mov(W32, to, place),
            Op::Ld => self.asm.mov(W64, to, place),
            Op::Flw | Op::Fld => {
                let w = if i.op == Op::Flw { W32 } else { W64 };
                self.asm.mov(w, Reg::Rax, place);
                return self.put_f(w, i.rd, Reg::Rax);
            }
            _ => return self.write(i, place),
        }
        self.put_x(i.rd, to);
    }

    fn write(&mut self, i: &Inst, place: Place) {
        if matches!(i.op, Op::Fsw | Op::Fsd) {
            let w = if i.op == Op::Fsw { W32 } else { W64 };
            self.asm.mov(w, Reg::Rax, self.f(i.rs2));
            return self.asm.store(w, place, Reg::Rax);
        }
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
        let mut slow = self.find_page(true, size);
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
        let slow = self.find_page(true, size);
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
        let slow = self.find_page(true, size);
        self.asm.mov(width(size), Reg::Rax, pointed(0));
        self.asm.alu_store(width(size), op, pointed(0), operand);
        self.put_old(i, size);
        self.otherwise_rare(slow);
        true
    }

    /// rax = the reservation of what is at the host address in rdx.
    fn reservation(&mut self, size: u64) {
        let wide = if size == 8 { Reservation::WIDE } else { 0 };
        let from_host = RAM_BASE.wrapping_sub(self.ram).wrapping_add(wide);
        self.asm.mov_imm(Reg::Rax, from_host);
        self.asm.alu(W64, Alu::Add, Reg::Rax, Reg::Rdx);
    }

    fn load_reserved(&mut self, i: &Inst) {
        let size = Self::atomic_size(i.op);
        self.address(i.rs1, 0);
        let slow = self.find_page(false, size);
        self.reservation(size);
        self.asm.store(W64, context!(reservation), Reg::Rax);
        let to = self.target(i.rd);
        match size {
            4 => self.asm.movsxd(to, pointed(0)),
            _ => self.asm.mov(W64, to, pointed(0)),
        }
        self.put_x(i.rd, to);
        self.otherwise_rare(slow);
    }

    /// What fails is the interpreter's.
    fn store_conditional(&mut self, i: &Inst) {
        let size = Self::atomic_size(i.op);
        self.address(i.rs1, 0);
        let mut slow = self.find_page(true, size);
        self.reservation(size);
        self.asm.alu(W64, Alu::Cmp, Reg::Rax, context!(reservation));
        slow.push(self.asm.jump_if_later(Cond::Ne));
        self.load_x(W64, Reg::Rax, i.rs2);
        self.asm.store(width(size), pointed(0), Reg::Rax);
        self.asm.store_imm(W64, context!(reservation), 0);
        if i.rd != SINK {
            let to = self.target(i.rd);
            self.asm.mov_imm(to, 0);
            self.put_x(i.rd, to);
        }
        self.otherwise_rare(slow);
    }

    /// Guest floating-point register `number`.
    pub(super) fn f(&self, number: u8) -> Place {
        let Place::At(base, f) = context!(f) else { return saved_x(0) };
        Place::At(base, f + 8 * i32::from(number))
    }
}
