//! Whatever a guest writes to a virtio slot's registers and rings, the device neither panics nor
//! hangs, and works again after a reset.

use emu::board::RAM_BASE;
use emu::bus::{Bus, BusConfig, VirtioChoice};
use emu::dev::Dma;
use emu::dev::virtio::blk::Blk;
use emu::dev::virtio::disk::{Disk, Mode};
use emu::dev::virtio::mmio::Version;
use emu::mem::Ram;
use proptest::prelude::*;

const SLOT: u64 = 0x1000_1000;
const DESC: u64 = RAM_BASE + 0x1000;
const AVAIL: u64 = RAM_BASE + 0x1080;
const USED: u64 = RAM_BASE + 0x2000;
const DATA: u64 = RAM_BASE + 0x3000;
const RAM_BYTES: u64 = 0x1_0000;

fn bus(version: Version, name: &str) -> Bus {
    let path = std::env::temp_dir().join(format!("emu-hostile-{name}-{}", std::process::id()));
    std::fs::write(&path, [7; 8192]).expect("temporary folder");
    let disk = Disk::open(&path, Mode::Snapshot).expect("an image");
    std::fs::remove_file(&path).expect("temporary folder");
    let mut config = BusConfig { virtio: VirtioChoice::Fixed(version), ..BusConfig::new(1) };
    config.backends[0] = Some(Box::new(Blk::new(disk, "hostile")));
    Bus::new(Ram::new(RAM_BYTES).expect("memory"), config)
}

fn write(bus: &mut Bus, offset: u64, value: u32) {
    bus.write(SLOT + offset, 4, value.into(), 0).expect("the slot");
}

fn descriptor(bus: &mut Bus, n: u64, (pa, len): (u64, u32), flags: u16) {
    let mut bytes = pa.to_le_bytes().to_vec();
    bytes.extend(len.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend((n as u16 + 1).to_le_bytes());
    bus.ram.write_bytes(DESC + 16 * n, &bytes).expect("memory");
}

/// What a good driver does: reset, a queue of eight, one read of sector 1.
fn well_behaved_read(bus: &mut Bus, version: Version) {
    bus.ram.write_bytes(DESC, &[0; 0x3000]).expect("memory");
    descriptor(bus, 0, (DATA, 16), 1);
    descriptor(bus, 1, (DATA + 1024, 512), 3);
    descriptor(bus, 2, (DATA + 64, 1), 2);
    bus.ram.write_bytes(DATA, &[0, 0, 0, 0, 0, 0, 0, 0, 1]).expect("memory");
    bus.ram.write_bytes(DATA + 64, &[0xff]).expect("memory");
    bus.ram.write_bytes(AVAIL, &[0, 0, 1, 0, 0, 0]).expect("memory");
    for status in [0, 1, 3, 11] {
        write(bus, 0x70, status);
    }
    write(bus, 0x30, 0);
    write(bus, 0x38, 8);
    match version {
        Version::Modern => {
            for (offset, place) in [(0x80, DESC), (0x90, AVAIL), (0xa0, USED)] {
                write(bus, offset, place as u32);
                write(bus, offset + 4, 0);
            }
            write(bus, 0x44, 1);
        }
        Version::Legacy => {
            write(bus, 0x28, 4096);
            write(bus, 0x3c, 4096);
            write(bus, 0x40, (DESC >> 12) as u32);
        }
    }
    write(bus, 0x70, 15);
    write(bus, 0x50, 0);
    let mut answer = [0; 1];
    bus.ram.read_bytes(DATA + 64, &mut answer).expect("memory");
    assert_eq!((bus.ram.read_u16(USED + 2), answer[0]), (Ok(1), 0));
    assert_eq!(bus.read(SLOT + 0x70, 4, 0), Ok(15));
}

/// A register access or a change of memory.
#[derive(Clone, Debug)]
enum Act {
    Write { offset: u64, value: u32 },
    Read { offset: u64, size: u8 },
    Poke { at: u64, bytes: [u8; 8] },
    Kick,
}

/// Values that matter somewhere: addresses in and near memory, small numbers, extremes.
fn value() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        0u32..20,
        (0u32..0x2_0000).prop_map(|n| RAM_BASE as u32 + n),
        Just(u32::MAX),
        Just((DESC >> 12) as u32),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let offset = || prop_oneof![3 => (0u64..0x50).prop_map(|n| n * 4), 1 => 0u64..0x1000 - 8];
    let size = prop::sample::select(vec![1u8, 2, 4, 8]);
    prop_oneof![
        3 => (offset(), value()).prop_map(|(at, value)| Act::Write { offset: at & !3, value }),
        1 => (offset(), size).prop_map(|(offset, size)| Act::Read { offset, size }),
        4 => (0u64..0x1200, any::<[u8; 8]>()).prop_map(|(at, bytes)| Act::Poke { at, bytes }),
        2 => Just(Act::Kick),
    ]
}

fn survive(version: Version, name: &str, acts: &[Act]) {
    let mut bus = bus(version, name);
    well_behaved_read(&mut bus, version);
    for act in acts {
        match act {
            Act::Write { offset, value } => write(&mut bus, *offset, *value),
            Act::Read { offset, size } => {
                bus.read(SLOT + offset, *size, 0).expect("the slot");
            }
            Act::Poke { at, bytes } => bus.ram.write_bytes(DESC + at, bytes).expect("memory"),
            Act::Kick => {
                let index = bus.ram.read_u16(AVAIL + 2).expect("memory").wrapping_add(1);
                bus.ram.write_bytes(AVAIL + 2, &index.to_le_bytes()).expect("memory");
                write(&mut bus, 0x50, 0);
            }
        }
    }
    well_behaved_read(&mut bus, version);
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn modern_survives(acts in prop::collection::vec(act(), 1..60)) {
        survive(Version::Modern, "modern", &acts);
    }

    #[test]
    fn legacy_survives(acts in prop::collection::vec(act(), 1..60)) {
        survive(Version::Legacy, "legacy", &acts);
    }

    #[test]
    fn any_access_to_any_device(accesses in prop::collection::vec(
        (0usize..13, 0u64..0x60_0000, 0u32..4, any::<u64>(), any::<bool>()), 1..200)
    ) {
        let mut bus = bus(Version::Modern, "any");
        for (slot, offset, size, value, reads) in accesses {
            let slot = &emu::board::SLOTS[slot];
            let (pa, size) = (slot.base + offset % slot.size, 1u8 << size);
            if reads {
                let _ = bus.read(pa, size, value);
            } else {
                let _ = bus.write(pa, size, value, 1 << 20);
            }
            bus.poll(value);
        }
    }
}

/// A request whose buffers are four gigabytes each does not take long.
#[test]
fn giant_requests_are_refused() {
    let mut bus = bus(Version::Modern, "giant");
    well_behaved_read(&mut bus, Version::Modern);
    for n in 0..8 {
        let flags = if n == 0 { 1 } else { u16::from(n < 7) | 2 };
        descriptor(&mut bus, n, (RAM_BASE, u32::MAX), flags);
    }
    let before = std::time::Instant::now();
    bus.ram.write_bytes(AVAIL + 2, &[2, 0]).expect("memory");
    write(&mut bus, 0x50, 0);
    assert!(before.elapsed() < std::time::Duration::from_secs(5));
    well_behaved_read(&mut bus, Version::Modern);
}
