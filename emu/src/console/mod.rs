//! What the machine asks of whoever sits at its serial line, and the host's terminal there.

pub mod host;
pub mod input;
pub mod pacer;
pub mod typist;

use crate::dev::uart16550::Uart;

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Go,
    /// Leave the run loop; the machine can be run again from there.
    Stop,
}

/// What to do while all harts wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Go on at that time, which is not behind the deadline. Input may have come in.
    Until(u64),
    /// Leave the run loop; the machine can be run again from there.
    Stop,
    /// Nothing can ever happen again: no timer is set and no input can come.
    Never,
}

/// The host's side of the serial line. Times are in ticks of the time base.
pub trait HostConsole {
    /// Called at the end of every turn: takes what was sent, brings what is to be received.
    fn turn(&mut self, uart: &mut Uart, now: u64) -> Flow;

    /// Called when all harts wait, with the time of the next timer event if there is one.
    fn idle(&mut self, uart: &mut Uart, now: u64, deadline: Option<u64>) -> Idle;
}

/// A console for tests: input from a buffer as fast as the guest reads, output to another.
#[derive(Clone, Debug, Default)]
pub struct BufferConsole {
    /// What the guest is still to read, last byte first.
    pub input: Vec<u8>,
    /// What the guest sent.
    pub output: Vec<u8>,
}

impl HostConsole for BufferConsole {
    fn turn(&mut self, uart: &mut Uart, _: u64) -> Flow {
        self.output.extend(uart.take_sent());
        while uart.room() > 0
            && let Some(byte) = self.input.pop()
        {
            uart.receive(byte);
        }
        Flow::Go
    }

    fn idle(&mut self, uart: &mut Uart, now: u64, deadline: Option<u64>) -> Idle {
        let received = uart.drained() && !self.input.is_empty();
        self.turn(uart, now);
        if received { Idle::Until(now) } else { deadline.map_or(Idle::Never, Idle::Until) }
    }
}
