//! What several accesses of a block have in common, checked once.
//!
//! Accesses whose addresses are a register's value, which does not change between them, and
//! constants stay in one page as a rule: that is checked before the first of them. And a block that
//! branches to its own start is emitted a second time, as some rounds in a row that are paid for
//! together; registers that do not change, or by the same amount in each round, lead to addresses
//! that are known before the first round. Whatever else happens goes on in the ordinary code of the
//! block, at the very instruction, with the rounds to come paid back: nothing that could drop what
//! is remembered comes between a check and the accesses that rely on it.

use std::mem::offset_of;

use isa::{Inst, Op, Operand};

use super::access::{Group, Kind, memo};
use super::asm::{Alu, Cond, Label, Reg, Width::W64};
use super::chooser::Chooser;
use super::site::Site;
use super::stubs::BUDGET;
use super::translate::{Away, Emit};
use crate::mmu::memo::{Memo, Slot};

/// Most instructions of all rounds together.
const MOST: i32 = 96;
/// Most bytes from the first to the last access with the same base, in all rounds.
const SPAN: i64 = 2048;
/// The same, in one round.
const SPAN_ONCE: i64 = 256;

/// Accesses that are checked together.
#[derive(Clone, Copy, Debug)]
struct Range {
    base: u8,
    store: bool,
    /// Where they begin and end, less the base where they are checked.
    low: i64,
    high: i64,
    /// The access before which they are checked, in each round; or they are before all rounds.
    first: Option<usize>,
}

/// What is known of a block, or of a loop.
#[derive(Debug)]
pub(super) struct Rounds {
    /// How many rounds are done in a row.
    pub(super) count: i32,
    ranges: Vec<(Range, Slot)>,
    /// By instruction: the number of the range it belongs to.
    range_of: Vec<Option<usize>>,
}

impl Rounds {
    /// What is known of the loop that a block is, if it is one and that is worth something.
    fn of(insts: &[Inst], chooser: &mut Chooser<'_>) -> Option<Rounds> {
        let (branch, body) = insts.split_last()?;
        condition(branch.op).filter(|_| branch.imm == 0)?;
        let price = insts.len() as i32;
        let count = [8, 4, 2].into_iter().find(|count| count * price <= MOST)?;
        let rounds = Rounds::new(body, count, chooser);
        let accesses = body.iter().any(|inst| Kind::of_any(inst.op).is_some());
        let known = rounds.ranges.iter().any(|(range, _)| range.first.is_none());
        (known || !accesses).then_some(rounds)
    }

    /// What is known of instructions that are executed once, if it is worth something.
    fn once(body: &[Inst], chooser: &mut Chooser<'_>) -> Option<Rounds> {
        let rounds = Rounds::new(body, 1, chooser);
        (!rounds.ranges.is_empty()).then_some(rounds)
    }

    fn new(body: &[Inst], count: i32, chooser: &mut Chooser<'_>) -> Rounds {
        let mut found = Search::new(body, count);
        found.all(body);
        // Alone an access is better off with a check of its own.
        let worth = |found: &Found| found.range.first.is_none() || found.groups > 1;
        let mut numbers = Vec::new();
        let (mut ranges, mut taken) = (Vec::new(), Vec::new());
        for found in &found.ranges {
            numbers.push(worth(found).then_some(ranges.len()));
            if worth(found) {
                let Range { store, low, high, .. } = found.range;
                let slot = chooser.slot(found.at, store, (high - low) as u64, &taken);
                ranges.push((found.range, slot));
                taken.push(slot);
            }
        }
        let range_of = found.range_of.into_iter().map(|found| numbers[found?]).collect();
        Rounds { count, ranges, range_of }
    }
}

/// A range that may become longer.
#[derive(Debug)]
struct Found {
    range: Range,
    /// The first access.
    at: usize,
    /// Which of the values that the base has, and by how much it is moved where that is checked.
    value: u32,
    moved: i64,
    /// Accesses, those in a row counted as one.
    groups: u32,
}

/// The search for ranges.
struct Search {
    ranges: Vec<Found>,
    range_of: Vec<Option<usize>>,
    /// By how much registers change in all rounds but one; nothing if that is not known.
    ways: [Option<i64>; REGISTERS],
    /// Which value each register has, and by how much that is moved.
    values: [(u32, i64); REGISTERS],
}

