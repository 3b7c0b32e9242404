//! The table against itself: no word belongs to two rows, and encoding undoes decoding.

mod common;

use common::Random;
use isa::{Inst, Op, Operand, decode, disasm, encode, ext};

#[test]
fn no_two_rows_share_a_word() {
    let rows = Op::rows();
    for (i, a) in rows.iter().enumerate() {
        assert_eq!(a.bits & !a.mask, 0, "{}: a fixed bit lies in an operand", a.mnemonic);
        assert_eq!(a.bits & 3, 3, "{}: not a 32-bit encoding", a.mnemonic);
        for b in &rows[i + 1..] {
            let common = a.mask & b.mask;
            assert_ne!(a.bits & common, b.bits & common, "{} and {}", a.mnemonic, b.mnemonic);
            assert_ne!(a.mnemonic, b.mnemonic);
        }
    }
}

#[test]
fn no_operand_overlaps_another() {
    for row in Op::rows() {
        let mut seen = 0;
        for operand in row.operands {
            assert_eq!(seen & operand.mask(), 0, "{}: {operand:?}", row.mnemonic);
            seen |= operand.mask();
        }
    }
}

#[test]
fn every_row_decodes_to_itself_and_encodes_back() {
    let mut random = Random(1);
    for row in Op::rows() {
        assert!(ext::has(row.ext), "{}: its extension is not in the list", row.mnemonic);
        for _ in 0..10_000 {
            let word = random.word_of(row);
            let inst = decode(word).expect("each row is in the decoder's index");
            assert_eq!(inst.op, row.op, "{word:#010x}");
            assert_eq!(inst.len(), 4);
            // Fences ignore rd and rs1 (and `fence.i` its immediate): these come back as zero.
            let kept = match row.operands {
                [Operand::Fence] => row.mask | 0xfff << 20,
                [Operand::Ignored] => row.mask,
                _ => !0,
            };
            assert_eq!(encode(&inst), word & kept, "{}", row.mnemonic);
            assert_eq!(decode(encode(&inst)), Some(inst), "{}", row.mnemonic);
        }
    }
}

#[test]
fn the_index_finds_what_a_linear_search_finds() {
    let mut random = Random(2);
    for _ in 0..1_000_000 {
        let word = random.word();
        let slow = Op::rows().iter().find(|r| word & r.mask == r.bits).map(|r| r.op);
        assert_eq!(decode(word).map(|i| i.op), slow, "{word:#010x}");
    }
}

#[test]
fn compressed_encodings_equal_what_they_expand_to() {
    let mut legal = 0;
    for half in 0..=u16::MAX {
        if half & 3 == 3 {
            continue;
        }
        // The upper half of the word belongs to the next instruction.
        let inst = decode(0xdead_0000 | half as u32);
        assert_eq!(inst, decode(half as u32));
        let Some(inst) = inst else { continue };
        legal += 1;
        assert_eq!(inst.len(), 2);
        let wide = decode(encode(&inst)).expect("expands to a base instruction");
        assert_eq!(Inst { rs2: wide.rs2 | Inst::COMPRESSED, ..wide }, inst, "{half:#06x}");
    }
    assert_eq!(legal, LEGAL_HALVES);
}

/// 3 × 2^14 less the reserved ones, counted from the manual's listings.
const LEGAL_HALVES: u32 = 3 * (1 << 14)
    - 8          // c.addi4spn with a zero immediate
    - 2048       // quadrant 0, funct3 100
    - 64         // c.addiw with rd = x0
    - 32         // c.lui and c.addi16sp with a zero immediate
    - 2 * 64     // c.lwsp and c.ldsp with rd = x0
    - 8 * 8 * 2  // quadrant 1, funct3 100: the last two of the 32-bit column
    - 1; // c.jr with rs1 = x0

