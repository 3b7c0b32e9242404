//! Virtio over memory-mapped registers: version 2, and version 1 ("legacy") for drivers of
//! before 2016, which hand a queue over as one page number.
//!
//! Source: VIRTIO 1.2, 4.2 "Virtio Over MMIO", its 4.2.4 "Legacy interface" among it.

use super::queue::{Broken, MAX_SIZE, Queue};
use super::{Backend, feature};
use crate::dev::{Ctx, Device, Dma};

/// "virt".
const MAGIC: u32 = 0x7472_6976;
/// "QEMU", which drivers of teaching kernels look for.
const VENDOR: u32 = 0x554d_4551;

/// 4.2.2: a request was given back.
const INTERRUPT_USED: u32 = 1 << 0;
/// 4.2.2: the device's status or configuration changed.
const INTERRUPT_CONFIG: u32 = 1 << 1;

/// 2.1 "Device Status Field": the driver accepted the features.
const FEATURES_OK: u32 = 8;
/// 2.1: the driver is set up.
const DRIVER_OK: u32 = 4;
/// 2.1: the device cannot go on until it is reset.
const NEEDS_RESET: u32 = 64;

/// Length of a page of a legacy queue before the driver says.
const LEGACY_PAGE: u32 = 4096;

/// Which of the two interfaces a slot has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// Version 1.
    Legacy,
    /// Version 2.
    #[default]
    Modern,
}

/// 4.2.2 "MMIO Device Register Layout", 4.2.4 for what only version 1 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    Magic,
    Version,
    DeviceId,
    VendorId,
    DeviceFeatures,
    DeviceFeaturesSel,
    DriverFeatures,
    DriverFeaturesSel,
    GuestPageSize,
    QueueSel,
    QueueNumMax,
    QueueNum,
    QueueAlign,
    QueuePfn,
    QueueReady,
    QueueNotify,
    InterruptStatus,
    InterruptAck,
    Status,
    /// Descriptor table, driver (available) and device (used) area: low and high halves.
    QueueDesc(Half),
    QueueDriver(Half),
    QueueDevice(Half),
    ShmSel,
    Shm,
    ConfigGeneration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Low,
    High,
}

/// Where a device's own configuration begins.
const CONFIG: u64 = 0x100;

impl Register {
    fn decode(offset: u64, version: Version) -> Option<Register> {
        let modern = version == self::Version::Modern;
        use Register::*;
        Some(match offset {
            0x000 => Magic,
            0x004 => Version,
            0x008 => DeviceId,
            0x00c => VendorId,
            0x010 => DeviceFeatures,
            0x014 => DeviceFeaturesSel,
            0x020 => DriverFeatures,
            0x024 => DriverFeaturesSel,
            0x028 if !modern => GuestPageSize,
            0x030 => QueueSel,
            0x034 => QueueNumMax,
            0x038 => QueueNum,
            0x03c if !modern => QueueAlign,
            0x040 if !modern => QueuePfn,
            0x044 if modern => QueueReady,
            0x050 => QueueNotify,
            0x060 => InterruptStatus,
            0x064 => InterruptAck,
            0x070 => Status,
            0x080 if modern => QueueDesc(Half::Low),
            0x084 if modern => QueueDesc(Half::High),
            0x090 if modern => QueueDriver(Half::Low),
            0x094 if modern => QueueDriver(Half::High),
            0x0a0 if modern => QueueDevice(Half::Low),
            0x0a4 if modern => QueueDevice(Half::High),
            0x0ac if modern => ShmSel,
            0x0b0 | 0x0b4 | 0x0b8 | 0x0bc if modern => Shm,
            0x0fc if modern => ConfigGeneration,
            _ => return None,
        })
    }
}

/// A slot: registers, and the device behind them if there is one.
#[derive(Default)]
pub struct VirtioMmio {
    version: Version,
    backend: Option<Box<dyn Backend>>,
    queues: Vec<Queue>,
    queue_sel: u32,
    device_features_sel: u32,
    driver_features_sel: u32,
    driver_features: u64,
    interrupt_status: u32,
    status: u32,
    legacy_page: u32,
    legacy_align: u32,
    /// What a queue was last found broken by.
    broken: Option<Broken>,
    /// The interrupt status was written to since it was last reported.
    signal: bool,
}

impl VirtioMmio {
    /// A slot with a device, or an empty one.
    pub fn new(version: Version, backend: Option<Box<dyn Backend>>) -> VirtioMmio {
        let mut slot = VirtioMmio { version, backend, ..VirtioMmio::default() };
        slot.reset();
        slot
    }

    /// Takes the device out, for another life of the machine.
    pub fn into_backend(self) -> Option<Box<dyn Backend>> {
        self.backend
    }

