//! Between user mode and the handler: all registers are saved, as xv6 does it, with or without a
//! change of page table and fences on both ways.

use core::arch::{asm, global_asm};
use core::mem::offset_of;

use super::paging::{USER, fence, satp, set_satp};

/// The user's registers and what the handler wants to know; `sscratch` points here.
#[repr(C)]
pub struct Frame {
    /// x1 to x31.
    pub x: [u64; 31],
    kernel_sp: u64,
    handler: u64,
    kernel_satp: u64,
    user_satp: u64,
    /// Traps that are still to come.
    pub left: u64,
    /// What the handler computes.
    pub sum: u64,
    /// The user's root table.
    pub root: u64,
    /// The handler's own: where its frames are.
    pub frames: u64,
}

/// Called for every trap with interrupts off; `false` ends the workload.
pub type Handler = extern "C" fn(&mut Frame) -> bool;

global_asm!(
    ".macro vector name, switch",
    ".balign 4",
    ".globl \\name",
    "\\name:",
    "    csrrw a0, sscratch, a0",
    "    .irp n, 1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "    sd x\\n, (8 * (\\n - 1))(a0)",
    "    .endr",
    "    csrr t0, sscratch",
    "    sd t0, (8 * 9)(a0)",
    "    csrw sscratch, a0",
    "    ld sp, {kernel_sp}(a0)",
    "    ld t0, {handler}(a0)",
    "    .if \\switch",
    "    ld t1, {kernel_satp}(a0)",
    "    sfence.vma zero, zero",
    "    csrw satp, t1",
    "    sfence.vma zero, zero",
    "    .endif",
    "    mv s0, a0",
    "    jalr t0",
    "    bnez a0, 1f",
    "    tail {leave}",
    "1:",
    "    mv a0, s0",
    "    .if \\switch",
    "    ld t1, {user_satp}(a0)",
    "    sfence.vma zero, zero",
    "    csrw satp, t1",
    "    sfence.vma zero, zero",
    "    .endif",
    "    .irp n, 1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "    ld x\\n, (8 * (\\n - 1))(a0)",
    "    .endr",
    "    ld a0, (8 * 9)(a0)",
    "    sret",
    ".endm",
    ".section .text",
    "vector plain_vector, 0",
    "vector switch_vector, 1",
    kernel_sp = const offset_of!(Frame, kernel_sp),
    handler = const offset_of!(Frame, handler),
    kernel_satp = const offset_of!(Frame, kernel_satp),
    user_satp = const offset_of!(Frame, user_satp),
    leave = sym leave,
);

// The user program: one loop for each kind of trap. a0: first page, a1: behind the last one.
global_asm!(
    ".pushsection .user, \"ax\"",
    ".globl user_start, user_calls, user_stores, user_spins",
    "user_start:",
    "user_calls:",
    "    ecall",
    "    addi a2, a2, 1",
    "    j user_calls",
    ".balign 64",
    "user_stores:",
    "    mv t0, a0",
    "1:  sd t0, 8(t0)",
    "    add t0, t0, a3",
    "    bltu t0, a1, 1b",
    "    ecall",
    "    j user_stores",
    ".balign 64",
    "user_spins:",
    "    addi a2, a2, 1",
    "    j user_spins",
    ".popsection",
);

unsafe extern "C" {
    fn plain_vector();
    fn switch_vector();
    static user_start: u8;
    static user_calls: u8;
    static user_stores: u8;
    static user_spins: u8;
}

/// A user loop.
#[derive(Clone, Copy)]
pub enum Program {
    /// System calls.
    Calls,
    /// Stores to one page after the other, then a system call.
    Stores,
    /// Nothing.
    Spins,
}

/// How to run one.
pub struct Run {
    /// The loop.
    pub program: Program,
    /// First user page, and the end of the last one.
    pub pages: (u64, u64),
    /// Called for its traps.
    pub handler: Handler,
    /// The kernel has a page table of its own, and flushes as xv6 does.
    pub switch: bool,
    /// Root tables of kernel and user.
    pub roots: (u64, u64),
    /// Traps until the end.
    pub traps: u64,
    /// First frame for the handler.
    pub frames: u64,
}

impl Run {
    /// Runs the loop to the end; returns the handler's sum.
    pub fn run(&self) -> u64 {
        if self.traps == 0 {
            return 0;
        }
        let mut frame = Frame {
            x: [0; 31],
            kernel_sp: 0,
            handler: self.handler as *const () as u64,
            kernel_satp: satp(self.roots.0),
            user_satp: satp(self.roots.1),
            left: self.traps,
            sum: 0,
            root: self.roots.1,
            frames: self.frames,
        };
        // a0, a1 and a3.
        (frame.x[9], frame.x[10], frame.x[12]) = (self.pages.0, self.pages.1, super::paging::PAGE);
        let entry = match self.program {
            Program::Calls => &raw const user_calls,
            Program::Stores => &raw const user_stores,
            Program::Spins => &raw const user_spins,
        };
        let pc = USER + (entry.addr() - (&raw const user_start).addr()) as u64;
        let vector = if self.switch { switch_vector } else { plain_vector };
        set_satp(frame.user_satp);
        fence();
        // SAFETY: `frame` outlives the call, which returns when the handler says so; the user's
        // table maps the kernel as the kernel's does.
        unsafe {
            asm!("csrw stvec, {}", in(reg) vector as *const () as u64);
            enter(&mut frame, pc);
        }
        set_satp(frame.kernel_satp);
        fence();
        frame.sum
    }
}

/// Goes to user mode at `pc`; [`leave`] returns from it.
#[unsafe(naked)]
unsafe extern "C" fn enter(frame: &mut Frame, pc: u64) {
    core::arch::naked_asm!(
        "addi sp, sp, -112",
        "sd ra, 0(sp)",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11",
        "sd s\\n, (8 + 8 * \\n)(sp)",
        ".endr",
        "sd sp, {kernel_sp}(a0)",
        "csrw sscratch, a0",
        "csrw sepc, a1",
        // Previous mode U, with interrupts.
        "li t0, 1 << 8",
        "csrc sstatus, t0",
        "li t0, 1 << 5",
        "csrs sstatus, t0",
        ".irp n, 1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "ld x\\n, (8 * (\\n - 1))(a0)",
        ".endr",
        "ld a0, (8 * 9)(a0)",
        "sret",
        kernel_sp = const offset_of!(Frame, kernel_sp),
    )
}

/// The end of [`enter`], on its stack.
#[unsafe(naked)]
unsafe extern "C" fn leave() {
    core::arch::naked_asm!(
        "ld ra, 0(sp)",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11",
        "ld s\\n, (8 + 8 * \\n)(sp)",
        ".endr",
        "addi sp, sp, 112",
        "ret",
    )
}
