//! Booting the machine for a case, and judging what came of it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::case::Case;
use super::compare::{matches, without_boot_lines};
use crate::{Result, guest};

/// A guest that runs for longer than this is stuck: two minutes of its virtual time.
const MAX_INSNS: &str = "120000000000";
/// Exit statuses that mean a page lost (`leakcheck`), wrong contents (`alloctest`), a panic, and
/// a guest that was stuck.
const FATAL: [i32; 4] = [99, 98, 101, 76];
/// A short sweep spreads the allocations that fail over the modes.
const MODES: usize = 8;

/// What runs the cases.
pub struct Machine {
    /// The emulator.
    pub emu: PathBuf,
    /// The kernel and the disk.
    pub guest: guest::Guest,
    /// The kernel that can make the labs' mistakes.
    pub mutants: Option<PathBuf>,
    /// Whether output is shown.
    pub verbose: bool,
}

/// A case in one mode.
pub struct Run<'a> {
    case: &'a Case,
    harts: usize,
    flags: Vec<String>,
    /// The allocations that fail in a sweep: the first, and how far it is from one to the next.
    fails: (usize, usize),
}

/// The runs of one case: one, or the whole matrix but for what the case pins. Sweeps always run
/// in every mode; unless the matrix is asked for, each allocation fails in one of them.
pub fn runs_of(case: &Case, matrix: bool) -> Vec<Run<'_>> {
    let every = matrix || case.sweep.is_some();
    let choices = |key: &str, values: [&str; 2]| {
        let pinned = case.pinned.iter().find(|flag| flag.starts_with(key)).cloned();
        let count = if every { 2 } else { 1 };
        let free = values.iter().map(|value| format!("{key}{value}"));
        pinned.map_or_else(|| free.take(count).collect(), |flag| vec![flag])
    };
    let mut runs = Vec::new();
    for sbrk in choices("sbrk=", ["lazy", "eager"]) {
        for fork in choices("fork=", ["cow", "copy"]) {
            for harts in choices("harts=", ["1", "3"]) {
                let harts = harts.trim_start_matches("harts=").parse().unwrap_or(1);
                let known = ["sbrk=", "fork=", "harts="];
                let others = case.pinned.iter().filter(|f| !known.iter().any(|k| f.starts_with(k)));
                let flags = [&sbrk, &fork].into_iter().chain(others).cloned().collect();
                let fails = if matrix { (1, 1) } else { (1 + runs.len(), MODES) };
                runs.push(Run { case, harts, flags, fails });
            }
        }
    }
    runs
}

/// How a boot ended.
struct Ended {
    status: i32,
    text: String,
    /// The emulator's messages.
    errors: String,
}

impl Run<'_> {
    /// What it is called in the list of results.
    pub fn title(&self) -> String {
        let Case { name, command, .. } = self.case;
        format!("{name} ({command}; {}, {} harts)", self.flags.join(" "), self.harts)
    }

    /// Runs it; an error says what was wrong.
    pub fn check(&self, machine: &Machine) -> Result<()> {
        let Some(last) = self.case.sweep else {
            return self.judge(&self.boot(machine, "")?);
        };
        let (first, step) = self.fails;
        for n in (first..last).step_by(step) {
            let ended = self.boot(machine, &format!("fail_alloc={n}"))?;
            if FATAL.contains(&ended.status) {
                let Ended { status, text, errors } = ended;
                return Err(format!("allocation {n} failed: status {status}\n{text}{errors}"));
            }
        }
        let beyond = self.boot(machine, &format!("fail_alloc={last}"))?;
        self.judge(&beyond).map_err(|why| format!("the sweep ends too early: {why}"))
    }

    /// Runs the command once.
    fn boot(&self, machine: &Machine, flag: &str) -> Result<Ended> {
        let kernel = match &machine.mutants {
            Some(kernel) if self.case.mutant => kernel,
            _ => &machine.guest.kernel,
        };
        let append = format!("{} {flag} run=\"{}\"", self.flags.join(" "), self.case.command);
        let output = Command::new(&machine.emu)
            .arg(kernel)
            .args(["--smp", &self.harts.to_string(), "--max-insns", MAX_INSNS, "-snapshot"])
            .args(["-append", &append])
            .args(&self.case.emu)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run {}: {error}", machine.emu.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        let text = without_boot_lines(&text);
        if machine.verbose {
            println!("{text}");
        }
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Ended { status: output.status.code().unwrap_or(-1), text, errors })
    }

    fn judge(&self, ended: &Ended) -> Result<()> {
        let Ended { status, text, errors } = ended;
        let right = self.case.status;
        if *status != right {
            return Err(format!("exit status {status}, expected {right}\n{text}{errors}"));
        }
        let said = |pattern: &&String| errors.lines().any(|line| matches(pattern, line));
        if let Some(pattern) = self.case.messages.iter().find(|pattern| !said(pattern)) {
            return Err(format!("the emulator did not say {pattern:?}\n{text}{errors}"));
        }
        match &self.case.expected {
            Some(expected) if !matches(expected, text) => {
                Err(format!("--- expected\n{expected}--- got\n{text}---"))
            }
            _ => Ok(()),
        }
    }
}
