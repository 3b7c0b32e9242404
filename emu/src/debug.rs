//! The machine in the hands of the monitor and of gdb (interim, as the machine is).

use isa::Priv;

use crate::console::HostConsole;
use crate::dev::Dma;
use crate::inspect::{Debuggee, Inspect, Points};
use crate::machine::{Machine, Stop};

impl Inspect for Machine {
    fn harts(&self) -> usize {
        1
    }

    fn pc(&self, _: usize) -> u64 {
        0
    }

    fn set_pc(&mut self, _: usize, _: u64) {}

    fn x(&self, _: usize, _: usize) -> u64 {
        0
    }

    fn set_x(&mut self, _: usize, _: usize, _: u64) {}

    fn f(&self, _: usize, _: usize) -> u64 {
        0
    }

    fn set_f(&mut self, _: usize, _: usize, _: u64) {}

    fn csr(&self, _: usize, _: u16) -> Option<u64> {
        None
    }

    fn set_csr(&mut self, _: usize, _: u16, _: u64) -> bool {
        false
    }

    fn privilege(&self, _: usize) -> Priv {
        Priv::Machine
    }

    fn waits(&self, _: usize) -> bool {
        false
    }

    fn memory(&self) -> &dyn Dma {
        &self.bus.ram
    }

    fn memory_mut(&mut self) -> &mut dyn Dma {
        &mut self.bus.ram
    }
}

impl Debuggee for Machine {
    fn go(&mut self, console: &mut dyn HostConsole, _: &Points) -> Stop {
        self.run(console)
    }

    fn step(&mut self, _: usize) -> Option<Stop> {
        None
    }
}
