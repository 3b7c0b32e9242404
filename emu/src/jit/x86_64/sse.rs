//! The assembler's floating-point part: scalar SSE2 and FMA.

use super::asm::{Asm, NONE, Place, Reg, Width, Width::*, Xmm};

impl Asm {
    /// `movss`/`movsd` from memory, or `movaps` between registers.
    pub fn load_float(&mut self, w: Width, to: Xmm, from: impl Into<Place>) {
        match from.into() {
            from @ Place::Reg(_) => self.op(NONE, W32, &[0x0f, 0x28], to.0, from, false),
            from => self.op(scalar(w), W32, &[0x0f, 0x10], to.0, from, false),
        }
    }

    /// `movss`/`movsd` to memory.
    pub fn store_float(&mut self, w: Width, to: Place, from: Xmm) {
        self.op(scalar(w), W32, &[0x0f, 0x11], from.0, to, false);
    }

    /// `movd`/`movq` to a general-purpose register.
    pub fn float_to_reg(&mut self, w: Width, to: Reg, from: Xmm) {
        self.op(0x66, w, &[0x0f, 0x7e], from.0, to.into(), false);
    }

    /// A scalar operation of the 0F page: 58 add, 59 multiply, 5C subtract, 5E divide, 51 root,
    /// 5A convert to the other width.
    pub fn float(&mut self, w: Width, opcode: u8, to: Xmm, from: impl Into<Place>) {
        self.op(scalar(w), W32, &[0x0f, opcode], to.0, from.into(), false);
    }

    /// `ucomiss`/`ucomisd`.
    pub fn float_compare(&mut self, w: Width, a: Xmm, b: impl Into<Place>) {
        let prefix = if w == W64 { 0x66 } else { NONE };
        self.op(prefix, W32, &[0x0f, 0x2e], a.0, b.into(), false);
    }

    /// `cvtsi2ss`/`cvtsi2sd` from an integer of width `from_width`.
    pub fn int_to_float(&mut self, w: Width, to: Xmm, from_width: Width, from: impl Into<Place>) {
        self.op(scalar(w), from_width, &[0x0f, 0x2a], to.0, from.into(), false);
    }

    /// `cvttss2si`/`cvttsd2si` to an integer of width `to_width`.
    pub fn float_to_int(&mut self, w: Width, to: Reg, to_width: Width, from: impl Into<Place>) {
        self.op(scalar(w), to_width, &[0x0f, 0x2c], to as u8, from.into(), false);
    }

    /// a = a * b + c or, with `subtract`, a * b - c; the product negated with `negate` (FMA).
    pub fn fma(&mut self, w: Width, negate: bool, subtract: bool, a: Xmm, b: Xmm, c: Place) {
        // The 213 forms: a = b * a + c.
        let opcode = 0xa9 + 4 * u8::from(negate) + 2 * u8::from(subtract);
        self.vex(1, w, opcode, a.0, b.0, c);
    }

    /// `stmxcsr`: control and flags, 32 bits, to memory.
    pub fn store_mxcsr(&mut self, to: Place) {
        self.op(NONE, W32, &[0x0f, 0xae], 3, to, false);
    }

    /// `ldmxcsr`.
    pub fn load_mxcsr(&mut self, from: Place) {
        self.op(NONE, W32, &[0x0f, 0xae], 2, from, false);
    }

    /// `xorps` of a register with itself: zero.
    pub fn zero_float(&mut self, reg: Xmm) {
        self.op(NONE, W32, &[0x0f, 0x57], reg.0, reg.into(), false);
    }
}

/// The prefix of scalar instructions.
fn scalar(w: Width) -> u8 {
    if w == W64 { 0xf2 } else { 0xf3 }
}
