//! The gdb stub: a debugger at the other end of a socket steers the machine. Harts are threads.
//!
//! The protocol is gdbstub's; what registers there are is described in `xml`, since its own
//! description of RV64 has neither floating-point registers nor CSRs.

mod link;
mod target;
mod xml;

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use gdbstub::conn::ConnectionExt;
use gdbstub::stub::run_blocking::{BlockingEventLoop, Event, WaitForStopReasonError};
use gdbstub::stub::{DisconnectReason, GdbStub, MultiThreadStopReason};

use crate::bus::Exit;
use crate::console::host::Console;
use crate::console::{Flow, HostConsole, Idle};
use crate::dev::uart16550::Uart;
use crate::inspect::{Debuggee, Points};
use crate::machine::Stop;
use link::Link;
use target::Debugger;

/// The socket is looked at once in so many turns.
const TURNS: u32 = 16;
/// While all harts wait the socket is looked at so often, in ticks (50 ms).
const LOOK: u64 = crate::board::TIMEBASE_HZ / 20;

/// Waits for debuggers on a port of this host.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

/// A debugger, and where it wants the machine to stop.
#[derive(Debug)]
pub struct Guest {
    link: Link,
    points: Points,
}

/// How a session ended.
#[derive(Debug)]
pub enum End {
    /// The debugger left; the machine goes on.
    Detached,
    /// The debugger killed the machine.
    Killed,
    /// The machine ended by itself, or the console wants something.
    Stopped(Stop),
    /// The machine is to start again with an older virtio, which is the machine's affair: for the
    /// debugger it goes on.
    Again(Guest),
}

impl Server {
    /// Listens on the loopback interface only.
    pub fn listen(port: u16) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        Ok(Server { listener })
    }

    /// A debugger, if one knocks.
    fn knock(&self) -> Option<Guest> {
        let (stream, _) = self.listener.accept().ok()?;
        Some(Guest { link: Link::new(stream), points: Points::default() })
    }

    /// Waits for a debugger, as long as nothing else is wanted.
    pub fn wait(&self, console: &mut Console) -> Option<Guest> {
        loop {
            if let Some(guest) = self.knock() {
                return Some(guest);
            }
            if console.rest() {
                return None;
            }
        }
    }

    /// Runs the machine until it stops or a debugger knocks.
    pub fn run(&self, machine: &mut dyn Debuggee, console: &mut Console) -> Result<Stop, Guest> {
        let mut guest = None;
        let look = || {
            guest = self.knock();
            guest.is_some()
        };
        let stop = machine.go(&mut Interrupted::new(console, look), &Points::default());
        guest.map_or(Ok(stop), Err)
    }
}

/// Lets a debugger have the machine until it leaves or the machine ends.
pub fn session(machine: &mut dyn Debuggee, console: &mut Console, guest: Guest) -> End {
    let mut debugger = Debugger::new(machine, console, guest.points);
    let again = guest.link.continued();
    let outcome = GdbStub::new(guest.link).run_blocking::<Loop>(&mut debugger);
    match (debugger.ended, again) {
        (Some(Stop::Exit(Exit::LegacyVirtio)), Ok(link)) => {
            return End::Again(Guest { link, points: debugger.points });
        }
        (Some(stop), _) => return End::Stopped(stop),
        (None, _) => {}
    }
    match outcome {
        Ok(DisconnectReason::Kill) => End::Killed,
        Ok(_) => End::Detached,
        // A broken connection is as good as a farewell.
        Err(error) if error.is_connection_error() => End::Detached,
        Err(error) => {
            eprintln!("emu: the debugger is left alone: {error}");
            End::Detached
        }
    }
}

/// A console that also stops the machine when `look` says so.
struct Interrupted<'a, L> {
    console: &'a mut Console,
    look: L,
    turns: u32,
}

impl<'a, L: FnMut() -> bool> Interrupted<'a, L> {
    fn new(console: &'a mut Console, look: L) -> Self {
        Interrupted { console, look, turns: 0 }
    }
}

impl<L: FnMut() -> bool> HostConsole for Interrupted<'_, L> {
    fn turn(&mut self, uart: &mut Uart, now: u64) -> Flow {
        self.turns += 1;
        if self.turns.is_multiple_of(TURNS) && (self.look)() {
            return Flow::Stop;
        }
        self.console.turn(uart, now)
    }

    fn idle(&mut self, uart: &mut Uart, now: u64, deadline: Option<u64>) -> Idle {
        if (self.look)() {
            return Idle::Stop;
        }
        let soon = deadline.unwrap_or(u64::MAX).min(now.saturating_add(LOOK));
        if deadline.is_none() && self.console.rest() {
            return Idle::Stop;
        }
        self.console.idle(uart, now, Some(soon))
    }
}

/// How gdbstub drives the machine.
struct Loop<'a>(std::marker::PhantomData<&'a ()>);

impl<'a> BlockingEventLoop for Loop<'a> {
    type Target = Debugger<'a>;
    type Connection = Link;
    type StopReason = MultiThreadStopReason<u64>;

    fn wait_for_stop_reason(
        target: &mut Debugger<'a>,
        connection: &mut Link,
    ) -> Result<Event<Self::StopReason>, WaitForStopReasonError<&'static str, io::Error>> {
        loop {
            let mut heard = false;
            let reason = target.resumed(|| {
                heard = !matches!(ConnectionExt::peek(connection), Ok(None));
                heard
            });
            if heard {
                let byte = ConnectionExt::read(connection);
                return byte.map(Event::IncomingData).map_err(WaitForStopReasonError::Connection);
            }
            if let Some(reason) = reason {
                return Ok(Event::TargetStopped(reason));
            }
            if target.ended.is_some() {
                return Err(WaitForStopReasonError::Target("the machine starts again"));
            }
        }
    }

    fn on_interrupt(target: &mut Debugger<'a>) -> Result<Option<Self::StopReason>, &'static str> {
        Ok(Some(target.interrupted()))
    }
}
