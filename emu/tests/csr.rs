//! Registers: which exist, which values they take, who may access them.

mod bare;

use bare::{BASE, Bare};
use emu::inspect::Inspect;
use isa::asm::{csrr, csrw, i};
use isa::csr::{envcfg, mip, mstatus};
use isa::{Op, Priv, csr};

#[test]
fn fields_take_only_legal_values() {
    let mut bare = Bare::one();
    assert_eq!(bare.warl(csr::MSTATUS, u64::MAX) & mstatus::MPP, mstatus::MPP);
    let written = mstatus::WRITABLE | mstatus::SD | mstatus::UXL_64 | mstatus::SXL_64;
    assert_eq!(bare.csr(csr::MSTATUS), written);
    assert_eq!(bare.warl(csr::MSTATUS, 2 << mstatus::MPP_SHIFT) & mstatus::MPP, mstatus::MPP);
    assert_eq!(bare.warl(csr::MSTATUS, 1 << mstatus::MPP_SHIFT) & mstatus::MPP, 1 << 11);
    assert_eq!(bare.warl(csr::MEDELEG, u64::MAX), 0xb3ff);
    assert_eq!(bare.warl(csr::MIDELEG, u64::MAX), 0x222);
    assert_eq!(bare.warl(csr::MIE, u64::MAX), 0xaaa);
    assert_eq!(bare.warl(csr::SIE, 0), 0);
    assert_eq!(bare.csr(csr::MIE), 0x888);
    assert_eq!(bare.warl(csr::MTVEC, 0x8000_0003), 0x8000_0001);
    assert_eq!(bare.warl(csr::STVEC, 0x8000_0002), 0x8000_0000);
    assert_eq!(bare.warl(csr::MEPC, u64::MAX), u64::MAX - 1);
    assert_eq!(bare.warl(csr::MCOUNTINHIBIT, u64::MAX), 0xffff_fffd);
    assert_eq!(bare.warl(csr::MENVCFG, u64::MAX), envcfg::MENVCFG);
    assert_eq!(bare.warl(csr::MENVCFG, 2 << envcfg::CBIE_SHIFT), envcfg::CBIE, "2 is reserved");
    assert_eq!(bare.warl(csr::SENVCFG, u64::MAX), envcfg::SENVCFG);
    assert_eq!(bare.warl(csr::FCSR, u64::MAX), 0xff);
    assert_eq!((bare.csr(csr::FFLAGS), bare.csr(csr::FRM)), (0x1f, 7));
    assert_eq!(bare.warl(0xb03, 5), 0, "other counters read zero");
    assert_eq!(bare.warl(csr::MISA, 0), isa::ext::misa(), "extensions cannot be switched off");
}

#[test]
fn satp_with_an_unsupported_mode_changes_nothing() {
    let mut bare = Bare::one();
    for mode in [0, 8, 9, 10u64] {
        let value = mode << 60 | 0xffff << 44 | 0xfff_ffff_ffff;
        assert_eq!(bare.warl(csr::SATP, value), value);
        for bad in (1..8).chain(11..16) {
            assert_eq!(bare.warl(csr::SATP, bad << 60 | 1), value);
        }
    }
}

#[test]
fn sstatus_sip_and_sie_are_windows() {
    let mut bare = Bare::one();
    bare.set_csr(csr::MIDELEG, mip::SSIP | mip::SEIP);
    bare.set_csr(csr::MIE, mip::ALL);
    assert_eq!(bare.csr(csr::SIE), mip::SSIP | mip::SEIP);
    bare.set_csr(csr::MIP, u64::MAX);
    assert_eq!(bare.csr(csr::MIP), mip::SUPERVISOR);
    assert_eq!(bare.csr(csr::SIP), mip::SSIP | mip::SEIP);
    assert_eq!(bare.warl(csr::SIP, 0), mip::SEIP, "only SSIP can be cleared from S-mode");
    bare.set_csr(csr::MENVCFG, envcfg::STCE);
    assert_eq!(bare.csr(csr::MIP) & mip::STIP, 0, "STIP is the timer's now");
    bare.set_csr(csr::STIMECMP, 0);
    assert_eq!(bare.csr(csr::MIP) & mip::STIP, mip::STIP);
    bare.set_csr(csr::SSTATUS, u64::MAX);
    let seen = mstatus::SSTATUS & mstatus::WRITABLE | mstatus::UXL_64 | mstatus::SD;
    assert_eq!(bare.csr(csr::SSTATUS), seen);
}

