//! Control and status registers of S mode, and the few instructions that have no Rust name.
//!
//! Field layouts: RISC-V Privileged Architecture, "Supervisor-Level ISA" and "Sstc".

use core::arch::asm;

/// `sstatus.SIE`: interrupts are enabled in S mode.
pub const SSTATUS_SIE: u64 = 1 << 1;
/// `sstatus.SPIE`: what SIE becomes at `sret`.
pub const SSTATUS_SPIE: u64 = 1 << 5;
macro_rules! csr {
    ($($(#[$doc:meta])* $csr:literal: $read:ident $($write:ident)?;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $read() -> u64 {
            let value: u64;
            // SAFETY: reading this register has no side effect.
            unsafe { asm!(concat!("csrr {}, ", $csr), out(reg) value, options(nomem, nostack)) };
            value
        }
        $(
            #[doc = concat!("Writes `", $csr, "`.")]
            ///
            /// # Safety
            /// The caller answers for what the register does to the running kernel.
            #[inline(always)]
            pub unsafe fn $write(value: u64) {
                // SAFETY: passed on to the caller.
                unsafe { asm!(concat!("csrw ", $csr, ", {}"), in(reg) value, options(nostack)) };
            }
        )?
    )*};
}

csr! {
    /// The trap's cause.
    "scause": read_scause;
    /// The address or instruction that a trap is about.
    "stval": read_stval;
    /// Where `sret` goes.
    "sepc": read_sepc write_sepc;
    /// Status of S mode.
    "sstatus": read_sstatus write_sstatus;
    /// Address translation.
    "satp": read_satp write_satp;
    /// Ticks of the machine's timer.
    "time": time;
}

/// Sets where traps go.
///
/// # Safety
/// It is a trap handler for where the hart is or goes to.
pub unsafe fn write_stvec(address: u64) {
    // SAFETY: passed on to the caller.
    unsafe { asm!("csrw stvec, {}", in(reg) address, options(nostack)) };
}

/// Asks for a timer interrupt at a time, and clears the one that may be pending (Sstc).
pub fn set_timer(time: u64) {
    // SAFETY: 0x14d is `stimecmp`; interrupts come when the kernel lets them.
    unsafe { asm!("csrw 0x14d, {}", in(reg) time, options(nostack)) };
}

/// Turns to another page table.
///
/// # Safety
/// It maps the kernel as before, and lives for ever.
pub unsafe fn set_satp(satp: u64) {
    sfence_vma_all();
    // SAFETY: passed on to the caller.
    unsafe { write_satp(satp) };
    sfence_vma_all();
}

/// The number of this hart, below `MAX_HARTS`: the kernel keeps it in `tp`.
#[inline(always)]
pub fn hart_id() -> usize {
    let id: usize;
    // SAFETY: reads a register. Volatile: a process may go on on another hart after a switch.
    unsafe { asm!("mv {}, tp", out(reg) id, options(nostack)) };
    id
}

/// Whether device interrupts may come.
#[inline(always)]
pub fn interrupts_enabled() -> bool {
    read_sstatus() & SSTATUS_SIE != 0
}

/// Lets device interrupts come.
#[inline(always)]
pub fn interrupts_on() {
    // SAFETY: the trap vector is set before the first call, and handlers keep to their locks.
    unsafe { asm!("csrsi sstatus, {}", const SSTATUS_SIE, options(nostack)) };
}

/// Keeps device interrupts away.
#[inline(always)]
pub fn interrupts_off() {
    // SAFETY: without interrupts the kernel only does less at a time.
    unsafe { asm!("csrci sstatus, {}", const SSTATUS_SIE, options(nostack)) };
}

/// Stops this hart until an interrupt is pending, even if interrupts are off.
pub fn wait_for_interrupt() {
    // SAFETY: WFI only waits.
    unsafe { asm!("wfi", options(nostack)) };
}

/// Gives other harts a chance while this one polls.
#[inline(always)]
pub fn relax() {
    core::hint::spin_loop();
}

/// Orders earlier writes to page tables before later translations of this hart.
#[inline(always)]
pub fn sfence_vma_all() {
    // SAFETY: forgetting cached translations is always allowed.
    unsafe { asm!("sfence.vma zero, zero", options(nostack)) };
}

/// As [`sfence_vma_all`], for the page of one virtual address.
#[inline(always)]
pub fn sfence_vma(va: u64) {
    // SAFETY: forgetting cached translations is always allowed.
    unsafe { asm!("sfence.vma {}, zero", in(reg) va, options(nostack)) };
}

/// Orders earlier writes to memory before later instruction fetches of this hart.
pub fn fence_i() {
    // SAFETY: FENCE.I only orders.
    unsafe { asm!("fence.i", options(nostack)) };
}
