//! Traps inside the kernel: `kernel_vector` saves what a call may clobber and calls the handler.

use core::arch::{asm, global_asm};

use abi::layout::PGSIZE;

use super::csr::{self, write_stvec};
use crate::arch::Trap;
use crate::stack::{self, LAST_STACK};

global_asm!(
    ".section .text",
    ".balign 4",
    ".globl kernel_vector",
    "kernel_vector:",
    // Would the registers go to the stack's guard page? It is the first of its stride.
    "    csrw sscratch, t0",
    "    addi t0, sp, -128",
    "    srli t0, t0, 12",
    "    andi t0, t0, {pages} - 1",
    "    beqz t0, 1f",
    "    csrr t0, sscratch",
    "    addi sp, sp, -128",
    "    sd ra, 0(sp)",
    "    .irp n, 0,1,2,3,4,5,6",
    "    sd t\\n, (8 + 8 * \\n)(sp)",
    "    .endr",
    "    .irp n, 0,1,2,3,4,5,6,7",
    "    sd a\\n, (64 + 8 * \\n)(sp)",
    "    .endr",
    "    call {handler}",
    // tp stays: the handler may have returned on another hart.
    "    ld ra, 0(sp)",
    "    .irp n, 0,1,2,3,4,5,6",
    "    ld t\\n, (8 + 8 * \\n)(sp)",
    "    .endr",
    "    .irp n, 0,1,2,3,4,5,6,7",
    "    ld a\\n, (64 + 8 * \\n)(sp)",
    "    .endr",
    "    addi sp, sp, 128",
    "    sret",
    "1:  mv a0, sp",
    "    la sp, {last_stack} + {stride}",
    "    j {overflow}",
    pages = const stack::STRIDE as u64 / PGSIZE,
    stride = const stack::STRIDE,
    last_stack = sym LAST_STACK,
    overflow = sym overflow,
    handler = sym crate::trap::kernel_trap,
);

unsafe extern "C" {
    fn kernel_vector();
}

/// The kernel has used up a stack; this runs on another one.
extern "C" fn overflow(sp: u64) -> ! {
    panic!("kernel stack overflow: sp={sp:#x} sepc={:#x}", csr::read_sepc());
}

/// Traps of this hart go to the kernel's handler: the hart is in the kernel.
pub fn traps_to_kernel() {
    // SAFETY: that is what `kernel_vector` is for.
    unsafe { write_stvec(kernel_vector as *const () as u64) };
}

/// What the hart tells about the trap that it took. Interrupts have been off since.
pub fn read_trap() -> Trap {
    Trap {
        cause: csr::read_scause(),
        value: csr::read_stval(),
        pc: csr::read_sepc(),
        status: csr::read_sstatus(),
    }
}

/// Puts back what `sret` needs, after other traps may have changed it.
///
/// # Safety
/// The trap was read on this thread, and `sret` comes next.
pub unsafe fn restore_trap(trap: &Trap) {
    // SAFETY: passed on to the caller.
    unsafe {
        csr::write_sepc(trap.pc);
        csr::write_sstatus(trap.status);
    }
}

/// Reads a word of physical memory that may not exist. Only at boot: translation and interrupts
/// are off.
pub fn probe(address: u64) -> Option<u32> {
    if address % 4 != 0 {
        return None;
    }
    let value: u64;
    let there: u64;
    // SAFETY: reading harms nothing, and a trap leads to label 2; stvec is put back.
    unsafe {
        asm!(
            "la {vector}, 2f",
            "csrrw {vector}, stvec, {vector}",
            "li {there}, 0",
            "lwu {value}, ({address})",
            "li {there}, 1",
            ".balign 4",
            "2:",
            "csrw stvec, {vector}",
            vector = out(reg) _,
            there = out(reg) there,
            value = out(reg) value,
            address = in(reg) address,
            options(nostack),
        );
    }
    (there == 1).then_some(value as u32)
}
