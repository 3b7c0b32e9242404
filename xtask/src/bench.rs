//! `cargo xtask bench`: the same guest programs here and on QEMU, in turns, as rates and ratios.
//!
//! What counts is processor time of the emulator's process, less that of a run without iterations;
//! of several runs the quickest, and runs of the two machines alternate, so that a busy host
//! slows both down. Iterations are chosen so that they take about half a second, or as long as all
//! the rest of a run if that is more.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use crate::{Result, boot, cmd, guest};

/// What to run.
#[derive(Args)]
pub struct Options {
    /// Rows or groups by name; all without.
    rows: Vec<String>,
    /// List the rows, and end.
    #[arg(long)]
    list: bool,
    /// Runs of each row on each machine.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Engine of the emulator.
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// Leave QEMU out.
    #[arg(long)]
    no_qemu: bool,
    /// Another emulator of ours instead of the one built here.
    #[arg(long, value_name = "FILE")]
    emu: Option<PathBuf>,
    /// An xv6 tree that is built (kernel/kernel and fs.img): boot it and run its usertests, too.
    #[arg(long, value_name = "DIR")]
    kernel: Option<PathBuf>,
}

/// The rows that `bench.elf` has, by group; an iteration is what the last word says.
#[rustfmt::skip]
const ROWS: [(&str, &str, &str); 29] = [
    ("mix", "integer", "round"), ("sort", "integer", "4096 numbers"),
    ("sieve", "integer", "primes to 2 Mi"), ("sha256", "integer", "block"),
    ("crc32", "integer", "4 KiB"), ("misaligned", "integer", "2048 accesses"),
    ("dhry", "strings", "round"),
    ("fib", "calls", "fib(18)"), ("dispatch", "calls", "256 calls"), ("switch", "calls", "256 jumps"),
    ("memcpy", "copies", "64 KiB"), ("memcpy-1m", "copies", "64 KiB"),
    ("chase", "memory", "1000 loads"), ("random", "memory", "1000 loads"),
    ("nbody", "double", "step"), ("linpack", "double", "order 64"),
    ("syscall", "system", "call"), ("syscall-satp", "system", "call"), ("lazy", "system", "fault"),
    ("lazy-zero", "system", "fault"), ("cow", "system", "fault"), ("xv6-fault", "system", "fault"),
    ("timer", "system", "interrupt"), ("fence-load", "system", "fence"),
    ("satp", "system", "write"), ("satp-touch", "system", "write"),
    ("walk-4k", "system", "load"), ("walk-2m", "system", "load"), ("walk-1g", "system", "load"),
];
/// The rows that need a kernel: harts, and whether `usertests -q` runs.
const KERNEL_ROWS: [(&str, &str, u32, bool); 4] = [
    ("boot", "boot", 1, false),
    ("boot-3", "boot", 3, false),
    ("usertests", "usertests", 1, true),
    ("usertests-3", "usertests", 3, true),
];
/// Iterations that are tried first.
const PILOT: u64 = 10;
/// Seconds that iterations shall take at least, and what is too short to tell.
const WANTED: f64 = 0.5;
const TELLING: f64 = 0.05;
/// No row may take more iterations than this.
const MOST: u64 = 1 << 40;

/// A program that emulates a machine.
struct Machine {
    program: PathBuf,
    /// Options that only it has.
    own: Vec<String>,
}

/// What a machine did with a row.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    /// Guest instructions of an iteration, where the machine counts them.
    insns: Option<f64>,
}

/// Runs the rows that were asked for and prints the table.
pub fn bench(options: &Options) -> Result<()> {
    if options.list {
        ROWS.iter().for_each(|(name, group, unit)| println!("{name:<14} {group:<10} {unit}"));
        KERNEL_ROWS.iter().for_each(|(name, group, ..)| println!("{name:<14} {group}"));
        return Ok(());
    }
    let names = ROWS.iter().flat_map(|row| [row.0, row.1]);
    let names: Vec<&str> = names.chain(KERNEL_ROWS.iter().flat_map(|row| [row.0, row.1])).collect();
    if let Some(unknown) = options.rows.iter().find(|row| !names.contains(&row.as_str())) {
        return Err(format!("no row or group {unknown}; see --list"));
    }
    let mut tree =
        options.kernel.iter().flat_map(|dir| [dir.join("kernel/kernel"), dir.join("fs.img")]);
    if let Some(missing) = tree.find(|file| !file.is_file()) {
        return Err(format!("no {}: --kernel wants an xv6 tree that is built", missing.display()));
    }
    let guest = guest::build(false, false)?;
    let machines = machines(options)?;
    let mut table = Table::new(machines.len() > 1);
    for (name, group, unit) in ROWS {
        if wanted(options, name, group) {
            let rates = rates(&machines, &guest.bench, name, options.runs)?;
            table.row(group, name, unit, &rates);
        }
    }
    let mut kernels = vec![("", guest.kernel, guest.image)];
    if let Some(dir) = &options.kernel {
        kernels.push(("C ", dir.join("kernel/kernel"), dir.join("fs.img")));
    }
    for (title, kernel, image) in &kernels {
        for (name, group, harts, tests) in KERNEL_ROWS {
            if wanted(options, name, group) {
                let boot = Boot { kernel, image, harts, tests };
                let runs = if tests { 1 } else { options.runs };
                let name = format!("{title}{name}");
                table.row(group, &name, "run", &boot.rates(&machines, &name, runs)?);
            }
        }
    }
    table.end();
    Ok(())
}

