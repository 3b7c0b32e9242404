//! The encoder: the inverse of the decoder for 32-bit encodings.

use crate::Inst;

/// The 32-bit encoding of `inst`, also when it came from 16 bits. Parts of the immediate that
/// the encoding has no room for are cut off.
pub const fn encode(inst: &Inst) -> u32 {
    let row = inst.op.row();
    let mut bits = row.bits;
    let mut i = 0;
    while i < row.operands.len() {
        bits |= row.operands[i].insert(inst);
        i += 1;
    }
    bits
}
