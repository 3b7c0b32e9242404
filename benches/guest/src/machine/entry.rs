//! From power-on to `main`: hart 0 goes to supervisor mode, others sleep for ever.

use core::arch::{asm, global_asm};

use super::main;

/// Bytes of the only stack.
const STACK: usize = 256 << 10;
static mut STACK_BYTES: [u128; STACK / 16] = [0; STACK / 16];

global_asm!(
    ".section .text.entry, \"ax\"",
    ".globl _entry",
    "_entry:",
    "    csrr t0, mhartid",
    "    bnez t0, 1f",
    "    la sp, {stack}",
    "    li t0, {size}",
    "    add sp, sp, t0",
    "    mv a0, a1",
    "    call {start}",
    "1:  wfi",
    "    j 1b",
    stack = sym STACK_BYTES,
    size = const STACK,
    start = sym start,
);

/// Machine mode: all traps are supervisor mode's, which may reach all addresses.
unsafe extern "C" fn start(device_tree: u64) -> ! {
    const MPP: u64 = 3 << 11;
    /// Previous mode S, floating-point unit on.
    const STATUS: u64 = 1 << 11 | 3 << 13;
    /// `menvcfg`: `stimecmp` is S-mode's (STCE).
    const ENVCFG: u64 = 1 << 63;
    // SAFETY: the hart is alone with its registers; MRET goes to `main` with the same stack.
    unsafe {
        asm!(
            "csrc mstatus, {mpp}",
            "csrs mstatus, {status}",
            "csrw mepc, {main}",
            "csrw satp, zero",
            "csrw medeleg, {all}",
            "csrw mideleg, {all}",
            "csrw pmpaddr0, {top}",
            "csrwi pmpcfg0, 0xf",
            // 0x30a is menvcfg.
            "csrs 0x30a, {envcfg}",
            "csrwi mcounteren, 7",
            "csrwi scounteren, 7",
            "mret",
            mpp = in(reg) MPP,
            status = in(reg) STATUS,
            main = in(reg) main as *const () as u64,
            all = in(reg) 0xffff,
            top = in(reg) u64::MAX >> 10,
            envcfg = in(reg) ENVCFG,
            in("a0") device_tree,
            options(noreturn),
        )
    }
}

/// The big-endian word at an address of the device tree.
fn word(at: u64) -> u64 {
    // SAFETY: the caller stays inside the device tree, which is memory; its words are aligned.
    unsafe { (at as *const u32).read() }.swap_bytes().into()
}

/// The NUL-terminated string at an address.
fn string(at: u64) -> &'static [u8] {
    // SAFETY: strings of the device tree end inside it, and nothing writes there.
    unsafe { core::ffi::CStr::from_ptr(at as *const core::ffi::c_char) }.to_bytes()
}

/// The property `bootargs` of the device tree, which this trusts: the first one of that name.
/// Format: Devicetree Specification 0.4, chapter 5.
pub fn command_line(tree: u64) -> &'static [u8] {
    const MAGIC: u64 = 0xd00d_feed;
    const BEGIN_NODE: u64 = 1;
    const PROPERTY: u64 = 3;
    const END: u64 = 9;
    if tree == 0 || word(tree) != MAGIC {
        return b"";
    }
    let strings = tree + word(tree + 12);
    let mut at = tree + word(tree + 8);
    loop {
        let token = word(at);
        at += 4;
        let skip = match token {
            BEGIN_NODE => string(at).len() as u64 + 1,
            PROPERTY if string(strings + word(at + 4)) == b"bootargs" => return string(at + 8),
            PROPERTY => 8 + word(at),
            END => return b"",
            _ => 0,
        };
        at += skip.next_multiple_of(4);
    }
}
