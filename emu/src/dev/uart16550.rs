//! The serial line: a 16550A with its FIFOs, interrupts and loopback.
//!
//! Source: National Semiconductor PC16550D data sheet, section 8. Sending takes no time, so the
//! transmitter is always empty; modem lines are connected and quiet; baud rate is stored only.

use std::collections::VecDeque;

use super::{Ctx, Device};

/// Bytes the receive FIFO holds.
const FIFO: usize = 16;

/// Looks in vain from which on the guest counts as waiting for input.
const POLLED: u32 = 256;

/// IER: interrupt when data has been received.
const IER_RECEIVED: u8 = 1 << 0;
/// IER: interrupt when the transmitter has become empty.
const IER_EMPTY: u8 = 1 << 1;
/// IER: interrupt on a receiver error.
const IER_LINE: u8 = 1 << 2;
const IER_MASK: u8 = 0x0f;

/// IIR: no interrupt is pending (low bit set means none).
const IIR_NONE: u8 = 0x01;
/// IIR: transmitter empty.
const IIR_EMPTY: u8 = 0x02;
/// IIR: received data has reached the trigger level.
const IIR_RECEIVED: u8 = 0x04;
/// IIR: receiver error.
const IIR_LINE: u8 = 0x06;
/// IIR: data below the trigger level has waited.
const IIR_TIMEOUT: u8 = 0x0c;
/// IIR: FIFOs are enabled.
const IIR_FIFOS: u8 = 0xc0;

/// FCR: enable the FIFOs.
const FCR_ENABLE: u8 = 1 << 0;
/// FCR: empty the receive FIFO.
const FCR_CLEAR_RECEIVED: u8 = 1 << 1;

/// LCR: offsets 0 and 1 are the divisor latch.
const LCR_DIVISOR: u8 = 1 << 7;

/// MCR: what is sent is received instead.
const MCR_LOOPBACK: u8 = 1 << 4;
const MCR_MASK: u8 = 0x1f;

/// LSR: a received byte can be read.
const LSR_READY: u8 = 1 << 0;
/// LSR: a received byte was lost.
const LSR_OVERRUN: u8 = 1 << 1;
/// LSR: the holding register is empty.
const LSR_HOLDING_EMPTY: u8 = 1 << 5;
/// LSR: the shift register is empty as well.
const LSR_ALL_EMPTY: u8 = 1 << 6;

/// MSR: clear to send, data set ready, carrier: a terminal is connected.
const MSR_CONNECTED: u8 = 0xb0;

#[derive(Clone, Copy)]
enum Register {
    /// RBR to read, THR to write.
    Data,
    InterruptEnable,
    /// IIR to read, FCR to write.
    InterruptId,
    LineControl,
    ModemControl,
    LineStatus,
    ModemStatus,
    Scratch,
    DivisorLow,
    DivisorHigh,
}

/// State of the serial line.
#[derive(Clone, Debug)]
pub struct Uart {
    received: VecDeque<u8>,
    /// What the guest sent and nobody took yet.
    sent: Vec<u8>,
    interrupt_enable: u8,
    fifo_control: u8,
    line_control: u8,
    modem_control: u8,
    scratch: u8,
    divisor: u16,
    overrun: bool,
    /// The transmitter has become empty since that was last reported.
    empty_pending: bool,
    /// There was a reason to look at the interrupt condition since it was last reported.
    signal: bool,
    /// How often the guest has looked for received bytes in vain since it last sent one.
    looks: u32,
}

impl Default for Uart {
    fn default() -> Uart {
        Uart {
            received: VecDeque::with_capacity(FIFO),
            sent: Vec::new(),
            interrupt_enable: 0,
            fifo_control: 0,
            line_control: 0,
            modem_control: 0,
            scratch: 0,
            divisor: 0,
            overrun: false,
            empty_pending: false,
            signal: false,
            looks: 0,
        }
    }
}

impl Uart {
    /// How many bytes can be received now; none while loopback cuts the line.
    pub fn room(&self) -> usize {
        if self.modem_control & MCR_LOOPBACK != 0 {
            0
        } else {
            self.capacity() - self.received.len()
        }
    }

    /// Whether the guest has read all that was received.
    pub fn drained(&self) -> bool {
        self.received.is_empty()
    }

    /// Whether the guest does nothing but look for received bytes: it waits without interrupts.
    pub fn polled(&self) -> bool {
        self.looks >= POLLED
    }

    /// A byte arrives. One for which there is no room is lost, as on a real line.
    pub fn receive(&mut self, byte: u8) {
        self.looks = 0;
        self.signal = true;
        if self.received.len() < self.capacity() {
            self.received.push_back(byte);
        } else {
            self.overrun = true;
        }
    }

    /// Takes what the guest sent.
    pub fn take_sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    /// What the guest sent and was not taken yet.
    pub fn sent(&self) -> &[u8] {
        &self.sent
    }

