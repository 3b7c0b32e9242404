//! The core-local interruptor: a software-interrupt bit and a timer comparator per hart, and the
//! time they compare with.
//!
//! Source: the SiFive CLINT as in the FU540 manual, chapter 9, and the layout of QEMU's `virt`
//! board; the "Machine Timer" part is `mtime`/`mtimecmp` of the privileged manual, 3.2.1.

use super::{Ctx, Device};

/// Harts the register layout is given room for.
pub const MAX_HARTS: usize = 8;

const MSIP: u64 = 0x0000;
const MTIMECMP: u64 = 0x4000;
const MTIME: u64 = 0xbff8;

enum Register {
    Msip(usize),
    Mtimecmp(usize),
    Mtime,
}

/// State of all harts' parts.
#[derive(Clone, Debug)]
pub struct Clint {
    msip: Vec<bool>,
    mtimecmp: Vec<u64>,
    /// What a write to `mtime` added to the machine's time.
    shift: u64,
}

impl Clint {
    /// For that many harts; comparators are at "never".
    pub fn new(harts: usize) -> Clint {
        Clint { msip: vec![false; harts], mtimecmp: vec![u64::MAX; harts], shift: 0 }
    }

    /// Whether a hart's software interrupt is pending.
    pub fn msip(&self, hart: usize) -> bool {
        self.msip[hart]
    }

    /// Whether a hart's timer interrupt is pending.
    pub fn mtip(&self, hart: usize, now: u64) -> bool {
        self.mtime(now) >= self.mtimecmp[hart]
    }

    /// The time as the guest reads it, at the machine's time `now`.
    pub fn mtime(&self, now: u64) -> u64 {
        now.wrapping_add(self.shift)
    }

    /// The machine's time at which a hart's timer interrupt becomes pending; 0 when it is.
    pub fn deadline(&self, hart: usize, now: u64) -> u64 {
        if self.mtip(hart, now) {
            return 0;
        }
        now.saturating_add(self.mtimecmp[hart] - self.mtime(now))
    }

    /// The register and the byte within it.
    fn decode(&self, offset: u64) -> Option<(Register, u64)> {
        let harts = self.msip.len() as u64;
        match offset {
            MTIME.. if offset < MTIME + 8 => Some((Register::Mtime, offset - MTIME)),
            MTIMECMP.. => {
                let hart = (offset - MTIMECMP) / 8;
                (hart < harts).then_some((Register::Mtimecmp(hart as usize), offset % 8))
            }
            _ => {
                let hart = (offset - MSIP) / 4;
                (hart < harts).then_some((Register::Msip(hart as usize), offset % 4))
            }
        }
    }
}

/// `old` with its half at `byte` (or all of it) replaced.
fn merge(old: u64, byte: u64, size: u8, value: u64) -> Option<u64> {
    match (size, byte) {
        (8, 0) => Some(value),
        (4, 0) => Some(old & !0xffff_ffff | value & 0xffff_ffff),
        (4, 4) => Some(old & 0xffff_ffff | value << 32),
        _ => None,
    }
}

impl Device for Clint {
    fn read(&mut self, offset: u64, size: u8, ctx: &mut Ctx) -> Option<u64> {
        let (register, byte) = self.decode(offset)?;
        let value = match register {
            Register::Msip(hart) if size == 4 && byte == 0 => return Some(self.msip[hart].into()),
            Register::Msip(_) => return None,
            Register::Mtimecmp(hart) => self.mtimecmp[hart],
            Register::Mtime => self.mtime(ctx.now),
        };
        match (size, byte) {
            (8, 0) => Some(value),
            (4, 0) => Some(value & 0xffff_ffff),
            (4, 4) => Some(value >> 32),
            _ => None,
        }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, ctx: &mut Ctx) -> Option<()> {
        let (register, byte) = self.decode(offset)?;
        match register {
            Register::Msip(hart) if size == 4 && byte == 0 => self.msip[hart] = value & 1 != 0,
            Register::Msip(_) => return None,
            Register::Mtimecmp(hart) => {
                self.mtimecmp[hart] = merge(self.mtimecmp[hart], byte, size, value)?;
            }
            Register::Mtime => {
                let time = merge(self.mtime(ctx.now), byte, size, value)?;
                self.shift = time.wrapping_sub(ctx.now);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::testing::Pages;

    fn at<R>(now: u64, f: impl FnOnce(&mut Ctx) -> R) -> R {
        f(&mut Ctx { now, mem: &mut Pages::new(0) })
    }

    #[test]
    fn software_interrupt_is_bit_zero() {
        let mut clint = Clint::new(2);
        at(0, |c| clint.write(4, 4, 0xffff_fffe, c)).expect("msip of hart 1");
        assert!(!clint.msip(1));
        at(0, |c| clint.write(4, 4, 0xffff_ffff, c)).expect("msip of hart 1");
        assert!(clint.msip(1) && !clint.msip(0));
        assert_eq!(at(0, |c| clint.read(4, 4, c)), Some(1));
        assert_eq!(at(0, |c| clint.read(8, 4, c)), None, "there is no hart 2");
        assert_eq!(at(0, |c| clint.read(4, 8, c)), None);
    }

    #[test]
    fn timer_is_pending_from_the_comparator_on() {
        let mut clint = Clint::new(1);
        assert!(!clint.mtip(0, u64::MAX - 1));
        at(0, |c| clint.write(0x4000, 8, 100, c)).expect("mtimecmp");
        assert!(!clint.mtip(0, 99) && clint.mtip(0, 100));
        assert_eq!((clint.deadline(0, 40), clint.deadline(0, 100)), (100, 0));
        at(0, |c| clint.write(0x4004, 4, 1, c)).expect("upper half");
        assert_eq!(at(0, |c| clint.read(0x4000, 8, c)), Some(0x1_0000_0064));
        assert_eq!(at(0, |c| clint.read(0x4004, 4, c)), Some(1));
    }

    #[test]
    fn a_write_to_mtime_shifts_time() {
        let mut clint = Clint::new(1);
        assert_eq!(at(7, |c| clint.read(0xbff8, 8, c)), Some(7));
        at(1000, |c| clint.write(0xbff8, 8, 5, c)).expect("mtime");
        assert_eq!(at(1001, |c| clint.read(0xbff8, 4, c)), Some(6));
        at(0, |c| clint.write(0x4000, 8, 10, c)).expect("mtimecmp");
        assert_eq!(clint.deadline(0, 1000), 1005);
    }
}
