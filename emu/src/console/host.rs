//! The host's terminal at the guest's serial line: what is typed goes to the guest but for
//! Ctrl-A and what follows it; what the guest prints goes to standard output.

use std::io::{ErrorKind, IsTerminal, Write, stdin, stdout};
use std::time::{Duration, Instant};

use super::input::Input;
use super::pacer::Pacer;
use super::typist::{ESCAPE, Guest, Item, Typist};
use super::{Flow, HostConsole, Idle};
use crate::dev::uart16550::Uart;
use crate::term;

/// Output is passed on when this much has gathered, or this long has gone by, or the guest waits.
const GATHER_BYTES: usize = 8 << 10;
const GATHER_TIME: Duration = Duration::from_millis(10);
/// A wait is never longer than this without a look at signals.
const NAP: Duration = Duration::from_millis(100);
/// A moment.
const REST: Duration = Duration::from_millis(10);
/// Most that is kept of what is typed at a guest that does not read.
const MAX_TYPED: usize = 64 << 10;
/// A guest that has waited so long (ten minutes, in ticks) for nothing in particular need not
/// hurry any more: it may as well leave the host's processor alone.
const FORSAKEN: u64 = 600 * crate::board::TIMEBASE_HZ;

const HELP: &str = "\n\
    Ctrl-A x   quit\n\
    Ctrl-A c   monitor, and back\n\
    Ctrl-A h   this help\n\
    Ctrl-A a   send Ctrl-A to the guest\n";

/// Why the console stopped the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Ctrl-A x.
    Quit,
    /// A line was typed to the monitor.
    Monitor(String),
    /// A signal asks the program to end.
    Signal(i32),
    /// Nobody reads the output any more.
    OutputClosed,
    /// Output cannot be written, and why.
    OutputFailed(String),
}

/// The console of an emulator that runs at a terminal or in a pipeline.
pub struct Console {
    input: Input,
    /// Input is a terminal: commands take effect the moment they are typed.
    terminal: bool,
    escaped: bool,
    typist: Typist,
    pacer: Pacer,
    output: Vec<u8>,
    /// What was printed last is not the end of a line.
    midline: bool,
    flushed: Instant,
    /// This many more bytes of output were already printed, by a run before a restart.
    repeated: u64,
    printed: u64,
    monitor: Option<String>,
    wish: Option<Wish>,
    pace: bool,
}

impl Console {
    /// At standard input and output.
    pub fn open() -> Console {
        let mut typist = Typist::default();
        let mut first = Vec::new();
        let input = Input::open(&mut first);
        typist.add(&first);
        Console {
            pace: input.live(),
            input,
            terminal: stdin().is_terminal(),
            escaped: false,
            typist,
            pacer: Pacer::default(),
            output: Vec::new(),
            midline: false,
            flushed: Instant::now(),
            repeated: 0,
            printed: 0,
            monitor: None,
            wish: None,
        }
    }

    /// Why the machine was stopped, once.
    pub fn take_wish(&mut self) -> Option<Wish> {
        self.wish.take()
    }

    /// Whether there is a reason to stop the machine.
    pub fn has_wish(&self) -> bool {
        self.wish.is_some()
    }

    /// Whether nothing can be typed any more.
    pub fn ended(&self) -> bool {
        !self.input.live() && self.typist.is_empty()
    }

    /// Rests a moment, with the machine stopped; returns whether something is wanted.
    pub fn rest(&mut self) -> bool {
        self.flush();
        if let Some(bytes) = self.input.wait(REST) {
            self.typed(&bytes);
        }
        while self.wish.is_none()
            && self.monitor.is_some()
            && !self.terminal
            && let Some(item) = self.typist.take(0)
        {
            self.item(item, None);
        }
        if let Some(signal) = term::signal() {
            self.wish = Some(Wish::Signal(signal));
        }
        self.wish.is_some()
    }

