//! The way between user and kernel: the page that both address spaces have at `TRAMPOLINE`.
//!
//! A trap from user mode comes to `user_vector` with the user's page table; registers go to the
//! trap frame, which every process has at `TRAPFRAME`. `user_return` is the way back.

use core::arch::global_asm;
use core::mem::offset_of;

use abi::layout::{TRAMPOLINE, TRAPFRAME};

use super::csr::{self, SSTATUS_SPIE};
use crate::arch::{SSTATUS_SPP, TrapFrame};

global_asm!(
    ".section .trampoline, \"ax\"",
    ".balign 4",
    ".globl user_vector",
    "user_vector:",
    // a0 is free once it is in sscratch; all else goes to the trap frame.
    "    csrw sscratch, a0",
    "    li a0, {trap_frame}",
    "    .irp n, 1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "    sd x\\n, ({x} + 8 * (\\n - 1))(a0)",
    "    .endr",
    "    csrr t0, sscratch",
    "    sd t0, ({x} + 8 * 9)(a0)",
    // The kernel's stack, hart number, page table and handler.
    "    ld sp, {kernel_sp}(a0)",
    "    ld tp, {kernel_hart}(a0)",
    "    ld t0, {kernel_trap}(a0)",
    "    ld t1, {kernel_satp}(a0)",
    #[cfg(feature = "mutants")]
    "    ld t2, {keep_tlb}(a0)",
    // Stores above went through the user's table; nothing of it is used below.
    #[cfg(feature = "mutants")]
    "    bnez t2, 1f",
    "    sfence.vma zero, zero",
    "1:  csrw satp, t1",
    #[cfg(feature = "mutants")]
    "    bnez t2, 1f",
    "    sfence.vma zero, zero",
    "1:",
    "    jr t0",

    // user_return(satp of the process, whether the TLB is left alone: with mutants only)
    ".globl user_return",
    "user_return:",
    #[cfg(feature = "mutants")]
    "    bnez a1, 1f",
    "    sfence.vma zero, zero",
    "1:  csrw satp, a0",
    #[cfg(feature = "mutants")]
    "    bnez a1, 1f",
    "    sfence.vma zero, zero",
    "1:",
    "    li a0, {trap_frame}",
    "    .irp n, 1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "    ld x\\n, ({x} + 8 * (\\n - 1))(a0)",
    "    .endr",
    "    ld a0, ({x} + 8 * 9)(a0)",
    "    sret",
    trap_frame = const TRAPFRAME,
    x = const offset_of!(TrapFrame, x),
    kernel_sp = const offset_of!(TrapFrame, kernel_sp),
    kernel_hart = const offset_of!(TrapFrame, kernel_hart),
    kernel_trap = const offset_of!(TrapFrame, kernel_trap),
    kernel_satp = const offset_of!(TrapFrame, kernel_satp),
    #[cfg(feature = "mutants")]
    keep_tlb = const offset_of!(TrapFrame, keep_tlb),
);

unsafe extern "C" {
    /// The page's first byte, where it was linked to.
    static trampoline: u8;
    fn user_vector();
    fn user_return();
}

/// Physical address of the trampoline page.
pub fn trampoline_pa() -> u64 {
    (&raw const trampoline).addr() as u64
}

/// Where a function of the page is in every address space.
fn in_trampoline(function: unsafe extern "C" fn()) -> u64 {
    TRAMPOLINE + (function as *const () as u64 - trampoline_pa())
}

/// Whether the TLB shall keep what it knows: when the hart goes back to where it was, with the
/// mistake that relies on the flush in `fork`, which is missing.
#[cfg(feature = "mutants")]
fn keep_tlb(frame: &mut TrapFrame, user_satp: u64) -> u64 {
    use crate::mm::mutants::{Mutant, active};
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static LAST: [AtomicU64; super::MAX_HARTS] = [const { AtomicU64::new(0) }; super::MAX_HARTS];

    let mistake = active(Mutant::CowNoSfence);
    let last = LAST[csr::hart_id()].swap(user_satp, Relaxed);
    frame.keep_tlb = u64::from(mistake);
    u64::from(mistake && last == user_satp)
}

/// Goes to user mode: on the next trap, `handler` is called on the stack `kernel_sp`.
///
/// # Safety
/// Interrupts are off. `frame` is the trap frame that the page table of `user_satp` maps, as it
/// does the trampoline; nothing on the present stack is needed any more.
pub unsafe fn enter_user(
    frame: &mut TrapFrame,
    user_satp: u64,
    kernel_sp: u64,
    handler: extern "C" fn() -> !,
) -> ! {
    frame.kernel_satp = csr::read_satp();
    frame.kernel_sp = kernel_sp;
    frame.kernel_trap = handler as *const () as u64;
    frame.kernel_hart = csr::hart_id() as u64;
    #[cfg(feature = "mutants")]
    let option = keep_tlb(frame, user_satp);
    #[cfg(not(feature = "mutants"))]
    let option = 0;
    let status = csr::read_sstatus() & !SSTATUS_SPP | SSTATUS_SPIE;
    // SAFETY: from here on only the vector for user mode can be reached. SRET goes to user mode
    // with interrupts on, at the process's own pc; `user_return` is mapped at the same address
    // in both tables and never returns.
    unsafe {
        csr::write_stvec(in_trampoline(user_vector));
        csr::write_sstatus(status);
        csr::write_sepc(frame.epc);
        let go: extern "C" fn(u64, u64) -> ! =
            core::mem::transmute(in_trampoline(user_return) as *const ());
        go(user_satp, option)
    }
}
