//! Machines for the benches in `benches/`: what boots, and observers that hold a stop-watch.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use abi::hint::{FaultClass, Hint};
use clap::Parser;
use emu::cli::args::Args;
use emu::cli::run::power_on;
use emu::cli::setup::{self, Boot};
use emu::cli::watch;
use emu::console::{BufferConsole, Flow, HostConsole, Idle};
use emu::dev::uart16550::Uart;
use emu::events::{Events, View};
use emu::machine::{Machine, Stop};
use emu::trace::observer::{Observer, Watch};
use isa::Priv;
use isa::trap::{Cause, Exception};

/// A file that `cargo xtask guest` builds, if it is there.
pub fn guest(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let file = root.join("target/guest").join(name);
    let there = file.is_file();
    if !there {
        eprintln!("SKIPPED: {} is not there; cargo xtask guest builds it", file.display());
    }
    there.then_some(file)
}

/// A kernel and options, ready to be started again and again.
pub struct Setup {
    args: Args,
    kernel: PathBuf,
    boot: Boot,
}

impl Setup {
    /// A kernel with options of the command line; an image beside it is attached as a disk that
    /// keeps nothing.
    ///
    /// # Panics
    /// When the options or the kernel are wrong.
    pub fn new(kernel: &Path, options: &[&str]) -> Setup {
        let image = kernel.with_file_name("fs.img");
        let drive = format!("--drive=file={},if=none,id=x0", image.display());
        let disk = ["--snapshot", "--device=virtio-blk-device,drive=x0", &drive];
        let words = ["emu"].into_iter().chain(disk).chain(options.iter().copied());
        let args = Args::try_parse_from(words).expect("options of the command line");
        let boot = Boot::prepare(&args, kernel).expect("a kernel that was just built");
        Setup { args, kernel: kernel.to_owned(), boot }
    }

    /// A machine after reset.
    ///
    /// # Panics
    /// When the host has no memory or the image is missing.
    pub fn machine<E: Watch>(&self, events: E) -> Machine<E> {
        let backends = setup::backends(&self.args, &self.kernel, false).expect("the image");
        let virtio = setup::virtio(&self.args);
        power_on(&self.args, &self.boot, backends, virtio, None, events).expect("memory")
    }

    /// What the options ask to be watched.
    ///
    /// # Panics
    /// When an output cannot be opened.
    pub fn observer(&self) -> Option<Observer<false>> {
        let tracer = watch::tracer(&self.args, &self.kernel, false).expect("outputs");
        tracer.map(|tracer| Observer { tracer, tlb: None, checker: None })
    }
}

/// Runs a machine until the guest ends it; how long that took.
///
/// # Panics
/// When the guest does not end well.
pub fn run_to_end<E: Watch>(machine: &mut Machine<E>) -> Duration {
    let mut console = BufferConsole::default();
    let start = Instant::now();
    let stop = machine.run(&mut console);
    let took = start.elapsed();
    let said = String::from_utf8_lossy(&console.output);
    assert_eq!(stop, Stop::Exit(emu::bus::Exit::Code(0)), "{said}");
    took
}

/// Runs a machine until the shell's prompt; how long that took.
///
/// # Panics
/// When none comes.
pub fn run_to_prompt<E: Watch>(machine: &mut Machine<E>) -> Duration {
    let start = Instant::now();
    let mut console = Prompt::default();
    assert_eq!(machine.run(&mut console), Stop::Console, "no prompt came");
    start.elapsed()
}

/// A console that ends the run at a prompt.
#[derive(Default)]
struct Prompt {
    output: Vec<u8>,
}

impl HostConsole for Prompt {
    fn turn(&mut self, uart: &mut Uart, _: u64) -> Flow {
        self.output.extend(uart.take_sent());
        if self.output.ends_with(b"$ ") { Flow::Stop } else { Flow::Go }
    }

    fn idle(&mut self, uart: &mut Uart, now: u64, deadline: Option<u64>) -> Idle {
        match (self.turn(uart, now), deadline) {
            (Flow::Stop, _) => Idle::Stop,
            (Flow::Go, Some(deadline)) => Idle::Until(deadline),
            (Flow::Go, None) => Idle::Never,
        }
    }
}

/// A moment of a run.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The host's time.
    pub host: Instant,
    /// Instructions retired.
    pub insns: u64,
}

impl Moment {
    fn now(view: &View) -> Moment {
        Moment { host: Instant::now(), insns: view.insns() }
    }

    /// Time and instructions from here to there.
    pub fn until(self, end: Moment) -> (Duration, u64) {
        (end.host - self.host, end.insns - self.insns)
    }
}

/// Keeps the moments at which the guest gave a hint of one kind.
#[derive(Debug)]
pub struct Marks {
    kind: Hint,
    /// When.
    pub moments: Vec<Moment>,
}

impl Marks {
    /// None yet.
    pub fn of(kind: Hint) -> Marks {
        Marks { kind, moments: Vec::new() }
    }

    /// From the first to the last, and how many pieces that is.
    pub fn span(&self) -> Option<(Duration, u64, usize)> {
        let (first, last) = (self.moments.first()?, self.moments.last()?);
        let (time, insns) = first.until(*last);
        Some((time, insns, self.moments.len() - 1))
    }
}

impl Events for Marks {
    fn hinted(&mut self, view: &View, _: u64, kind: i32) {
        if kind == self.kind as i32 {
            self.moments.push(Moment::now(view));
        }
    }
}

impl Watch for Marks {
    fn finish(self, _: i32) -> bool {
        true
    }
}

/// Sums up page faults of user mode that the kernel put into one class: from the trap to the next
/// return to user mode.
#[derive(Debug)]
pub struct Faults {
    wanted: Option<FaultClass>,
    open: Option<Moment>,
    class: Option<u64>,
    /// How many.
    pub count: u64,
    /// How long they took on the host, all together.
    pub time: Duration,
    /// Guest instructions.
    pub insns: u64,
}

impl Faults {
    /// None yet; without a class, those that killed.
    pub fn of(wanted: Option<FaultClass>) -> Faults {
        Faults { wanted, open: None, class: None, count: 0, time: Duration::ZERO, insns: 0 }
    }

    fn is_wanted(&self) -> bool {
        match (self.wanted, self.class) {
            (Some(wanted), Some(class)) => wanted as u64 == class,
            (None, Some(class)) => class >= FaultClass::Protection as u64,
            (_, None) => false,
        }
    }
}

impl Events for Faults {
    fn trap_taken(&mut self, view: &View, cause: Cause, _: u64, _: u64, from: Priv) {
        if from == Priv::User {
            let Cause::Exception(exception) = cause else { return self.open = None };
            let page_fault = matches!(
                exception,
                Exception::LoadPageFault | Exception::StorePageFault | Exception::InstPageFault
            );
            self.open = page_fault.then(|| Moment::now(view));
            self.class = None;
        }
    }

    fn hinted(&mut self, view: &View, _: u64, kind: i32) {
        if kind == Hint::FaultClassified as i32 && self.class.is_none() {
            // a1
            self.class = Some(view.hart.ctx.x[11]);
        }
    }

    fn trap_returned(&mut self, view: &View, _: u64) {
        if view.hart.privilege == Priv::User
            && let Some(open) = self.open.take()
            && self.is_wanted()
        {
            let (time, insns) = open.until(Moment::now(view));
            self.time += time;
            self.insns += insns;
            self.count += 1;
        }
    }
}

impl Watch for Faults {
    fn finish(self, _: i32) -> bool {
        true
    }
}