    /// Whether there is a device.
    pub fn occupied(&self) -> bool {
        self.backend.is_some()
    }

    /// Whether `offset` is where a driver asks for the version.
    pub fn is_version(offset: u64) -> bool {
        Register::decode(offset, Version::Modern) == Some(Register::Version)
    }

    /// Whether a driver has taken the device over.
    pub fn in_use(&self) -> bool {
        self.status & DRIVER_OK != 0
    }

    /// What a queue was last found broken by.
    pub fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// The level of the interrupt line.
    fn irq(&self) -> bool {
        self.interrupt_status != 0
    }

    /// 2.4 "Device Reset".
    fn reset(&mut self) {
        let queues = self.backend.as_ref().map_or(0, |backend| backend.queues());
        self.queues = vec![Queue::of(MAX_SIZE); queues];
        self.queue_sel = 0;
        self.device_features_sel = 0;
        self.driver_features_sel = 0;
        self.driver_features = 0;
        self.interrupt_status = 0;
        self.status = 0;
        self.legacy_page = LEGACY_PAGE;
        self.legacy_align = LEGACY_PAGE;
    }

    fn features(&self) -> u64 {
        let own = self.backend.as_ref().map_or(0, |backend| backend.features());
        own | feature::INDIRECT_DESC
            | match self.version {
                Version::Legacy => feature::ANY_LAYOUT,
                Version::Modern => feature::VERSION_1,
            }
    }

    fn queue(&mut self) -> Option<&mut Queue> {
        self.queues.get_mut(self.queue_sel as usize)
    }

    fn read_register(&mut self, register: Register) -> Option<u32> {
        use Register as R;
        let (version, features) = (self.version, self.features());
        let queue = self.queues.get(self.queue_sel as usize);
        Some(match register {
            R::Magic => MAGIC,
            R::Version => match version {
                Version::Legacy => 1,
                Version::Modern => 2,
            },
            R::DeviceId => self.backend.as_ref().map_or(0, |backend| backend.device_id()),
            R::VendorId => VENDOR,
            R::DeviceFeatures => half(features, self.device_features_sel),
            R::QueueNumMax => queue.map_or(0, |_| MAX_SIZE.into()),
            R::QueueReady => queue.is_some_and(|q| q.ready).into(),
            R::QueuePfn => {
                let place = queue.map_or(0, |q| if q.ready { q.desc } else { 0 });
                (place / u64::from(self.legacy_page)) as u32
            }
            R::InterruptStatus => self.interrupt_status,
            R::Status => self.status,
            // 4.2.2: no region has length -1.
            R::Shm => u32::MAX,
            R::ConfigGeneration => 0,
            _ => return None,
        })
    }

    fn write_register(&mut self, register: Register, value: u32, mem: &mut dyn Dma) -> Option<()> {
        use Register as R;
        match register {
            R::DeviceFeaturesSel => self.device_features_sel = value,
            R::DriverFeaturesSel => self.driver_features_sel = value,
            R::DriverFeatures => self.set_driver_features(value),
            R::GuestPageSize if value.is_power_of_two() => self.legacy_page = value,
            R::GuestPageSize => {}
            R::QueueSel => self.queue_sel = value,
            R::QueueNum => {
                if Queue::valid_size(value) {
                    self.unready_queue()?.size = value as u16;
                }
            }
            R::QueueAlign => self.legacy_align = value,
            R::QueuePfn => self.set_legacy_queue(value)?,
            R::QueueReady => {
                let queue = self.queue()?;
                queue.ready = value & 1 != 0;
                queue.rewind();
            }
            R::QueueNotify => self.notify(value as usize, mem),
            R::InterruptAck => self.interrupt_status &= !value,
            R::Status if value == 0 => self.reset(),
            R::Status => self.set_status(value),
            R::QueueDesc(part) => set_half(&mut self.unready_queue()?.desc, part, value),
            R::QueueDriver(part) => set_half(&mut self.unready_queue()?.avail, part, value),
            R::QueueDevice(part) => set_half(&mut self.unready_queue()?.used, part, value),
            R::ShmSel => {}
            _ => return None,
        }
        Some(())
    }

    /// The selected queue, if its place may still be changed.
    fn unready_queue(&mut self) -> Option<&mut Queue> {
        self.queue().filter(|queue| !queue.ready)
    }

    /// Features that were not offered, or come after the driver said they are final, are not
    /// taken.
    fn set_driver_features(&mut self, value: u32) {
        if self.status & FEATURES_OK == 0 && self.driver_features_sel < 2 {
            let shift = 32 * self.driver_features_sel;
            let kept = self.driver_features & !(0xffff_ffff << shift);
            self.driver_features = (kept | u64::from(value) << shift) & self.features();
        }
    }

