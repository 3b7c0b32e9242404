//! CSR names and rules, trap codes, page-table arithmetic against facts of the manual.

use isa::paging::{Mode, Pa, Ppn, Pte, Satp, Va, leaf_size};
use isa::trap::{Cause, Exception, Interrupt};
use isa::{Priv, csr};

#[test]
fn csr_names_are_unique_and_their_numbers_say_who_may() {
    let names: Vec<(u16, String)> =
        (0..4096).filter_map(|n| csr::name(n).map(|name| (n, name.to_string()))).collect();
    let mut texts: Vec<&String> = names.iter().map(|(_, name)| name).collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), names.len());
    for (number, name) in &names {
        let user = ["f", "c", "t", "i", "h"].iter().any(|c| name.starts_with(c));
        let expected = match name.as_bytes()[0] {
            b's' => Priv::Supervisor,
            b'm' | b'p' => Priv::Machine,
            _ if user => Priv::User,
            _ => panic!("{name}"),
        };
        assert_eq!(csr::min_priv(*number), expected, "{name}");
    }
    for (number, name) in
        [(0x3bf, "pmpaddr15"), (0x3a2, "pmpcfg2"), (0xb1f, "mhpmcounter31"), (0xc03, "hpmcounter3")]
    {
        assert_eq!(csr::name(number).expect(name).to_string(), name);
    }
    assert_eq!(csr::name(0xc20), None);
    assert!(csr::is_read_only(csr::TIME) && csr::is_read_only(csr::MHARTID));
    assert!(!csr::is_read_only(csr::MCYCLE) && !csr::is_read_only(csr::SATP));
}

#[test]
fn sstatus_shows_no_machine_field() {
    use csr::mstatus::*;
    assert_eq!(SSTATUS & (MIE | MPIE | MPP | MPRV | TVM | TW | TSR | SXL), 0);
    assert_eq!(SSTATUS, 0x8000_0003_000d_e762);
    assert_eq!(WRITABLE, 0x7e_79aa);
    assert_eq!(csr::mip::ALL, 0xaaa);
}

#[test]
fn trap_codes_come_back() {
    for code in 0..64 {
        for bits in [code, Cause::INTERRUPT_BIT | code] {
            assert!(Cause::from_bits(bits).is_none_or(|cause| cause.bits() == bits));
        }
    }
    assert_eq!(Cause::from_bits(15), Some(Cause::Exception(Exception::StorePageFault)));
    assert_eq!(Cause::Interrupt(Interrupt::SupervisorTimer).bits(), 0x8000_0000_0000_0005);
    assert_eq!(Exception::from_code(10), None);
    assert_eq!(Exception::from_code(14), None);
    assert_eq!(Exception::DELEGABLE, 0xb3ff);
    assert_eq!(Exception::ALL.len(), 14);
}

#[test]
fn addresses_split_into_indices() {
    let va = Va(0x0000_0012_3456_7abc);
    assert_eq!((va.index(2), va.index(1), va.index(0), va.offset()), (0x48, 0x1a2, 0x167, 0xabc));
    assert_eq!(va.vpn().va(), va.page_start());
    assert_eq!(Pa(0x8765_4321).ppn().pa(), Pa(0x8765_4000));
    let top = Va(!0);
    for level in 0..5 {
        assert_eq!(top.index(level), 511);
    }
    assert_eq!((leaf_size(0), leaf_size(1), leaf_size(2)), (0x1000, 0x20_0000, 0x4000_0000));
}

#[test]
fn canonical_addresses_repeat_their_top_bit() {
    for (mode, bits, levels) in [(Mode::Sv39, 39, 3), (Mode::Sv48, 48, 4), (Mode::Sv57, 57, 5)] {
        assert_eq!((mode.va_bits(), mode.levels()), (bits, levels));
        let half = 1u64 << (bits - 1);
        for (va, canonical) in [
            (0, true),
            (half - 1, true),
            (half, false),
            (half << 1, false),
            (!half, false),
            (half.wrapping_neg() - 1, false),
            (half.wrapping_neg(), true),
            (!0, true),
        ] {
            assert_eq!(mode.is_canonical(Va(va)), canonical, "{mode:?} {va:#x}");
        }
    }
    assert!(Mode::Bare.is_canonical(Va(1 << 63)));
}

#[test]
fn satp_and_pte_fields() {
    let satp = Satp { mode: Mode::Sv48, asid: 0xbeef, ppn: Ppn(0xabc_def0_1234) };
    assert_eq!(satp.bits(), 0x9bee_fabc_def0_1234);
    assert_eq!(Satp::from_bits(satp.bits()), Some(satp));
    for mode in [1, 7, 11, 15] {
        assert_eq!(Satp::from_bits(mode << 60), None);
    }
    let pte = Pte::new(Ppn(0x8_7654), Pte::V | Pte::R | Pte::X | Pte::U | Pte::A);
    assert_eq!(pte.0, 0x21d9_505b);
    assert_eq!(pte.to_string(), "r-xu-a-");
    assert_eq!(pte.ppn(), Ppn(0x8_7654));
    assert!(pte.is_leaf() && pte.valid() && !pte.dirty() && !Pte(Pte::V | Pte::U).is_leaf());
    assert_eq!(Pte::N | Pte::PBMT | Pte::RESERVED | Pte::PPN | Pte::RSW | 0xff, !0);
    assert_eq!(Pte(!0).ppn().0.count_ones(), 44);
}
