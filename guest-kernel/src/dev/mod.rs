//! Drivers of the board's devices (QEMU's `virt`).

pub mod plic;
pub mod uart;
pub mod virtio_blk;
