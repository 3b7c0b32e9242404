//! Runs a machine from power-on to its end, with restarts in between.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use isa::trap::Cause;

use super::args::{Ad, Args, Clock};
use super::failure::{Failure, guest_status};
use super::setup::{self, Backends, Boot};
use super::watch;
use crate::bus::{Bus, BusConfig, Exit, VirtioChoice};
use crate::console::host::{Console, Wish};
use crate::dev::Dma;
use crate::dev::htif::Htif;
use crate::dev::rtc::FIXED_START_NS;
use crate::dev::virtio::mmio::Version;
use crate::events::{NoEvents, View};
use crate::gdb::{self, Server};
use crate::inspect::Inspect;
use crate::loader::TestSymbols;
use crate::machine::{Machine, MachineConfig, Stop};
use crate::mem::Ram;
use crate::monitor::{Action, Monitor};
use crate::term::{self, RawMode};
use crate::trace::observer::{Observer, Watch};

/// Where -s listens.
const DEFAULT_GDB_PORT: u16 = 1234;
/// Longest signature that is written.
const MAX_SIGNATURE: u64 = 64 << 20;

/// How one life of the machine ended.
enum End {
    Status(u8),
    /// Start again.
    Again(VirtioChoice),
}

/// Boots what the command line names; returns the process's exit status.
pub fn run(args: &Args) -> Result<u8, Failure> {
    if let Some(path) = &args.dump_dtb {
        let tree = setup::device_tree(args, None)?;
        std::fs::write(path, tree).map_err(|error| Failure::file("cannot write", path, error))?;
        return Ok(0);
    }
    let (kernel, beside) = setup::kernel(args)?;
    let boot = Boot::prepare(args, &kernel)?;
    let backends = setup::backends(args, &kernel, beside)?;
    term::guard().map_err(|error| Failure::host("cannot handle signals", error))?;
    let run = Run { args, boot, backends };
    match watch::tracer(args, &kernel, beside)? {
        None => run.watched_by(NoEvents),
        Some(tracer) => {
            let (tlb, checker) = (watch::tlb(args), watch::checker(args, &kernel));
            let every = watch::needs_every_access(args);
            if every && args.trace.tlb.is_some_and(|tlb| tlb.needs_every_access()) {
                eprintln!("emu: an lru TLB has to see every access: fifo and random run faster");
            }
            match (every, checker.is_some()) {
                (true, _) => run.watched_by(Observer::<true, true> { tracer, tlb, checker }),
                (false, true) => run.watched_by(Observer::<false, true> { tracer, tlb, checker }),
                (false, false) => run.watched_by(Observer::<false> { tracer, tlb, checker }),
            }
        }
    }
}

/// What a run is made of.
struct Run<'a> {
    args: &'a Args,
    boot: Boot,
    backends: Backends,
}

impl Run<'_> {
    /// The run from power-on to the end, and what the observer says about it.
    fn watched_by<E: Watch>(self, events: E) -> Result<u8, Failure> {
        let server = gdb_server(self.args)?;
        let mut console = Console::open();
        let raw =
            RawMode::enter().map_err(|error| Failure::host("cannot set the terminal", error))?;
        let (status, events) = self.lives(events, &mut console, server.as_ref());
        drop(raw);
        let status = match console.take_wish() {
            Some(Wish::OutputClosed) => Err(Failure::OutputClosed),
            Some(Wish::OutputFailed(why)) => Err(Failure::Output(why)),
            _ => status,
        };
        let code = status.as_ref().map_or_else(Failure::status, |code| *code);
        let whole = events.is_none_or(|events| events.finish(code.into()));
        if whole || !matches!(status, Ok(0)) { status } else { Err(Failure::OutputClosed) }
    }

    /// One life of the machine after the other. The observer comes back from the last one.
    fn lives<E: Watch>(
        self,
        mut events: E,
        console: &mut Console,
        server: Option<&Server>,
    ) -> (Result<u8, Failure>, Option<E>) {
        let Run { args, boot, mut backends } = self;
        let mut virtio = setup::virtio(args);
        // Instructions of earlier lives count as well.
        let (mut insns, mut guest) = (0, None);
        loop {
            let left = args.max_insns.map(|most| most.saturating_sub(insns));
            let mut machine = match power_on(args, &boot, backends, virtio, left, events) {
                Ok(machine) => machine,
                Err(failure) => return (Err(failure), None),
            };
            let stopped = args.stopped;
            let mut life = Life { args, console, server, guest, stopped, killed: false };
            let end = life.live(&mut machine);
            guest = life.guest;
            console.drain(&mut machine.sys.bus.uart, u64::MAX);
            console.end();
            insns += machine.insns();
            let hart = &machine.harts[machine.last()];
            let view = View { hart, sys: &machine.sys };
            machine.events.stands_still(&view);
            let found = machine.events.take_wishes().stop;
            if args.count && !matches!(end, Ok(End::Again(_))) {
                eprintln!("emu: {insns} instructions");
            }
            let choice = match end {
                Err(failure) => return (Err(failure), Some(machine.events)),
                Ok(End::Status(_)) if found => {
                    return (Err(Failure::FoundAtEnd), Some(machine.events));
                }
                Ok(End::Status(status)) => {
                    let written = write_signature(args, boot.symbols(), &machine.sys.bus.ram);
                    return (written.map(|()| status), Some(machine.events));
                }
                Ok(End::Again(choice)) => choice,
            };
            if choice != virtio {
                eprintln!(
                    "emu: the driver wants version 1 of virtio: starting again with that \
                     (--virtio=legacy does so at once)"
                );
                console.expect_repeat();
            }
            virtio = choice;
            console.restarted();
            backends = machine.sys.bus.virtio.map(|slot| slot.into_backend());
            events = machine.events;
            events.restarted();
        }
    }
}

