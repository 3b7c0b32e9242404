//! Loops that fill or copy memory, many rounds at a time.
//!
//! A block that is its own successor and does nothing but store one value to consecutive places, or
//! move consecutive words from one place to another, has an effect that is known in advance. All
//! rounds but the last that stay in a page are done at once, and paid for; the last is executed as
//! any block, so that every register ends as it should.

use isa::{Inst, Op};

use super::access::Kind;
use crate::hart::Hart;
use crate::hart::state::SINK;
use crate::mem::{self, PAGE_SIZE};
use crate::mmu::tlb;

/// Fewest rounds that are worth it.
pub const LEAST: i64 = 16;

/// A register that changes by the same amount in every round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counter {
    register: u8,
    step: i64,
}

/// What a loop does.
#[derive(Clone, Debug)]
pub struct Bulk {
    /// All registers that count.
    counters: Vec<Counter>,
    /// The one that the branch compares, and with what.
    pub tested: u8,
    /// What it changes by.
    pub step: i64,
    /// The register that it is compared with.
    pub end: u8,
    /// The branch is `bltu`, not `bne`.
    ordered: bool,
    /// Base register and lowest offset of the stores.
    to: (u8, i64),
    /// Likewise of the loads of a copy, else the register whose value is stored.
    from: Result<(u8, i64), u8>,
    /// Bytes of each access.
    size: u64,
    /// Bytes of a round.
    bytes: u64,
    /// Instructions of a round.
    count: i64,
}

/// An access of a round: register that is loaded or stored, base, offset from the base's value at
/// the beginning of the round.
type Access = (u8, u8, i64);

impl Bulk {
    /// What the block with these instructions does, if it is such a loop.
    pub fn of(insts: &[Inst]) -> Option<Bulk> {
        let (branch, body) = insts.split_last()?;
        if !matches!(branch.op, Op::Bne | Op::Bltu) || branch.imm != 0 || body.len() > 40 {
            return None;
        }
        let mut counters: Vec<Counter> = Vec::new();
        let (mut loads, mut stores): (Vec<Access>, Vec<Access>) = (Vec::new(), Vec::new());
        let mut size = None;
        for inst in body {
            let moved = |r: u8| counters.iter().find(|c| c.register == r).map_or(0, |c| c.step);
            match Kind::of(inst.op) {
                Some(kind) => {
                    if *size.get_or_insert(kind.size) != kind.size {
                        return None;
                    }
                    let offset = i64::from(inst.imm) + moved(inst.rs1);
                    if kind.store {
                        stores.push((inst.rs2, inst.rs1, offset));
                    } else {
                        // Words must be moved in the order in which they are loaded.
                        loads.push((inst.rd, inst.rs1, offset));
                    }
                }
                None if inst.op == Op::Addi && inst.rd == inst.rs1 && inst.imm != 0 => {
                    let step = i64::from(inst.imm);
                    match counters.iter_mut().find(|c| c.register == inst.rd) {
                        Some(counter) => counter.step += step,
                        None => counters.push(Counter { register: inst.rd, step }),
                    }
                }
                None => return None,
            }
        }
        Bulk::check(branch, body, counters, &loads, &stores, size?)
    }