    /// NEEDS_RESET is the device's to set, and only a reset clears it.
    fn set_status(&mut self, value: u32) {
        self.status = value & 0xff & !NEEDS_RESET | self.status & NEEDS_RESET;
    }

    /// 2.7.2 "Legacy Interfaces: A Note on Virtqueue Layout": the three parts follow each other,
    /// the used ring on the next boundary.
    fn set_legacy_queue(&mut self, page: u32) -> Option<()> {
        let (page_len, align) = (u64::from(self.legacy_page), u64::from(self.legacy_align));
        let queue = self.queue()?;
        let mut fresh = Queue::of(queue.size);
        if page != 0 && align.is_power_of_two() {
            let entries = u64::from(fresh.size);
            fresh.ready = true;
            fresh.desc = u64::from(page) * page_len;
            fresh.avail = fresh.desc + 16 * entries;
            // Flags and index, the ring, and the used-event field.
            fresh.used = (fresh.avail + 4 + 2 * entries + 2).next_multiple_of(align);
        }
        *queue = fresh;
        Some(())
    }

    /// Serves what waits in a queue.
    fn notify(&mut self, index: usize, mem: &mut dyn Dma) {
        if self.status & DRIVER_OK == 0 || self.status & NEEDS_RESET != 0 {
            return;
        }
        if let Err(broken) = self.serve(index, mem) {
            self.broken = Some(broken);
            self.status |= NEEDS_RESET;
            self.interrupt_status |= INTERRUPT_CONFIG;
        }
    }

    fn serve(&mut self, index: usize, mem: &mut dyn Dma) -> Result<(), Broken> {
        let (Some(backend), Some(queue)) = (&mut self.backend, self.queues.get_mut(index)) else {
            return Ok(());
        };
        if !queue.ready {
            return Ok(());
        }
        // The driver is not running meanwhile: what waits now is all there is.
        let waiting = queue.waiting(mem)?;
        for _ in 0..waiting {
            let chain = queue.take(mem)?;
            let written = backend.serve(index, &chain, mem)?;
            queue.give_back(chain.head, written, mem)?;
        }
        if waiting > 0 && queue.wants_interrupt(mem)? {
            self.interrupt_status |= INTERRUPT_USED;
        }
        Ok(())
    }