/// A machine after reset, with everything in its memory.
pub fn power_on<E: Watch>(
    args: &Args,
    boot: &Boot,
    backends: Backends,
    virtio: VirtioChoice,
    max_insns: Option<u64>,
    events: E,
) -> Result<Machine<E>, Failure> {
    let mut ram = Ram::new(args.memory)
        .map_err(|error| Failure::host("cannot get memory for the guest; try less (-m)", error))?;
    boot.load(&mut ram).expect("everything was checked to be in memory");
    let rtc_start_ns = match args.clock {
        Clock::Virtual => FIXED_START_NS,
        Clock::Host => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(FIXED_START_NS, |since| since.as_nanos() as u64),
    };
    let mut bus = Bus::new(ram, BusConfig { harts: args.smp, rtc_start_ns, virtio, backends });
    let symbols = boot.symbols();
    bus.htif = symbols.tohost.map(|tohost| Htif::new(tohost, symbols.fromhost));
    let config = MachineConfig {
        harts: args.smp,
        hardware_ad: args.ad == Ad::Update,
        seed: args.seed,
        host_clock: args.clock == Clock::Host,
        max_insns,
        engine: args.engine,
        turn: None,
    };
    let mut machine = Machine::with_events(config, bus, events);
    for hart in 0..args.smp {
        machine.set_entry(hart, boot.entry, hart as u64, boot.dtb_address());
    }
    Ok(machine)
}

/// Where debuggers may knock.
fn gdb_server(args: &Args) -> Result<Option<Server>, Failure> {
    let port = args.gdb.or(args.gdb_default.then_some(DEFAULT_GDB_PORT));
    let listen = |port| {
        Server::listen(port)
            .map_err(|error| Failure::host(format!("cannot listen for gdb on port {port}"), error))
    };
    port.map(listen).transpose()
}

/// One life of the machine, from reset to its end.
struct Life<'a> {
    args: &'a Args,
    console: &'a mut Console,
    server: Option<&'a Server>,
    /// The debugger that had the machine when it started again.
    guest: Option<gdb::Guest>,
    /// The machine is to stand still until the monitor or a debugger lets it go on.
    stopped: bool,
    /// A debugger ended the run.
    killed: bool,
}