    fn check(
        branch: &Inst,
        body: &[Inst],
        counters: Vec<Counter>,
        loads: &[Access],
        stores: &[Access],
        size: u64,
    ) -> Option<Bulk> {
        let bytes = size * stores.len() as u64;
        let counts = |r: u8| counters.iter().find(|c| c.register == r).copied();
        // Loaded registers are neither bases nor counters nor the end.
        let loaded = |r: u8| loads.iter().any(|(register, ..)| *register == r);
        let (tested, end) = match (counts(branch.rs1), counts(branch.rs2)) {
            (Some(tested), None) => (tested, branch.rs2),
            (None, Some(tested)) if branch.op == Op::Bne => (tested, branch.rs1),
            _ => return None,
        };
        let clash = counters.iter().any(|c| loaded(c.register)) || loaded(end) || tested.step == 0;
        if clash || loaded(SINK) || branch.op == Op::Bltu && tested.step < 0 {
            return None;
        }
        let base = |accesses: &[Access]| {
            let (_, base, _) = *accesses.first()?;
            let mut offsets: Vec<i64> = accesses.iter().map(|access| access.2).collect();
            offsets.sort_unstable();
            let dense = offsets.windows(2).all(|pair| pair[1] - pair[0] == size as i64);
            let same = accesses.iter().all(|access| access.1 == base);
            let steps = counts(base)?.step == bytes as i64;
            (dense && same && steps).then_some((base, offsets[0]))
        };
        let to = base(stores)?;
        let from = if loads.is_empty() {
            let value = stores[0].0;
            let one = stores.iter().all(|store| store.0 == value);
            if !one || counts(value).is_some() {
                return None;
            }
            Err(value)
        } else {
            let from = base(loads)?;
            if loads.len() != stores.len() || !Bulk::moves(body, loads, stores, from.1 - to.1) {
                return None;
            }
            Ok(from)
        };
        let (count, ordered) = (body.len() as i64 + 1, branch.op == Op::Bltu);
        let (tested, step) = (tested.register, tested.step);
        Some(Bulk { counters, tested, step, end, ordered, to, from, size, bytes, count })
    }

    /// Whether every store stores what the load of the place `apart` bytes on loaded: the last load
    /// of that register before it.
    fn moves(body: &[Inst], loads: &[Access], stores: &[Access], apart: i64) -> bool {
        let (mut load, mut store) = (0, 0);
        let mut held: [Option<i64>; 256] = [None; 256];
        for inst in body {
            match Kind::of(inst.op) {
                Some(kind) if kind.store => {
                    let (register, _, offset) = stores[store];
                    store += 1;
                    if held[register as usize] != Some(offset + apart) {
                        return false;
                    }
                }
                Some(_) => {
                    let (register, _, offset) = loads[load];
                    load += 1;
                    held[register as usize] = Some(offset);
                }
                None => {}
            }
        }
        true
    }

    /// How many rounds are left, the present one included.
    fn rounds(&self, hart: &Hart) -> i64 {
        let (now, end) = (hart.x(self.tested.into()), hart.x(self.end.into()));
        let left = end.wrapping_sub(now) as i64;
        if self.ordered {
            return if now < end && left > 0 { quotient(left - 1, self.step) + 1 } else { 1 };
        }
        let rounds = if self.step > 0 {
            quotient(left, self.step)
        } else {
            quotient(left.wrapping_neg(), self.step.wrapping_neg())
        };
        if rounds.wrapping_mul(self.step) == left { rounds } else { 1 }
    }

    /// The host address of an access in the first round, and how many rounds stay in the page.
    fn place(&self, hart: &Hart, at: (u8, i64), store: bool) -> Option<(u64, i64)> {
        let va = hart.x(at.0.into()).wrapping_add(at.1 as u64);
        let space = &hart.ctx.space;
        let array = if store { &space.write } else { &space.read };
        let host = array[tlb::index(va)].host(va, self.size)?;
        Some((host, quotient((PAGE_SIZE - va % PAGE_SIZE) as i64, self.bytes as i64)))
    }

    /// Does as many rounds as possible, but not the last; returns whether that was worth it.
    pub fn run(&self, hart: &mut Hart) -> bool {
        let Some((to, room)) = self.place(hart, self.to, true) else { return false };
        let mut rounds = self.rounds(hart).min(room + 1).saturating_sub(1);
        let from = match self.from {
            Err(value) => Err(hart.x(value.into())),
            Ok(from) => {
                let Some((from, room)) = self.place(hart, from, false) else { return false };
                // The next round's load has to succeed: loaded registers are left to it.
                rounds = rounds.min(room - 1);
                Ok(from)
            }
        };
        if (rounds + 1).saturating_mul(self.count) > hart.ctx.budget {
            rounds = hart.ctx.budget / self.count - 1;
        }
        if rounds < LEAST / 4 {
            return false;
        }
        let length = rounds as u64 * self.bytes;
        match from {
            // SAFETY: the fast TLB has these pages, and the range stays in the page.
            Err(value) => unsafe { mem::fill(to, value, self.size, length) },
            Ok(from) if from.abs_diff(to) < length => return false,
            // SAFETY: as above, and the ranges do not overlap.
            Ok(from) => unsafe { mem::copy(from, to, length) },
        }
        for counter in &self.counters {
            let value = &mut hart.ctx.x[counter.register as usize];
            *value = value.wrapping_add((counter.step * rounds) as u64);
        }
        hart.ctx.budget -= rounds * self.count;
        true
    }
}

