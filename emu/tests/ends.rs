//! Runs that cannot go on, and those that only seem so: harts that wait, handlers that trap, the end
//! of time.

mod bare;

use bare::{BASE, Bare, HANDLER};
use emu::inspect::Inspect;
use emu::machine::{MachineConfig, Stop};
use isa::asm::{csrr, i, s};
use isa::csr::{mip, mstatus};
use isa::{Inst, Op, csr, encode};

#[test]
fn waiting_jumps_to_the_next_timer_or_is_forever() {
    let mut bare = Bare::one();
    bare.code(BASE, &[Inst::new(Op::Wfi), s(Op::Sw, 6, 7, 0)]);
    bare.set_x(6, 0x10_0000);
    bare.set_x(7, 0x5555);
    assert!(matches!(bare.run(), Stop::Stuck { pc } if pc == BASE + 4));
    bare.set_csr(csr::MIE, mip::MTIP);
    bare.machine.sys.bus.write(0x200_4000, 8, 1_000_000, 0).unwrap();
    assert!(matches!(bare.run(), Stop::Exit(_)));
    assert_eq!((bare.machine.time(), bare.machine.insns()), (1_000_000, 2));
}

/// A timer may be set for the last tick but one.
#[test]
fn time_comes_to_its_end() {
    let mut bare = Bare::new(MachineConfig { max_insns: Some(1000), ..Default::default() });
    bare.code(BASE, &[Inst::new(Op::Wfi), csrr(5, csr::TIME), i(Op::Jal, 0, 0, -4)]);
    bare.set_csr(csr::MIE, mip::MTIP);
    bare.machine.sys.bus.write(0x200_4000, 8, u64::MAX - 1, 0).unwrap();
    assert_eq!(bare.run(), Stop::MaxInsns);
    assert_eq!((bare.machine.time(), bare.x(5)), (u64::MAX, u64::MAX));
    assert_eq!(bare.machine.sys.clock.nanoseconds(bare.machine.harts[0].retired()), u64::MAX);
}

/// A machine whose hart traps at [`HANDLER`] and nowhere else.
fn trapped(harts: usize) -> Bare {
    let mut bare = Bare::new(MachineConfig { harts, ..Default::default() });
    bare.code(BASE, &[Inst::new(Op::Ecall)]);
    bare
}

#[test]
fn handlers_that_trap_for_ever_end_the_run() {
    let illegal = 2;
    let stop = Stop::Trapped { hart: 0, pc: HANDLER, cause: illegal };
    let mut bare = trapped(1);
    assert_eq!((bare.run(), bare.machine.insns()), (stop, 0));
    // A timer that is set does not matter if its interrupt cannot be taken.
    bare.set_csr(csr::MIE, mip::MTIP);
    bare.machine.sys.bus.write(0x200_4000, 8, 1_000_000, 0).unwrap();
    assert_eq!((bare.run(), bare.machine.time()), (stop, 1_000_000));
    // What is put right goes on.
    bare.code(HANDLER, &[s(Op::Sw, 6, 7, 0)]);
    bare.set_x(6, 0x10_0000);
    bare.set_x(7, 0x5555);
    assert!(matches!(bare.run(), Stop::Exit(_)));
}

#[test]
fn interrupts_free_handlers_that_trap() {
    let mut bare = trapped(1);
    // S-mode's handler is an illegal instruction; M-mode's timer ends the run.
    bare.set_csr(csr::MEDELEG, u64::MAX);
    bare.set_csr(csr::STVEC, BASE + 0x100);
    bare.code(BASE, &[Inst::new(Op::Mret), Inst::new(Op::Ecall)]);
    bare.set_csr(csr::MEPC, BASE + 4);
    bare.set_csr(csr::MSTATUS, 1 << mstatus::MPP_SHIFT);
    bare.code(HANDLER, &[s(Op::Sw, 6, 7, 0)]);
    bare.set_x(6, 0x10_0000);
    bare.set_x(7, 0x5555);
    bare.set_csr(csr::MIE, mip::MTIP);
    bare.machine.sys.bus.write(0x200_4000, 8, 1_000_000, 0).unwrap();
    assert!(matches!(bare.run(), Stop::Exit(_)));
    assert_eq!((bare.machine.time(), bare.csr(csr::MCAUSE)), (1_000_000, 1 << 63 | 7));
}

#[test]
fn other_harts_free_handlers_that_trap() {
    let mut bare = trapped(2);
    let start = BASE + 0x200;
    // The second hart takes its time, and then writes an instruction to where the first one is.
    bare.machine.set_entry(1, start, 0, 0);
    bare.code(start, &[i(Op::Addi, 5, 5, -1), Inst { rs1: 5, imm: -4, ..Inst::new(Op::Bne) }]);
    bare.code(start + 8, &[s(Op::Sw, 10, 11, 0), Inst::new(Op::Wfi)]);
    bare.machine.set_x(1, 5, 1_000_000);
    bare.machine.set_x(1, 10, HANDLER);
    bare.machine.set_x(1, 11, encode(&s(Op::Sw, 6, 7, 0)).into());
    bare.set_x(6, 0x10_0000);
    bare.set_x(7, 0x5555);
    assert!(matches!(bare.run(), Stop::Exit(_)));
    assert_eq!(bare.machine.insns(), 2_000_003);
}
