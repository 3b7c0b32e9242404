//! The console: lines typed at the serial port, edited until they are complete, and the device
//! file through which processes read them and write.

mod line;

use crate::dev::uart;
use crate::fs::{Device, FsError, register_device};
use crate::proc::{self, killed, sleep_unless_killed, wakeup};
use crate::sync::SpinLock;
use line::{Line, Typed};

static INPUT: SpinLock<Line> = SpinLock::new("console", Line::new());

struct Console;

/// Connects the console to its major number.
pub fn init() {
    register_device(abi::param::CONSOLE.into(), &Console);
}

fn channel() -> usize {
    (&raw const INPUT).addr()
}

impl Device for Console {
    /// Waits for a line; returns it or as much as there is room for.
    fn read(&self, buf: &mut [u8]) -> Result<usize, FsError> {
        let mut input = INPUT.lock();
        while !input.is_complete() {
            if killed() {
                return Err(FsError::Broken);
            }
            input = sleep_unless_killed(channel(), input);
        }
        Ok(input.take(buf))
    }

    fn write(&self, data: &[u8]) -> Result<usize, FsError> {
        uart::write(data);
        Ok(data.len())
    }
}

/// Takes a byte that was typed, from the serial port's interrupt.
pub fn received(byte: u8) {
    let mut input = INPUT.lock();
    match input.typed(byte, uart::write_polling) {
        Typed::More => {}
        Typed::Complete => {
            drop(input);
            wakeup(channel());
        }
        Typed::ProcessList => {
            drop(input);
            proc::dump();
        }
    }
}
