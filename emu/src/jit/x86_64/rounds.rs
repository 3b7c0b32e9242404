//! Loops of one block: several rounds with what they have in common checked once.
//!
//! A block that branches to its own start is emitted a second time, as some rounds in a row that
//! are paid for together. Registers that do not change, or by the same amount in each round, lead
//! accesses to addresses that are known beforehand: that all of them stay in the pages that are
//! remembered is checked before the first round. Whatever else happens, in any round, goes on in
//! the ordinary code of the block, at the very instruction, with the rounds to come paid back.

use std::mem::offset_of;

use isa::{Inst, Op};

use super::access::{Kind, memo};
use super::asm::{Alu, Cond, Label, Reg, Width::W64};
use super::site::Site;
use super::stubs::BUDGET;
use super::translate::{Away, Emit};
use crate::mmu::memo::{Memo, Slot, Slots};

/// Most instructions of all rounds together.
const MOST: i32 = 96;
/// Most bytes from the first to the last access with the same base.
const SPAN: i64 = 2048;

/// Accesses with one base, in all rounds.
#[derive(Clone, Copy, Debug)]
struct Range {
    base: u8,
    store: bool,
    low: i64,
    high: i64,
}

impl Range {
    fn length(&self) -> i64 {
        self.high - self.low
    }
}

/// What is known of a loop.
#[derive(Debug)]
pub(super) struct Rounds {
    /// How many rounds are done in a row.
    count: i32,
    ranges: Vec<(Range, Slot)>,
}

impl Rounds {
    /// What is known of the loop that a block is, if it is one.
    pub(super) fn of(insts: &[Inst], slots: &mut Slots) -> Option<Rounds> {
        let (branch, body) = insts.split_last()?;
        condition(branch.op).filter(|_| branch.imm == 0)?;
        let price = insts.len() as i32;
        let count = [8, 4, 2].into_iter().find(|count| count * price <= MOST)?;
        let steps = steps(body);
        let mut ranges: Vec<Range> = Vec::new();
        let mut moved = [0i64; 256];
        for inst in body {
            if let Some(kind) = Kind::of_any(inst.op) {
                if steps[inst.rs1 as usize].is_some() && inst.rs1 != 0 {
                    let low = i64::from(inst.imm) + moved[inst.rs1 as usize];
                    let high = low + kind.size as i64;
                    add(&mut ranges, Range { base: inst.rs1, store: kind.store, low, high });
                }
            } else {
                moved[inst.rd as usize] += i64::from(inst.imm);
            }
        }
        for range in &mut ranges {
            let way = steps[range.base as usize].unwrap_or(0) * i64::from(count - 1);
            range.low += way.min(0);
            range.high += way.max(0);
        }
        ranges.retain(|range| range.length() <= SPAN && i32::try_from(range.low).is_ok());
        let slot = |range: Range| (range, slots.next(range.store, range.length() as u64));
        Some(Rounds { count, ranges: ranges.into_iter().map(slot).collect() })
    }

    /// The memo that has the page of an access, if that was checked beforehand.
    pub(super) fn memo(&self, base: u8, store: bool) -> Option<Slot> {
        let is = |range: &Range| range.base == base && range.store == store;
        self.ranges.iter().find(|(range, _)| is(range)).map(|(_, slot)| *slot)
    }
}

fn add(ranges: &mut Vec<Range>, new: Range) {
    match ranges.iter_mut().find(|range| (range.base, range.store) == (new.base, new.store)) {
        Some(range) => {
            range.low = range.low.min(new.low);
            range.high = range.high.max(new.high);
        }
        None => ranges.push(new),
    }
}

/// By how much each register changes in a round, if that is always the same.
fn steps(body: &[Inst]) -> [Option<i64>; 256] {
    let mut steps = [Some(0); 256];
    for inst in body {
        let step = &mut steps[inst.rd as usize];
        match Kind::of_any(inst.op) {
            Some(kind) if kind.store => {}
            None if inst.op == Op::Addi && inst.rd == inst.rs1 => {
                *step = step.map(|step| step + i64::from(inst.imm));
            }
            // What writes a floating-point register is taken for a write of an integer register.
            _ => *step = None,
        }
    }
    steps
}

/// When a branch is taken.
pub(super) fn condition(op: Op) -> Option<Cond> {
    Some(match op {
        Op::Beq => Cond::E,
        Op::Bne => Cond::Ne,
        Op::Blt => Cond::L,
        Op::Bge => Cond::Ge,
        Op::Bltu => Cond::B,
        Op::Bgeu => Cond::Ae,
        _ => return None,
    })
}