/// Integer registers, and what is written for x0.
const REGISTERS: usize = 33;

impl Search {
    fn new(body: &[Inst], count: i32) -> Search {
        let mut ways = [(count > 1).then_some(0); REGISTERS];
        for inst in body.iter().filter(|inst| writes_integer(inst)) {
            let way = &mut ways[inst.rd as usize];
            *way = way.filter(|_| moves(inst)).map(|way| way + i64::from(inst.imm));
        }
        let ways = ways.map(|way| way.map(|way| way * i64::from(count - 1)));
        let range_of = vec![None; body.len()];
        Search { ranges: Vec::new(), range_of, ways, values: [(0, 0); REGISTERS] }
    }

    fn all(&mut self, body: &[Inst]) {
        let mut index = 0;
        while index < body.len() {
            let mut count = 1;
            if let Some(group) = Group::first(&body[index..]) {
                count = group.insts.len();
                if group.insts[0].rs1 != 0 {
                    let number = self.add(&group, index);
                    self.range_of[index..index + count].fill(number);
                }
            }
            for inst in body[index..index + count].iter().filter(|inst| writes_integer(inst)) {
                let (value, moved) = &mut self.values[inst.rd as usize];
                if moves(inst) {
                    *moved += i64::from(inst.imm);
                } else {
                    (*value, *moved) = (*value + 1, 0);
                }
            }
            index += count;
        }
    }

    /// Adds accesses to a range, or makes one of them; returns its number.
    fn add(&mut self, group: &Group<'_>, index: usize) -> Option<usize> {
        let (base, store) = (group.insts[0].rs1, group.kind.store);
        let (value, moved) = self.values[base as usize];
        let (way, first, span) = match self.ways[base as usize] {
            Some(way) => (way, None, SPAN),
            None => (0, Some(index), SPAN_ONCE),
        };
        let low = i64::from(group.low) + moved + way.min(0);
        let high = i64::from(group.low) + moved + group.length as i64 + way.max(0);
        let same = |found: &Found| {
            (found.range.base, found.range.store, found.value) == (base, store, value)
        };
        if let Some(number) = self.ranges.iter().rposition(same) {
            let Found { range, moved, groups, .. } = &mut self.ranges[number];
            let (low, high) = (range.low.min(low - *moved), range.high.max(high - *moved));
            if high - low <= span {
                (range.low, range.high) = (low, high);
                *groups += 1;
                return Some(number);
            }
        }
        if high - low > span {
            return None;
        }
        let moved = if first.is_some() { moved } else { 0 };
        let range = Range { base, store, low: low - moved, high: high - moved, first };
        self.ranges.push(Found { range, at: index, value, moved, groups: 1 });
        Some(self.ranges.len() - 1)
    }
}

fn writes_integer(inst: &Inst) -> bool {
    inst.op.row().operands.contains(&Operand::Rd)
}

