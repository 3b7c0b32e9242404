//! The decoder: the table, indexed by the eight bits that tell most rows apart.

use crate::table::{ROWS, Row};
use crate::{Inst, Op, compressed, ext};

/// A row as the search sees it.
#[derive(Clone, Copy)]
struct Candidate {
    mask: u32,
    bits: u32,
    op: Op,
}

const SLOTS: usize = 256;
const OP_FP: u32 = 0b10100;

/// Where in [`INDEX`] a word is looked for: its major opcode and funct3. In OP-FP, where funct3
/// is the rounding mode, the top three bits are used instead.
#[inline]
const fn slot(word: u32) -> usize {
    let opcode = word >> 2 & 31;
    let shift = if opcode == OP_FP { 29 } else { 12 };
    (opcode << 3 | word >> shift & 7) as usize
}

/// The slot with the low bits `low`, if the row is to be found there: they must agree with its
/// fixed bits.
const fn in_slot(row: usize, low: u32) -> Option<usize> {
    let row = &ROWS[row];
    let opcode = row.bits >> 2 & 31;
    let shift = if opcode == OP_FP { 29 } else { 12 };
    if ext::has(row.ext) && (low ^ row.bits >> shift) & (row.mask >> shift) & 7 == 0 {
        Some((opcode << 3 | low) as usize)
    } else {
        None
    }
}

/// `STARTS[slot]..STARTS[slot + 1]` are the slot's candidates.
const STARTS: [u16; SLOTS + 1] = {
    let mut starts = [0; SLOTS + 1];
    let mut row = 0;
    while row < ROWS.len() {
        let mut low = 0;
        while low < 8 {
            if let Some(slot) = in_slot(row, low) {
                starts[slot + 1] += 1;
            }
            low += 1;
        }
        row += 1;
    }
    let mut slot = 0;
    while slot < SLOTS {
        starts[slot + 1] += starts[slot];
        slot += 1;
    }
    starts
};

static INDEX: [u16; SLOTS + 1] = STARTS;

static CANDIDATES: [Candidate; STARTS[SLOTS] as usize] = {
    let mut next = STARTS;
    let mut all = [Candidate { mask: 0, bits: 1, op: Op::Lui }; STARTS[SLOTS] as usize];
    let mut row = 0;
    while row < ROWS.len() {
        let mut low = 0;
        while low < 8 {
            if let Some(slot) = in_slot(row, low) {
                let Row { mask, bits, op, .. } = ROWS[row];
                all[next[slot] as usize] = Candidate { mask, bits, op };
                next[slot] += 1;
            }
            low += 1;
        }
        row += 1;
    }
    all
};

/// Decodes one instruction: the low half of `bits` when that is a 16-bit encoding
/// (`bits & 3 != 3`), else all of it. `None` is an illegal instruction: reserved and custom
/// encodings, and those of absent extensions.
pub fn decode(bits: u32) -> Option<Inst> {
    if bits & 3 != 3 {
        return compressed::expand(bits as u16);
    }
    let slot = slot(bits);
    let range = INDEX[slot] as usize..INDEX[slot + 1] as usize;
    let op = CANDIDATES[range].iter().find(|c| bits & c.mask == c.bits)?.op;
    let mut inst = Inst::new(op);
    for operand in op.row().operands {
        operand.extract(bits, &mut inst);
    }
    Some(inst)
}
