//! The platform-level interrupt controller: which device wants attention.
//!
//! Register layout: RISC-V Platform-Level Interrupt Controller Specification 1.0. On this board
//! hart N's supervisor mode is context 2N + 1.

use abi::layout::{PLIC, UART0_IRQ, VIRTIO_SLOTS, VIRTIO0_IRQ};

use crate::arch;

/// Offset of the enable bits of context 0, and from one context to the next.
const ENABLE: (u64, u64) = (0x2000, 0x80);
/// Offset of the priority threshold of context 0, and from one context to the next.
const CONTEXT: (u64, u64) = (0x20_0000, 0x1000);
/// Offset of claim/complete from the threshold.
const CLAIM: u64 = 4;

fn context() -> u64 {
    2 * arch::hart_id() as u64 + 1
}

fn claim_register() -> u64 {
    PLIC + CONTEXT.0 + CONTEXT.1 * context() + CLAIM
}

/// The interrupt lines that the kernel has drivers for.
fn lines() -> impl Iterator<Item = u32> {
    (VIRTIO0_IRQ..VIRTIO0_IRQ + VIRTIO_SLOTS as u32).chain([UART0_IRQ])
}

/// Gives the lines a priority: those with 0 never interrupt.
pub fn init() {
    for line in lines() {
        arch::mmio_write32(PLIC + 4 * u64::from(line), 1);
    }
}

/// Lets the lines interrupt this hart's supervisor mode.
pub fn init_hart() {
    let enable = lines().fold(0, |bits, line| bits | 1 << line);
    arch::mmio_write32(PLIC + ENABLE.0 + ENABLE.1 * context(), enable);
    arch::mmio_write32(PLIC + CONTEXT.0 + CONTEXT.1 * context(), 0);
}

/// Takes the line that wants attention, if no other hart took it; [`complete`] it afterwards.
pub fn claim() -> Option<u32> {
    match arch::mmio_read32(claim_register()) {
        0 => None,
        line => Some(line),
    }
}

/// The device was served; it may interrupt again.
pub fn complete(line: u32) {
    arch::mmio_write32(claim_register(), line);
}
