//! The 16550A serial port, the console's other end.
//!
//! Processes write through [`write()`], which sleeps while the port is busy. The kernel's own
//! messages and the echo of input go through [`write_polling`], which works at any time.
//! Registers: National Semiconductor PC16550D data sheet.

use core::sync::atomic::{AtomicBool, Ordering};

use abi::layout::UART0;

use crate::arch::{self, mmio_read8, mmio_write8};
use crate::proc::{sleep, wakeup};
use crate::sync::{SpinLock, pop_off, push_off};

/// Receiver buffer (read) and transmitter holding register (write).
const DATA: u64 = UART0;
/// Interrupt enable.
const IER: u64 = UART0 + 1;
const IER_RECEIVED: u8 = 1 << 0;
const IER_TRANSMITTER_EMPTY: u8 = 1 << 1;
/// FIFO control (write) and interrupt identification (read).
const FCR: u64 = UART0 + 2;
const FCR_ENABLE_AND_CLEAR: u8 = 0b111;
/// Line control.
const LCR: u64 = UART0 + 3;
const LCR_EIGHT_BITS: u8 = 0b11;
/// The first two registers are the baud rate's divisor while this is set.
const LCR_DIVISOR: u8 = 1 << 7;
/// Line status.
const LSR: u64 = UART0 + 5;
const LSR_RECEIVED: u8 = 1 << 0;
const LSR_TRANSMITTER_EMPTY: u8 = 1 << 5;

/// What a process sends at once. The FIFO takes 16 bytes; a message of the kernel and an echo,
/// which do not wait for the process, may come between the look at the FIFO and the bytes.
const BURST: usize = 14;
/// 38400 baud from a 1.8432 MHz clock.
const DIVISOR: u8 = 3;

/// For the writer; the value says whether it waits for an interrupt.
static TRANSMITTER: SpinLock<bool> = SpinLock::new("uart", false);
/// The kernel panicked: what was said is to stay the last word.
static FROZEN: AtomicBool = AtomicBool::new(false);

/// Sets line parameters and turns the FIFOs and receive interrupts on.
pub fn init() {
    mmio_write8(IER, 0);
    mmio_write8(LCR, LCR_DIVISOR);
    mmio_write8(UART0, DIVISOR);
    mmio_write8(UART0 + 1, 0);
    mmio_write8(LCR, LCR_EIGHT_BITS);
    mmio_write8(FCR, FCR_ENABLE_AND_CLEAR);
    mmio_write8(IER, IER_RECEIVED);
}

fn transmitter_empty() -> bool {
    mmio_read8(LSR) & LSR_TRANSMITTER_EMPTY != 0
}

/// Sends bytes for a process, some at a time; sleeps while the port is busy.
pub fn write(bytes: &[u8]) {
    let mut waiting = TRANSMITTER.lock();
    for chunk in bytes.chunks(BURST) {
        while !transmitter_empty() {
            *waiting = true;
            mmio_write8(IER, IER_RECEIVED | IER_TRANSMITTER_EMPTY);
            waiting = sleep(channel(), waiting);
        }
        freeze_point();
        for &byte in chunk {
            mmio_write8(DATA, byte);
        }
    }
}

fn channel() -> usize {
    (&raw const TRANSMITTER).addr()
}

/// Sends bytes at once: polls while the port is busy.
pub fn write_polling(bytes: &[u8]) {
    push_off();
    for &byte in bytes {
        while !transmitter_empty() {
            arch::relax();
        }
        freeze_point();
        mmio_write8(DATA, byte);
    }
    pop_off();
}

/// Stops all output, and every hart that tries to write.
pub fn freeze() {
    FROZEN.store(true, Ordering::Relaxed);
}

fn freeze_point() {
    while FROZEN.load(Ordering::Relaxed) {
        arch::relax();
    }
}

/// Serves the port's interrupt: wakes writers, and hands on what was received.
pub fn interrupt(mut received: impl FnMut(u8)) {
    {
        let mut waiting = TRANSMITTER.lock();
        if *waiting && transmitter_empty() {
            *waiting = false;
            mmio_write8(IER, IER_RECEIVED);
            wakeup(channel());
        }
    }
    while mmio_read8(LSR) & LSR_RECEIVED != 0 {
        received(mmio_read8(DATA));
    }
}