/// Whether an instruction changes a register by a constant.
fn moves(inst: &Inst) -> bool {
    inst.op == Op::Addi && inst.rd == inst.rs1
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

/// How much there was before something was emitted.
struct Mark {
    code: usize,
    away: usize,
    links: usize,
}

impl Emit<'_> {
    /// Emits the rounds in front of the ordinary code, if the block is a loop without anything
    /// that needs the interpreter; returns whether it is.
    pub(super) fn rounds(&mut self) -> bool {
        let insts = self.block.insts();
        let Some(rounds) = Rounds::of(insts, &mut self.chooser()) else { return false };
        let (price, count) = (insts.len() as i32, rounds.count);
        let (start, mark) = (self.asm.here(), self.mark());
        self.asm.alu_imm(W64, Alu::Cmp, BUDGET, count * price);
        let poor = self.asm.jump_if_later(Cond::L);
        self.begin(rounds);
        self.check_ranges(None);
        self.asm.alu_imm(W64, Alu::Sub, BUDGET, count * price);
        let whole = (1..=count).all(|round| self.round(insts, (count - round) * price, start));
        self.end();
        if !whole {
            self.take_back(&mark);
            return false;
        }
        self.asm.bind(poor);
        self.ordinary = self.asm.here();
        true
    }

    /// Emits a round, after which `refund` has been paid for others; returns whether it could be.
    fn round(&mut self, insts: &[Inst], refund: i32, start: u64) -> bool {
        self.refund = refund;
        self.index = 0;
        let Some((branch, body)) = insts.split_last() else { return false };
        let Some(taken) = condition(branch.op) else { return false };
        if self.straight(body) < body.len() {
            return false;
        }
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

    /// Emits the block, or its beginning, with accesses that are checked together, if that is
    /// worth it; returns whether it is. The block is paid for, and has its ordinary code elsewhere.
    pub(super) fn once(&mut self) -> bool {
        let insts = self.block.insts();
        let mut end = insts.len() - 1;
        let mark = self.mark();
        while let Some(rounds) = Rounds::once(&insts[..end], &mut self.chooser()) {
            self.begin(rounds);
            let done = self.straight(&insts[..end]);
            if done == end {
                let last = &insts[end];
                if matches!(last.op, Op::Jal | Op::Jalr) || condition(last.op).is_some() {
                    self.inst(last);
                } else {
                    let label = self.asm.jump_later();
                    self.otherwise_rare(vec![label]);
                }
                self.end();
                return true;
            }
            // What comes from there on is ordinary.
            self.end();
            self.take_back(&mark);
            end = done;
        }
        false
    }

    fn begin(&mut self, rounds: Rounds) {
        self.shared = rounds.ranges.iter().map(|(_, slot)| *slot).collect();
        self.own.clear();
        self.in_rounds = Some(rounds);
        self.refund = 0;
        (self.nearest, self.inexact) = (false, false);
    }

    fn end(&mut self) {
        self.in_rounds = None;
        self.refund = 0;
        self.index = 0;
        (self.float_on, self.float_dirty) = (false, false);
    }

    fn mark(&self) -> Mark {
        Mark { code: self.asm.length(), away: self.away.len(), links: self.links.len() }
    }

    fn take_back(&mut self, mark: &Mark) {
        self.asm.truncate(mark.code);
        self.away.truncate(mark.away);
        self.links.truncate(mark.links);
    }

    /// Emits instructions, as far as none needs the interpreter; returns how many.
    fn straight(&mut self, insts: &[Inst]) -> usize {
        while self.index < insts.len() {
            match self.together(&insts[self.index..]) {
                0 => break,
                done => self.index += done,
            }
        }
        self.index
    }

    /// Emits the checks that come before an instruction, or before all rounds.
    fn check_ranges(&mut self, before: Option<usize>) {
        let ranges = self.in_rounds.as_ref().map_or(&[][..], |rounds| &rounds.ranges);
        let due = ranges.iter().filter(|(range, _)| range.first == before);
        for (range, slot) in due.copied().collect::<Vec<_>>() {
            self.check_range(range, slot);
        }
    }

    /// The memo that has the page of the access at the present instruction, if that is checked
    /// together with others.
    pub(super) fn known(&mut self) -> Option<Slot> {
        let rounds = self.in_rounds.as_ref()?;
        let number = (*rounds.range_of.get(self.index)?)?;
        let (_, slot) = rounds.ranges[number];
        self.check_ranges(Some(self.index));
        Some(slot)
    }

    /// Emits a check that accesses in a range need no other.
    fn check_range(&mut self, range: Range, slot: Slot) {
        let head = self.asm.here();
        let (base, low, store) = (range.base, range.low as i32, range.store);
        self.address(base, low);
        self.asm.alu(W64, Alu::Sub, Reg::Rdx, memo(slot, offset_of!(Memo, page)));
        self.asm.alu(W64, Alu::Cmp, Reg::Rdx, memo(slot, offset_of!(Memo, limit)));
        let other = self.asm.jump_if_later(Cond::Ae);
        let mut site = Site::new(slot, self.block, self.index, head, self.asm.here());
        // Looking further once for many accesses is worth it, unless it happens all the time.
        site.lately = 0;
        let refund = range.first.map(|_| self.refund);
        self.away.push(Away::Range { other, site, base, low, store, refund });
    }

    /// Emits what is done if accesses in a range would go to another page than is remembered.
    pub(super) fn other_range(
        &mut self,
        other: Label,
        mut site: Site,
        (base, low): (u8, i32),
        store: bool,
        refund: Option<i32>,
    ) {
        let (index, back) = (site.index, site.back);
        site.direct = self.asm.here();
        match refund {
            Some(refund) => self.go_on_ordinarily(index, refund),
            None => self.asm.jump(self.ordinary),
        }
        let direct = site.direct;
        self.asm.bind(other);
        self.address(base, low);
        let site = self.sites.add(site);
        self.asm.mov_imm(Reg::Rax, site);
        self.asm.call(self.stubs.remember[usize::from(store)]);
        let nowhere = self.asm.jump_if_later(Cond::Ne);
        self.asm.bind_to(nowhere, direct);
        self.asm.jump(back);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hart::state::SINK;
    use crate::mmu::memo::Slots;

    fn i(op: Op, rd: u8, rs1: u8, imm: i32) -> Inst {
        Inst { rd, rs1, imm, ..Inst::new(op) }
    }

    fn s(op: Op, rs1: u8, rs2: u8, imm: i32) -> Inst {
        Inst { rd: SINK, rs1, rs2, imm, ..Inst::new(op) }
    }

    fn of(insts: &[Inst]) -> Option<Rounds> {
        let slots = &mut Slots::default();
        Rounds::of(insts, &mut Chooser { slots, pages: &[], pa: 0 })
    }

    fn once(body: &[Inst]) -> Option<Rounds> {
        let slots = &mut Slots::default();
        Rounds::once(body, &mut Chooser { slots, pages: &[], pa: 0 })
    }

    /// Base, beginning and end of the ranges, and before which instruction they are checked.
    fn ranges(rounds: &Rounds) -> Vec<(u8, i64, i64, Option<usize>)> {
        rounds.ranges.iter().map(|(r, _)| (r.base, r.low, r.high, r.first)).collect()
    }

    #[test]
    fn what_is_known_before_all_rounds_is_found() {
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
        assert_eq!(ranges(&rounds), [(10, -15 - 7 * 16, 8, None), (2, 8, 16, None)]);
        // A base that is loaded, alone.
        assert_eq!(rounds.range_of, [Some(0), None, Some(0), Some(1), None]);
    }

    #[test]
    fn what_is_too_far_or_no_loop_is_left_alone() {
        let again = s(Op::Bne, 10, 11, 0);
        assert!(of(&[i(Op::Lw, 14, 10, 0), i(Op::Addi, 10, 10, 1024), again]).is_none());
        assert!(of(&[i(Op::Lw, 14, 10, 0), i(Op::Slli, 10, 10, 1), again]).is_none());
        assert!(of(&[i(Op::Slli, 10, 10, 1), again]).is_some());
        assert!(of(&[i(Op::Lw, 14, 10, 0), s(Op::Bne, 10, 11, 4)]).is_none());
        let long = [[i(Op::Xori, 14, 10, 0); 60].as_slice(), &[again]].concat();
        assert!(of(&long).is_none());
    }

    #[test]
    fn accesses_of_one_round_are_checked_before_the_first() {
        let body = [
            i(Op::Addi, 2, 2, -32),
            s(Op::Sd, 2, 1, 24),
            i(Op::Ld, 10, 10, 0),
            i(Op::Ld, 14, 10, 8),
            i(Op::Xori, 14, 14, 1),
            i(Op::Lw, 13, 10, 100),
            s(Op::Sd, 2, 8, 16),
            i(Op::Addi, 10, 10, 8),
            i(Op::Lw, 12, 10, 96),
            i(Op::Addi, 10, 11, 0),
            i(Op::Lw, 12, 10, 96),
            i(Op::Xori, 14, 14, 1),
            i(Op::Lw, 12, 10, 1000),
        ];
        let rounds = once(&body).expect("some");
        // The first value of a0 is used once, and what is far from the third has no company.
        assert_eq!(ranges(&rounds), [(2, 16, 32, Some(1)), (10, 8, 108, Some(3))]);
        let range_of = rounds.range_of;
        assert_eq!([1, 6].map(|index| range_of[index]), [Some(0); 2]);
        assert_eq!([3, 5, 8].map(|index| range_of[index]), [Some(1); 3]);
        assert_eq!(range_of.iter().flatten().count(), 5);
        assert!(once(&body[..5]).is_none());
    }
}
