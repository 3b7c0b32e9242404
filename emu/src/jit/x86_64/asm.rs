//! An assembler for the part of x86-64 that translated code is made of.
//!
//! Source: Intel SDM volume 2, "Instruction Format". Code is collected in two vectors whose first
//! bytes will lie at known addresses, so that jumps to code elsewhere can be written at once.

/// A general-purpose register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[rustfmt::skip]
pub enum Reg { Rax, Rcx, Rdx, Rbx, Rsp, Rbp, Rsi, Rdi, R8, R9, R10, R11, R12, R13, R14, R15 }

/// An SSE register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xmm(pub u8);

/// What an instruction reads or writes besides a register: another register, or memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A register's number, general-purpose or SSE.
    Reg(u8),
    /// Memory at base + displacement.
    At(Reg, i32),
    /// Memory at base + index * (1 << scale) + displacement.
    Indexed(Reg, Reg, u8, i32),
}

impl From<Reg> for Place {
    fn from(reg: Reg) -> Place {
        Place::Reg(reg as u8)
    }
}

impl From<Xmm> for Place {
    fn from(reg: Xmm) -> Place {
        Place::Reg(reg.0)
    }
}

/// Operand size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    W32,
    W64,
}
use Width::{W32, W64};

/// The eight operations that share one encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Alu {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts and rotations: the number is the opcode extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// Bit test and change: the number is the opcode extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bit {
    Test = 4,
    Set = 5,
    Reset = 6,
    Complement = 7,
}

/// Conditions: the number is the low half of the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cond {
    O = 0,
    No = 1,
    B = 2,
    Ae = 3,
    E = 4,
    Ne = 5,
    Be = 6,
    A = 7,
    P = 10,
    Np = 11,
    L = 12,
    Ge = 13,
    Le = 14,
    G = 15,
}

impl Cond {
    /// The condition that holds when this one does not.
    pub fn inverse(self) -> Cond {
        match self {
            Cond::O => Cond::No,
            Cond::No => Cond::O,
            Cond::B => Cond::Ae,
            Cond::Ae => Cond::B,
            Cond::E => Cond::Ne,
            Cond::Ne => Cond::E,
            Cond::A => Cond::Be,
            Cond::Be => Cond::A,
            Cond::P => Cond::Np,
            Cond::Np => Cond::P,
            Cond::L => Cond::Ge,
            Cond::Ge => Cond::L,
            Cond::G => Cond::Le,
            Cond::Le => Cond::G,
        }
    }
}

/// Where code goes: what is executed as a rule is kept together, so that caches hold more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What is executed as a rule.
    Hot,
    /// What is out of the way.
    Cold,
}

/// A jump whose target is not known yet: where its distance is.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Label {
    pub(super) part: Part,
    pub(super) at: usize,
}

/// Legacy prefixes that are part of an opcode, or none.
pub(super) const NONE: u8 = 0;
/// The opcode page of all VEX-encoded instructions here.
const MAP_0F38: u8 = 2;

/// The code so far.
#[derive(Debug)]
pub struct Asm {
    /// Machine code, by part.
    pub(super) code: [Vec<u8>; 2],
    /// Where it will lie.
    pub(super) base: [u64; 2],
    /// Which part is being made.
    pub(super) part: Part,
}

impl Asm {
    /// Nothing yet; the first bytes of the parts will lie at `base`.
    pub fn new(base: [u64; 2]) -> Asm {
        let code = [Vec::with_capacity(1024), Vec::with_capacity(1024)];
        Asm { code, base, part: Part::Hot }
    }

    /// What comes next belongs to another part.
    pub fn switch(&mut self, part: Part) {
        self.part = part;
    }

    /// The machine code of a part.
    pub fn part(&self, part: Part) -> &[u8] {
        &self.code[part as usize]
    }

    /// The address of what comes next.
    pub fn here(&self) -> u64 {
        self.base[self.part as usize] + self.length() as u64
    }

    /// Bytes in the present part.
    pub fn length(&self) -> usize {
        self.code[self.part as usize].len()
    }

    /// Forgets what comes after so many bytes of the present part.
    pub fn truncate(&mut self, length: usize) {
        self.code[self.part as usize].truncate(length);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.code[self.part as usize].extend_from_slice(bytes);
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.code[self.part as usize].push(byte);
    }

