//! The machine: harts in turns, interrupts at exact instructions, time, and reasons to stop.
//!
//! Harts run one after the other in a fixed rotation, each for a number of instructions that only
//! the seed decides, or until it has nothing useful to do. The same start gives the same run.

use isa::Priv;

use crate::bus::{Bus, Exit};
use crate::clock::{Clock, Source};
use crate::console::{Flow, HostConsole, Idle};
use crate::dev::SplitMix;
use crate::events::{Events, NoEvents};
use crate::exec::code::Code;
use crate::exec::{Cpu, System, run};
use crate::hart::state::Reservation;
use crate::hart::{Hart, Wants};
use crate::inspect::{Hit, Points};
use crate::jit::Engine;
use crate::mmu::Tables;

/// Instructions of a turn.
const TURN: u64 = 10_000;
/// Turns of a hart that is the only one are so many times as long: nobody waits for their end.
const ALONE: u64 = 16;
/// With a seed, turns have between this many instructions and [`TURN`] more.
const LEAST_TURN: u64 = 500;
/// So many rounds of turns in which nothing retires are not chance: after fewer traps than that,
/// the modes of all harts are the highest that they come to, interrupts are off as they will
/// be, and every further trap is the same as the one before.
const BARREN: u32 = 8;
/// With the host's clock, the longest sleep before devices and input are looked at again.
const NAP: std::time::Duration = std::time::Duration::from_millis(2);

/// What a machine is made of, besides memory and devices.
#[derive(Clone, Copy, Debug)]
pub struct MachineConfig {
    /// Number of harts, 1 to 8.
    pub harts: usize,
    /// A and D bits are updated by the machine rather than left to page faults: what
    /// `menvcfg.ADUE` is after reset.
    pub hardware_ad: bool,
    /// Varies the length of turns; 0 is all turns alike.
    pub seed: u64,
    /// `time` follows the host's clock rather than retired instructions.
    pub host_clock: bool,
    /// Stop after this many instructions of all harts together.
    pub max_insns: Option<u64>,
    /// How instructions are executed; the run is the same.
    pub engine: Engine,
    /// Instructions of a turn, if not the usual number. For tests.
    pub turn: Option<u64>,
}

impl Default for MachineConfig {
    fn default() -> MachineConfig {
        MachineConfig {
            harts: 1,
            hardware_ad: true,
            seed: 0,
            host_clock: false,
            max_insns: None,
            engine: Engine::default(),
            turn: None,
        }
    }
}

/// Why the machine does not run any more. After [`Stop::Console`] it can be run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The guest asked for it.
    Exit(Exit),
    /// The console asked for it.
    Console,
    /// The observer asked for it.
    Observer,
    /// A hart is where a debugger or the observer wants it.
    Point {
        /// Which hart.
        hart: usize,
        /// Why.
        hit: Hit,
    },
    /// All harts wait, no timer is set and no input can come: nothing would ever happen again.
    Stuck {
        /// Where the first hart waits.
        pc: u64,
    },
    /// Harts do nothing but trap: the first instruction of a handler does, and nothing that could
    /// come would change that.
    Trapped {
        /// One of them.
        hart: usize,
        /// Where its handler is.
        pc: u64,
        /// Why it traps.
        cause: u64,
    },
    /// The instructions that were allowed are executed.
    MaxInsns,
}

/// A machine.
pub struct Machine<E: Events = NoEvents> {
    /// The harts.
    pub harts: Vec<Hart>,
    /// What they share.
    pub sys: System,
    /// Who watches.
    pub events: E,
    /// Whose turn it is next.
    next: usize,
    /// Whether a hart could run in the present round of turns.
    ran: bool,
    /// Who ran last: reservations end when somebody else does.
    last: usize,
    turn: u64,
    lengths: Option<SplitMix>,
    max_insns: u64,
    insns: u64,
    /// Rounds of turns since something retired, and the instructions until then.
    barren: (u32, u64),
}

impl Machine<NoEvents> {
    /// A machine that nobody watches, after reset.
    pub fn new(config: MachineConfig, bus: Bus) -> Machine<NoEvents> {
        Machine::with_events(config, bus, NoEvents)
    }
}

