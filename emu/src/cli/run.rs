//! Runs a machine from power-on to its end, with restarts in between.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::args::{Ad, Args, Clock};
use super::failure::{Failure, guest_status};
use super::setup::{self, Backends, Boot};
use crate::bus::{Bus, BusConfig, Exit, VirtioChoice};
use crate::console::host::{Console, Wish};
use crate::dev::Dma;
use crate::dev::htif::Htif;
use crate::dev::rtc::FIXED_START_NS;
use crate::dev::virtio::mmio::Version;
use crate::gdb::{self, Server};
use crate::loader::TestSymbols;
use crate::machine::{Machine, MachineConfig, Stop};
use crate::mem::Ram;
use crate::monitor::{Action, Monitor};
use crate::term::{self, RawMode};

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
    let mut backends = setup::backends(args, &kernel, beside)?;
    let mut virtio = setup::virtio(args);
    term::guard().map_err(|error| Failure::host("cannot handle signals", error))?;
    let server = gdb_server(args)?;
    let mut console = Console::open();
    let raw = RawMode::enter().map_err(|error| Failure::host("cannot set the terminal", error))?;
    // Instructions of earlier lives count as well.
    let mut insns = 0;
    let status = loop {
        let left = args.max_insns.map(|most| most.saturating_sub(insns));
        let mut machine = power_on(args, &boot, backends, virtio, left)?;
        let stopped = args.stopped;
        let server = server.as_ref();
        let mut life = Life { args, console: &mut console, server, stopped, killed: false };
        let end = life.live(&mut machine);
        console.drain(&mut machine.sys.bus.uart, u64::MAX);
        console.flush();
        insns += machine.insns();
        let again = matches!(end, Ok(End::Again(_)));
        if args.count && !again {
            eprintln!("emu: {insns} instructions");
        }
        let end = end?;
        match end {
            End::Status(status) => {
                write_signature(args, boot.symbols(), &machine.sys.bus.ram)?;
                break status;
            }
            End::Again(choice) => {
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
            }
        }
    };
    drop(raw);
    match console.take_wish() {
        Some(Wish::OutputClosed) => Err(Failure::OutputClosed),
        Some(Wish::OutputFailed(why)) => Err(Failure::Output(why)),
        _ => Ok(status),
    }
}

/// A machine after reset, with everything in its memory.
fn power_on(
    args: &Args,
    boot: &Boot,
    backends: Backends,
    virtio: VirtioChoice,
    max_insns: Option<u64>,
) -> Result<Machine, Failure> {
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
        turn: None,
    };
    let mut machine = Machine::new(config, bus);
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
    /// The machine is to stand still until the monitor or a debugger lets it go on.
    stopped: bool,
    /// A debugger ended the run.
    killed: bool,
}

impl Life<'_> {
    /// Runs the machine until it ends or is to start again.
    fn live(&mut self, machine: &mut Machine) -> Result<End, Failure> {
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
                Stop::Point { .. } | Stop::Console => {}
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
    fn go(&mut self, machine: &mut Machine) -> Stop {
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
            let guest = if self.stopped {
                match server.wait(self.console) {
                    Some(guest) => guest,
                    None => return Stop::Console,
                }
            } else {
                match server.run(machine, self.console) {
                    Ok(stop) => return stop,
                    Err(guest) => guest,
                }
            };
            self.stopped = false;
            match gdb::session(machine, self.console, guest) {
                gdb::End::Detached => {}
                gdb::End::Stopped(stop) => return stop,
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