    pub(super) fn dword(&mut self, value: i32) {
        self.bytes(&value.to_le_bytes());
    }

    /// Prefix, REX, opcode, ModRM and what belongs to it. `byte_regs`: registers 4 to 7 mean
    /// their low bytes.
    pub(super) fn op(
        &mut self,
        prefix: u8,
        w: Width,
        opcode: &[u8],
        reg: u8,
        place: Place,
        byte_regs: bool,
    ) {
        if prefix != NONE {
            self.byte(prefix);
        }
        let (base, index) = match place {
            Place::Reg(number) => (number, 0),
            Place::At(base, _) => (base as u8, 0),
            Place::Indexed(base, index, ..) => (base as u8, index as u8),
        };
        let rex = 0x40 | u8::from(w == W64) << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3;
        let low_byte = byte_regs
            && ((4..8).contains(&reg) || matches!(place, Place::Reg(number) if number >= 4));
        if rex != 0x40 || low_byte {
            self.byte(rex);
        }
        self.bytes(opcode);
        self.modrm(reg, place);
    }

    fn modrm(&mut self, reg: u8, place: Place) {
        let reg = (reg & 7) << 3;
        let (base, disp) = match place {
            Place::Reg(number) => return self.byte(0xc0 | reg | number & 7),
            Place::At(base, disp) | Place::Indexed(base, _, _, disp) => (base as u8 & 7, disp),
        };
        let short = i8::try_from(disp).is_ok();
        let mode = match (disp, base) {
            (0, base) if base != 5 => 0x00,
            _ if short => 0x40,
            _ => 0x80,
        };
        match place {
            Place::Indexed(_, index, scale, _) => {
                self.byte(mode | reg | 4);
                self.byte(scale << 6 | (index as u8 & 7) << 3 | base);
            }
            _ if base == 4 => {
                self.byte(mode | reg | 4);
                self.byte(0x24);
            }
            _ => self.byte(mode | reg | base),
        }
        match mode {
            0x00 => {}
            0x40 => self.byte(disp as u8),
            _ => self.dword(disp),
        }
    }

    /// A VEX-encoded instruction of the 0F38 page. `pp`: 0, 1 for 66, 2 for F3, 3 for F2.
    pub(super) fn vex(&mut self, pp: u8, w: Width, opcode: u8, reg: u8, extra: u8, place: Place) {
        let (base, index) = match place {
            Place::Reg(number) => (number, 0),
            Place::At(base, _) => (base as u8, 0),
            Place::Indexed(base, index, ..) => (base as u8, index as u8),
        };
        self.byte(0xc4);
        self.byte((!reg >> 3 & 1) << 7 | (!index >> 3 & 1) << 6 | (!base >> 3 & 1) << 5 | MAP_0F38);
        self.byte(u8::from(w == W64) << 7 | (!extra & 15) << 3 | pp);
        self.byte(opcode);
        self.modrm(reg, place);
    }

    // Moves.

    /// `mov to, from`, unless it is the same 64-bit register.
    pub fn mov(&mut self, w: Width, to: Reg, from: impl Into<Place>) {
        let from = from.into();
        if w == W32 || from != Place::from(to) {
            self.op(NONE, w, &[0x8b], to as u8, from, false);
        }
    }

    /// `mov [to], from`.
    pub fn store(&mut self, w: Width, to: Place, from: Reg) {
        self.op(NONE, w, &[0x89], from as u8, to, false);
    }

    /// Stores the low two bytes.
    pub fn store16(&mut self, to: Place, from: Reg) {
        self.op(0x66, W32, &[0x89], from as u8, to, false);
    }

    /// Stores the low byte.
    pub fn store8(&mut self, to: Place, from: Reg) {
        self.op(NONE, W32, &[0x88], from as u8, to, true);
    }

    /// Stores a sign-extended constant.
    pub fn store_imm(&mut self, w: Width, to: Place, value: i32) {
        self.op(NONE, w, &[0xc7], 0, to, false);
        self.dword(value);
    }

    /// Stores a 16-bit constant.
    pub fn store_imm16(&mut self, to: Place, value: i16) {
        self.op(0x66, W32, &[0xc7], 0, to, false);
        self.bytes(&value.to_le_bytes());
    }