impl<E: Events> Machine<E> {
    /// A machine with an observer, after reset. Every hart is at address zero until
    /// [`Machine::set_entry`].
    pub fn with_events(config: MachineConfig, bus: Bus, events: E) -> Machine<E> {
        let source = if config.host_clock { Source::Host } else { Source::Virtual };
        let mut code = Code::new(&bus.ram);
        let tables = Tables::new(&bus.ram);
        let native = config.engine.translator::<E>(&bus.ram, &code, &tables);
        if E::PROBES {
            code.set_probes(events.probes());
        }
        Machine {
            harts: (0..config.harts).map(|id| Hart::new(id, config.hardware_ad)).collect(),
            sys: System {
                bus,
                clock: Clock::new(source),
                code,
                tables,
                native,
                points: Points::default(),
                stepping: false,
                hit: None,
            },
            events,
            next: 0,
            ran: false,
            last: 0,
            turn: config.turn.unwrap_or(if config.harts == 1 { ALONE * TURN } else { TURN }).max(1),
            lengths: (config.seed != 0).then_some(SplitMix(config.seed)),
            max_insns: config.max_insns.unwrap_or(u64::MAX),
            insns: 0,
            barren: (0, 0),
        }
    }

    /// Where a hart starts, and what it finds in a0 and a1.
    pub fn set_entry(&mut self, hart: usize, pc: u64, a0: u64, a1: u64) {
        let ctx = &mut self.harts[hart].ctx;
        ctx.pc = pc;
        (ctx.x[10], ctx.x[11]) = (a0, a1);
    }

    /// Instructions retired by all harts since reset.
    pub fn insns(&self) -> u64 {
        self.insns
    }

    /// Which hart ran last: the clock goes by its count.
    pub fn last(&self) -> usize {
        self.last
    }

    /// The machine's time in ticks, while it does not run.
    pub fn time(&self) -> u64 {
        self.sys.clock.idle_now()
    }

    /// Runs until there is a reason to stop.
    pub fn run(&mut self, console: &mut dyn HostConsole) -> Stop {
        self.barren = (0, self.insns);
        loop {
            while self.next < self.harts.len() {
                let hart = self.next;
                self.next += 1;
                if !self.awake(hart) {
                    continue;
                }
                self.ran = true;
                self.take_turn(hart, u64::MAX);
                if let Some(hit) = self.sys.hit.take() {
                    return Stop::Point { hart, hit };
                }
                if let Some(stop) = self.between_turns(console) {
                    return stop;
                }
            }
            self.next = 0;
            let stop = if std::mem::take(&mut self.ran) {
                self.barren(console)
            } else {
                self.idle(console)
            };
            if let Some(stop) = stop {
                return stop;
            }
        }
    }

    /// Whether a hart can run now; ends its wait if so.
    fn awake(&mut self, index: usize) -> bool {
        let hart = &mut self.harts[index];
        if hart.waiting {
            hart.look_at_lines(&self.sys.bus, self.sys.clock.idle_now());
            hart.waiting = !hart.wakes();
        }
        !hart.waiting
    }

    /// One hart's turn, of at most `limit` instructions.
    pub(crate) fn take_turn(&mut self, index: usize, limit: u64) {
        let running = self.harts.iter().filter(|hart| !hart.waiting).count() as u64;
        let hart = &mut self.harts[index];
        hart.alone = running == 1;
        if self.last != index {
            self.last = index;
            hart.ctx.reservation = Reservation::NONE;
        }
        self.sys.sync_memory();
        if let Some(native) = &mut self.sys.native {
            native.between_turns(self.insns);
            if native.full() {
                self.sys.code.drop_all(&mut self.sys.bus.ram);
                native.reset();
            }
        }
        self.sys.code.collect(&mut self.sys.bus.ram);
        if hart.code_epoch != self.sys.code.epoch {
            hart.code_epoch = self.sys.code.epoch;
            hart.forget_jumps();
        }
        hart.catch_up(&self.sys.tables);
        self.sys.tables.trim();
        let begin = hart.retired();
        let length = match &mut self.lengths {
            None => self.turn,
            Some(random) => LEAST_TURN + random.next_u64() % TURN,
        };
        let end = begin + length.min(limit).min(self.max_insns - self.insns);
        self.sys.clock.begin_turn(begin, running);
        let mut cpu = Cpu { hart, sys: &mut self.sys, events: &mut self.events };
        cpu.turn(end);
        let retired = cpu.hart.retired();
        self.sys.clock.end_turn(retired);
        self.insns += retired - begin;
    }

