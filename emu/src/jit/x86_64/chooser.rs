//! Which memo an access uses.
//!
//! As a rule each has one of its own, and they are given in turns. Large programs would take them
//! from themselves then, although most of their accesses go to the same few pages. So those whose
//! addresses hardly change — the stack's, those by the global pointer, and constants — share one
//! with those of the neighbourhood that go to the same page.

use isa::{Inst, Op, Operand};

use super::access::Kind;
use crate::exec::code::Block;
use crate::hart::state::SINK;
use crate::mem::PAGE_SIZE;
use crate::mmu::memo::{Slot, Slots};

/// Registers that hardly change: sp, gp and tp.
const STEADY: [u8; 3] = [2, 3, 4];
/// s0 may point at the stack's frame, at most so many bytes from sp.
const FRAME: (u8, u64) = (8, PAGE_SIZE);
/// Code that is so near shares memos, as a power of two.
const NEAR: u32 = 10;

/// By instruction, the page that an access goes to if that hardly changes.
pub(super) type Pages = Vec<Option<u64>>;

/// Those of a block that is about to be executed at `pc` with these registers.
pub(super) fn pages(block: &Block, pc: u64, x: &[u64; 256]) -> Pages {
    let mut known = [None; SINK as usize + 1];
    for number in STEADY {
        known[number as usize] = Some(x[number as usize]);
    }
    let (frame, size) = FRAME;
    let in_frame = x[frame as usize].wrapping_sub(x[2]) < size;
    known[frame as usize] = in_frame.then_some(x[frame as usize]);
    known[0] = Some(0);
    let page = |(index, inst): (usize, &Inst)| {
        let sum = |value: u64| value.wrapping_add(inst.imm as u64);
        let access = Kind::of_any(inst.op);
        let value = match inst.op {
            Op::Lui => Some(inst.imm as u64),
            Op::Auipc => Some(sum(pc.wrapping_add(block.offset(index)))),
            op if op == Op::Addi || access.is_some() => known[inst.rs1 as usize].map(sum),
            _ => None,
        };
        if inst.op.row().operands.contains(&Operand::Rd) {
            known[inst.rd as usize] = value.filter(|_| access.is_none());
        }
        access.and(value).map(|address| address / PAGE_SIZE)
    };
    block.insts()[..block.count as usize].iter().enumerate().map(page).collect()
}

/// Chooses memos for a block's accesses.
pub(super) struct Chooser<'a> {
    pub(super) slots: &'a mut Slots,
    pub(super) pages: &'a [Option<u64>],
    /// Where the block is.
    pub(super) pa: u64,
}

impl Chooser<'_> {
    /// A memo for the access or accesses at `index`, of `length` bytes; none of those `taken`.
    pub(super) fn slot(&mut self, index: usize, store: bool, length: u64, taken: &[Slot]) -> Slot {
        if let Some(page) = self.pages.get(index).copied().flatten() {
            let slot = self.slots.shared(store, length, (page, self.pa >> NEAR));
            if !taken.contains(&slot) {
                return slot;
            }
        }
        loop {
            let slot = self.slots.next(store, length);
            if !taken.contains(&slot) {
                return slot;
            }
        }
    }
}