/// `value / by` for positive `by`; for negative values any negative number. Divisions are slow, and
/// nearly all steps are powers of two.
fn quotient(value: i64, by: i64) -> i64 {
    let power = by & (by - 1) == 0;
    if power { value >> by.trailing_zeros() } else { value / by }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn i(op: Op, rd: u8, rs1: u8, imm: i32) -> Inst {
        Inst { rd, rs1, imm, ..Inst::new(op) }
    }

    fn s(op: Op, rs1: u8, rs2: u8, imm: i32) -> Inst {
        Inst { rs1, rs2, imm, ..Inst::new(op) }
    }

    #[test]
    fn loops_are_known_for_what_they_do() {
        let (again, up) = (s(Op::Bne, 10, 11, 0), i(Op::Addi, 10, 10, 1));
        let fill = Bulk::of(&[s(Op::Sb, 10, 12, 0), up, again]).expect("a fill");
        assert_eq!((fill.to, fill.from, fill.bytes), ((10, 0), Err(12), 1));
        let late = Bulk::of(&[up, s(Op::Sb, 10, 0, -1), again]).expect("a fill");
        assert_eq!((late.to, late.from), ((10, 0), Err(0)));
        let other = i(Op::Addi, 13, 13, 1);
        let load = i(Op::Lbu, 14, 13, 0);
        let copy = [load, other, up, s(Op::Sb, 10, 14, -1), again];
        assert_eq!(Bulk::of(&copy).expect("a copy").from, Ok((13, 0)));
        // Not at consecutive places; what is stored changes; something else happens; another block.
        assert!(Bulk::of(&[s(Op::Sb, 10, 12, 0), i(Op::Addi, 10, 10, 2), again]).is_none());
        assert!(Bulk::of(&[s(Op::Sb, 10, 10, 0), up, again]).is_none());
        assert!(Bulk::of(&[s(Op::Sb, 10, 12, 0), up, i(Op::Xori, 5, 5, 1), again]).is_none());
        assert!(Bulk::of(&[s(Op::Sb, 10, 12, 0), up, s(Op::Bne, 10, 11, 4)]).is_none());
        assert!(Bulk::of(&[load, other, s(Op::Sb, 10, 15, 0), up, again]).is_none());
        assert!(Bulk::of(&[s(Op::Sb, 10, 14, 0), load, other, up, again]).is_none());
    }

    #[test]
    fn rounds_without_end_are_not_done_at_once() {
        let again = s(Op::Bne, 10, 11, 0);
        let fill =
            Bulk::of(&[s(Op::Sb, 10, 12, 0), i(Op::Addi, 10, 10, 1), again]).expect("a fill");
        let memory = vec![0u8; 2 * PAGE_SIZE as usize];
        let host = (memory.as_ptr().expose_provenance() as u64).next_multiple_of(PAGE_SIZE);
        let mut hart = Hart::new(0, true);
        hart.ctx.space.fill_write(0x1000, host);
        hart.ctx.budget = 1000;
        for (distance, done) in [(1 << 63, false), (0, false), (u64::MAX, false), (100, true)] {
            hart.set_x(10, 0x1000);
            hart.set_x(11, 0x1000u64.wrapping_add(distance));
            assert_eq!(fill.run(&mut hart), done, "{distance:x}");
            assert_eq!(hart.ctx.budget == 1000, !done);
        }
        assert_eq!(hart.x(10), 0x1000 + 99);
    }
}
