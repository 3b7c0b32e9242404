//! A small assembler for the code around the streams.

use isa::asm::i;
use isa::{Inst, Op, encode};

/// Instructions that make a constant.
pub fn li(rd: u8, value: u64) -> Vec<Inst> {
    let signed = value as i64;
    let low = (signed << 52) >> 52;
    if signed == low {
        return vec![i(Op::Addi, rd, 0, low as i32)];
    }
    if signed == i64::from(signed as i32) {
        let upper = i(Op::Lui, rd, 0, (signed.wrapping_sub(low)) as i32);
        return vec![upper, i(Op::Addiw, rd, rd, low as i32)];
    }
    let mut insts = li(rd, (signed.wrapping_sub(low) >> 12) as u64);
    insts.extend([i(Op::Slli, rd, rd, 12), i(Op::Addi, rd, rd, low as i32)]);
    insts
}

/// A place that jumps lead to.
#[derive(Clone, Copy, Debug)]
pub struct Label(usize);

/// Code in the making.
#[derive(Debug, Default)]
pub struct Asm {
    insts: Vec<Inst>,
    labels: Vec<usize>,
    jumps: Vec<(usize, usize)>,
}

impl Asm {
    /// Adds instructions.
    pub fn add(&mut self, insts: impl IntoIterator<Item = Inst>) {
        self.insts.extend(insts);
    }

    /// A label, to be bound later.
    pub fn label(&mut self) -> Label {
        self.labels.push(0);
        Label(self.labels.len() - 1)
    }

    /// The label is here.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.0] = self.insts.len();
    }

    /// Adds a branch or `jal` to a label.
    pub fn jump(&mut self, inst: Inst, label: Label) {
        self.jumps.push((self.insts.len(), label.0));
        self.insts.push(inst);
    }

    /// The words.
    pub fn finish(mut self) -> Vec<u32> {
        for (at, label) in self.jumps {
            self.insts[at].imm = (self.labels[label] as i32 - at as i32) * 4;
        }
        self.insts.iter().map(encode).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the instructions of `li` make.
    fn value(insts: &[Inst]) -> u64 {
        insts.iter().fold(0u64, |x, inst| match inst.op {
            Op::Lui => inst.imm as i64 as u64,
            Op::Slli => x << inst.imm,
            Op::Addiw => x.wrapping_add(inst.imm as u64) as i32 as u64,
            _ => x.wrapping_add(inst.imm as i64 as u64),
        })
    }

    #[test]
    fn constants_are_made() {
        let near = [0u64, 1, 0x7ff, 0x800, 0x7fff_ffff, 0x8000_0000, 1 << 37, 1 << 63, u64::MAX];
        for n in near.into_iter().flat_map(|n| [n, n.wrapping_neg(), n.wrapping_add(0x987)]) {
            assert_eq!(value(&li(5, n)), n, "{n:#x}");
        }
    }
}