    /// Stores an 8-bit constant.
    pub fn store_imm8(&mut self, to: Place, value: i8) {
        self.op(NONE, W32, &[0xc6], 0, to, false);
        self.byte(value as u8);
    }

    /// Any constant, in the shortest form.
    pub fn mov_imm(&mut self, to: Reg, value: u64) {
        if value == 0 {
            self.alu(W32, Alu::Xor, to, to);
        } else if u32::try_from(value).is_ok() {
            if to as u8 >= 8 {
                self.byte(0x41);
            }
            self.byte(0xb8 | to as u8 & 7);
            self.dword(value as i32);
        } else if i32::try_from(value as i64).is_ok() {
            self.op(NONE, W64, &[0xc7], 0, to.into(), false);
            self.dword(value as i32);
        } else {
            self.byte(0x48 | to as u8 >> 3);
            self.byte(0xb8 | to as u8 & 7);
            self.bytes(&value.to_le_bytes());
        }
    }

    /// `movzx`, from 8 bits.
    pub fn movzx8(&mut self, to: Reg, from: impl Into<Place>) {
        self.op(NONE, W32, &[0x0f, 0xb6], to as u8, from.into(), true);
    }

    /// `movzx`, from 16 bits.
    pub fn movzx16(&mut self, to: Reg, from: impl Into<Place>) {
        self.op(NONE, W32, &[0x0f, 0xb7], to as u8, from.into(), false);
    }

    /// `movsx`, from 8 bits to 64.
    pub fn movsx8(&mut self, to: Reg, from: impl Into<Place>) {
        self.op(NONE, W64, &[0x0f, 0xbe], to as u8, from.into(), true);
    }

    /// `movsx`, from 16 bits to 64.
    pub fn movsx16(&mut self, to: Reg, from: impl Into<Place>) {
        self.op(NONE, W64, &[0x0f, 0xbf], to as u8, from.into(), false);
    }

    /// `movsxd`, from 32 bits to 64.
    pub fn movsxd(&mut self, to: Reg, from: impl Into<Place>) {
        self.op(NONE, W64, &[0x63], to as u8, from.into(), false);
    }

    /// `lea`.
    pub fn lea(&mut self, w: Width, to: Reg, place: Place) {
        self.op(NONE, w, &[0x8d], to as u8, place, false);
    }

    /// to = from + value, as `lea` or `mov`.
    pub fn add_to(&mut self, to: Reg, from: Reg, value: i32) {
        match value {
            0 => self.mov(W64, to, from),
            _ => self.lea(W64, to, Place::At(from, value)),
        }
    }

    /// `xchg` of two 64-bit registers.
    pub fn xchg(&mut self, a: Reg, b: Reg) {
        self.op(NONE, W64, &[0x87], a as u8, b.into(), false);
    }

    /// `xchg` of a register and memory.
    pub fn exchange(&mut self, w: Width, place: Place, reg: Reg) {
        self.op(NONE, w, &[0x87], reg as u8, place, false);
    }

    /// `xadd`: memory becomes the sum, the register what memory was.
    pub fn exchange_add(&mut self, w: Width, place: Place, reg: Reg) {
        self.op(NONE, w, &[0x0f, 0xc1], reg as u8, place, false);
    }

    // Integer arithmetic.

    /// `op to, from`.
    pub fn alu(&mut self, w: Width, op: Alu, to: Reg, from: impl Into<Place>) {
        self.op(NONE, w, &[(op as u8) << 3 | 3], to as u8, from.into(), false);
    }

    /// `op [place], from`.
    pub fn alu_store(&mut self, w: Width, op: Alu, place: Place, from: Reg) {
        self.op(NONE, w, &[(op as u8) << 3 | 1], from as u8, place, false);
    }

    /// `op place, constant`.
    pub fn alu_imm(&mut self, w: Width, op: Alu, to: impl Into<Place>, value: i32) {
        match i8::try_from(value) {
            Ok(short) => {
                self.op(NONE, w, &[0x83], op as u8, to.into(), false);
                self.byte(short as u8);
            }
            Err(_) => {
                self.op(NONE, w, &[0x81], op as u8, to.into(), false);
                self.dword(value);
            }
        }
    }

    /// `test place, constant`.
    pub fn test_imm(&mut self, w: Width, place: impl Into<Place>, value: i32) {
        self.op(NONE, w, &[0xf7], 0, place.into(), false);
        self.dword(value);
    }