impl Life<'_> {
    /// Runs the machine until it ends or is to start again.
    fn live<E: Watch>(&mut self, machine: &mut Machine<E>) -> Result<End, Failure> {
        let mut monitor = Monitor::default();
        loop {
            match self.go(machine) {
                Stop::Exit(Exit::Code(code)) => return Ok(End::Status(guest_status(code))),
                Stop::Exit(Exit::LegacyVirtio) => {
                    return Ok(End::Again(VirtioChoice::Fixed(Version::Legacy)));
                }
                Stop::Exit(Exit::Reset) if self.args.no_reboot => return Ok(End::Status(0)),
                Stop::Exit(Exit::Reset) => return Ok(End::Again(setup::virtio(self.args))),
                Stop::MaxInsns => {
                    return Err(Failure::MaxInsns(self.args.max_insns.unwrap_or(u64::MAX)));
                }
                Stop::Stuck { pc } => return Err(Failure::Stuck { pc }),
                Stop::Trapped { hart, pc, cause } => {
                    let why = Cause::from_bits(cause).map_or("no known cause", Cause::name);
                    return Err(Failure::Trapped { hart, pc, why });
                }
                Stop::Observer => return Err(Failure::OutputClosed),
                Stop::Point { .. } if self.server.is_some() => self.stopped = true,
                Stop::Point { .. } if self.console.open_monitor() => self.stopped = true,
                Stop::Point { hart, .. } => {
                    return Err(Failure::Found { hart, pc: machine.pc(hart) });
                }
                Stop::Console => {}
            }
            if self.killed {
                return Ok(End::Status(0));
            }
            match self.console.take_wish() {
                Some(Wish::Quit) => return Ok(End::Status(0)),
                Some(Wish::Signal(signal)) => return Err(Failure::Signal(signal)),
                Some(Wish::OutputClosed) => return Err(Failure::OutputClosed),
                Some(Wish::OutputFailed(why)) => return Err(Failure::Output(why)),
                Some(Wish::Monitor(line)) => {
                    let (text, action) = monitor.execute(&line, machine);
                    self.console.print(&text);
                    match action {
                        Action::None => {}
                        Action::Stop => self.stopped = true,
                        Action::Continue => self.stopped = false,
                        Action::Trace(on) if machine.events.set_recording(on) => {}
                        Action::Trace(_) => {
                            self.console.print("nothing to trace: start with --trace\n");
                        }
                        Action::Quit => return Ok(End::Status(0)),
                    }
                    self.console.monitor_prompt();
                }
                None => {}
            }
        }
    }

    /// Runs the machine until something is to be done about it, in a debugger's hands if one
    /// knocks.
    fn go<E: Watch>(&mut self, machine: &mut Machine<E>) -> Stop {
        let Some(server) = self.server else {
            while self.stopped {
                if self.console.rest() {
                    return Stop::Console;
                }
                // Nobody can let the machine go on any more.
                self.killed = self.console.ended();
                if self.killed {
                    return Stop::Console;
                }
            }
            return machine.run(self.console);
        };
        loop {
            let guest = match self.guest.take() {
                Some(guest) => guest,
                None if self.stopped => match server.wait(self.console) {
                    Some(guest) => guest,
                    None => return Stop::Console,
                },
                None => match server.run(machine, self.console) {
                    Ok(stop) => return stop,
                    Err(guest) => guest,
                },
            };
            self.stopped = false;
            match gdb::session(machine, self.console, guest) {
                gdb::End::Detached => {}
                gdb::End::Stopped(stop) => return stop,
                gdb::End::Again(guest) => {
                    self.guest = Some(guest);
                    return Stop::Exit(Exit::LegacyVirtio);
                }
                gdb::End::Killed => {
                    self.killed = true;
                    return Stop::Console;
                }
            }
        }
    }
}

/// Writes the memory between the symbols, a line for every few bytes, the highest byte first.
fn write_signature(args: &Args, symbols: &TestSymbols, ram: &Ram) -> Result<(), Failure> {
    let Some(path) = &args.signature else { return Ok(()) };
    let (Some(begin), Some(end)) = (symbols.begin_signature, symbols.end_signature) else {
        return Err(Failure::Usage(
            "--signature: the kernel has no begin_signature and end_signature".to_owned(),
        ));
    };
    let len = end.saturating_sub(begin).min(MAX_SIGNATURE);
    let mut bytes = vec![0; len as usize];
    ram.read_bytes(begin, &mut bytes).map_err(|_| {
        Failure::Usage("--signature: the signature is not in guest memory".to_owned())
    })?;
    let written = signature_lines(path, &bytes, args.signature_granularity.into());
    written.map_err(|error| Failure::file("cannot write", path, error))
}

fn signature_lines(path: &Path, bytes: &[u8], granularity: usize) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for line in bytes.chunks(granularity) {
        for byte in line.iter().rev() {
            write!(out, "{byte:02x}")?;
        }
        writeln!(out)?;
    }
    out.flush()
}