/// Executes one CSR instruction in a mode; whether it was legal.
fn legal(bare: &mut Bare, mode: Priv, number: u16, writes: bool) -> bool {
    let op = if writes { Op::Csrrw } else { Op::Csrrs };
    let inst = i(op, 5, 0, number.into());
    bare.code(BASE, &[inst]);
    bare.set_privilege(mode);
    bare.set_pc(BASE);
    match bare.step() {
        None => true,
        Some((cause, value)) => {
            assert_eq!((cause, value), (2, isa::encode(&inst).into()), "{number:#x}");
            false
        }
    }
}

#[test]
fn absent_registers_are_illegal_and_present_ones_have_their_modes() {
    let mut bare = Bare::one();
    bare.set_csr(csr::MSTATUS, mstatus::FS);
    bare.set_csr(csr::MCOUNTEREN, u64::MAX);
    bare.set_csr(csr::SCOUNTEREN, u64::MAX);
    bare.set_csr(csr::MENVCFG, envcfg::STCE);
    for number in 0..0x1000 {
        let exists = bare.machine.csr(0, number).is_some();
        for mode in [Priv::User, Priv::Supervisor, Priv::Machine] {
            let expected = exists && mode >= csr::min_priv(number);
            assert_eq!(legal(&mut bare, mode, number, false), expected, "{number:#x} {mode:?}");
        }
        if exists && csr::is_read_only(number) {
            assert!(!legal(&mut bare, Priv::Machine, number, true), "{number:#x}");
        }
    }
    // What OpenSBI probes for and must not find.
    for absent in [0x15c, 0x150, 0x30c, 0x350, 0x600, 0x747, 0xda0, 0xfb0, 0x5a8, 0x320 + 0x400] {
        assert!(bare.machine.csr(0, absent).is_none(), "{absent:#x}");
    }
}

#[test]
fn switches_make_registers_illegal() {
    let mut bare = Bare::one();
    use Priv::{Machine, Supervisor, User};
    assert!(!legal(&mut bare, Machine, csr::FCSR, false), "FS is off");
    assert!(!legal(&mut bare, Supervisor, csr::TIME, false));
    bare.set_csr(csr::MCOUNTEREN, 2);
    assert!(legal(&mut bare, Supervisor, csr::TIME, false));
    assert!(!legal(&mut bare, User, csr::TIME, false));
    assert!(!legal(&mut bare, Supervisor, csr::CYCLE, false));
    bare.set_csr(csr::SCOUNTEREN, 2);
    assert!(legal(&mut bare, User, csr::TIME, false));
    assert!(!legal(&mut bare, Supervisor, csr::STIMECMP, false), "STCE is off");
    bare.set_csr(csr::MENVCFG, envcfg::STCE);
    assert!(legal(&mut bare, Supervisor, csr::STIMECMP, false));
    bare.set_csr(csr::MCOUNTEREN, 0);
    assert!(!legal(&mut bare, Supervisor, csr::STIMECMP, false), "TM is off");
    assert!(legal(&mut bare, Supervisor, csr::SATP, false));
    bare.set_csr(csr::MSTATUS, mstatus::TVM);
    assert!(!legal(&mut bare, Supervisor, csr::SATP, false));
}

#[test]
fn counters_count_and_stand_still() {
    let mut bare = Bare::one();
    let read = |rd| csrr(rd, csr::MINSTRET);
    let nop = i(Op::Addi, 0, 0, 0);
    bare.set_x(20, 1000);
    bare.set_x(21, 4);
    bare.code(
        BASE,
        &[
            read(5),
            nop,
            nop,
            read(6),
            csrw(csr::MINSTRET, 20),
            read(7),
            read(8),
            csrw(csr::MCOUNTINHIBIT, 21),
            nop,
            read(9),
            csrw(csr::MCOUNTINHIBIT, 0),
            nop,
            read(10),
        ],
    );
    for _ in 0..13 {
        assert_eq!(bare.step(), None);
    }
    let values: Vec<_> = (5..11).map(|n| bare.x(n)).collect();
    assert_eq!(values, [0, 3, 1000, 1001, 1003, 1004]);
}

#[test]
fn dirty_floating_point_state_shows() {
    let mut bare = Bare::one();
    bare.code(BASE, &[i(Op::FmvXD, 5, 1, 0), i(Op::FmvDX, 1, 5, 0)]);
    bare.set_csr(csr::MSTATUS, mstatus::FS_CLEAN);
    assert_eq!(bare.step(), None);
    assert_eq!(bare.csr(csr::MSTATUS) & (mstatus::FS | mstatus::SD), mstatus::FS_CLEAN);
    assert_eq!(bare.step(), None);
    let dirty = mstatus::FS_DIRTY | mstatus::SD;
    assert_eq!(bare.csr(csr::MSTATUS) & dirty, dirty);
    assert_eq!(bare.csr(csr::SSTATUS) & dirty, dirty);
}
