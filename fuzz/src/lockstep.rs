//! The engines side by side.

use std::borrow::Cow;
use std::sync::OnceLock;

use emu::bus::{Bus, BusConfig};
use emu::console::{BufferConsole, Flow, HostConsole, Idle};
use emu::dev::uart16550::Uart;
use emu::events::{Events, NoEvents};
use emu::inspect::Inspect;
use emu::jit::Engine;
use emu::machine::{Machine, MachineConfig, Stop};
use emu::mem::Ram;
use emu::mmu::pmp::ENTRIES;
use isa::csr;

use crate::case::Case;
use crate::layout::*;
use crate::modelled::Modelled;
use crate::watcher::{Told, Watcher, goes_on};

/// Memory of the machine.
const MEMORY: u64 = 2 << 20;

/// After so many turns without an instruction, nothing more is to be expected.
const MAX_BARREN: u32 = 100;

/// Leaves the run loop at the end of every turn.
struct TurnByTurn;

impl HostConsole for TurnByTurn {
    fn turn(&mut self, _: &mut Uart, _: u64) -> Flow {
        Flow::Stop
    }

    fn idle(&mut self, _: &mut Uart, _: u64, deadline: Option<u64>) -> Idle {
        deadline.map_or(Idle::Never, Idle::Until)
    }
}

/// An observer of which all that it was told can be compared.
trait Watch: Events + Default {
    /// What it was told.
    fn told(&self) -> Cow<'_, Told>;
}

impl Watch for NoEvents {
    fn told(&self) -> Cow<'_, Told> {
        Cow::Owned(Told::default())
    }
}

impl<const WALKS: bool> Watch for Watcher<WALKS> {
    fn told(&self) -> Cow<'_, Told> {
        Cow::Borrowed(&self.told)
    }
}

impl<const EVERY: bool> Watch for Modelled<EVERY> {
    fn told(&self) -> Cow<'_, Told> {
        Cow::Owned(Told::of(self.counts()))
    }
}

/// A machine in front of a case, with an observer.
fn machine<E: Events + Default>(case: &Case, engine: Engine) -> Machine<E> {
    let mut ram = Ram::new(MEMORY).expect("host memory for the guest's");
    let next = Case::entry(RAM, 0);
    ram.dma_write(RAM, &case.image(RAM, next)).expect("the region is in memory");
    boot(case, ram, engine, RAM)
}

/// A machine whose harts start with the case at `base`.
fn boot<E: Events + Default>(case: &Case, ram: Ram, engine: Engine, base: u64) -> Machine<E> {
    let config = MachineConfig {
        harts: case.harts,
        hardware_ad: case.hardware_ad,
        max_insns: Some(case.insns),
        turn: Some(case.turn),
        engine,
        ..MachineConfig::default()
    };
    let bus = Bus::new(ram, BusConfig::new(case.harts));
    let mut machine = Machine::with_events(config, bus, E::default());
    (0..case.harts).for_each(|hart| machine.set_entry(hart, Case::entry(base, hart), 0, 0));
    machine
}

/// Runs a case to its end in the region at `base`; `last`, at `next`, is what the exit leads to.
/// Why the machine stopped, and the region.
pub fn leaves(case: &Case, base: u64, next: u64, last: &[u32], engine: Engine) -> (Stop, Vec<u8>) {
    let mut ram = Ram::new(base - RAM + 2 * SUPERPAGE).expect("host memory for the guest's");
    ram.dma_write(base, &case.image(base, next)).expect("the region is in memory");
    let last: Vec<u8> = last.iter().flat_map(|word| word.to_le_bytes()).collect();
    ram.dma_write(next, &last).expect("it is in memory");
    let mut machine = boot::<NoEvents>(case, ram, engine, base);
    let stop = machine.run(&mut BufferConsole::default());
    let left = machine.sys.bus.ram.bytes(base, REGION).map(<[u8]>::to_vec);
    (stop, left.unwrap_or_default())
}

/// Where two engines differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The one that is not the interpreter.
    pub engine: Engine,
    /// Instructions of all harts until then.
    pub insns: u64,
    /// What differs, and both values.
    pub what: String,
}

/// The registers that exist and may change: no protection beyond its entries, and no counters that
/// are always zero.
fn registers<E: Events>(machine: &Machine<E>) -> &'static [u16] {
    static LIST: OnceLock<Vec<u16>> = OnceLock::new();
    let constant = |number: u16| {
        let pmp = (csr::PMPCFG0 + 4..csr::PMPADDR0).contains(&number)
            || (csr::PMPADDR0 + ENTRIES as u16..csr::PMPADDR0 + 64).contains(&number);
        let rows = [csr::MHPMEVENT3, csr::MHPMCOUNTER3, csr::HPMCOUNTER3];
        pmp || rows.iter().any(|row| (*row..row + csr::HPM_COUNTERS).contains(&number))
    };
    let exists = |number: &u16| machine.csr(0, *number).is_some() && !constant(*number);
    LIST.get_or_init(|| (0..0x1000).filter(exists).collect())
}