fn wanted(options: &Options, name: &str, group: &str) -> bool {
    options.rows.is_empty() || options.rows.iter().any(|row| row == name || row == group)
}

/// Ours, and QEMU where it is installed and wanted.
fn machines(options: &Options) -> Result<Vec<Machine>> {
    let program = match &options.emu {
        Some(program) => program.clone(),
        None => boot::build_emu()?,
    };
    let engine = options.engine.iter().map(|engine| format!("--engine={engine}"));
    let own = std::iter::once("--count".to_owned()).chain(engine).collect();
    let mut machines = vec![Machine { program, own }];
    match cmd::which("qemu-system-riscv64") {
        Some(program) if !options.no_qemu => machines.push(Machine { program, own: Vec::new() }),
        None if !options.no_qemu => eprintln!("xtask: qemu-system-riscv64 is not installed"),
        _ => {}
    }
    Ok(machines)
}

impl Machine {
    fn command(&self, kernel: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-machine", "virt", "-bios", "none", "-m", "128M", "-nographic"]);
        command.args(&self.own).arg("-kernel").arg(kernel);
        command
    }

    /// Runs a row of the image: seconds, instructions if they are counted, and what was printed.
    fn run(&self, image: &Path, name: &str, n: u64) -> Result<(f64, Option<f64>, String)> {
        let mut command = self.command(image);
        command.args(["-append", &format!("{name} {n}")]).stdin(Stdio::null());
        let before = children_seconds();
        let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        let seconds = children_seconds() - before;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() || !text.contains("checksum") {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{name} on {}: {text}{said}", self.program.display()));
        }
        Ok((seconds, counted(&output.stderr), text))
    }
}

/// The number that `--count` printed.
fn counted(stderr: &[u8]) -> Option<f64> {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().find(|line| line.ends_with(" instructions"))?;
    line.split(' ').rev().nth(1)?.parse().ok()
}

/// Processor time of all programs that ended, in seconds.
fn children_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the structure is large enough and may be all zeroes, as it stays if this fails.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// What a machine needs for a row: nothing, and `n` iterations.
struct Times {
    n: u64,
    nothing: f64,
    all: f64,
    insns: Option<f64>,
}

/// Runs a row on all machines in turns.
fn rates(machines: &[Machine], image: &Path, name: &str, runs: u32) -> Result<Vec<Rate>> {
    eprint!("xtask: {name} ...");
    let mut printed: Vec<String> = Vec::new();
    let mut times = Vec::new();
    for machine in machines {
        let (time, text) = iterations(machine, image, name)?;
        times.push(time);
        printed.push(text);
    }
    if printed.iter().any(|text| *text != printed[0]) {
        return Err(format!("{name} computes different things: {printed:?}"));
    }
    for _ in 0..runs {
        for (machine, time) in machines.iter().zip(&mut times) {
            time.nothing = time.nothing.min(machine.run(image, name, 0)?.0);
            time.all = time.all.min(machine.run(image, name, time.n)?.0);
        }
    }
    eprintln!(" done");
    let rate = |time: &Times| Rate {
        per_second: time.n as f64 / (time.all - time.nothing).max(1e-6),
        insns: time.insns,
    };
    Ok(times.iter().map(rate).collect())
}

/// How many iterations take a telling time, and what few of them print.
fn iterations(machine: &Machine, image: &Path, name: &str) -> Result<(Times, String)> {
    let (nothing, base, _) = machine.run(image, name, 0)?;
    // The time of nothing varies, by a tenth or two of it.
    let telling = TELLING.max(nothing / 2.0);
    let mut n = PILOT;
    let mut first = None;
    loop {
        let (seconds, count, text) = machine.run(image, name, n)?;
        first.get_or_insert(text);
        let net = seconds - nothing;
        if net >= telling || n >= MOST {
            let insns = count.zip(base).map(|(count, base)| (count - base) / n as f64);
            let wanted = ((n as f64 * WANTED.max(nothing) / net) as u64).max(1);
            let times = Times { n: wanted, nothing, all: f64::INFINITY, insns };
            return Ok((times, first.unwrap_or_default()));
        }
        n *= if net < telling / 10.0 { 16 } else { 4 };
    }
}

