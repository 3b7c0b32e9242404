//! Stand-ins for the machine, for tests on the host: every test thread is a hart of its own.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::cell::Cell;

use abi::hint::Hint;
use abi::layout::{KERNBASE, UART0};

use super::{Context, Layout, Trap, TrapFrame};

/// Number of harts that [`hart_id`] may tell apart: one for every thread of a test run.
pub const MAX_HARTS: usize = 4096;

static THREADS: AtomicUsize = AtomicUsize::new(0);

std::thread_local! {
    static HART: usize = THREADS.fetch_add(1, Ordering::Relaxed) % MAX_HARTS;
    static INTERRUPTS: Cell<bool> = const { Cell::new(true) };
}

/// The number of this hart, below [`MAX_HARTS`].
pub fn hart_id() -> usize {
    HART.with(|hart| *hart)
}

/// Whether device interrupts may come.
pub fn interrupts_enabled() -> bool {
    INTERRUPTS.get()
}

/// Lets device interrupts come.
pub fn interrupts_on() {
    INTERRUPTS.set(true);
}

/// Keeps device interrupts away.
pub fn interrupts_off() {
    INTERRUPTS.set(false);
}

/// Gives other harts a chance while this one polls.
pub fn relax() {
    std::thread::yield_now();
}

/// Ticks of the machine's timer.
pub fn time() -> u64 {
    0
}

/// Orders earlier writes to page tables before later translations of this hart.
pub fn sfence_vma_all() {}

/// As [`sfence_vma_all`], for the page of one virtual address.
pub fn sfence_vma(_va: u64) {}

/// Orders earlier writes to memory before later instruction fetches of this hart.
pub fn fence_i() {}

/// Tells the emulator's trace what happened; nothing on any other machine.
pub fn hint(_kind: Hint, _a0: u64, _a1: u64, _a2: u64) {}

/// Reads a byte-wide device register: the host's board has a UART that is always ready to send.
pub fn mmio_read8(address: u64) -> u8 {
    if address == UART0 + 5 { 1 << 5 } else { 0 }
}

/// Writes a byte-wide device register: what the UART sends is the test's output.
pub fn mmio_write8(address: u64, value: u8) {
    if address == UART0 {
        std::print!("{}", char::from(value));
    }
}

/// Reads a word-wide device register: there are none.
pub fn mmio_read32(_address: u64) -> u32 {
    0
}

/// Writes a word-wide device register: there are none.
pub fn mmio_write32(_address: u64, _value: u32) {}

/// There are no kernel threads on the host.
///
/// # Safety
/// None: it panics.
pub unsafe extern "C" fn switch(_from: *mut Context, _to: *const Context) {
    unreachable!("no threads of the kernel on the host");
}

/// There is no user mode on the host.
///
/// # Safety
/// None: it panics.
pub unsafe fn enter_user(_: &mut TrapFrame, _satp: u64, _sp: u64, _: extern "C" fn() -> !) -> ! {
    unreachable!("no user mode on the host");
}

/// There are no traps on the host.
pub fn read_trap() -> Trap {
    unreachable!("no traps on the host");
}

/// There are no traps on the host.
///
/// # Safety
/// None: it panics.
pub unsafe fn restore_trap(_trap: &Trap) {
    unreachable!("no traps on the host");
}

/// There are no traps on the host.
pub fn traps_to_kernel() {}

/// There are no timer interrupts on the host.
pub fn set_timer(_time: u64) {}

/// There are no interrupts on the host.
pub fn wait_for_interrupt() {
    relax();
}

/// There is no address translation on the host.
///
/// # Safety
/// None: it does nothing.
pub unsafe fn set_satp(_satp: u64) {}

/// Where the trampoline page would be.
pub fn trampoline_pa() -> u64 {
    KERNBASE
}

/// Reads a word of physical memory that may not exist: on the host none does.
pub fn probe(_address: u64) -> Option<u32> {
    None
}

/// Parts of the kernel in memory: on the host it has none.
pub fn kernel_layout() -> Layout {
    Layout { text_end: KERNBASE, rodata_end: KERNBASE, end: KERNBASE }
}