    /// `test place, reg`.
    pub fn test(&mut self, w: Width, place: impl Into<Place>, reg: Reg) {
        self.op(NONE, w, &[0x85], reg as u8, place.into(), false);
    }

    /// `not`.
    pub fn not(&mut self, reg: Reg) {
        self.op(NONE, W64, &[0xf7], 2, reg.into(), false);
    }

    /// `neg`.
    pub fn neg(&mut self, w: Width, reg: Reg) {
        self.op(NONE, w, &[0xf7], 3, reg.into(), false);
    }

    /// `imul to, from`.
    pub fn imul(&mut self, w: Width, to: Reg, from: impl Into<Place>) {
        self.op(NONE, w, &[0x0f, 0xaf], to as u8, from.into(), false);
    }

    /// rdx:rax = rax * place.
    pub fn mul_wide(&mut self, signed: bool, place: impl Into<Place>) {
        self.op(NONE, W64, &[0xf7], if signed { 5 } else { 4 }, place.into(), false);
    }

    /// rax, rdx = rdx:rax / place, rdx:rax % place.
    pub fn div(&mut self, w: Width, signed: bool, place: impl Into<Place>) {
        self.op(NONE, w, &[0xf7], if signed { 7 } else { 6 }, place.into(), false);
    }

    /// Sign-extends rax into rdx.
    pub fn cqo(&mut self, w: Width) {
        if w == W64 {
            self.byte(0x48);
        }
        self.byte(0x99);
    }

    /// Shift by a constant.
    pub fn shift_imm(&mut self, w: Width, op: Shift, place: impl Into<Place>, by: u8) {
        self.op(NONE, w, &[0xc1], op as u8, place.into(), false);
        self.byte(by);
    }

    /// Shift by cl.
    pub fn shift_cl(&mut self, w: Width, op: Shift, reg: Reg) {
        self.op(NONE, w, &[0xd3], op as u8, reg.into(), false);
    }

    /// `shlx`, `shrx` or `sarx` (BMI2).
    pub fn shift_x(&mut self, w: Width, op: Shift, to: Reg, from: Place, by: Reg) {
        let pp = match op {
            Shift::Shl => 1,
            Shift::Sar => 2,
            _ => 3,
        };
        self.vex(pp, w, 0xf7, to as u8, by as u8, from);
    }

    /// `bt`, `bts`, `btr`, `btc` with a constant.
    pub fn bit_imm(&mut self, op: Bit, reg: Reg, bit: u8) {
        self.op(NONE, W64, &[0x0f, 0xba], op as u8, reg.into(), false);
        self.byte(bit);
    }

    /// `bt`, `bts`, `btr`, `btc` with a register.
    pub fn bit(&mut self, op: Bit, reg: Reg, bit: Reg) {
        self.op(NONE, W64, &[0x0f, 0x83 | (op as u8) << 3], bit as u8, reg.into(), false);
    }

    /// `lzcnt`.
    pub fn lzcnt(&mut self, w: Width, to: Reg, from: impl Into<Place>) {
        self.op(0xf3, w, &[0x0f, 0xbd], to as u8, from.into(), false);
    }

    /// `tzcnt`.
    pub fn tzcnt(&mut self, w: Width, to: Reg, from: impl Into<Place>) {
        self.op(0xf3, w, &[0x0f, 0xbc], to as u8, from.into(), false);
    }

    /// `popcnt`.
    pub fn popcnt(&mut self, w: Width, to: Reg, from: impl Into<Place>) {
        self.op(0xf3, w, &[0x0f, 0xb8], to as u8, from.into(), false);
    }

    /// `bswap`, 64 bits.
    pub fn bswap(&mut self, reg: Reg) {
        self.byte(0x48 | reg as u8 >> 3);
        self.byte(0x0f);
        self.byte(0xc8 | reg as u8 & 7);
    }

    /// `setcc` of the low byte.
    pub fn set(&mut self, cond: Cond, reg: Reg) {
        self.op(NONE, W32, &[0x0f, 0x90 | cond as u8], 0, reg.into(), true);
    }

    /// `cmovcc`.
    pub fn cmov(&mut self, cond: Cond, to: Reg, from: impl Into<Place>) {
        self.op(NONE, W64, &[0x0f, 0x40 | cond as u8], to as u8, from.into(), false);
    }
}