/// A kernel that boots to its shell.
struct Boot<'a> {
    kernel: &'a Path,
    image: &'a Path,
    harts: u32,
    /// Whether `usertests -q` runs there; the time is that of boot and tests.
    tests: bool,
}

impl Boot<'_> {
    fn rates(&self, machines: &[Machine], name: &str, runs: u32) -> Result<Vec<Rate>> {
        eprint!("xtask: {name} ...");
        let mut best = vec![f64::INFINITY; machines.len()];
        for _ in 0..runs {
            for (machine, best) in machines.iter().zip(&mut best) {
                *best = best.min(self.seconds(machine)?);
            }
        }
        eprintln!(" done");
        Ok(best.iter().map(|seconds| Rate { per_second: 1.0 / seconds, insns: None }).collect())
    }

    /// Processor time until the prompt, or until the tests have passed.
    fn seconds(&self, machine: &Machine) -> Result<f64> {
        let mut command = machine.command(self.kernel);
        command.args(["-snapshot", "-smp", &self.harts.to_string()]);
        command.args(["-global", "virtio-mmio.force-legacy=false", "-drive"]);
        command.arg(format!("file={},if=none,format=raw,id=x0", self.image.display()));
        command.args(["-device", "virtio-blk-device,drive=x0,bus=virtio-mmio-bus.0"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let before = children_seconds();
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let came = input.zip(output).map_or(Ok(()), |(mut input, mut output)| {
            wait_for(&mut output, "$ ")?;
            if self.tests {
                input.write_all(b"usertests -q\n").map_err(|error| error.to_string())?;
                wait_for(&mut output, "ALL TESTS PASSED")?;
            }
            Ok(())
        });
        let _ = child.kill();
        let _ = child.wait();
        came.map_err(|why: String| format!("{}: {why}", machine.program.display()))?;
        Ok(children_seconds() - before)
    }
}

/// Reads until a text comes.
fn wait_for(output: &mut impl Read, text: &str) -> Result<()> {
    let mut read = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let n = output.read(&mut bytes).map_err(|error| error.to_string())?;
        read.extend_from_slice(&bytes[..n]);
        // The text may come in pieces; what it is behind does not matter any more.
        if read.windows(text.len()).any(|window| window == text.as_bytes()) {
            return Ok(());
        }
        if n == 0 || read.windows(6).any(|window| window == b"FAILED") {
            return Err(format!("no {text:?} came: {}", String::from_utf8_lossy(&read)));
        }
        read.drain(..read.len().saturating_sub(256));
    }
}

/// The table, a row at a time.
struct Table {
    ratios: bool,
    /// Logarithms of the group's ratios.
    group: (&'static str, Vec<f64>),
}

impl Table {
    fn new(ratios: bool) -> Table {
        print!("| workload | unit | per second | MIPS |");
        println!("{}", if ratios { " QEMU per second | ratio |" } else { "" });
        println!("| --- | --- | ---: | ---: |{}", if ratios { " ---: | ---: |" } else { "" });
        Table { ratios, group: ("", Vec::new()) }
    }

    fn row(&mut self, group: &'static str, name: &str, unit: &str, rates: &[Rate]) {
        if self.group.0 != group {
            self.end();
            self.group.0 = group;
        }
        let Some(ours) = rates.first() else { return };
        let mips = ours.insns.map(|insns| format!("{:.0}", insns * ours.per_second / 1e6));
        let mips = mips.unwrap_or_default();
        print!("| {name} | {unit} | {} | {mips} |", number(ours.per_second));
        if let Some(other) = rates.get(1) {
            let ratio = ours.per_second / other.per_second;
            self.group.1.push(ratio.ln());
            print!(" {} | {ratio:.2} |", number(other.per_second));
        }
        println!();
    }

    /// The group's geometric mean.
    fn end(&mut self) {
        let logs = std::mem::take(&mut self.group.1);
        if self.ratios && logs.len() > 1 {
            let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
            println!("| *{}* | geometric mean | | | | {mean:.2} |", self.group.0);
        }
    }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v if v >= 1e3 => format!("{:.1} k", v / 1e3),
        v if v >= 10.0 => format!("{v:.0}"),
        v => format!("{v:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_across_reads() {
        let mut bytes = "x".repeat(4094).into_bytes();
        bytes.extend(b"ALL TESTS PASSED\n");
        assert!(wait_for(&mut &bytes[..], "ALL TESTS PASSED").is_ok());
        assert!(wait_for(&mut &bytes[..4100], "ALL TESTS PASSED").is_err());
    }

    #[test]
    fn counts_are_read() {
        let said = b"emu: disk: x\nemu: 1453062 instructions\n";
        assert_eq!(counted(said), Some(1453062.0));
        assert_eq!(counted(b""), None);
    }
}