impl Emit<'_> {
    /// Emits the rounds in front of the ordinary code, if the block is a loop without anything
    /// that needs the interpreter.
    pub(super) fn rounds(&mut self) {
        let insts = self.block.insts();
        let Some(rounds) = Rounds::of(insts, self.slots) else { return };
        let (price, count) = (insts.len() as i32, rounds.count);
        let (start, code, away) = (self.asm.here(), self.asm.code.len(), self.away.len());
        let links = self.links.len();
        self.asm.alu_imm(W64, Alu::Cmp, BUDGET, count * price);
        let mut ordinary = vec![self.asm.jump_if_later(Cond::L)];
        for (range, slot) in &rounds.ranges {
            self.check_range(range, *slot);
        }
        self.asm.alu_imm(W64, Alu::Sub, BUDGET, count * price);
        self.in_rounds = Some(rounds);
        let whole = (1..=count).all(|round| self.round(insts, (count - round) * price, start));
        self.in_rounds = None;
        self.index = 0;
        (self.float_on, self.float_dirty) = (false, false);
        if !whole {
            self.asm.code.truncate(code);
            self.away.truncate(away);
            self.links.truncate(links);
            return;
        }
        ordinary.drain(..).for_each(|label| self.asm.bind(label));
        self.ordinary = self.asm.here();
    }

    /// Emits a check that accesses in a range need no other.
    fn check_range(&mut self, range: &Range, slot: Slot) {
        let head = self.asm.here();
        self.address(range.base, range.low as i32);
        self.asm.alu(W64, Alu::Sub, Reg::Rdx, memo(slot, offset_of!(Memo, page)));
        self.asm.alu(W64, Alu::Cmp, Reg::Rdx, memo(slot, offset_of!(Memo, limit)));
        let other = self.asm.jump_if_later(Cond::Ae);
        let site = Site::new(slot, self.block, 0, head, self.asm.here());
        let (base, low) = (range.base, range.low as i32);
        self.away.push(Away::Range { other, site, base, low, store: range.store });
    }

    /// Emits what is done if accesses in a range would go to another page than is remembered.
    pub(super) fn other_range(
        &mut self,
        other: Label,
        mut site: Site,
        address: (u8, i32),
        store: bool,
    ) {
        let back = site.back;
        // Looking further once for many accesses is worth it, unless it happens all the time.
        site.lately = 0;
        site.direct = self.ordinary;
        let site = self.sites.add(site);
        self.asm.bind(other);
        self.address(address.0, address.1);
        self.asm.mov_imm(Reg::Rax, site);
        self.asm.call(self.stubs.remember[usize::from(store)]);
        let found = self.asm.jump_if_later(Cond::E);
        self.asm.bind_to(found, back);
        self.asm.jump(self.ordinary);
    }

    /// Emits a round, after which `refund` has been paid for others; returns whether it could be.
    fn round(&mut self, insts: &[Inst], refund: i32, start: u64) -> bool {
        self.refund = refund;
        self.index = 0;
        while self.index + 1 < insts.len() {
            match self.together(&insts[self.index..insts.len() - 1]) {
                0 => return false,
                done => self.index += done,
            }
        }
        let branch = &insts[self.index];
        let Some(taken) = condition(branch.op) else { return false };
        self.compare(branch.rs1, branch.rs2);
        if refund == 0 {
            let again = self.asm.jump_if_later(taken);
            self.asm.bind_to(again, start);
            self.go_behind();
        } else {
            let ends = self.asm.jump_if_later(taken.inverse());
            self.away.push(Away::End { ends, refund });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hart::state::SINK;

    fn i(op: Op, rd: u8, rs1: u8, imm: i32) -> Inst {
        Inst { rd, rs1, imm, ..Inst::new(op) }
    }

    fn s(op: Op, rs1: u8, rs2: u8, imm: i32) -> Inst {
        Inst { rd: SINK, rs1, rs2, imm, ..Inst::new(op) }
    }

    fn of(insts: &[Inst]) -> Option<Rounds> {
        Rounds::of(insts, &mut Slots::default())
    }

    #[test]
    fn what_is_known_beforehand_is_found() {
        let again = s(Op::Bne, 10, 11, 0);
        let down = [
            i(Op::Lw, 14, 10, 4),
            i(Op::Addi, 10, 10, -16),
            i(Op::Lbu, 15, 10, 1),
            s(Op::Sd, 2, 14, 8),
            i(Op::Ld, 13, 14, 0),
            again,
        ];
        let rounds = of(&down).expect("a loop");
        assert_eq!(rounds.count, 8);
        let ranges: Vec<_> = rounds.ranges.iter().map(|(r, _)| (r.base, r.low, r.high)).collect();
        assert_eq!(ranges, [(10, -15 - 7 * 16, 8), (2, 8, 16)]);
        assert!(rounds.memo(10, false).is_some() && rounds.memo(2, true).is_some());
        // Another kind of access, and a base that is loaded.
        assert!(rounds.memo(10, true).is_none() && rounds.memo(14, false).is_none());
    }

    #[test]
    fn what_is_too_far_or_no_loop_is_left_alone() {
        let again = s(Op::Bne, 10, 11, 0);
        let far = of(&[i(Op::Lw, 14, 10, 0), i(Op::Addi, 10, 10, 1024), again]).expect("a loop");
        assert!(far.ranges.is_empty());
        let twice = [i(Op::Lw, 14, 10, 0), i(Op::Slli, 10, 10, 1), again];
        assert!(of(&twice).expect("a loop").ranges.is_empty());
        assert!(of(&[i(Op::Lw, 14, 10, 0), s(Op::Bne, 10, 11, 4)]).is_none());
        let long = [[i(Op::Xori, 14, 10, 0); 60].as_slice(), &[again]].concat();
        assert!(of(&long).is_none());
    }
}