/// All that instructions can see of a hart; `csrs`: its CSRs, too.
fn state<E: Events>(machine: &Machine<E>, hart: usize, csrs: bool) -> Vec<u64> {
    let waits = u64::from(machine.waits(hart));
    let mut state = vec![machine.pc(hart), machine.privilege(hart) as u64, waits];
    state.extend((1..32).map(|number| machine.x(hart, number)));
    state.extend((0..32).map(|number| machine.f(hart, number)));
    let csrs = if csrs { registers(machine) } else { &[] };
    state.extend(csrs.iter().map(|number| machine.csr(hart, *number).unwrap_or(0)));
    state
}

/// The name of a place in that.
fn name<E: Events>(machine: &Machine<E>, at: usize) -> String {
    match at {
        0 => "pc".into(),
        1 => "mode".into(),
        2 => "waiting".into(),
        3..34 => isa::int_reg_name(at - 2).into(),
        34..66 => isa::fp_reg_name(at - 34).into(),
        _ => {
            let number = registers(machine)[at - 66];
            csr::name(number).map_or_else(|| format!("csr {number:#x}"), |name| name.to_string())
        }
    }
}

fn compare<A: Watch, B: Watch>(
    a: &Machine<A>,
    b: &Machine<B>,
    harts: usize,
    memory: u64,
) -> Option<String> {
    if a.events.told() != b.events.told() {
        return Some(format!("told: {:#?} and {:#?}", a.events.told(), b.events.told()));
    }
    let counts = [("instructions", a.insns(), b.insns()), ("time", a.time(), b.time())];
    for (what, a, b) in counts {
        if a != b {
            return Some(format!("{what}: {a} and {b}"));
        }
    }
    for hart in 0..harts {
        let (ours, theirs) = (state(a, hart, memory > 0), state(b, hart, memory > 0));
        if let Some(at) = (0..ours.len()).find(|at| ours[*at] != theirs[*at]) {
            let (what, ours, theirs) = (name(a, at), ours[at], theirs[at]);
            return Some(format!("hart {hart}: {what}: {ours:#x} and {theirs:#x}"));
        }
    }
    let [ours, theirs] = [&a.sys, &b.sys].map(|sys| sys.bus.ram.bytes(RAM, memory));
    let (ours, theirs) = (ours?, theirs?);
    if ours == theirs {
        return None;
    }
    let at = (0..memory as usize).find(|at| ours[*at] != theirs[*at])?;
    Some(format!("memory at {:#x}: {:#x} and {:#x}", RAM + at as u64, ours[at], theirs[at]))
}

/// Runs a case on the interpreter and on these engines; the first difference, if there is one. Of
/// four seeds, one runs with an observer, one with one of walks, and one with modelled TLBs.
pub fn run(case: &Case, engines: &[Engine]) -> Option<Difference> {
    match case.seed / 3 % 4 {
        0 => run_watched::<NoEvents, NoEvents>(case, engines),
        1 => run_watched::<Watcher<false>, Watcher<false>>(case, engines),
        2 => run_watched::<Watcher<true>, Watcher<true>>(case, engines),
        _ => run_watched::<Modelled<true>, Modelled<false>>(case, engines),
    }
}

/// `A` watches the interpreter, `B` the others.
fn run_watched<A: Watch, B: Watch>(case: &Case, engines: &[Engine]) -> Option<Difference> {
    let mut expected = machine::<A>(case, Engine::Interp);
    let mut others: Vec<_> =
        engines.iter().map(|engine| (*engine, machine::<B>(case, *engine))).collect();
    // Traps that lead to themselves are no instructions: it may never end.
    let mut barren = 0;
    for turn in 1.. {
        let before = expected.insns();
        let stop = expected.run(&mut TurnByTurn);
        barren = if expected.insns() == before { barren + 1 } else { 0 };
        let ended = !goes_on(stop) || barren == MAX_BARREN;
        // Memory and CSRs take longer to compare than short turns to run.
        let memory = match (ended, case.turn) {
            (true, _) => MEMORY,
            (_, 50..) => REGION,
            _ if turn % 16 == 0 => REGION,
            _ => 0,
        };
        for (engine, other) in &mut others {
            let found = other.run(&mut TurnByTurn);
            let what = if found == stop {
                compare(&expected, other, case.harts, memory)
            } else {
                Some(format!("stop: {stop:?} and {found:?}"))
            };
            if let Some(what) = what {
                return Some(Difference { engine: *engine, insns: expected.insns(), what });
            }
        }
        if ended {
            break;
        }
    }
    None
}

/// The engines that have to agree with the interpreter.
pub const ENGINES: [Engine; 2] = [Engine::JitAtOnce, Engine::Jit];

/// What a stream of one hart executes, instruction by instruction: mode, address and word.
pub fn trace(case: &Case, insns: u64) -> Vec<(isa::Priv, u64, u32)> {
    let case = Case { turn: 1, insns, ..case.clone() };
    let mut machine = machine::<NoEvents>(&case, Engine::Interp);
    let mut trace = Vec::new();
    loop {
        let pc = machine.pc(0);
        let mut word = [0; 4];
        // What cannot be read cannot be executed either.
        if machine.read_virtual(0, pc, &mut word).is_ok() {
            trace.push((machine.privilege(0), pc, u32::from_le_bytes(word)));
        }
        if machine.run(&mut TurnByTurn) != Stop::Console {
            return trace;
        }
    }
}