    /// The machine starts again from the beginning and will print what it printed so far: that
    /// is left out. What was typed is typed again.
    pub fn expect_repeat(&mut self) {
        self.typist.expect_repeat();
        self.repeated = self.printed;
        self.printed = 0;
    }

    /// The machine was reset: its time begins anew.
    pub fn restarted(&mut self) {
        self.pacer = Pacer::default();
        self.typist.restarted();
    }

    /// Prints what is the emulator's own.
    pub fn print(&mut self, text: &str) {
        self.output.extend(text.as_bytes());
        self.flush();
    }

    /// Prints what the guest sent and nobody took yet.
    pub fn drain(&mut self, uart: &mut Uart, now: u64) {
        let mut sent = uart.take_sent();
        self.printed += sent.len() as u64;
        let skip = self.repeated.min(sent.len() as u64);
        self.repeated -= skip;
        sent.drain(..skip as usize);
        self.typist.printed(&sent, now);
        self.output.append(&mut sent);
    }

    /// Passes output on.
    pub fn flush(&mut self) {
        self.flushed = Instant::now();
        if self.output.is_empty() {
            return;
        }
        self.midline = self.output.last() != Some(&b'\n');
        let mut out = stdout().lock();
        let written = out.write_all(&self.output).and_then(|()| out.flush());
        self.output.clear();
        if let Err(error) = written {
            self.wish.get_or_insert(match error.kind() {
                ErrorKind::BrokenPipe => Wish::OutputClosed,
                _ => Wish::OutputFailed(error.to_string()),
            });
        }
    }

    /// The machine has ended. What follows at a terminal is not to hang on the guest's last line.
    pub fn end(&mut self) {
        self.flush();
        if self.midline && stdout().is_terminal() {
            self.print("\n");
        }
    }

    /// Input came. At a terminal commands are carried out at once; otherwise in their turn.
    fn typed(&mut self, bytes: &[u8]) {
        if !self.terminal {
            self.typist.add(bytes);
            return;
        }
        for byte in bytes {
            let byte = *byte;
            if std::mem::take(&mut self.escaped) {
                self.command(byte);
            } else if byte == ESCAPE {
                self.escaped = true;
            } else if self.monitor.is_some() {
                self.monitor_key(byte);
            } else if self.typist.len() < MAX_TYPED {
                self.typist.add(&[byte]);
            }
        }
    }

    /// What follows a Ctrl-A.
    fn command(&mut self, byte: u8) {
        match byte {
            b'x' => self.wish = Some(Wish::Quit),
            b'h' | b'?' => self.print(HELP),
            b'c' if self.monitor.is_some() => {
                self.monitor = None;
                self.print("\n");
            }
            b'c' => {
                self.monitor = Some(String::new());
                self.print("\n(emu) ");
            }
            // The guest's own Ctrl-A; the typist would take it for a command.
            b'a' | ESCAPE => self.typist.add(&[ESCAPE, b'a']),
            _ => {}
        }
    }

    /// A key for the monitor's line.
    fn monitor_key(&mut self, byte: u8) {
        let Some(line) = &mut self.monitor else { return };
        match byte {
            b'\r' | b'\n' => {
                let line = std::mem::take(line);
                self.print("\n");
                self.wish = Some(Wish::Monitor(line));
            }
            8 | 127 if line.pop().is_some() => self.print("\x08 \x08"),
            8 | 127 => {}
            0x15 => {
                let rubout = "\x08 \x08".repeat(std::mem::take(line).len());
                self.print(&rubout);
            }
            b' '..=b'~' if line.len() < 200 => {
                line.push(byte.into());
                self.print(&char::from(byte).to_string());
            }
            _ => {}
        }
    }

    /// Puts whoever sits at the terminal into the monitor; returns whether there is one.
    pub fn open_monitor(&mut self) -> bool {
        if self.terminal && self.monitor.is_none() {
            self.command(b'c');
        } else {
            self.monitor_prompt();
        }
        self.terminal
    }

    /// Shows the monitor's prompt, if one is in the monitor.
    pub fn monitor_prompt(&mut self) {
        if self.monitor.is_some() {
            self.print("(emu) ");
        }
    }