#[test]
fn reserved_encodings_are_illegal() {
    for (word, why) in [
        (0x0000_0000, "all zero"),
        (0xffff_ffff, "all ones"),
        (0x0000_707f, "opcode of longer encodings"),
        (0x0000_7003, "load of width 7"),
        (0x0000_4023, "store of width 4"),
        (0x0000_2063, "branch 2"),
        (0x0000_1067, "jalr with funct3 1"),
        (0x0200_101b, "slliw by 32"),
        (0x0400_1013, "slli with bit 26"),
        (0x1010_202f, "lr.w with rs2"),
        (0x0000_002f, "8-bit atomic"),
        (0x0000_4073, "funct3 4 of SYSTEM"),
        (0x3020_00f3, "mret with rd"),
        (0x1200_00f3, "sfence.vma with rd"),
        (0x0010_208f, "cbo.clean with rd"),
        (0x0030_200f, "cbo 3"),
        (0x0400_0053, "16-bit floating add"),
        (0xc040_0053, "fcvt to an unknown integer"),
        (0x2000_3053, "fsgnj 3"),
        (0xa000_3053, "comparison 3"),
        (0x6b80_5013 & !0x0080_0000, "rev8 of 32 bits"),
        (0x0810_403b, "zext.h with rs2"),
    ] {
        assert_eq!(decode(word), None, "{why}");
    }
}

#[test]
fn the_assembly_text_of_each_operand() {
    for (word, text) in [
        (0xfff5_0593, "addi a1,a0,-1"),
        (0x8000_0537, "lui a0,0x80000"),
        (0xfe00_0ee3, "beq zero,zero,0xffc"),
        (0x0080_00ef, "jal ra,0x1008"),
        (0x0080_3703, "ld a4,8(zero)"),
        (0xfea4_3c23, "sd a0,-8(s0)"),
        (0x03f5_1513, "slli a0,a0,0x3f"),
        (0x3405_1573, "csrrw a0,mscratch,a0"),
        (0x3b1f_d073, "csrrwi zero,pmpaddr1,31"),
        (0x7c00_2573, "csrrs a0,0x7c0,zero"),
        (0x1605_a52f, "lr.w.aqrl a0,(a1)"),
        (0x06c5_b52f, "amoadd.d.aqrl a0,a2,(a1)"),
        (0x18c5_f543, "fmadd.s fa0,fa1,fa2,ft3"),
        (0xc205_1553, "fcvt.w.d a0,fa0,rtz"),
        (0x0330_000f, "fence rw,rw"),
        (0x8330_000f, "fence.tso"),
        (0x0100_000f, "pause"),
        (0x0000_100f, "fence.i"),
        (0x12b5_0073, "sfence.vma a0,a1"),
        (0x0045_a00f, "cbo.zero (a1)"),
        (0x0000_8082, "jalr zero,0(ra)"),
        (0x0000_852e, "add a0,zero,a1"),
    ] {
        let inst = decode(word).expect(text);
        assert_eq!(disasm(&inst, 0x1000).to_string(), text);
    }
}

#[test]
fn pause_is_a_fence() {
    assert!(decode(0x0100_000f).is_some_and(|i| i.op == Op::Fence && i.is_pause()));
    assert!(decode(0x0330_000f).is_some_and(|i| !i.is_pause()));
}

#[test]
fn misa_and_the_isa_string_follow_the_list() {
    let letters: String =
        (0..26).filter(|i| ext::misa() >> i & 1 != 0).map(|i| (b'A' + i) as char).collect();
    assert_eq!(letters, "ABCDFIMSU");
    assert_eq!(ext::misa() >> 62, 2);
    assert_eq!(
        ext::IsaString { svadu: true }.to_string(),
        "rv64imafdc_zicbom_zicboz_zicntr_zicsr_zifencei_zihintpause_zihpm_\
         zba_zbb_zbc_zbs_sstc_svadu_svinval_svnapot_svpbmt"
    );
    assert!(!ext::IsaString { svadu: false }.to_string().contains("svadu"));
}
