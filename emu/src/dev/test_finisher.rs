//! The test finisher: a word written here ends the run or resets the machine.
//!
//! Source: SiFive's test finisher as QEMU's `virt` board has it (`sifive,test1`).

use super::{Ctx, Device};
use crate::bus::Exit;

/// Low half: end with the code in the high half.
const FAIL: u64 = 0x3333;
/// Low half: end with code 0.
const PASS: u64 = 0x5555;
/// Low half: reset the machine.
const RESET: u64 = 0x7777;

/// What was asked for, if anything was.
#[derive(Clone, Debug, Default)]
pub struct TestFinisher {
    /// The first request; later ones do not change it.
    pub exit: Option<Exit>,
}

impl Device for TestFinisher {
    fn read(&mut self, offset: u64, _: u8, _: &mut Ctx) -> Option<u64> {
        (offset == 0).then_some(0)
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _: &mut Ctx) -> Option<()> {
        if offset != 0 || size == 1 {
            return None;
        }
        let exit = match value & 0xffff {
            PASS => Exit::Code(0),
            FAIL => Exit::Code((value >> 16 & 0xffff) as u32),
            RESET => Exit::Reset,
            _ => return None,
        };
        self.exit.get_or_insert(exit);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::testing::Pages;

    fn after(value: u64) -> Option<Exit> {
        let mut finisher = TestFinisher::default();
        finisher.write(0, 4, value, &mut Ctx { now: 0, mem: &mut Pages::new(0) });
        finisher.exit
    }

    #[test]
    fn the_three_words() {
        assert_eq!(after(0x5555), Some(Exit::Code(0)));
        assert_eq!(after(0x2a_3333), Some(Exit::Code(42)));
        assert_eq!(after(0x7777), Some(Exit::Reset));
        assert_eq!(after(0x1234), None);
    }
}
