//! The code around the streams: trap handlers that let them go on, entries, the exit.
//!
//! The handler of M-mode skips what trapped. An `ecall` asks it for a mode in bits 1:0 of [`ARG`]
//! (and moves between the identity and the aliases, where U-mode executes), with bit 2 for the
//! tables to be repaired; if [`ARG`] is negative, for the exit. A fetch that fails repairs the
//! tables and goes on in M-mode. Whoever is lost goes to the end of his stream.

use isa::asm::{csrr, csrw, i, r, s};
use isa::csr::{self, counter, envcfg, mip, mstatus};
use isa::{Inst, Op, Priv, encode};

use crate::asm::{Asm, Label, li};
use crate::case::{Case, Kind};
use crate::layout::*;

const CLINT: u64 = 0x200_0000;
const MTIMECMP: u64 = CLINT + 0x4000;

/// Causes of which implementations agree on `mtval`: refused fetches, misaligned addresses, page
/// faults. Others may say less of illegal instructions and of misaligned accesses to nothing.
const TOLD: u64 = 0xb053;

/// Entries of physical memory protection that streams change are before this one, which allows
/// everything.
pub const OPEN_ENTRY: u16 = 7;
/// `pmpcfg0` with that entry alone.
pub const OPEN: u64 = 0x1f << (8 * OPEN_ENTRY);

/// The handler of M-mode.
pub fn machine(case: &Case, base: u64) -> Vec<u32> {
    let mut a = Asm::default();
    let [interrupt, heal, wild, heals, call] = std::array::from_fn(|_| a.label());
    // The control page, from the handler's own address.
    a.add([i(Op::Auipc, CTL, 0, (CONTROL * PAGE) as i32), csrr(H0, csr::MCAUSE)]);
    a.jump(s(Op::Blt, H0, 0, 0), interrupt);
    if case.kind == Kind::Qemu {
        as_store(&mut a);
    }
    log(&mut a);
    // Where it was, as an address of the identity, and whether that is in a stream.
    a.add([csrr(H1, csr::MEPC)]);
    a.add(li(TMP, ALIAS));
    a.add([r(Op::Or, H1, H1, TMP), r(Op::Xor, H1, H1, TMP)]);
    a.add(li(TMP, base + CODE * PAGE));
    a.add([r(Op::Sub, TMP, H1, TMP), i(Op::Lui, H0, 0, ((DATA - CODE) * PAGE) as i32)]);
    a.jump(s(Op::Bgeu, TMP, H0, 0), wild);
    a.add([csrr(H0, csr::MCAUSE), i(Op::Addi, H0, H0, -1)]);
    a.jump(s(Op::Beq, H0, 0, 0), heal);
    a.add([i(Op::Addi, H0, H0, -11)]);
    a.jump(s(Op::Beq, H0, 0, 0), heal);
    // Calls are 8 to 11.
    a.add([i(Op::Addi, H0, H0, 4), i(Op::Sltiu, H0, H0, 4)]);
    a.jump(s(Op::Bne, H0, 0, 0), call);
    a.add([csrr(H0, csr::MEPC), i(Op::Addi, H0, H0, 4), i(Op::Andi, H0, H0, -4)]);
    a.add([csrw(csr::MEPC, H0), Inst::new(Op::Mret)]);
    a.bind(call);
    let exit = a.label();
    a.jump(s(Op::Blt, ARG, 0, 0), exit);
    a.add([i(Op::Addi, H1, H1, 4), i(Op::Andi, H1, H1, -4), i(Op::Andi, H0, ARG, 4)]);
    a.jump(s(Op::Bne, H0, 0, 0), heal);
    switch(&mut a);
    a.bind(wild);
    a.add([csrr(TMP, csr::MHARTID), i(Op::Slli, TMP, TMP, 3), r(Op::Add, TMP, TMP, CTL)]);
    a.add([i(Op::Ld, H1, TMP, END as i32)]);
    a.bind(heal);
    repair(&mut a, case, base, heals);
    a.bind(interrupt);
    rearm(&mut a, case);
    a.bind(exit);
    a.add(li(H0, base + HANDLERS * PAGE + EXIT));
    a.add([i(Op::Jalr, 0, H0, 0)]);
    a.finish()
}

