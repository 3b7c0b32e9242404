//! The bus: guest memory and the board's devices, by physical address.
//!
//! Memory is reached through [`Ram`]'s own methods; `read` and `write` here are for devices. An
//! access that no device claims is an access fault; one inside a device's window that names no
//! register reads zero, does nothing, and is counted.

use thiserror::Error;

use crate::board::{self, Part, VIRTIO_SLOTS};
use crate::dev::clint::Clint;
use crate::dev::htif::Htif;
use crate::dev::plic::Plic;
use crate::dev::rtc::{FIXED_START_NS, Rtc};
use crate::dev::test_finisher::TestFinisher;
use crate::dev::uart16550::Uart;
use crate::dev::virtio::Backend;
use crate::dev::virtio::mmio::{Version, VirtioMmio};
use crate::dev::{Ctx, Device, Dma, NotMemory};
use crate::mem::Ram;

/// `mip` bits that devices drive (privileged manual, 3.1.9).
const MSIP: u64 = 1 << 3;
const MTIP: u64 = 1 << 7;
const SEIP: u64 = 1 << 9;
const MEIP: u64 = 1 << 11;

/// Nothing answers at that physical address, or not in that size.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("access fault")]
pub struct AccessFault;

/// How a guest ends its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Power off, with a code.
    Code(u32),
    /// Start again.
    Reset,
    /// The driver turned away from the version of virtio that it was offered, before any of its
    /// devices was in use: start again with version 1.
    LegacyVirtio,
}

/// Which version of virtio the slots have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VirtioChoice {
    /// Version 2, until a driver turns away from it.
    #[default]
    Auto,
    /// That one.
    Fixed(Version),
}

/// What the bus is made of.
pub struct BusConfig {
    /// Number of harts.
    pub harts: usize,
    /// What the real-time clock shows at the machine's time 0, in nanoseconds since 1970.
    pub rtc_start_ns: u64,
    /// Which version of virtio.
    pub virtio: VirtioChoice,
    /// What is in the virtio slots.
    pub backends: [Option<Box<dyn Backend>>; VIRTIO_SLOTS],
}

impl BusConfig {
    /// A board with empty virtio slots.
    pub fn new(harts: usize) -> BusConfig {
        BusConfig {
            harts,
            rtc_start_ns: FIXED_START_NS,
            virtio: VirtioChoice::Auto,
            backends: Default::default(),
        }
    }
}

/// Guest memory and devices.
pub struct Bus {
    /// Guest memory.
    pub ram: Ram,
    /// Software and timer interrupts.
    pub clint: Clint,
    /// Interrupt controller; context 2h is hart h's M-mode, 2h + 1 its S-mode.
    pub plic: Plic,
    /// Serial line.
    pub uart: Uart,
    /// Real-time clock.
    pub rtc: Rtc,
    /// Test finisher.
    pub finisher: TestFinisher,
    /// Virtio slots.
    pub virtio: [VirtioMmio; VIRTIO_SLOTS],
    /// The two words of test programs that have them.
    pub htif: Option<Htif>,
    /// Accesses that named no register.
    pub unknown: u64,
    exit: Option<Exit>,
    /// Whether a driver may still turn away from version 2.
    offer_legacy: bool,
    /// The slot whose version was read, until the driver shows what it thinks of it.
    version_read: Option<usize>,
}

impl Dma for Ram {
    fn read_bytes(&self, pa: u64, out: &mut [u8]) -> Result<(), NotMemory> {
        self.dma_read(pa, out).map_err(|_| NotMemory)
    }

    fn write_bytes(&mut self, pa: u64, data: &[u8]) -> Result<(), NotMemory> {
        self.dma_write(pa, data).map_err(|_| NotMemory)
    }
}

impl Bus {
    /// Memory and devices in their state after reset.
    pub fn new(ram: Ram, config: BusConfig) -> Bus {
        let version = match config.virtio {
            VirtioChoice::Auto => Version::Modern,
            VirtioChoice::Fixed(version) => version,
        };
        Bus {
            ram,
            clint: Clint::new(config.harts),
            plic: Plic::new(2 * config.harts),
            uart: Uart::default(),
            rtc: Rtc::new(config.rtc_start_ns),
            finisher: TestFinisher::default(),
            virtio: config.backends.map(|backend| VirtioMmio::new(version, backend)),
            htif: None,
            unknown: 0,
            exit: None,
            offer_legacy: config.virtio == VirtioChoice::Auto,
            version_read: None,
        }
    }

    /// Reads `size` (1, 2, 4 or 8) bytes of a device at time `now`.
    pub fn read(&mut self, pa: u64, size: u8, now: u64) -> Result<u64, AccessFault> {
        let (slot, offset) = decode(pa, size)?;
        self.watch_version(slot.part, offset, true);
        let (device, mem) = self.device(slot.part);
        let value = device.read(offset, size, &mut Ctx { now, mem });
        self.after_access(slot);
        self.unknown += u64::from(value.is_none());
        Ok(value.unwrap_or(0))
    }

