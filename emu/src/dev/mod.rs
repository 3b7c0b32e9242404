//! The board's devices. Each sees offsets into its own window and an interrupt line of its own,
//! never addresses, harts or the interrupt controller.
//!
//! A device's registers are an enum; an access first becomes a register, then an action. What
//! names no register answers `None`, which the bus counts: guests probe, and a probe is no error.

pub mod clint;
pub mod htif;
pub mod plic;
pub mod rtc;
pub mod test_finisher;
pub mod uart16550;
pub mod virtio;

use thiserror::Error;

/// A range of physical addresses that is not all guest memory.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not guest memory")]
pub struct NotMemory;

/// Guest memory as a device reaches it: checked copies by physical address, nothing else.
pub trait Dma {
    /// Fills `out` from physical address `pa`.
    fn read_bytes(&self, pa: u64, out: &mut [u8]) -> Result<(), NotMemory>;

    /// Copies `data` to physical address `pa`.
    fn write_bytes(&mut self, pa: u64, data: &[u8]) -> Result<(), NotMemory>;

    /// A little-endian 16-bit value.
    fn read_u16(&self, pa: u64) -> Result<u16, NotMemory> {
        let mut bytes = [0; 2];
        self.read_bytes(pa, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// A little-endian 32-bit value.
    fn read_u32(&self, pa: u64) -> Result<u32, NotMemory> {
        let mut bytes = [0; 4];
        self.read_bytes(pa, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// A little-endian 64-bit value.
    fn read_u64(&self, pa: u64) -> Result<u64, NotMemory> {
        let mut bytes = [0; 8];
        self.read_bytes(pa, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// What a device may reach while it serves an access.
pub struct Ctx<'a> {
    /// The machine's time, in ticks of the time base (10 MHz).
    pub now: u64,
    /// Guest memory.
    pub mem: &'a mut dyn Dma,
}

/// A device with registers.
pub trait Device {
    /// Reads `size` (1, 2, 4 or 8) bytes; `None` when no register of that size is there.
    fn read(&mut self, offset: u64, size: u8, ctx: &mut Ctx) -> Option<u64>;

    /// Writes `size` bytes; `None` when no register of that size is there.
    fn write(&mut self, offset: u64, size: u8, value: u64, ctx: &mut Ctx) -> Option<()>;

    /// The level of the interrupt line, if the device had a reason to look at its interrupt condition since it was last
    /// asked.
    fn take_signal(&mut self) -> Option<bool> {
        None
    }
}

/// A small generator (SplitMix64) for what looks random and must repeat from run to run.
#[derive(Clone, Debug)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A few pages that stand for guest memory.

    use super::{Dma, NotMemory};

    /// Where [`Pages`] begin.
    pub const BASE: u64 = 0x8000_0000;

    /// Memory from [`BASE`] on.
    pub struct Pages(pub Vec<u8>);

    impl Pages {
        pub fn new(bytes: usize) -> Pages {
            Pages(vec![0; bytes])
        }

        fn range(&self, pa: u64, len: usize) -> Result<std::ops::Range<usize>, NotMemory> {
            let start = pa.checked_sub(BASE).ok_or(NotMemory)?;
            let start = usize::try_from(start).map_err(|_| NotMemory)?;
            let end = start.checked_add(len).ok_or(NotMemory)?;
            if end <= self.0.len() { Ok(start..end) } else { Err(NotMemory) }
        }

        pub fn put(&mut self, pa: u64, data: &[u8]) {
            self.write_bytes(pa, data).expect("the test's address");
        }
    }

    impl Dma for Pages {
        fn read_bytes(&self, pa: u64, out: &mut [u8]) -> Result<(), NotMemory> {
            out.copy_from_slice(&self.0[self.range(pa, out.len())?]);
            Ok(())
        }

        fn write_bytes(&mut self, pa: u64, data: &[u8]) -> Result<(), NotMemory> {
            let range = self.range(pa, data.len())?;
            self.0[range].copy_from_slice(data);
            Ok(())
        }
    }
}