/// QEMU reports refused AMOs as loads: makes that the cause of a store, also in H0. Implementations
/// may keep what was reserved over a trap, or not: it is forgotten.
fn as_store(a: &mut Asm) {
    let other = a.label();
    a.add([r(Op::ScW, 0, CTL, 0)]);
    a.add(li(TMP, 1 << 4 | 1 << 5 | 1 << 13));
    a.add([r(Op::Srl, TMP, TMP, H0), i(Op::Andi, TMP, TMP, 1)]);
    a.jump(s(Op::Beq, TMP, 0, 0), other);
    a.add([csrr(H1, csr::MEPC)]);
    a.add(li(TMP, ALIAS));
    a.add([r(Op::Andn, H1, H1, TMP), i(Op::Lhu, H1, H1, 0), i(Op::Andi, H1, H1, 0x7f)]);
    a.add([i(Op::Xori, H1, H1, 0x2f)]);
    a.jump(s(Op::Bne, H1, 0, 0), other);
    a.add([i(Op::Ori, H0, H0, 2), csrw(csr::MCAUSE, H0)]);
    a.bind(other);
}

/// Writes the trap down, if it is not a call and there is room; H0 is the cause.
fn log(a: &mut Asm) {
    let skip = a.label();
    a.add([i(Op::Addi, TMP, H0, -8), i(Op::Sltiu, TMP, TMP, 4)]);
    a.jump(s(Op::Bne, TMP, 0, 0), skip);
    a.add([i(Op::Ld, H1, CTL, TRAP as i32), i(Op::Slli, TMP, H1, 52)]);
    a.jump(s(Op::Beq, TMP, 0, 0), skip);
    a.add([i(Op::Addi, H1, H1, -(TRAP_SIZE as i32)), s(Op::Sd, CTL, H1, TRAP as i32)]);
    a.add([s(Op::Sd, H1, H0, 0), csrr(TMP, csr::MEPC), s(Op::Sd, H1, TMP, 8)]);
    a.add(li(TMP, TOLD));
    a.add([r(Op::Srl, TMP, TMP, H0), i(Op::Andi, TMP, TMP, 1)]);
    a.jump(s(Op::Beq, TMP, 0, 0), skip);
    a.add([csrr(TMP, csr::MTVAL), s(Op::Sd, H1, TMP, 16)]);
    a.bind(skip);
    a.add([csrw(csr::MTVAL, 0)]);
}

/// Goes to H1, in the mode that is asked for.
fn switch(a: &mut Asm) {
    let identity = a.label();
    a.add([i(Op::Andi, H0, ARG, 3)]);
    a.jump(s(Op::Bne, H0, 0, 0), identity);
    a.add(li(TMP, ALIAS));
    a.add([r(Op::Or, H1, H1, TMP)]);
    a.bind(identity);
    a.add([csrw(csr::MEPC, H1)]);
    a.add(li(TMP, mstatus::MPP));
    a.add([i(Op::Csrrc, 0, TMP, csr::MSTATUS.into()), i(Op::Slli, H0, H0, 11)]);
    a.add([i(Op::Csrrs, 0, H0, csr::MSTATUS.into()), Inst::new(Op::Mret)]);
}

/// Repairs the tables and what else streams may have broken, and goes to H1 in M-mode.
fn repair(a: &mut Asm, case: &Case, base: u64, again: Label) {
    let done = a.label();
    a.add([csrw(csr::MEPC, H1)]);
    a.add(li(TMP, mstatus::MPP));
    a.add([i(Op::Csrrs, 0, TMP, csr::MSTATUS.into())]);
    a.add(li(H0, base + HEAL * PAGE));
    a.bind(again);
    a.add([i(Op::Ld, TMP, H0, 0)]);
    a.jump(s(Op::Beq, TMP, 0, 0), done);
    a.add([i(Op::Ld, H1, H0, 8), s(Op::Sd, TMP, H1, 0), i(Op::Addi, H0, H0, 16)]);
    a.jump(Inst::new(Op::Jal), again);
    a.bind(done);
    registers(a, case, base);
    a.add([r(Op::SfenceVma, 0, 0, 0), Inst::new(Op::Mret)]);
}

