//! The in-tree kernel under an observer of choice. Tests with it are ignored by a plain `cargo
//! test`; `cargo xtask test` builds the guest first and runs them all.

use std::path::{Path, PathBuf};

use clap::Parser;
use emu::bus::{Bus, BusConfig};
use emu::cli::args::Args;
use emu::cli::setup::{self, Boot};
use emu::console::BufferConsole;
use emu::events::Events;
use emu::machine::{Machine, MachineConfig, Stop};
use emu::mem::Ram;

/// A machine with a kernel in its memory.
pub struct Guest<E: Events> {
    pub machine: Machine<E>,
    pub console: BufferConsole,
}

/// A kernel of the guest build: `kernel.elf`, or `kernel-mutants.elf`.
pub fn kernel(name: &str) -> PathBuf {
    let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guest").join(name);
    assert!(kernel.is_file(), "no {}: cargo xtask guest [--mutants] makes it", kernel.display());
    kernel
}

/// A machine with that kernel of the guest build and its disk.
pub fn boot<E: Events>(name: &str, options: &[&str], events: E) -> Guest<E> {
    boot_file(&kernel(name), options, events)
}

/// A machine with that kernel and the `fs.img` beside it.
pub fn boot_file<E: Events>(kernel: &Path, options: &[&str], events: E) -> Guest<E> {
    let kernel = kernel.to_str().expect("a name in UTF-8");
    let words = ["emu", "--snapshot", kernel].into_iter().chain(options.iter().copied());
    let args = Args::try_parse_from(words).expect("options");
    let (kernel, beside) = setup::kernel(&args).expect("a kernel");
    let boot = Boot::prepare(&args, &kernel).expect("a kernel");
    let backends = setup::backends(&args, &kernel, beside).expect("a disk");
    let mut ram = Ram::new(args.memory).expect("memory");
    boot.load(&mut ram).expect("room");
    let virtio = setup::virtio(&args);
    let bus = Bus::new(ram, BusConfig { backends, virtio, ..BusConfig::new(args.smp) });
    let config = MachineConfig {
        harts: args.smp,
        max_insns: args.max_insns,
        seed: args.seed,
        ..MachineConfig::default()
    };
    let mut machine = Machine::with_events(config, bus, events);
    for hart in 0..args.smp {
        machine.set_entry(hart, boot.entry, hart as u64, boot.dtb_address());
    }
    Guest { machine, console: BufferConsole::default() }
}

impl<E: Events> Guest<E> {
    /// Runs until the guest ends the machine; what it printed.
    pub fn run(&mut self) -> String {
        loop {
            match self.machine.run(&mut self.console) {
                Stop::Exit(_) | Stop::MaxInsns | Stop::Stuck { .. } => break,
                _ => {}
            }
        }
        String::from_utf8_lossy(&self.console.output).into_owned()
    }
}
