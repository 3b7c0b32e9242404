//! From power-on to `boot`: every hart starts here, in machine mode, without a stack.
//!
//! a0 is the hart's number and a1 the address of the device tree, as on QEMU's `virt` board; the
//! number is taken from `mhartid`, for boards that leave a0 unset.

use core::arch::{asm, global_asm};

use crate::boot::boot;
use crate::stack::{self, HART_STACKS};

global_asm!(
    ".section .text.entry, \"ax\"",
    ".globl _entry",
    "_entry:",
    "    csrr tp, mhartid",
    "    li t0, {harts}",
    "    bgeu tp, t0, 1f",
    // sp = top of this hart's stack
    "    la sp, {stacks}",
    "    addi t0, tp, 1",
    "    li t1, {stride}",
    ".option push",
    ".option arch, +m",
    "    mul t0, t0, t1",
    ".option pop",
    "    add sp, sp, t0",
    "    mv a0, tp",
    "    call {start}",
    // More harts than the kernel has room for: leave them alone.
    "1:  wfi",
    "    j 1b",
    harts = const super::MAX_HARTS,
    stacks = sym HART_STACKS,
    stride = const stack::STRIDE,
    start = sym start,
);

/// Machine mode: lets supervisor mode have everything, and goes there.
unsafe extern "C" fn start(hart: usize, device_tree: usize) -> ! {
    const MPP: u64 = 3 << 11;
    const MPP_SUPERVISOR: u64 = 1 << 11;
    /// S mode's external and timer interrupts.
    const SUPERVISOR_INTERRUPTS: u64 = 1 << 9 | 1 << 5;
    /// `menvcfg`: `stimecmp` is S mode's (STCE), hardware sets A and D bits (ADUE).
    const ENVCFG: u64 = 1 << 63 | 1 << 61;
    /// S and U mode may read `cycle`, `time` and `instret`.
    const COUNTERS: u64 = 7;
    // SAFETY: the hart is alone with its registers; MRET goes to `boot` with the same stack.
    unsafe {
        asm!(
            "csrc mstatus, {mpp}",
            "csrs mstatus, {mpp_supervisor}",
            "csrw mepc, {boot}",
            "csrw satp, zero",
            // Interrupts and exceptions are supervisor mode's.
            "csrw medeleg, {all}",
            "csrw mideleg, {all}",
            "csrw sie, {interrupts}",
            "csrs mie, {timer}",
            // Physical memory protection: entry 0 lets S and U mode reach all addresses.
            "csrw pmpaddr0, {top}",
            "csrwi pmpcfg0, 0xf",
            // 0x30a is menvcfg.
            "csrs 0x30a, {envcfg}",
            "csrw mcounteren, {counters}",
            "csrw scounteren, {counters}",
            "mret",
            mpp = in(reg) MPP,
            mpp_supervisor = in(reg) MPP_SUPERVISOR,
            boot = in(reg) boot as *const () as usize,
            all = in(reg) 0xffff,
            interrupts = in(reg) SUPERVISOR_INTERRUPTS,
            timer = in(reg) 1 << 5,
            top = in(reg) u64::MAX >> 10,
            envcfg = in(reg) ENVCFG,
            counters = in(reg) COUNTERS,
            in("a0") hart,
            in("a1") device_tree,
            options(noreturn),
        )
    }
}
