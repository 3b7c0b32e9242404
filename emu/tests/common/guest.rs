//! The in-tree kernel under an observer of choice. Tests with it are ignored by a plain `cargo
//! test`; `cargo xtask test` builds the guest first and runs them all.

use std::path::{Path, PathBuf};

use clap::Parser;
use emu::bus::{Bus, BusConfig, Exit};
use emu::cli::args::Args;
use emu::cli::setup::{self, Boot};
use emu::console::BufferConsole;
use emu::events::Events;
use emu::machine::{Machine, MachineConfig, Stop};
use emu::mem::Ram;

/// A guest that has run a command and powered off.
pub struct Ended<E: Events> {
    pub machine: Machine<E>,
    /// Where its device tree was.
    pub tree: u64,
    pub output: String,
}

/// A kernel of the guest build: `kernel.elf`, or `kernel-mutants.elf`.
pub fn kernel(name: &str) -> PathBuf {
    let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guest").join(name);
    assert!(kernel.is_file(), "no {}: cargo xtask guest [--mutants] makes it", kernel.display());
    kernel
}

/// Boots a kernel with the disk beside it, and with these flags, which have it run something
/// (`run="command"`) and power off with status 0.
pub fn run<E: Events>(
    kernel: &Path,
    flags: &str,
    harts: usize,
    options: &[&str],
    events: impl FnOnce(&Args) -> E,
) -> Ended<E> {
    let smp = harts.to_string();
    let path = kernel.to_str().expect("a path in UTF-8");
    let words = ["emu", "--snapshot", "--smp", &smp, "--append", flags, path];
    let args = Args::parse_from(words.iter().chain(options));
    let boot = Boot::prepare(&args, kernel).expect("the kernel can be loaded");
    let backends = setup::backends(&args, kernel, true).expect("the image is there");
    let mut ram = Ram::new(args.memory).expect("memory");
    boot.load(&mut ram).expect("it fits");
    let virtio = setup::virtio(&args);
    let bus = Bus::new(ram, BusConfig { virtio, backends, ..BusConfig::new(harts) });
    let max_insns = Some(20_000_000_000);
    let config = MachineConfig { harts, max_insns, ..MachineConfig::default() };
    let mut machine = Machine::with_events(config, bus, events(&args));
    for hart in 0..harts {
        machine.set_entry(hart, boot.entry, hart as u64, boot.dtb_address());
    }
    let mut console = BufferConsole::default();
    let stop = machine.run(&mut console);
    let output = String::from_utf8_lossy(&console.output).replace('\r', "");
    assert!(matches!(stop, Stop::Exit(Exit::Code(0))), "{flags}: {stop:?}\n{output}");
    Ended { machine, tree: boot.dtb_address(), output }
}