    fn read_config(&self, at: u64, size: u8) -> Option<u64> {
        let config = self.backend.as_ref()?.config();
        let at = usize::try_from(at).ok()?;
        let bytes = config.get(at..at.checked_add(size.into())?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }
}

fn half(value: u64, sel: u32) -> u32 {
    match sel {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

fn set_half(place: &mut u64, part: Half, value: u32) {
    *place = match part {
        Half::Low => *place & !0xffff_ffff | u64::from(value),
        Half::High => *place & 0xffff_ffff | u64::from(value) << 32,
    };
}

impl Device for VirtioMmio {
    fn read(&mut self, offset: u64, size: u8, _: &mut Ctx) -> Option<u64> {
        if offset >= CONFIG {
            return self.read_config(offset - CONFIG, size);
        }
        let register = Register::decode(offset, self.version).filter(|_| size == 4)?;
        self.read_register(register).map(u64::from)
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, ctx: &mut Ctx) -> Option<()> {
        let register = Register::decode(offset, self.version).filter(|_| size == 4)?;
        self.backend.as_ref()?;
        self.signal = true;
        self.write_register(register, value as u32, ctx.mem)
    }

    fn take_signal(&mut self) -> Option<bool> {
        std::mem::take(&mut self.signal).then(|| self.irq())
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::testing::*;
    use super::super::rng::Rng;
    use super::*;
    use crate::dev::testing::Pages;

    struct Bed {
        slot: VirtioMmio,
        mem: Pages,
    }

    impl Bed {
        fn new(version: Version) -> Bed {
            let slot = VirtioMmio::new(version, Some(Box::new(Rng::new(1))));
            Bed { slot, mem: Pages::new(0x8000) }
        }

        fn read(&mut self, offset: u64) -> u32 {
            let mut ctx = Ctx { now: 0, mem: &mut self.mem };
            self.slot.read(offset, 4, &mut ctx).expect("a register") as u32
        }

        fn write(&mut self, offset: u64, value: u32) -> Option<()> {
            self.slot.write(offset, 4, value.into(), &mut Ctx { now: 0, mem: &mut self.mem })
        }

        fn writes(&mut self, pairs: &[(u64, u64)]) {
            for (offset, value) in pairs {
                self.write(*offset, *value as u32).expect("a register");
            }
        }

        /// A modern driver's way to a queue of eight.
        fn start(&mut self) {
            self.writes(&[(0x70, 0), (0x70, 3), (0x14, 0), (0x24, 0), (0x20, 0), (0x70, 11)]);
            self.writes(&[(0x30, 0), (0x38, 8), (0x80, DESC), (0x84, 0), (0x90, AVAIL)]);
            self.writes(&[(0xa0, USED), (0x44, 1), (0x70, 15)]);
        }
    }

    #[test]
    fn a_modern_driver_gets_its_request_served() {
        let mut bed = Bed::new(Version::Modern);
        let ids = [0, 4, 8, 12].map(|offset| bed.read(offset));
        assert_eq!(ids, [0x7472_6976, 2, 4, 0x554d_4551]);
        bed.writes(&[(0x14, 1)]);
        assert_eq!(bed.read(0x10), 1, "version 1 is feature 32");
        bed.start();
        put_request(&mut bed.mem, 0, 8, &[(DATA, 8, true)]);
        bed.writes(&[(0x50, 0)]);
        assert_eq!((bed.slot.irq(), bed.read(0x60)), (true, 1));
        assert_eq!(bed.mem.read_u16(USED + 2), Ok(1));
        bed.writes(&[(0x64, 1)]);
        assert!(!bed.slot.irq());
        bed.mem.put(AVAIL, &1u16.to_le_bytes());
        put_request(&mut bed.mem, 1, 8, &[(DATA, 8, true)]);
        bed.writes(&[(0x50, 0)]);
        assert_eq!((bed.slot.irq(), bed.mem.read_u16(USED + 2)), (false, Ok(2)));
    }

    #[test]
    fn a_legacy_driver_hands_over_a_page_number() {
        let mut bed = Bed::new(Version::Legacy);
        assert_eq!(bed.read(4), 1);
        bed.writes(&[(0x70, 3), (0x20, 0), (0x70, 11), (0x28, 4096), (0x30, 0), (0x38, 8)]);
        bed.writes(&[(0x3c, 4096), (0x40, DESC >> 12), (0x70, 15)]);
        assert_eq!(bed.read(0x40), (DESC >> 12) as u32);
        // Available ring behind eight descriptors, used ring on the next page.
        put_descriptor(&mut bed.mem, DESC, DATA, 8, 2, 0);
        bed.mem.put(DESC + 16 * 8 + 2, &1u16.to_le_bytes());
        bed.writes(&[(0x50, 0)]);
        assert_eq!(bed.mem.read_u16(DESC + 4096 + 2), Ok(1));
        bed.writes(&[(0x40, 0)]);
        assert_eq!(bed.read(0x40), 0);
        assert_eq!(bed.write(0x44, 1), None, "version 1 has no such register");
    }

    #[test]
    fn a_broken_queue_needs_a_reset() {
        let mut bed = Bed::new(Version::Modern);
        bed.start();
        bed.mem.put(AVAIL + 2, &9u16.to_le_bytes());
        bed.writes(&[(0x50, 0)]);
        assert_eq!((bed.read(0x70), bed.read(0x60)), (15 | 64, 2));
        assert_eq!(bed.slot.broken(), Some(Broken::Index));
        bed.mem.put(AVAIL + 2, &0u16.to_le_bytes());
        put_request(&mut bed.mem, 0, 8, &[(DATA, 8, true)]);
        bed.writes(&[(0x70, 15), (0x50, 0)]);
        assert_eq!((bed.read(0x70), bed.mem.read_u16(USED + 2)), (15 | 64, Ok(0)));
        bed.start();
        bed.writes(&[(0x50, 0)]);
        assert_eq!((bed.read(0x70), bed.mem.read_u16(USED + 2)), (15, Ok(1)));
    }

    #[test]
    fn odd_accesses_and_values_are_ignored() {
        let mut bed = Bed::new(Version::Modern);
        bed.writes(&[(0x30, 7)]);
        assert_eq!((bed.read(0x34), bed.read(0x44)), (0, 0));
        assert_eq!(bed.write(0x44, 1), None);
        bed.writes(&[(0x30, 0), (0x38, 0), (0x38, 3), (0x38, 4096), (0x50, 9)]);
        let mut ctx = Ctx { now: 0, mem: &mut bed.mem };
        assert_eq!(bed.slot.read(0, 8, &mut ctx), None);
        assert_eq!(bed.slot.read(0x100, 4, &mut ctx), None, "no configuration");
        assert_eq!(bed.slot.read(u64::MAX, 8, &mut ctx), None);
        let mut empty = VirtioMmio::new(Version::Modern, None);
        assert_eq!(empty.read(8, 4, &mut ctx), Some(0));
        assert_eq!(empty.write(0x70, 4, 1, &mut ctx), None);
        assert!(!empty.occupied());
    }
}