    /// Writes `size` bytes to a device at time `now`.
    pub fn write(&mut self, pa: u64, size: u8, value: u64, now: u64) -> Result<(), AccessFault> {
        let (slot, offset) = decode(pa, size)?;
        self.watch_version(slot.part, offset, false);
        let (device, mem) = self.device(slot.part);
        let done = device.write(offset, size, value, &mut Ctx { now, mem });
        self.after_access(slot);
        self.unknown += u64::from(done.is_none());
        Ok(())
    }

    /// The bits of `mip` that devices drive: MSIP, MTIP, SEIP and MEIP.
    pub fn mip(&self, hart: usize, now: u64) -> u64 {
        let bit = |set, mask| if set { mask } else { 0 };
        bit(self.clint.msip(hart), MSIP)
            | bit(self.clint.mtip(hart, now), MTIP)
            | bit(self.plic.line(2 * hart), MEIP)
            | bit(self.plic.line(2 * hart + 1), SEIP)
    }

    /// The machine's time at which a hart's `mtimecmp` is reached; `u64::MAX` for never.
    pub fn mtimecmp(&self, hart: usize, now: u64) -> u64 {
        self.clint.deadline(hart, now)
    }

    /// What the `time` CSR reads at the machine's time `now`: it shows `mtime`.
    pub fn time(&self, now: u64) -> u64 {
        self.clint.mtime(now)
    }

    /// The machine's time at which [`Bus::poll`] has something to do.
    pub fn deadline(&self) -> Option<u64> {
        self.rtc.deadline()
    }

    /// Lets devices do what is not the answer to an access: alarms, input that came in, requests
    /// in memory. To be called at the end of every turn.
    pub fn poll(&mut self, now: u64) {
        self.rtc.poll(now);
        if let Some(htif) = &self.htif
            && let Some(exit) = htif.poll(&mut self.ram, self.uart.sent_mut())
        {
            self.exit.get_or_insert(exit);
        }
        for slot in &board::SLOTS {
            self.drive_line(slot);
        }
    }

    /// How the guest wants to end, if it does.
    pub fn exit_request(&self) -> Option<Exit> {
        self.exit
    }

    fn device(&mut self, part: Part) -> (&mut dyn Device, &mut Ram) {
        let device: &mut dyn Device = match part {
            Part::Finisher => &mut self.finisher,
            Part::Rtc => &mut self.rtc,
            Part::Clint => &mut self.clint,
            Part::Plic => &mut self.plic,
            Part::Uart => &mut self.uart,
            Part::Virtio(n) => &mut self.virtio[n],
        };
        (device, &mut self.ram)
    }

    fn after_access(&mut self, slot: &board::Slot) {
        self.drive_line(slot);
        if slot.part == Part::Finisher && self.exit.is_none() {
            self.exit = self.finisher.exit;
        }
    }

    fn drive_line(&mut self, slot: &board::Slot) {
        if let Some(irq) = slot.irq
            && let Some(level) = self.device(slot.part).0.take_signal()
        {
            self.plic.signal(irq, level);
        }
    }

    /// Finds out whether the driver likes version 2. Drivers read the version of a slot and, if
    /// it is not theirs, turn away at once: to the next slot, or to the serial line to complain.
    /// Drivers that like it go on with the same slot. An interrupt in between (the interrupt
    /// controller is accessed) leaves the question open; timers do not matter.
    fn watch_version(&mut self, part: Part, offset: u64, read: bool) {
        if !self.offer_legacy {
            return;
        }
        match (part, self.version_read) {
            (Part::Clint, _) => return,
            (Part::Virtio(n), Some(slot)) if n != slot => self.exit = Some(Exit::LegacyVirtio),
            (Part::Uart | Part::Finisher, Some(_)) => self.exit = Some(Exit::LegacyVirtio),
            _ => {}
        }
        self.version_read = match part {
            Part::Virtio(n) if read && VirtioMmio::is_version(offset) => {
                self.virtio[n].occupied().then_some(n)
            }
            _ => None,
        };
        // A driver at work has accepted the version.
        self.offer_legacy = !self.virtio.iter().any(VirtioMmio::in_use);
    }
}