    /// Where to add what is printed by other means than the transmitter.
    pub fn sent_mut(&mut self) -> &mut Vec<u8> {
        &mut self.sent
    }

    /// The level of the interrupt line.
    fn irq(&self) -> bool {
        self.interrupt() != IIR_NONE
    }

    fn capacity(&self) -> usize {
        if self.fifo_control & FCR_ENABLE != 0 { FIFO } else { 1 }
    }

    /// The fill from which on received data interrupts at once (FCR bits 6 and 7).
    fn trigger(&self) -> usize {
        if self.fifo_control & FCR_ENABLE == 0 {
            return 1;
        }
        [1, 4, 8, 14][usize::from(self.fifo_control >> 6)]
    }

    /// The pending interrupt of the highest rank (data sheet, table IV).
    fn interrupt(&self) -> u8 {
        let enabled = |bit| self.interrupt_enable & bit != 0;
        if enabled(IER_LINE) && self.overrun {
            IIR_LINE
        } else if enabled(IER_RECEIVED) && self.received.len() >= self.trigger() {
            IIR_RECEIVED
        } else if enabled(IER_RECEIVED) && !self.received.is_empty() {
            IIR_TIMEOUT
        } else if enabled(IER_EMPTY) && self.empty_pending {
            IIR_EMPTY
        } else {
            IIR_NONE
        }
    }

    fn decode(&self, offset: u64) -> Option<Register> {
        let divisor = self.line_control & LCR_DIVISOR != 0;
        match offset {
            0 if divisor => Some(Register::DivisorLow),
            1 if divisor => Some(Register::DivisorHigh),
            0 => Some(Register::Data),
            1 => Some(Register::InterruptEnable),
            2 => Some(Register::InterruptId),
            3 => Some(Register::LineControl),
            4 => Some(Register::ModemControl),
            5 => Some(Register::LineStatus),
            6 => Some(Register::ModemStatus),
            7 => Some(Register::Scratch),
            _ => None,
        }
    }

    fn send(&mut self, byte: u8) {
        self.looks = 0;
        if self.modem_control & MCR_LOOPBACK != 0 {
            self.receive(byte);
        } else {
            self.sent.push(byte);
        }
        self.empty_pending = true;
    }

    fn interrupt_id(&mut self) -> u8 {
        let id = self.interrupt();
        if id == IIR_EMPTY {
            self.empty_pending = false;
            self.signal = true;
        }
        if self.fifo_control & FCR_ENABLE != 0 { id | IIR_FIFOS } else { id }
    }

    fn line_status(&mut self) -> u8 {
        let mut status = LSR_HOLDING_EMPTY | LSR_ALL_EMPTY;
        if self.received.is_empty() {
            self.looks = self.looks.saturating_add(1);
        } else {
            status |= LSR_READY;
        }
        if std::mem::take(&mut self.overrun) {
            self.signal = true;
            status |= LSR_OVERRUN;
        }
        status
    }

    /// In loopback the modem's inputs are its outputs: RTS is CTS, DTR is DSR, OUT1 is RI, OUT2
    /// is carrier.
    fn modem_status(&self) -> u8 {
        let mcr = self.modem_control;
        if mcr & MCR_LOOPBACK == 0 {
            return MSR_CONNECTED;
        }
        (mcr & 2) << 3 | (mcr & 1) << 5 | (mcr & 4) << 4 | (mcr & 8) << 4
    }

    fn set_fifo_control(&mut self, value: u8) {
        if value & FCR_CLEAR_RECEIVED != 0 || (value ^ self.fifo_control) & FCR_ENABLE != 0 {
            self.received.clear();
        }
        self.fifo_control = if value & FCR_ENABLE != 0 { value & 0xc9 } else { 0 };
    }
}

impl Device for Uart {
    fn read(&mut self, offset: u64, _: u8, _: &mut Ctx) -> Option<u64> {
        let value = match self.decode(offset)? {
            Register::Data => {
                self.signal = true;
                self.received.pop_front().unwrap_or(0)
            }
            Register::InterruptEnable => self.interrupt_enable,
            Register::InterruptId => self.interrupt_id(),
            Register::LineControl => self.line_control,
            Register::ModemControl => self.modem_control,
            Register::LineStatus => self.line_status(),
            Register::ModemStatus => self.modem_status(),
            Register::Scratch => self.scratch,
            Register::DivisorLow => self.divisor as u8,
            Register::DivisorHigh => (self.divisor >> 8) as u8,
        };
        Some(value.into())
    }