    /// Does what is next in the input.
    fn item(&mut self, item: Item, uart: Option<&mut Uart>) {
        match (item, uart) {
            (Item::Command(b'a' | ESCAPE), Some(uart)) => uart.receive(ESCAPE),
            (Item::Command(byte), _) => self.command(byte),
            (Item::Byte(byte), _) if self.monitor.is_some() && !self.terminal => {
                self.monitor_key(byte);
            }
            (Item::Byte(byte), Some(uart)) => uart.receive(byte),
            (Item::Byte(_), None) => {}
        }
    }

    /// Types what is due. Returns whether the guest received something.
    fn type_due(&mut self, uart: &mut Uart, now: u64, idle: bool) -> bool {
        let mut received = false;
        while self.wish.is_none()
            && uart.room() > 0
            && self.due(uart, idle).is_some_and(|due| due <= now)
        {
            let Some(item) = self.typist.take(now) else { break };
            self.item(item, Some(uart));
            received = true;
        }
        received
    }

    fn due(&self, uart: &Uart, idle: bool) -> Option<u64> {
        if self.terminal {
            // A person sees what the guest does; everything goes at once.
            return (!self.typist.is_empty()).then_some(0);
        }
        let guest = match idle {
            _ if uart.polled() => Guest::Polls,
            true => Guest::Idle,
            false => Guest::Busy,
        };
        self.typist.due(guest, self.pace)
    }

    /// Gets new input and passes old output on; returns whether the machine is to stop.
    fn attend(&mut self, uart: &mut Uart, now: u64) -> bool {
        self.drain(uart, now);
        if self.output.len() >= GATHER_BYTES
            || !self.output.is_empty() && self.flushed.elapsed() >= GATHER_TIME
        {
            self.flush();
        }
        if self.terminal || self.typist.is_empty() {
            while let Some(bytes) = self.input.more() {
                self.typed(&bytes);
                if !self.terminal {
                    break;
                }
            }
            self.pace &= self.input.live();
        }
        if let Some(signal) = term::signal() {
            self.wish = Some(Wish::Signal(signal));
        }
        self.wish.is_some()
    }

    /// Lets time go by until `deadline` on the host's clock, or until input comes.
    fn pass(&mut self, now: u64, deadline: Option<u64>) -> u64 {
        let deadline = deadline.unwrap_or(u64::MAX);
        let begun = Instant::now();
        let target = self.pacer.target(begun, now, deadline);
        while self.wish.is_none() && term::signal().is_none() {
            let left = target.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            if let Some(bytes) = self.input.wait(left.min(NAP)) {
                self.typed(&bytes);
                break;
            }
            if self.pace && !self.input.live() {
                break;
            }
        }
        self.pacer.woke(begun, Instant::now(), now, deadline)
    }
}

impl HostConsole for Console {
    fn turn(&mut self, uart: &mut Uart, now: u64) -> Flow {
        if self.attend(uart, now) {
            return Flow::Stop;
        }
        self.type_due(uart, now, false);
        if self.wish.is_some() { Flow::Stop } else { Flow::Go }
    }

    fn idle(&mut self, uart: &mut Uart, now: u64, deadline: Option<u64>) -> Idle {
        if self.attend(uart, now) {
            return Idle::Stop;
        }
        self.flush();
        let received = self.type_due(uart, now, true);
        if self.wish.is_some() {
            return Idle::Stop;
        }
        if received {
            return Idle::Until(now);
        }
        // With room in the guest's FIFO, the next line is an event like a timer's.
        let due = self.due(uart, true).filter(|_| uart.room() > 0);
        let next = deadline.into_iter().chain(due).min();
        if self.pace || self.typist.quiet(now) > FORSAKEN {
            return match next {
                None if !self.pace => Idle::Never,
                next => Idle::Until(self.pass(now, next)),
            };
        }
        next.map_or(Idle::Never, Idle::Until)
    }
}
