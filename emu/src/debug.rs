//! The machine in the hands of the monitor and of gdb.

use isa::Priv;

use crate::console::HostConsole;
use crate::dev::Dma;
use crate::events::Events;
use crate::exec::Cpu;
use crate::hart::{Hart, csr};
use crate::inspect::{Debuggee, Inspect, Points};
use crate::machine::{Machine, Stop};

impl<E: Events> Inspect for Machine<E> {
    fn harts(&self) -> usize {
        self.harts.len()
    }

    fn tell(&self, topic: &str) -> Option<String> {
        self.events.tell(topic, &self.sys.bus.ram)
    }

    fn pc(&self, hart: usize) -> u64 {
        self.harts[hart].ctx.pc
    }

    fn set_pc(&mut self, hart: usize, value: u64) {
        self.harts[hart].ctx.pc = value & !1;
    }

    fn x(&self, hart: usize, number: usize) -> u64 {
        self.harts[hart].x(number)
    }

    fn set_x(&mut self, hart: usize, number: usize, value: u64) {
        self.harts[hart].set_x((number & 31) as u8, value);
    }

    fn f(&self, hart: usize, number: usize) -> u64 {
        self.harts[hart].ctx.f[number & 31]
    }

    fn set_f(&mut self, hart: usize, number: usize, value: u64) {
        self.harts[hart].ctx.f[number & 31] = value;
    }

    fn csr(&self, hart: usize, number: u16) -> Option<u64> {
        csr::read(&self.harts[hart], &self.sys, self.time(), number)
    }

    fn set_csr(&mut self, hart: usize, number: u16, value: u64) -> bool {
        if isa::csr::is_read_only(number) || self.csr(hart, number).is_none() {
            return false;
        }
        let hart = &mut self.harts[hart];
        let mut cpu = Cpu { hart, sys: &mut self.sys, events: &mut self.events };
        cpu.write_csr(number, value).is_ok()
    }

    fn privilege(&self, hart: usize) -> Priv {
        self.harts[hart].privilege
    }

    fn waits(&self, hart: usize) -> bool {
        self.harts[hart].waiting
    }

    fn memory(&self) -> &dyn Dma {
        &self.sys.bus.ram
    }

    fn memory_mut(&mut self) -> &mut dyn Dma {
        &mut self.sys.bus.ram
    }
}

impl<E: Events> Machine<E> {
    /// Nothing that was cached may bypass a breakpoint or a watchpoint; or no longer has to be
    /// looked at, when they go.
    fn set_points(&mut self, points: &Points) {
        let nothing = Points::default();
        if *points == nothing && self.sys.points == nothing {
            return;
        }
        self.sys.points = points.clone();
        self.sys.code.drop_all(&mut self.sys.bus.ram);
        self.harts.iter_mut().for_each(Hart::flush_translations);
    }
}

impl<E: Events> Debuggee for Machine<E> {
    fn go(&mut self, console: &mut dyn HostConsole, points: &Points) -> Stop {
        self.set_points(points);
        for hart in &mut self.harts {
            hart.let_go = Some(hart.retired());
        }
        let stop = self.run(console);
        self.set_points(&Points::default());
        stop
    }

    fn step(&mut self, hart: usize) -> Option<Stop> {
        self.sys.stepping = true;
        self.take_turn(hart, 1);
        self.sys.stepping = false;
        self.sys.hit = None;
        self.poll_devices()
    }
}