    fn write(&mut self, offset: u64, _: u8, value: u64, _: &mut Ctx) -> Option<()> {
        let value = value as u8;
        self.signal = true;
        match self.decode(offset)? {
            Register::Data => self.send(value),
            Register::InterruptEnable => {
                // Enabling the interrupt of an empty transmitter raises it.
                if value & !self.interrupt_enable & IER_EMPTY != 0 {
                    self.empty_pending = true;
                }
                self.interrupt_enable = value & IER_MASK;
            }
            Register::InterruptId => self.set_fifo_control(value),
            Register::LineControl => self.line_control = value,
            Register::ModemControl => self.modem_control = value & MCR_MASK,
            Register::LineStatus | Register::ModemStatus => {}
            Register::Scratch => self.scratch = value,
            Register::DivisorLow => self.divisor = self.divisor & 0xff00 | u16::from(value),
            Register::DivisorHigh => {
                self.divisor = self.divisor & 0x00ff | u16::from(value) << 8;
            }
        }
        Some(())
    }

    fn take_signal(&mut self) -> Option<bool> {
        std::mem::take(&mut self.signal).then(|| self.irq())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::testing::Pages;

    fn read(uart: &mut Uart, offset: u64) -> u8 {
        let mut mem = Pages::new(0);
        uart.read(offset, 1, &mut Ctx { now: 0, mem: &mut mem }).expect("a register") as u8
    }

    fn write(uart: &mut Uart, offset: u64, value: u8) {
        let mut mem = Pages::new(0);
        uart.write(offset, 1, value.into(), &mut Ctx { now: 0, mem: &mut mem }).expect("register");
    }

    #[test]
    fn received_bytes_interrupt_by_trigger_or_timeout() {
        let mut uart = Uart::default();
        write(&mut uart, 2, 0x41);
        write(&mut uart, 1, 1);
        assert!(!uart.irq());
        uart.receive(b'a');
        assert!(uart.irq());
        assert_eq!(read(&mut uart, 2), 0xcc);
        "bcd".bytes().for_each(|b| uart.receive(b));
        assert_eq!(read(&mut uart, 2), 0xc4);
        assert_eq!(read(&mut uart, 5), 0x61);
        let text: Vec<u8> = (0..4).map(|_| read(&mut uart, 0)).collect();
        assert_eq!(text, b"abcd");
        assert_eq!((read(&mut uart, 5), read(&mut uart, 2), uart.irq()), (0x60, 0xc1, false));
    }

    #[test]
    fn transmitter_empty_interrupt_is_cleared_by_iir() {
        let mut uart = Uart::default();
        write(&mut uart, 1, 2);
        assert!(uart.irq(), "enabling it with an empty transmitter raises it");
        assert_eq!(read(&mut uart, 2), 0x02);
        assert!(!uart.irq());
        write(&mut uart, 0, b'x');
        assert!(uart.irq());
        assert_eq!(uart.take_sent(), b"x");
        assert_eq!(read(&mut uart, 2), 0x02);
        assert_eq!(read(&mut uart, 2), 0x01);
    }

    #[test]
    fn divisor_latch_hides_data_and_enable() {
        let mut uart = Uart::default();
        write(&mut uart, 3, 0x83);
        write(&mut uart, 0, 3);
        write(&mut uart, 1, 1);
        assert_eq!((read(&mut uart, 0), read(&mut uart, 1)), (3, 1));
        write(&mut uart, 3, 3);
        assert_eq!((read(&mut uart, 1), read(&mut uart, 3)), (0, 3));
        assert!(uart.sent().is_empty());
    }

    #[test]
    fn looking_in_vain_is_noticed() {
        let mut uart = Uart::default();
        (0..300).for_each(|_| {
            read(&mut uart, 5);
            write(&mut uart, 0, b'x');
        });
        assert!(!uart.polled(), "it looks whether it may send");
        (0..300).for_each(|_| {
            read(&mut uart, 5);
        });
        assert!(uart.polled());
        uart.receive(b'y');
        assert!(!uart.polled());
    }

    #[test]
    fn overrun_is_reported_once() {
        let mut uart = Uart::default();
        assert_eq!(uart.room(), 1);
        uart.receive(1);
        uart.receive(2);
        assert_eq!((read(&mut uart, 5), read(&mut uart, 5)), (0x63, 0x61));
        write(&mut uart, 2, 1);
        assert_eq!((uart.room(), uart.drained()), (16, true));
    }

    #[test]
    fn loopback_receives_what_is_sent() {
        let mut uart = Uart::default();
        write(&mut uart, 2, 1);
        write(&mut uart, 4, 0x1f);
        assert_eq!(uart.room(), 0);
        write(&mut uart, 0, 0x55);
        assert_eq!((read(&mut uart, 0), uart.sent().len()), (0x55, 0));
        assert_eq!(read(&mut uart, 6) & 0xf0, 0xf0);
        write(&mut uart, 4, 0);
        write(&mut uart, 7, 0xa5);
        assert_eq!((read(&mut uart, 6), read(&mut uart, 7)), (0xb0, 0xa5));
    }
}
