//! Physical and virtual memory layout (QEMU's `virt` board; Sv39 with MIT's top of memory).

/// Bytes in a page.
pub const PGSIZE: u64 = 4096;

/// Test finisher: a 32-bit write ends the machine.
pub const FINISHER: u64 = 0x10_0000;
/// Write to [`FINISHER`]: success.
pub const FINISHER_PASS: u32 = 0x5555;
/// Write to [`FINISHER`]: failure, exit code in the upper 16 bits.
pub const FINISHER_FAIL: u32 = 0x3333;
/// Write to [`FINISHER`]: reset.
pub const FINISHER_RESET: u32 = 0x7777;
/// Real-time clock (Goldfish).
pub const RTC: u64 = 0x10_1000;
/// Core-local interruptor.
pub const CLINT: u64 = 0x200_0000;
/// Platform-level interrupt controller.
pub const PLIC: u64 = 0xc00_0000;
/// 16550A UART.
pub const UART0: u64 = 0x1000_0000;
/// Interrupt line of [`UART0`].
pub const UART0_IRQ: u32 = 10;
/// First of eight virtio-mmio slots.
pub const VIRTIO0: u64 = 0x1000_1000;
/// Distance between virtio-mmio slots.
pub const VIRTIO_STRIDE: u64 = 0x1000;
/// Number of virtio-mmio slots.
pub const VIRTIO_SLOTS: usize = 8;
/// Interrupt line of [`VIRTIO0`]; the next slots follow.
pub const VIRTIO0_IRQ: u32 = 1;
/// Start of RAM, where the kernel is linked.
pub const KERNBASE: u64 = 0x8000_0000;
/// Ticks of `time` in a second.
pub const TIMEBASE_HZ: u64 = 10_000_000;

/// One beyond the highest user virtual address: half of Sv39's lower half, so that no
/// address needs sign extension.
pub const MAXVA: u64 = 1 << 38;
/// The trampoline page, at the same address in user and kernel space.
pub const TRAMPOLINE: u64 = MAXVA - PGSIZE;
/// The trap frame of the running process, in user space.
pub const TRAPFRAME: u64 = TRAMPOLINE - PGSIZE;
