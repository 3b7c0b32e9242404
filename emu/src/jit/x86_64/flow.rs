//! The assembler's control flow: jumps, calls, and what they lead to.

use super::asm::{Asm, Cond, Label, NONE, Place, Reg, Width::W32};

impl Asm {
    /// `jmp` to an address.
    pub fn jump(&mut self, target: u64) {
        let label = self.jump_later();
        self.bind_to(label, target);
    }

    /// `call` of an address.
    pub fn call(&mut self, target: u64) {
        self.byte(0xe8);
        let label = self.distance();
        self.bind_to(label, target);
    }

    /// `jmp` to what will be bound.
    pub fn jump_later(&mut self) -> Label {
        self.byte(0xe9);
        self.distance()
    }

    /// `jcc` to what will be bound.
    pub fn jump_if_later(&mut self, cond: Cond) -> Label {
        self.byte(0x0f);
        self.byte(0x80 | cond as u8);
        self.distance()
    }

    fn distance(&mut self) -> Label {
        let label = Label { part: self.part, at: self.length() };
        self.dword(0);
        label
    }

    /// The jump leads to what comes next.
    pub fn bind(&mut self, label: Label) {
        self.bind_to(label, self.here());
    }

    /// The jump leads to an address.
    pub fn bind_to(&mut self, label: Label, target: u64) {
        let distance = target.wrapping_sub(self.address(label) + 4) as i32;
        let bytes = &mut self.code[label.part as usize][label.at..label.at + 4];
        bytes.copy_from_slice(&distance.to_le_bytes());
    }

    /// Where the distance of a jump will lie.
    pub fn address(&self, label: Label) -> u64 {
        self.base[label.part as usize] + label.at as u64
    }

    /// `jmp place`.
    pub fn jump_place(&mut self, place: impl Into<Place>) {
        self.op(NONE, W32, &[0xff], 4, place.into(), false);
    }

    /// `call place`.
    pub fn call_place(&mut self, place: impl Into<Place>) {
        self.op(NONE, W32, &[0xff], 2, place.into(), false);
    }

    /// `push`.
    pub fn push(&mut self, reg: Reg) {
        if reg as u8 >= 8 {
            self.byte(0x41);
        }
        self.byte(0x50 | reg as u8 & 7);
    }

    /// `pop`.
    pub fn pop(&mut self, reg: Reg) {
        if reg as u8 >= 8 {
            self.byte(0x41);
        }
        self.byte(0x58 | reg as u8 & 7);
    }

    /// `ret`.
    pub fn ret(&mut self) {
        self.byte(0xc3);
    }

    /// An instruction that is never executed.
    pub fn ud2(&mut self) {
        self.bytes(&[0x0f, 0x0b]);
    }
}
