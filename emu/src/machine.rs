//! The machine: harts, memory and devices, and the loop that lets them take turns (interim: the
//! interface only, nothing runs).

use crate::bus::{Bus, Exit};
use crate::console::HostConsole;

/// What differs from machine to machine beside what is on the bus.
#[derive(Clone, Copy, Debug)]
pub struct MachineConfig {
    /// Number of harts.
    pub harts: usize,
    /// Accessed and dirty bits are updated by the machine rather than left to page faults.
    pub hardware_ad: bool,
    /// Varies the length of the harts' turns.
    pub seed: u64,
    /// `time` follows the host's clock rather than retired instructions.
    pub host_clock: bool,
    /// Stop after that many instructions of all harts together.
    pub max_insns: Option<u64>,
}

/// Why the run loop was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The guest ends its run.
    Exit(Exit),
    /// The console wants the machine stopped; it can be run again.
    Console,
    /// The limit was reached.
    MaxInsns,
    /// A hart is where a debugger wants it.
    Point {
        /// Which hart.
        hart: usize,
        /// The watched data that it touched; otherwise it stands at a breakpoint.
        watch: Option<crate::inspect::Watch>,
    },
    /// No hart can ever go on.
    Stuck {
        /// Where the first hart waits.
        pc: u64,
    },
}

/// The machine.
pub struct Machine {
    /// Memory and devices.
    pub bus: Bus,
}

impl Machine {
    /// All harts at reset.
    pub fn new(_config: MachineConfig, bus: Bus) -> Machine {
        Machine { bus }
    }

    /// Where a hart starts, and its first two arguments.
    pub fn set_entry(&mut self, _hart: usize, _pc: u64, _a0: u64, _a1: u64) {}

    /// Instructions retired by all harts.
    pub fn insns(&self) -> u64 {
        0
    }

    /// Runs until something stops it.
    pub fn run(&mut self, console: &mut dyn HostConsole) -> Stop {
        console.turn(&mut self.bus.uart, 0);
        Stop::Exit(Exit::Code(0))
    }
}
