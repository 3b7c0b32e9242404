//! THE instruction table: one row per instruction, from which the [`Op`] enum, the decoder, the
//! encoder, the disassembler and their tests follow.
//!
//! A row is: meaning (doc comment), `Op` variant, assembly name, operands in assembly order,
//! the fixed bits, extension. The bits that no operand names are fixed (the row's mask).
//! Source: the unprivileged and privileged manuals' instruction listings. 16-bit encodings are
//! not rows: [`crate::compressed`] expands them. Rounding modes 5 and 6 decode; whether they are
//! legal depends on `frm` as well, so that is judged when the instruction executes.

use crate::{Ext, Operand};

/// What the table says of an instruction.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The instruction.
    pub op: Op,
    /// Assembly name.
    pub mnemonic: &'static str,
    /// Operands in assembly order.
    pub operands: &'static [Operand],
    /// The bits that tell this instruction from others.
    pub mask: u32,
    /// The values of the bits in `mask`.
    pub bits: u32,
    /// The extension that defines it.
    pub ext: Ext,
}

const fn mask(operands: &[Operand]) -> u32 {
    let mut mask = !0;
    let mut i = 0;
    while i < operands.len() {
        mask &= !operands[i].mask();
        i += 1;
    }
    mask
}

macro_rules! table {
    ($($(#[$doc:meta])* $op:ident $name:literal [$($operand:ident)*] $bits:literal $ext:ident;)*) => {
        /// Every instruction after expansion of the 16-bit encodings.
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Op { $($(#[$doc])* $op,)* }

        /// The rows, in the order of [`Op`].
        pub(crate) const ROWS: &[Row] = &[$(Row {
            op: Op::$op,
            mnemonic: $name,
            operands: &[$(Operand::$operand),*],
            mask: mask(&[$(Operand::$operand),*]),
            bits: $bits,
            ext: Ext::$ext,
        },)*];
    };
}

impl Op {
    /// How many there are.
    pub const COUNT: usize = ROWS.len();

    /// All rows of the table, in the order of the enum.
    pub const fn rows() -> &'static [Row] {
        ROWS
    }

    /// This instruction's row of the table.
    #[inline]
    pub const fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Assembly name.
    pub const fn mnemonic(self) -> &'static str {
        self.row().mnemonic
    }

    /// The extension that defines it.
    pub const fn ext(self) -> Ext {
        self.row().ext
    }
}

table! {
    // RV64I: upper immediates, jumps, branches.
    /// rd = imm, the upper 20 bits of a sign-extended 32-bit value.
    Lui "lui" [Rd Upper] 0x0000_0037 I;
    /// rd = pc + imm, imm being a multiple of 4096.
    Auipc "auipc" [Rd Upper] 0x0000_0017 I;
    /// rd = pc + len; jump to pc + imm.
    Jal "jal" [Rd Jump] 0x0000_006f I;
    /// rd = pc + len; jump to (rs1 + imm) with bit 0 cleared.
    Jalr "jalr" [Rd Mem] 0x0000_0067 I;
    /// Branch to pc + imm if rs1 == rs2.
    Beq "beq" [Rs1 Rs2 Branch] 0x0000_0063 I;
    /// Branch to pc + imm if rs1 != rs2.
    Bne "bne" [Rs1 Rs2 Branch] 0x0000_1063 I;
    /// Branch to pc + imm if rs1 < rs2, signed.
    Blt "blt" [Rs1 Rs2 Branch] 0x0000_4063 I;
    /// Branch to pc + imm if rs1 >= rs2, signed.
    Bge "bge" [Rs1 Rs2 Branch] 0x0000_5063 I;
    /// Branch to pc + imm if rs1 < rs2, unsigned.
    Bltu "bltu" [Rs1 Rs2 Branch] 0x0000_6063 I;
    /// Branch to pc + imm if rs1 >= rs2, unsigned.
    Bgeu "bgeu" [Rs1 Rs2 Branch] 0x0000_7063 I;

    // RV64I: loads and stores.
    /// rd = mem[rs1 + imm]: 8-bit load, sign-extended.
    Lb "lb" [Rd Mem] 0x0000_0003 I;
    /// rd = mem[rs1 + imm]: 16-bit load, sign-extended.
    Lh "lh" [Rd Mem] 0x0000_1003 I;
    /// rd = mem[rs1 + imm]: 32-bit load, sign-extended.
    Lw "lw" [Rd Mem] 0x0000_2003 I;
    /// rd = mem[rs1 + imm]: 64-bit load.
    Ld "ld" [Rd Mem] 0x0000_3003 I;
    /// rd = mem[rs1 + imm]: 8-bit load, zero-extended.
    Lbu "lbu" [Rd Mem] 0x0000_4003 I;
    /// rd = mem[rs1 + imm]: 16-bit load, zero-extended.
    Lhu "lhu" [Rd Mem] 0x0000_5003 I;
    /// rd = mem[rs1 + imm]: 32-bit load, zero-extended.
    Lwu "lwu" [Rd Mem] 0x0000_6003 I;
    /// mem[rs1 + imm] = rs2: 8-bit store.
    Sb "sb" [Rs2 MemS] 0x0000_0023 I;
    /// mem[rs1 + imm] = rs2: 16-bit store.
    Sh "sh" [Rs2 MemS] 0x0000_1023 I;
    /// mem[rs1 + imm] = rs2: 32-bit store.
    Sw "sw" [Rs2 MemS] 0x0000_2023 I;
    /// mem[rs1 + imm] = rs2: 64-bit store.
    Sd "sd" [Rs2 MemS] 0x0000_3023 I;

    // RV64I: immediate arithmetic. `slti` with rd = x0 carries trace hints; `ori` with rd = x0 holds the prefetches.
    /// rd = rs1 + imm.
    Addi "addi" [Rd Rs1 Imm] 0x0000_0013 I;
    /// rd = (rs1 < imm), signed.
    Slti "slti" [Rd Rs1 Imm] 0x0000_2013 I;
    /// rd = (rs1 < imm), unsigned after sign extension.
    Sltiu "sltiu" [Rd Rs1 Imm] 0x0000_3013 I;
    /// rd = rs1 ^ imm.
    Xori "xori" [Rd Rs1 Imm] 0x0000_4013 I;
    /// rd = rs1 | imm.
    Ori "ori" [Rd Rs1 Imm] 0x0000_6013 I;
    /// rd = rs1 & imm.
    Andi "andi" [Rd Rs1 Imm] 0x0000_7013 I;
    /// rd = rs1 << imm.
    Slli "slli" [Rd Rs1 Shamt6] 0x0000_1013 I;
    /// rd = rs1 >> imm, logical.
    Srli "srli" [Rd Rs1 Shamt6] 0x0000_5013 I;
    /// rd = rs1 >> imm, arithmetic.
    Srai "srai" [Rd Rs1 Shamt6] 0x4000_5013 I;
    /// rd = sext32(rs1 + imm).
    Addiw "addiw" [Rd Rs1 Imm] 0x0000_001b I;
    /// rd = sext32(rs1 << imm).
    Slliw "slliw" [Rd Rs1 Shamt5] 0x0000_101b I;
    /// rd = sext32(rs1[31:0] >> imm), logical.
    Srliw "srliw" [Rd Rs1 Shamt5] 0x0000_501b I;
    /// rd = sext32(rs1[31:0] >> imm), arithmetic.
    Sraiw "sraiw" [Rd Rs1 Shamt5] 0x4000_501b I;

    // RV64I: register arithmetic.
    /// rd = rs1 + rs2.
    Add "add" [Rd Rs1 Rs2] 0x0000_0033 I;
    /// rd = rs1 - rs2.
    Sub "sub" [Rd Rs1 Rs2] 0x4000_0033 I;
    /// rd = rs1 << rs2[5:0].
    Sll "sll" [Rd Rs1 Rs2] 0x0000_1033 I;
    /// rd = (rs1 < rs2), signed.
    Slt "slt" [Rd Rs1 Rs2] 0x0000_2033 I;
    /// rd = (rs1 < rs2), unsigned.
    Sltu "sltu" [Rd Rs1 Rs2] 0x0000_3033 I;
    /// rd = rs1 ^ rs2.
    Xor "xor" [Rd Rs1 Rs2] 0x0000_4033 I;
    /// rd = rs1 >> rs2[5:0], logical.
    Srl "srl" [Rd Rs1 Rs2] 0x0000_5033 I;
    /// rd = rs1 >> rs2[5:0], arithmetic.
    Sra "sra" [Rd Rs1 Rs2] 0x4000_5033 I;
    /// rd = rs1 | rs2.
    Or "or" [Rd Rs1 Rs2] 0x0000_6033 I;
    /// rd = rs1 & rs2.
    And "and" [Rd Rs1 Rs2] 0x0000_7033 I;
    /// rd = sext32(rs1 + rs2).
    Addw "addw" [Rd Rs1 Rs2] 0x0000_003b I;
    /// rd = sext32(rs1 - rs2).
    Subw "subw" [Rd Rs1 Rs2] 0x4000_003b I;
    /// rd = sext32(rs1 << rs2[4:0]).
    Sllw "sllw" [Rd Rs1 Rs2] 0x0000_103b I;
    /// rd = sext32(rs1[31:0] >> rs2[4:0]), logical.
    Srlw "srlw" [Rd Rs1 Rs2] 0x0000_503b I;
    /// rd = sext32(rs1[31:0] >> rs2[4:0]), arithmetic.
    Sraw "sraw" [Rd Rs1 Rs2] 0x4000_503b I;

    // RV64I and Zifencei: fences; `fence w,0` is the `pause` hint.
    /// Order memory accesses; imm = fm, pred and succ. rd and rs1 are ignored, as the manual asks.
    Fence "fence" [Fence] 0x0000_000f I;
    /// Make earlier stores visible to instruction fetch. Its fields are ignored.
    FenceI "fence.i" [Ignored] 0x0000_100f Zifencei;

    // Environment and privileged instructions.
    /// Trap to the environment.
    Ecall "ecall" [] 0x0000_0073 I;
    /// Trap to the debugger.
    Ebreak "ebreak" [] 0x0010_0073 I;
    /// Return from a trap taken to S-mode.
    Sret "sret" [] 0x1020_0073 S;
    /// Return from a trap taken to M-mode.
    Mret "mret" [] 0x3020_0073 I;
    /// Wait for an interrupt.
    Wfi "wfi" [] 0x1050_0073 I;
    /// Order page-table writes before later walks: address rs1 (or all), ASID rs2 (or all).
    SfenceVma "sfence.vma" [Rs1 Rs2] 0x1200_0073 S;
    /// As `sfence.vma`, between the two fences below.
    SinvalVma "sinval.vma" [Rs1 Rs2] 0x1600_0073 Svinval;
    /// Earlier stores come before later `sinval.vma`.
    SfenceWInval "sfence.w.inval" [] 0x1800_0073 Svinval;
    /// Earlier `sinval.vma` come before later implicit references.
    SfenceInvalIr "sfence.inval.ir" [] 0x1810_0073 Svinval;

    // Zicsr.
    /// rd = csr; csr = rs1. With rd = x0 the CSR is not read.
    Csrrw "csrrw" [Rd Csr Rs1] 0x0000_1073 Zicsr;
    /// rd = csr; csr |= rs1. With rs1 = x0 the CSR is not written.
    Csrrs "csrrs" [Rd Csr Rs1] 0x0000_2073 Zicsr;
    /// rd = csr; csr &= !rs1. With rs1 = x0 the CSR is not written.
    Csrrc "csrrc" [Rd Csr Rs1] 0x0000_3073 Zicsr;
    /// rd = csr; csr = zimm, the rs1 field. With rd = x0 the CSR is not read.
    Csrrwi "csrrwi" [Rd Csr Zimm] 0x0000_5073 Zicsr;
    /// rd = csr; csr |= zimm, the rs1 field. With zimm = 0 the CSR is not written.
    Csrrsi "csrrsi" [Rd Csr Zimm] 0x0000_6073 Zicsr;
    /// rd = csr; csr &= !zimm, the rs1 field. With zimm = 0 the CSR is not written.
    Csrrci "csrrci" [Rd Csr Zimm] 0x0000_7073 Zicsr;

    // Zicbom and Zicboz.
    /// Invalidate the cache block that holds address rs1.
    CboInval "cbo.inval" [Addr] 0x0000_200f Zicbom;
    /// Clean the cache block that holds address rs1.
    CboClean "cbo.clean" [Addr] 0x0010_200f Zicbom;
    /// Clean and invalidate the cache block that holds address rs1.
    CboFlush "cbo.flush" [Addr] 0x0020_200f Zicbom;
    /// Zero the cache block that holds address rs1.
    CboZero "cbo.zero" [Addr] 0x0040_200f Zicboz;

    // M.
    /// rd = (rs1 * rs2)[63:0].
    Mul "mul" [Rd Rs1 Rs2] 0x0200_0033 M;
    /// rd = (rs1 * rs2)[127:64], signed by signed.
    Mulh "mulh" [Rd Rs1 Rs2] 0x0200_1033 M;
    /// rd = (rs1 * rs2)[127:64], signed by unsigned.
    Mulhsu "mulhsu" [Rd Rs1 Rs2] 0x0200_2033 M;
    /// rd = (rs1 * rs2)[127:64], unsigned by unsigned.
    Mulhu "mulhu" [Rd Rs1 Rs2] 0x0200_3033 M;
    /// rd = rs1 / rs2, signed, towards zero; by zero: -1; overflow: rs1.
    Div "div" [Rd Rs1 Rs2] 0x0200_4033 M;
    /// rd = rs1 / rs2, unsigned; by zero: all ones.
    Divu "divu" [Rd Rs1 Rs2] 0x0200_5033 M;
    /// rd = rs1 % rs2, signed; by zero: rs1; overflow: 0.
    Rem "rem" [Rd Rs1 Rs2] 0x0200_6033 M;
    /// rd = rs1 % rs2, unsigned; by zero: rs1.
    Remu "remu" [Rd Rs1 Rs2] 0x0200_7033 M;
    /// rd = sext32(rs1 * rs2).
    Mulw "mulw" [Rd Rs1 Rs2] 0x0200_003b M;
    /// rd = sext32(rs1 / rs2), 32-bit signed.
    Divw "divw" [Rd Rs1 Rs2] 0x0200_403b M;
    /// rd = sext32(rs1 / rs2), 32-bit unsigned.
    Divuw "divuw" [Rd Rs1 Rs2] 0x0200_503b M;
    /// rd = sext32(rs1 % rs2), 32-bit signed.
    Remw "remw" [Rd Rs1 Rs2] 0x0200_603b M;
    /// rd = sext32(rs1 % rs2), 32-bit unsigned.
    Remuw "remuw" [Rd Rs1 Rs2] 0x0200_703b M;

    // A; imm = aq << 1 | rl.
    /// rd = sext32(mem[rs1]): 32-bit load; reserve the address.
    LrW "lr.w" [Rd Addr AqRl] 0x1000_202f A;
    /// mem[rs1] = rs2 and rd = 0 if the reservation holds, else rd = 1: 32-bit.
    ScW "sc.w" [Rd Rs2 Addr AqRl] 0x1800_202f A;
    /// rd = old = sext32(mem[rs1]); mem[rs1] = rs2: 32-bit.
    AmoswapW "amoswap.w" [Rd Rs2 Addr AqRl] 0x0800_202f A;
    /// rd = old = sext32(mem[rs1]); mem[rs1] = old + rs2: 32-bit.
    AmoaddW "amoadd.w" [Rd Rs2 Addr AqRl] 0x0000_202f A;
    /// rd = old = sext32(mem[rs1]); mem[rs1] = old ^ rs2: 32-bit.
    AmoxorW "amoxor.w" [Rd Rs2 Addr AqRl] 0x2000_202f A;
    /// rd = old = sext32(mem[rs1]); mem[rs1] = old & rs2: 32-bit.
    AmoandW "amoand.w" [Rd Rs2 Addr AqRl] 0x6000_202f A;
    /// rd = old = sext32(mem[rs1]); mem[rs1] = old | rs2: 32-bit.
    AmoorW "amoor.w" [Rd Rs2 Addr AqRl] 0x4000_202f A;
    /// rd = old = sext32(mem[rs1]); mem[rs1] = min(old, rs2), signed: 32-bit.
    AmominW "amomin.w" [Rd Rs2 Addr AqRl] 0x8000_202f A;
    /// rd = old = sext32(mem[rs1]); mem[rs1] = max(old, rs2), signed: 32-bit.
    AmomaxW "amomax.w" [Rd Rs2 Addr AqRl] 0xa000_202f A;
    /// rd = old = sext32(mem[rs1]); mem[rs1] = min(old, rs2), unsigned: 32-bit.
    AmominuW "amominu.w" [Rd Rs2 Addr AqRl] 0xc000_202f A;
    /// rd = old = sext32(mem[rs1]); mem[rs1] = max(old, rs2), unsigned: 32-bit.
    AmomaxuW "amomaxu.w" [Rd Rs2 Addr AqRl] 0xe000_202f A;
    /// rd = mem[rs1]: 64-bit load; reserve the address.
    LrD "lr.d" [Rd Addr AqRl] 0x1000_302f A;
    /// mem[rs1] = rs2 and rd = 0 if the reservation holds, else rd = 1: 64-bit.
    ScD "sc.d" [Rd Rs2 Addr AqRl] 0x1800_302f A;
    /// rd = old = mem[rs1]; mem[rs1] = rs2: 64-bit.
    AmoswapD "amoswap.d" [Rd Rs2 Addr AqRl] 0x0800_302f A;
    /// rd = old = mem[rs1]; mem[rs1] = old + rs2: 64-bit.
    AmoaddD "amoadd.d" [Rd Rs2 Addr AqRl] 0x0000_302f A;
    /// rd = old = mem[rs1]; mem[rs1] = old ^ rs2: 64-bit.
    AmoxorD "amoxor.d" [Rd Rs2 Addr AqRl] 0x2000_302f A;
    /// rd = old = mem[rs1]; mem[rs1] = old & rs2: 64-bit.
    AmoandD "amoand.d" [Rd Rs2 Addr AqRl] 0x6000_302f A;
    /// rd = old = mem[rs1]; mem[rs1] = old | rs2: 64-bit.
    AmoorD "amoor.d" [Rd Rs2 Addr AqRl] 0x4000_302f A;
    /// rd = old = mem[rs1]; mem[rs1] = min(old, rs2), signed: 64-bit.
    AmominD "amomin.d" [Rd Rs2 Addr AqRl] 0x8000_302f A;
    /// rd = old = mem[rs1]; mem[rs1] = max(old, rs2), signed: 64-bit.
    AmomaxD "amomax.d" [Rd Rs2 Addr AqRl] 0xa000_302f A;
    /// rd = old = mem[rs1]; mem[rs1] = min(old, rs2), unsigned: 64-bit.
    AmominuD "amominu.d" [Rd Rs2 Addr AqRl] 0xc000_302f A;
    /// rd = old = mem[rs1]; mem[rs1] = max(old, rs2), unsigned: 64-bit.
    AmomaxuD "amomaxu.d" [Rd Rs2 Addr AqRl] 0xe000_302f A;

    // F: 32-bit floating point.
    /// fd = mem[rs1 + imm]: 32-bit load, NaN-boxed.
    Flw "flw" [Fd Mem] 0x0000_2007 F;
    /// mem[rs1 + imm] = fs2: 32-bit store.
    Fsw "fsw" [Fs2 MemS] 0x0000_2027 F;
    /// fd = (fs1 * fs2) + fs3, rounded once.
    FmaddS "fmadd.s" [Fd Fs1 Fs2 Fs3 Rm] 0x0000_0043 F;
    /// fd = (fs1 * fs2) - fs3, rounded once.
    FmsubS "fmsub.s" [Fd Fs1 Fs2 Fs3 Rm] 0x0000_0047 F;
    /// fd = -(fs1 * fs2) + fs3, rounded once.
    FnmsubS "fnmsub.s" [Fd Fs1 Fs2 Fs3 Rm] 0x0000_004b F;
    /// fd = -(fs1 * fs2) - fs3, rounded once.
    FnmaddS "fnmadd.s" [Fd Fs1 Fs2 Fs3 Rm] 0x0000_004f F;
    /// fd = fs1 + fs2.
    FaddS "fadd.s" [Fd Fs1 Fs2 Rm] 0x0000_0053 F;
    /// fd = fs1 - fs2.
    FsubS "fsub.s" [Fd Fs1 Fs2 Rm] 0x0800_0053 F;
    /// fd = fs1 * fs2.
    FmulS "fmul.s" [Fd Fs1 Fs2 Rm] 0x1000_0053 F;
    /// fd = fs1 / fs2.
    FdivS "fdiv.s" [Fd Fs1 Fs2 Rm] 0x1800_0053 F;
    /// fd = sqrt(fs1).
    FsqrtS "fsqrt.s" [Fd Fs1 Rm] 0x5800_0053 F;
    /// fd = fs1 with the sign of fs2.
    FsgnjS "fsgnj.s" [Fd Fs1 Fs2] 0x2000_0053 F;
    /// fd = fs1 with the opposite of the sign of fs2.
    FsgnjnS "fsgnjn.s" [Fd Fs1 Fs2] 0x2000_1053 F;
    /// fd = fs1 with the exclusive or of both signs.
    FsgnjxS "fsgnjx.s" [Fd Fs1 Fs2] 0x2000_2053 F;
    /// fd = minimumNumber(fs1, fs2).
    FminS "fmin.s" [Fd Fs1 Fs2] 0x2800_0053 F;
    /// fd = maximumNumber(fs1, fs2).
    FmaxS "fmax.s" [Fd Fs1 Fs2] 0x2800_1053 F;
    /// rd = (fs1 == fs2), quiet.
    FeqS "feq.s" [Rd Fs1 Fs2] 0xa000_2053 F;
    /// rd = (fs1 < fs2), signalling.
    FltS "flt.s" [Rd Fs1 Fs2] 0xa000_1053 F;
    /// rd = (fs1 <= fs2), signalling.
    FleS "fle.s" [Rd Fs1 Fs2] 0xa000_0053 F;
    /// rd = one bit for the class of fs1.
    FclassS "fclass.s" [Rd Fs1] 0xe000_1053 F;
    /// rd = fs1 as an integer: signed 32-bit, saturating.
    FcvtWS "fcvt.w.s" [Rd Fs1 Rm] 0xc000_0053 F;
    /// rd = fs1 as an integer: unsigned 32-bit, sign-extended, saturating.
    FcvtWuS "fcvt.wu.s" [Rd Fs1 Rm] 0xc010_0053 F;
    /// rd = fs1 as an integer: signed 64-bit, saturating.
    FcvtLS "fcvt.l.s" [Rd Fs1 Rm] 0xc020_0053 F;
    /// rd = fs1 as an integer: unsigned 64-bit, saturating.
    FcvtLuS "fcvt.lu.s" [Rd Fs1 Rm] 0xc030_0053 F;
    /// fd = rs1 as a float: signed 32-bit.
    FcvtSW "fcvt.s.w" [Fd Rs1 Rm] 0xd000_0053 F;
    /// fd = rs1 as a float: unsigned 32-bit.
    FcvtSWu "fcvt.s.wu" [Fd Rs1 Rm] 0xd010_0053 F;
    /// fd = rs1 as a float: signed 64-bit.
    FcvtSL "fcvt.s.l" [Fd Rs1 Rm] 0xd020_0053 F;
    /// fd = rs1 as a float: unsigned 64-bit.
    FcvtSLu "fcvt.s.lu" [Fd Rs1 Rm] 0xd030_0053 F;
    /// rd = the bits of fs1, sign-extended from 32.
    FmvXW "fmv.x.w" [Rd Fs1] 0xe000_0053 F;
    /// fd = the bits of rs1, NaN-boxed from 32.
    FmvWX "fmv.w.x" [Fd Rs1] 0xf000_0053 F;

    // D: 64-bit floating point.
    /// fd = mem[rs1 + imm]: 64-bit load.
    Fld "fld" [Fd Mem] 0x0000_3007 D;
    /// mem[rs1 + imm] = fs2: 64-bit store.
    Fsd "fsd" [Fs2 MemS] 0x0000_3027 D;
    /// fd = (fs1 * fs2) + fs3, rounded once.
    FmaddD "fmadd.d" [Fd Fs1 Fs2 Fs3 Rm] 0x0200_0043 D;
    /// fd = (fs1 * fs2) - fs3, rounded once.
    FmsubD "fmsub.d" [Fd Fs1 Fs2 Fs3 Rm] 0x0200_0047 D;
    /// fd = -(fs1 * fs2) + fs3, rounded once.
    FnmsubD "fnmsub.d" [Fd Fs1 Fs2 Fs3 Rm] 0x0200_004b D;
    /// fd = -(fs1 * fs2) - fs3, rounded once.
    FnmaddD "fnmadd.d" [Fd Fs1 Fs2 Fs3 Rm] 0x0200_004f D;
    /// fd = fs1 + fs2.
    FaddD "fadd.d" [Fd Fs1 Fs2 Rm] 0x0200_0053 D;
    /// fd = fs1 - fs2.
    FsubD "fsub.d" [Fd Fs1 Fs2 Rm] 0x0a00_0053 D;
    /// fd = fs1 * fs2.
    FmulD "fmul.d" [Fd Fs1 Fs2 Rm] 0x1200_0053 D;
    /// fd = fs1 / fs2.
    FdivD "fdiv.d" [Fd Fs1 Fs2 Rm] 0x1a00_0053 D;
    /// fd = sqrt(fs1).
    FsqrtD "fsqrt.d" [Fd Fs1 Rm] 0x5a00_0053 D;
    /// fd = fs1 with the sign of fs2.
    FsgnjD "fsgnj.d" [Fd Fs1 Fs2] 0x2200_0053 D;
    /// fd = fs1 with the opposite of the sign of fs2.
    FsgnjnD "fsgnjn.d" [Fd Fs1 Fs2] 0x2200_1053 D;
    /// fd = fs1 with the exclusive or of both signs.
    FsgnjxD "fsgnjx.d" [Fd Fs1 Fs2] 0x2200_2053 D;
    /// fd = minimumNumber(fs1, fs2).
    FminD "fmin.d" [Fd Fs1 Fs2] 0x2a00_0053 D;
    /// fd = maximumNumber(fs1, fs2).
    FmaxD "fmax.d" [Fd Fs1 Fs2] 0x2a00_1053 D;
    /// rd = (fs1 == fs2), quiet.
    FeqD "feq.d" [Rd Fs1 Fs2] 0xa200_2053 D;
    /// rd = (fs1 < fs2), signalling.
    FltD "flt.d" [Rd Fs1 Fs2] 0xa200_1053 D;
    /// rd = (fs1 <= fs2), signalling.
    FleD "fle.d" [Rd Fs1 Fs2] 0xa200_0053 D;
    /// rd = one bit for the class of fs1.
    FclassD "fclass.d" [Rd Fs1] 0xe200_1053 D;
    /// fd = fs1 narrowed to 32 bits.
    FcvtSD "fcvt.s.d" [Fd Fs1 Rm] 0x4010_0053 D;
    /// fd = fs1 widened to 64 bits; exact.
    FcvtDS "fcvt.d.s" [Fd Fs1 Rm] 0x4200_0053 D;
    /// rd = fs1 as an integer: signed 32-bit, saturating.
    FcvtWD "fcvt.w.d" [Rd Fs1 Rm] 0xc200_0053 D;
    /// rd = fs1 as an integer: unsigned 32-bit, sign-extended, saturating.
    FcvtWuD "fcvt.wu.d" [Rd Fs1 Rm] 0xc210_0053 D;
    /// rd = fs1 as an integer: signed 64-bit, saturating.
    FcvtLD "fcvt.l.d" [Rd Fs1 Rm] 0xc220_0053 D;
    /// rd = fs1 as an integer: unsigned 64-bit, saturating.
    FcvtLuD "fcvt.lu.d" [Rd Fs1 Rm] 0xc230_0053 D;
    /// fd = rs1 as a float: signed 32-bit; exact.
    FcvtDW "fcvt.d.w" [Fd Rs1 Rm] 0xd200_0053 D;
    /// fd = rs1 as a float: unsigned 32-bit; exact.
    FcvtDWu "fcvt.d.wu" [Fd Rs1 Rm] 0xd210_0053 D;
    /// fd = rs1 as a float: signed 64-bit.
    FcvtDL "fcvt.d.l" [Fd Rs1 Rm] 0xd220_0053 D;
    /// fd = rs1 as a float: unsigned 64-bit.
    FcvtDLu "fcvt.d.lu" [Fd Rs1 Rm] 0xd230_0053 D;
    /// rd = the bits of fs1.
    FmvXD "fmv.x.d" [Rd Fs1] 0xe200_0053 D;
    /// fd = the bits of rs1.
    FmvDX "fmv.d.x" [Fd Rs1] 0xf200_0053 D;

    // Zba.
    /// rd = zext32(rs1) + rs2.
    AddUw "add.uw" [Rd Rs1 Rs2] 0x0800_003b Zba;
    /// rd = (rs1 << 1) + rs2.
    Sh1add "sh1add" [Rd Rs1 Rs2] 0x2000_2033 Zba;
    /// rd = (rs1 << 2) + rs2.
    Sh2add "sh2add" [Rd Rs1 Rs2] 0x2000_4033 Zba;
    /// rd = (rs1 << 3) + rs2.
    Sh3add "sh3add" [Rd Rs1 Rs2] 0x2000_6033 Zba;
    /// rd = (zext32(rs1) << 1) + rs2.
    Sh1addUw "sh1add.uw" [Rd Rs1 Rs2] 0x2000_203b Zba;
    /// rd = (zext32(rs1) << 2) + rs2.
    Sh2addUw "sh2add.uw" [Rd Rs1 Rs2] 0x2000_403b Zba;
    /// rd = (zext32(rs1) << 3) + rs2.
    Sh3addUw "sh3add.uw" [Rd Rs1 Rs2] 0x2000_603b Zba;
    /// rd = zext32(rs1) << imm.
    SlliUw "slli.uw" [Rd Rs1 Shamt6] 0x0800_101b Zba;

    // Zbb.
    /// rd = rs1 & !rs2.
    Andn "andn" [Rd Rs1 Rs2] 0x4000_7033 Zbb;
    /// rd = rs1 | !rs2.
    Orn "orn" [Rd Rs1 Rs2] 0x4000_6033 Zbb;
    /// rd = !(rs1 ^ rs2).
    Xnor "xnor" [Rd Rs1 Rs2] 0x4000_4033 Zbb;
    /// rd = max(rs1, rs2), signed.
    Max "max" [Rd Rs1 Rs2] 0x0a00_6033 Zbb;
    /// rd = max(rs1, rs2), unsigned.
    Maxu "maxu" [Rd Rs1 Rs2] 0x0a00_7033 Zbb;
    /// rd = min(rs1, rs2), signed.
    Min "min" [Rd Rs1 Rs2] 0x0a00_4033 Zbb;
    /// rd = min(rs1, rs2), unsigned.
    Minu "minu" [Rd Rs1 Rs2] 0x0a00_5033 Zbb;
    /// rd = rs1 rotated left by rs2[5:0].
    Rol "rol" [Rd Rs1 Rs2] 0x6000_1033 Zbb;
    /// rd = rs1 rotated right by rs2[5:0].
    Ror "ror" [Rd Rs1 Rs2] 0x6000_5033 Zbb;
    /// rd = sext32(rs1[31:0] rotated left by rs2[4:0]).
    Rolw "rolw" [Rd Rs1 Rs2] 0x6000_103b Zbb;
    /// rd = sext32(rs1[31:0] rotated right by rs2[4:0]).
    Rorw "rorw" [Rd Rs1 Rs2] 0x6000_503b Zbb;
    /// rd = rs1 rotated right by imm.
    Rori "rori" [Rd Rs1 Shamt6] 0x6000_5013 Zbb;
    /// rd = sext32(rs1[31:0] rotated right by imm).
    Roriw "roriw" [Rd Rs1 Shamt5] 0x6000_501b Zbb;
    /// rd = leading zeros of rs1; 64 for 0.
    Clz "clz" [Rd Rs1] 0x6000_1013 Zbb;
    /// rd = trailing zeros of rs1; 64 for 0.
    Ctz "ctz" [Rd Rs1] 0x6010_1013 Zbb;
    /// rd = ones in rs1.
    Cpop "cpop" [Rd Rs1] 0x6020_1013 Zbb;
    /// rd = leading zeros of rs1[31:0]; 32 for 0.
    Clzw "clzw" [Rd Rs1] 0x6000_101b Zbb;
    /// rd = trailing zeros of rs1[31:0]; 32 for 0.
    Ctzw "ctzw" [Rd Rs1] 0x6010_101b Zbb;
    /// rd = ones in rs1[31:0].
    Cpopw "cpopw" [Rd Rs1] 0x6020_101b Zbb;
    /// rd = rs1[7:0], sign-extended.
    SextB "sext.b" [Rd Rs1] 0x6040_1013 Zbb;
    /// rd = rs1[15:0], sign-extended.
    SextH "sext.h" [Rd Rs1] 0x6050_1013 Zbb;
    /// rd = rs1[15:0], zero-extended.
    ZextH "zext.h" [Rd Rs1] 0x0800_403b Zbb;
    /// rd = rs1 with each byte that is not zero set to all ones.
    OrcB "orc.b" [Rd Rs1] 0x2870_5013 Zbb;
    /// rd = the bytes of rs1 in reverse order.
    Rev8 "rev8" [Rd Rs1] 0x6b80_5013 Zbb;

    // Zbc: carry-less multiplication.
    /// rd = clmul(rs1, rs2)[63:0].
    Clmul "clmul" [Rd Rs1 Rs2] 0x0a00_1033 Zbc;
    /// rd = clmul(rs1, rs2)[127:64].
    Clmulh "clmulh" [Rd Rs1 Rs2] 0x0a00_3033 Zbc;
    /// rd = clmul(rs1, rs2)[126:63].
    Clmulr "clmulr" [Rd Rs1 Rs2] 0x0a00_2033 Zbc;

    // Zbs.
    /// rd = rs1 with bit rs2[5:0] cleared.
    Bclr "bclr" [Rd Rs1 Rs2] 0x4800_1033 Zbs;
    /// rd = rs1 with bit imm cleared.
    Bclri "bclri" [Rd Rs1 Shamt6] 0x4800_1013 Zbs;
    /// rd = bit rs2[5:0] of rs1.
    Bext "bext" [Rd Rs1 Rs2] 0x4800_5033 Zbs;
    /// rd = bit imm of rs1.
    Bexti "bexti" [Rd Rs1 Shamt6] 0x4800_5013 Zbs;
    /// rd = rs1 with bit rs2[5:0] inverted.
    Binv "binv" [Rd Rs1 Rs2] 0x6800_1033 Zbs;
    /// rd = rs1 with bit imm inverted.
    Binvi "binvi" [Rd Rs1 Shamt6] 0x6800_1013 Zbs;
    /// rd = rs1 with bit rs2[5:0] set.
    Bset "bset" [Rd Rs1 Rs2] 0x2800_1033 Zbs;
    /// rd = rs1 with bit imm set.
    Bseti "bseti" [Rd Rs1 Shamt6] 0x2800_1013 Zbs;
}