    /// Input and output, devices, and whether to go on.
    fn between_turns(&mut self, console: &mut dyn HostConsole) -> Option<Stop> {
        let flow = console.turn(&mut self.sys.bus.uart, self.sys.clock.idle_now());
        let stop = self.poll_devices();
        let stop = stop.or((flow == Flow::Stop).then_some(Stop::Console));
        stop.or(self.events.pause().then_some(Stop::Observer))
    }

    /// Lets devices act, and says whether the guest wants to stop or has to.
    pub(crate) fn poll_devices(&mut self) -> Option<Stop> {
        self.sys.bus.poll(self.sys.clock.idle_now());
        let exit = self.sys.bus.exit_request().map(Stop::Exit);
        exit.or((self.insns >= self.max_insns).then_some(Stop::MaxInsns))
    }

    /// No hart gets on by itself: time passes until something happens.
    fn idle(&mut self, console: &mut dyn HostConsole) -> Option<Stop> {
        let (now, deadline) = (self.sys.clock.idle_now(), self.deadline());
        match console.idle(&mut self.sys.bus.uart, now, deadline) {
            Idle::Stop => return Some(Stop::Console),
            Idle::Never => return Some(Stop::Stuck { pc: self.harts[0].ctx.pc }),
            Idle::Until(time) => self.pass(time),
        }
        self.sys.bus.poll(self.sys.clock.idle_now());
        None
    }

    /// A round of turns has ended. Handlers that trap themselves are freed by an interrupt, by
    /// another hart or by a device that writes memory, or by nobody.
    fn barren(&mut self, console: &mut dyn HostConsole) -> Option<Stop> {
        let (rounds, insns) = self.barren;
        self.barren = if insns == self.insns { (rounds + 1, insns) } else { (0, self.insns) };
        if self.barren.0 < BARREN {
            return None;
        }
        self.barren.0 = 0;
        let at = self.harts.iter().position(|hart| !hart.waiting)?;
        let hart = &self.harts[at];
        let cause = if hart.privilege == Priv::Machine { hart.csr.mcause } else { hart.csr.scause };
        let trapped = Stop::Trapped { hart: at, pc: hart.ctx.pc, cause };
        if self.deadline().is_none() && !self.harts.iter().any(Hart::can_be_interrupted) {
            return Some(trapped);
        }
        // Time does not pass by instructions.
        let stop = self.idle(console)?;
        Some(if matches!(stop, Stop::Stuck { .. }) { trapped } else { stop })
    }

    /// When a timer or a device does something next.
    fn deadline(&self) -> Option<u64> {
        let now = self.sys.clock.idle_now();
        let timers = self.harts.iter().filter_map(|hart| hart.next_timer(&self.sys.bus, now));
        timers.chain(self.sys.bus.deadline()).min()
    }

    fn pass(&mut self, time: u64) {
        self.sys.clock.pass(time);
        if self.sys.clock.is_host() {
            let ticks = time.saturating_sub(self.sys.clock.idle_now());
            let wait = std::time::Duration::from_nanos(ticks.saturating_mul(crate::clock::TICK_NS));
            std::thread::sleep(wait.min(NAP));
        }
    }
}

impl<E: Events> Cpu<'_, E> {
    /// Runs until the hart has retired `end` instructions or has nothing useful to do.
    fn turn(&mut self, end: u64) {
        loop {
            let now = self.now();
            self.hart.look_at_lines(&self.sys.bus, now);
            self.hart.waiting &= !self.hart.wakes();
            let retired = self.hart.retired();
            if self.hart.waiting || retired >= end || self.sys.bus.exit_request().is_some() {
                return;
            }
            self.take_interrupt();
            let timer = self.hart.next_timer(&self.sys.bus, now);
            let left = timer.and_then(|at| self.sys.clock.insns_until(retired, at));
            self.hart.grant(left.unwrap_or(u64::MAX).clamp(1, end - retired));
            run(self.hart, self.sys, self.events);
            let wants = std::mem::take(&mut self.hart.ctx.wants);
            self.hart.waiting = wants.0 & Wants::WAIT != 0;
            if wants.0 & Wants::STOP != 0 || wants.0 & Wants::YIELD != 0 && !self.hart.alone {
                return;
            }
            // Nothing but traps: others get their turn, and the console a chance to stop this.
            if wants == Wants::default() && self.hart.retired() == retired {
                return;
            }
        }
    }
}