/// The registers that decide where traps lead and how memory is seen.
fn registers(a: &mut Asm, case: &Case, base: u64) {
    let satp = if case.paging { case.satp(base, 0) } else { 0 };
    let [stvec, mtvec] = case.vectors(base);
    let set = [
        (csr::PMPCFG0, OPEN),
        (csr::MEDELEG, case.medeleg),
        (csr::STVEC, stvec),
        (csr::MTVEC, mtvec),
        (csr::SATP, satp),
    ];
    for (number, value) in set {
        a.add(li(H0, value));
        a.add([csrw(number, H0)]);
    }
}

/// An interrupt: everything that may have caused it is put off.
fn rearm(a: &mut Asm, case: &Case) {
    let every = case.timer.map_or(1 << 20, |timer| timer.every);
    a.add([csrr(H0, csr::TIME)]);
    a.add(li(TMP, every));
    a.add([r(Op::Add, H0, H0, TMP), csrr(TMP, csr::MHARTID), i(Op::Slli, TMP, TMP, 3)]);
    a.add(li(H1, MTIMECMP));
    a.add([r(Op::Add, TMP, TMP, H1), s(Op::Sd, TMP, H0, 0), csrw(csr::STIMECMP, H0)]);
    a.add([csrr(TMP, csr::MHARTID), i(Op::Slli, TMP, TMP, 2)]);
    a.add(li(H1, CLINT));
    a.add([r(Op::Add, TMP, TMP, H1), s(Op::Sw, TMP, 0, 0), csrw(csr::MIP, 0)]);
    a.add([Inst::new(Op::Mret)]);
}

/// The handler of S-mode, which the seed varies.
pub fn supervisor(case: &Case) -> Vec<u32> {
    let mut a = Asm::default();
    let interrupt = a.label();
    let (swap, fence, satp) = (case.seed & 1 != 0, case.seed & 2 != 0, case.seed & 4 != 0);
    a.add([csrr(H0, csr::SCAUSE)]);
    a.jump(s(Op::Blt, H0, 0, 0), interrupt);
    if swap {
        a.add([i(Op::Csrrw, H1, H1, csr::SSCRATCH.into()), csrr(H0, csr::SSTATUS)]);
        a.add([i(Op::Csrrw, H1, H1, csr::SSCRATCH.into())]);
    }
    if satp {
        a.add([csrr(H0, csr::SATP), csrw(csr::SATP, H0)]);
    }
    if fence {
        a.add([r(Op::SfenceVma, 0, 0, 0)]);
    }
    if case.kind == Kind::Qemu {
        // As in `as_store`.
        a.add([csrw(csr::SCAUSE, 0), i(Op::Auipc, H0, 0, 0), r(Op::ScW, 0, H0, 0)]);
    }
    a.add([csrr(H0, csr::SEPC), i(Op::Addi, H0, H0, 4), i(Op::Andi, H0, H0, -4)]);
    a.add([csrw(csr::SEPC, H0), Inst::new(Op::Sret)]);
    a.bind(interrupt);
    let every = case.timer.map_or(1 << 10, |timer| timer.every);
    a.add([csrr(H0, csr::TIME)]);
    a.add(li(TMP, every));
    a.add([r(Op::Add, H0, H0, TMP), csrw(csr::STIMECMP, H0), csrw(csr::SIP, 0)]);
    a.add([Inst::new(Op::Sret)]);
    a.finish()
}

/// Jumps to the handler at `to`, one for every cause that a vector may tell.
pub fn vectors(at: u64, to: u64) -> Vec<u32> {
    let jump = |n: u64| i(Op::Jal, 0, 0, to as i32 - (at + 4 * n) as i32);
    (0..VECTOR_COUNT).map(|n| encode(&jump(n))).collect()
}

