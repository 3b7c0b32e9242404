//! The board: which device is where, and on which interrupt line. The bus decodes addresses by
//! this table, and the device tree is written from it.
//!
//! Source: the memory map of QEMU's `virt` machine.

use crate::dev::plic;

/// Ticks of `time` in a second.
pub const TIMEBASE_HZ: u64 = 10_000_000;
/// Where guest memory begins.
pub const RAM_BASE: u64 = 0x8000_0000;
/// Where firmware expects the kernel.
pub const KERNEL_BEHIND_FIRMWARE: u64 = 0x8020_0000;
/// Most harts.
pub const MAX_HARTS: usize = crate::dev::clint::MAX_HARTS;
/// How many virtio slots there are.
pub const VIRTIO_SLOTS: usize = 8;
/// Interrupt sources as the device tree counts them.
pub const INTERRUPT_SOURCES: u32 = plic::SOURCES as u32;

/// The devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Test finisher.
    Finisher,
    /// Real-time clock.
    Rtc,
    /// Core-local interruptor.
    Clint,
    /// Interrupt controller.
    Plic,
    /// Serial line.
    Uart,
    /// A virtio slot, by number.
    Virtio(usize),
}

/// A device's place.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Which device.
    pub part: Part,
    /// First physical address.
    pub base: u64,
    /// Length in bytes.
    pub size: u64,
    /// Interrupt source.
    pub irq: Option<u32>,
    /// Its node's name in the device tree, without the address.
    pub node: &'static str,
    /// What drivers know it by.
    pub compatible: &'static [&'static str],
}

const fn slot(
    part: Part,
    base: u64,
    size: u64,
    irq: Option<u32>,
    node: &'static str,
    compatible: &'static [&'static str],
) -> Slot {
    Slot { part, base, size, irq, node, compatible }
}

const fn virtio(n: usize) -> Slot {
    let base = 0x1000_1000 + 0x1000 * n as u64;
    slot(Part::Virtio(n), base, 0x1000, Some(n as u32 + 1), "virtio_mmio", &["virtio,mmio"])
}

/// THE table.
#[rustfmt::skip]
pub const SLOTS: [Slot; 5 + VIRTIO_SLOTS] = [
    slot(Part::Uart, 0x1000_0000, 0x100, Some(10), "serial", &["ns16550a"]),
    slot(Part::Clint, 0x200_0000, 0x1_0000, None, "clint", &["sifive,clint0", "riscv,clint0"]),
    slot(Part::Plic, 0xc00_0000, 0x60_0000, None, "plic", &["sifive,plic-1.0.0", "riscv,plic0"]),
    virtio(0), virtio(1), virtio(2), virtio(3), virtio(4), virtio(5), virtio(6), virtio(7),
    slot(Part::Rtc, 0x10_1000, 0x1000, Some(11), "rtc", &["google,goldfish-rtc"]),
    slot(Part::Finisher, 0x10_0000, 0x1000, None, "test",
        &["sifive,test1", "sifive,test0", "syscon"]),
];

/// The device at a physical address.
pub fn at(pa: u64) -> Option<&'static Slot> {
    SLOTS.iter().find(|slot| pa.wrapping_sub(slot.base) < slot.size)
}

/// A device's place.
pub fn place(part: Part) -> &'static Slot {
    SLOTS.iter().find(|slot| slot.part == part).expect("every part has a slot")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_do_not_overlap() {
        for (n, a) in SLOTS.iter().enumerate() {
            assert!(a.base + a.size <= RAM_BASE);
            for b in &SLOTS[n + 1..] {
                assert!(a.base + a.size <= b.base || b.base + b.size <= a.base, "{a:?} {b:?}");
                assert!(a.irq.is_none() || a.irq != b.irq, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn addresses_find_their_device() {
        assert_eq!(at(0x1000_0005).map(|s| s.part), Some(Part::Uart));
        assert_eq!(at(0x1000_8fff).map(|s| s.part), Some(Part::Virtio(7)));
        assert!(at(0x1000_0100).is_none() && at(0).is_none() && at(u64::MAX).is_none());
        assert_eq!(place(Part::Virtio(3)).base, 0x1000_4000);
    }
}
