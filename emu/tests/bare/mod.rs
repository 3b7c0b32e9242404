//! A machine without a program: tests put instructions and page tables where they want them.
#![allow(dead_code)]

use emu::bus::{Bus, BusConfig};
use emu::console::BufferConsole;
use emu::events::{Events, NoEvents};
use emu::inspect::{Debuggee, Inspect};
use emu::machine::{Machine, MachineConfig, Stop};
use emu::mem::Ram;
use isa::paging::{Mode, Ppn, Pte, Satp};
use isa::{Inst, Priv, csr, encode};

/// Where memory begins.
pub const BASE: u64 = 0x8000_0000;
/// Where the trap handler of M-mode is.
pub const HANDLER: u64 = BASE + 0xf000;

/// A machine at [`BASE`] in M-mode, with [`HANDLER`] for its traps.
pub struct Bare<E: Events = NoEvents> {
    pub machine: Machine<E>,
    pub console: BufferConsole,
}

impl Bare {
    pub fn new(config: MachineConfig) -> Bare {
        Bare::with_events(config, NoEvents)
    }

    /// One hart, usual configuration.
    pub fn one() -> Bare {
        Bare::new(MachineConfig::default())
    }
}

impl<E: Events> Bare<E> {
    pub fn with_events(config: MachineConfig, events: E) -> Bare<E> {
        let ram = Ram::new(1 << 20).expect("a mapping");
        let bus = Bus::new(ram, BusConfig::new(config.harts));
        let mut machine = Machine::with_events(config, bus, events);
        for hart in 0..config.harts {
            machine.set_entry(hart, BASE, hart as u64, 0);
            assert!(machine.set_csr(hart, csr::MTVEC, HANDLER));
        }
        Bare { machine, console: BufferConsole::default() }
    }

    pub fn code(&mut self, pa: u64, code: &[Inst]) {
        for (n, inst) in code.iter().enumerate() {
            let word = encode(inst).to_le_bytes();
            self.machine.memory_mut().write_bytes(pa + 4 * n as u64, &word).expect("in memory");
        }
    }

    pub fn put(&mut self, pa: u64, value: u64) {
        self.machine.memory_mut().write_bytes(pa, &value.to_le_bytes()).expect("in memory");
    }

    pub fn get(&self, pa: u64) -> u64 {
        self.machine.memory().read_u64(pa).expect("in memory")
    }

    pub fn csr(&self, number: u16) -> u64 {
        self.machine.csr(0, number).expect("the register exists")
    }

    pub fn set_csr(&mut self, number: u16, value: u64) {
        assert!(self.machine.set_csr(0, number, value));
    }

    /// Writes a register and says how it reads then.
    pub fn warl(&mut self, number: u16, value: u64) -> u64 {
        self.set_csr(number, value);
        self.csr(number)
    }

    pub fn x(&self, number: usize) -> u64 {
        self.machine.x(0, number)
    }

    pub fn set_x(&mut self, number: usize, value: u64) {
        self.machine.set_x(0, number, value);
    }

    pub fn pc(&self) -> u64 {
        self.machine.pc(0)
    }

    pub fn set_pc(&mut self, pc: u64) {
        self.machine.set_pc(0, pc);
    }

    /// Puts the hart into a mode, and forgets what it knows of memory.
    pub fn set_privilege(&mut self, privilege: Priv) {
        self.machine.harts[0].privilege = privilege;
        let (satp, menvcfg) = (self.csr(csr::SATP), self.csr(csr::MENVCFG));
        self.set_csr(csr::SATP, satp);
        self.set_csr(csr::MENVCFG, menvcfg);
    }

    /// One instruction, or one trap; returns the cause and value if it was a trap.
    pub fn step(&mut self) -> Option<(u64, u64)> {
        self.machine.step(0);
        (self.pc() == HANDLER).then(|| (self.csr(csr::MCAUSE), self.csr(csr::MTVAL)))
    }

    pub fn run(&mut self) -> Stop {
        self.machine.run(&mut self.console)
    }

    /// Turns translation on, with an empty table at physical address `root`.
    pub fn translate(&mut self, mode: Mode, root: u64) {
        for n in 0..512 {
            self.put(root + 8 * n, 0);
        }
        let satp = Satp { mode, asid: 0, ppn: Ppn(root >> 12) };
        self.set_csr(csr::SATP, satp.bits());
    }

    /// Maps a page of 4 KiB with these flags, using tables from `tables` on; returns where its
    /// PTE is.
    pub fn map(&mut self, va: u64, pa: u64, flags: u64, tables: &mut u64) -> u64 {
        let satp = Satp::from_bits(self.csr(csr::SATP)).expect("a mode that exists");
        let mut table = satp.ppn.0 << 12;
        for level in (1..satp.mode.levels()).rev() {
            let at = table + 8 * (va >> (12 + 9 * level) & 511);
            if self.get(at) == 0 {
                self.put(at, Pte::new(Ppn(*tables >> 12), Pte::V).0);
                *tables += 4096;
            }
            table = Pte(self.get(at)).ppn().0 << 12;
        }
        let at = table + 8 * (va >> 12 & 511);
        self.put(at, Pte::new(Ppn(pa >> 12), flags).0);
        at
    }
}