/// What follows a stream: another round, or the exit.
pub fn end(case: &Case, hart: usize) -> Vec<u32> {
    let mut a = Asm::default();
    let exit = a.label();
    let distance = |at: i64| case.stream(hart) as i64 - case.end(hart) as i64 - 4 * at;
    let again = |at: i64| i(Op::Jal, 0, 0, distance(at) as i32);
    a.add([i(Op::Addi, ROUNDS, ROUNDS, -1)]);
    a.jump(s(Op::Beq, ROUNDS, 0, 0), exit);
    a.add([again(2)]);
    a.bind(exit);
    a.add([i(Op::Addi, ARG, 0, -1), Inst::new(Op::Ecall), again(5)]);
    a.finish()
}

/// Where a hart starts.
pub fn entry(case: &Case, base: u64, hart: usize) -> Vec<u32> {
    let mut a = Asm::default();
    let mut set = |number: u16, value: u64| {
        a.add(li(H0, value));
        a.add([csrw(number, H0)]);
    };
    set(csr::PMPADDR0 + OPEN_ENTRY, u64::MAX);
    set(csr::MIDELEG, case.mideleg & mip::SUPERVISOR);
    set(csr::MIE, case.mie);
    set(csr::MCOUNTEREN, counter::ENABLE);
    set(csr::SCOUNTEREN, counter::ENABLE);
    if case.kind == Kind::Ours {
        let adue = if case.hardware_ad { envcfg::ADUE } else { 0 };
        set(csr::MENVCFG, envcfg::STCE | adue | envcfg::CBIE | envcfg::CBCFE | envcfg::CBZE);
        set(csr::SENVCFG, envcfg::CBIE | envcfg::CBCFE | envcfg::CBZE);
    }
    set(csr::MSTATUS, mstatus::FS);
    set(csr::FCSR, case.fcsr);
    registers(&mut a, case, base);
    // Another case may have been there before.
    let left = [csr::MSCRATCH, csr::SSCRATCH, csr::MCAUSE, csr::SCAUSE, csr::SEPC, csr::STVAL];
    a.add(left.map(|number| csrw(number, 0)));
    a.add(li(CTL, base + CONTROL * PAGE));
    if let Some(timer) = case.timer {
        a.add(li(H0, timer.first));
        a.add(li(H1, MTIMECMP + 8 * hart as u64));
        a.add([if timer.supervisor { csrw(csr::STIMECMP, H0) } else { s(Op::Sd, H1, H0, 0) }]);
    }
    a.add((0..case.pad).map(|_| i(Op::Addi, 0, 0, 0)));
    a.add((0..32).map(|n| i(Op::Fld, n, CTL, F as i32 + 8 * i32::from(n))));
    let alias = if case.start == Priv::User { ALIAS } else { 0 };
    a.add(li(H0, (base + case.stream(hart)) | alias));
    a.add([csrw(csr::MEPC, H0)]);
    let mode = (case.start as u64) << mstatus::MPP_SHIFT;
    a.add(li(H0, case.mstatus & !mstatus::MPP | mode));
    a.add([csrw(csr::MSTATUS, H0)]);
    let x = |n: u8| i(Op::Ld, n, CTL, X as i32 + 0x100 * hart as i32 + 8 * i32::from(n));
    a.add((1..32).filter(|n| *n != CTL).map(x));
    a.add([Inst::new(Op::Mret)]);
    a.finish()
}

/// Where a stream ends: writes all registers down.
pub fn exit() -> Vec<u32> {
    let mut a = Asm::default();
    let mut places = (DUMP as i32..).step_by(8);
    let mut next = || places.next().unwrap_or_default();
    a.add((1..32).map(|n| s(Op::Sd, CTL, n, next())));
    a.add(li(H0, mstatus::FS));
    a.add([i(Op::Csrrs, 0, H0, csr::MSTATUS.into())]);
    a.add((0..32).map(|n| s(Op::Fsd, CTL, n, next())));
    let dumped = [csr::FCSR, csr::MSTATUS, csr::MSCRATCH, csr::SSCRATCH, csr::SCAUSE, csr::SEPC];
    for number in dumped {
        a.add([csrr(H0, number), s(Op::Sd, CTL, H0, next())]);
    }
    a.add([i(Op::Ld, H0, CTL, NEXT as i32), i(Op::Jalr, 0, H0, 0)]);
    a.finish()
}