/// The device at an address, and the offset into its window.
fn decode(pa: u64, size: u8) -> Result<(&'static board::Slot, u64), AccessFault> {
    let slot = board::at(pa).ok_or(AccessFault)?;
    let offset = pa - slot.base;
    if offset + u64::from(size) <= slot.size { Ok((slot, offset)) } else { Err(AccessFault) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::virtio::rng::Rng;

    fn bus(virtio: VirtioChoice) -> Bus {
        let ram = Ram::new(1 << 20).expect("memory");
        let mut config = BusConfig { virtio, ..BusConfig::new(2) };
        config.backends[0] = Some(Box::new(Rng::new(0)));
        config.backends[2] = Some(Box::new(Rng::new(0)));
        Bus::new(ram, config)
    }

    const VIRTIO: u64 = 0x1000_1000;

    #[test]
    fn lines_reach_the_hart_through_the_controller() {
        let mut bus = bus(VirtioChoice::Auto);
        // Priority 1 for the serial line, enabled for hart 1's S-mode.
        bus.write(0xc00_0028, 4, 1, 0).expect("priority");
        bus.write(0xc00_2180, 4, 1 << 10, 0).expect("enable");
        bus.write(0x1000_0001, 1, 1, 0).expect("IER");
        assert_eq!((bus.mip(0, 0), bus.mip(1, 0)), (0, 0));
        bus.uart.receive(b'x');
        bus.poll(0);
        assert_eq!((bus.mip(0, 0), bus.mip(1, 0)), (0, SEIP));
        assert_eq!(bus.read(0x1000_0000, 1, 0), Ok(b'x'.into()));
        assert_eq!(bus.mip(1, 0), 0);
        bus.write(0x200_0004, 4, 1, 0).expect("msip");
        bus.write(0x200_4008, 8, 5, 0).expect("mtimecmp");
        assert_eq!((bus.mip(1, 4), bus.mip(1, 5)), (MSIP, MSIP | MTIP));
        assert_eq!(bus.mtimecmp(1, 0), 5);
    }

    #[test]
    fn holes_fault_and_absent_registers_count() {
        let mut bus = bus(VirtioChoice::Auto);
        for pa in [0, 0x1000_0100, 0x1000_9000, 0x2_0000_0000, u64::MAX] {
            assert_eq!(bus.read(pa, 4, 0), Err(AccessFault), "{pa:x}");
            assert_eq!(bus.write(pa, 4, 0, 0), Err(AccessFault), "{pa:x}");
        }
        assert_eq!(bus.read(0x1000_1ffc, 8, 0), Err(AccessFault), "across the window's end");
        assert_eq!((bus.read(0x1000_1ff8, 4, 0), bus.unknown), (Ok(0), 1));
    }

    #[test]
    fn finisher_and_htif_end_the_run() {
        let mut finished = bus(VirtioChoice::Auto);
        assert_eq!(finished.exit_request(), None);
        finished.write(0x10_0000, 4, 0x3_3333, 0).expect("finisher");
        assert_eq!(finished.exit_request(), Some(Exit::Code(3)));
        let mut bus = bus(VirtioChoice::Auto);
        bus.htif = Some(Htif::new(board::RAM_BASE + 64, None));
        bus.ram.write_bytes(board::RAM_BASE + 64, &[11, 0, 0, 0, 0, 0, 0, 0]).expect("memory");
        bus.poll(0);
        assert_eq!(bus.exit_request(), Some(Exit::Code(5)));
    }

    #[test]
    fn turning_away_from_the_version_asks_for_the_other_one() {
        let complains = |choice| {
            let mut bus = bus(choice);
            bus.read(VIRTIO, 4, 0).expect("magic");
            bus.read(VIRTIO + 4, 4, 0).expect("version");
            bus.read(0x200_bff8, 8, 0).expect("a timer does not matter");
            bus.write(0x1000_0000, 1, 33, 0).expect("a complaint");
            bus.exit_request()
        };
        assert_eq!(complains(VirtioChoice::Auto), Some(Exit::LegacyVirtio));
        assert_eq!(complains(VirtioChoice::Fixed(Version::Modern)), None);
        let mut scan = bus(VirtioChoice::Auto);
        for slot in 0..8 {
            scan.read(VIRTIO + 0x1000 * slot, 4, 0).expect("magic");
            scan.read(VIRTIO + 0x1000 * slot + 4, 4, 0).expect("version");
        }
        assert_eq!(scan.exit_request(), Some(Exit::LegacyVirtio));
    }

    #[test]
    fn going_on_accepts_the_version() {
        let mut bus = bus(VirtioChoice::Auto);
        for slot in 0..8 {
            for offset in [0, 4, 8, 12] {
                bus.read(VIRTIO + 0x1000 * slot + offset, 4, 0).expect("identity");
            }
        }
        bus.write(0x1000_0000, 1, 33, 0).expect("a greeting");
        assert_eq!(bus.exit_request(), None);
        bus.write(VIRTIO + 0x70, 4, 15, 0).expect("status");
        bus.read(VIRTIO + 4, 4, 0).expect("version");
        bus.write(0x1000_0000, 1, 33, 0).expect("later");
        assert_eq!(bus.exit_request(), None);
    }
}
