//! Runs test cases on the guest: each boots the machine, runs one guest command and compares
//! output and exit status.
//!
//! A case is a set of files in a folder ([`case`]); the labs' mistakes have one file for all of
//! them ([`mutants`]).

mod case;
mod compare;
mod mutants;
mod run;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use clap::Args;

use crate::{Result, boot, guest, root};
use run::{Machine, Run};

/// Options, as the operating-systems courses' `run-tests.sh` spells them.
#[derive(Args, Clone)]
pub struct Options {
    /// Verbose: show each case's output.
    #[arg(short)]
    verbose: bool,
    /// Run only this case.
    #[arg(short, value_name = "N")]
    test: Option<String>,
    /// Continue after a failure.
    #[arg(short)]
    continue_: bool,
    /// The folder with the cases.
    #[arg(short, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Skip the build of what is there already.
    #[arg(short)]
    skip: bool,
    /// Run every case under all of {lazy, eager} x {cow, copy} x {1, 3 harts}.
    #[arg(long)]
    matrix: bool,
}

impl Options {
    /// Every case of the in-tree folder, not stopping at failures.
    pub fn everything(matrix: bool) -> Options {
        Options { verbose: false, test: None, continue_: true, dir: None, skip: false, matrix }
    }
}

/// Runs the cases; an error says how many failed.
pub fn grade(options: &Options) -> Result<()> {
    let guest = built(false, options.skip)?;
    let in_tree = root().join("guest-user/tests");
    let dir = options.dir.as_ref().unwrap_or(&in_tree);
    let mut cases = case::read_all(dir)?;
    cases.extend(mutants::read(dir)?);
    if let Some(only) = &options.test {
        cases.retain(|case| case.name == *only);
        if cases.is_empty() {
            return Err(format!("no test case {only} in {}", dir.display()));
        }
    }
    let mutants = match cases.iter().any(|case| case.mutant) {
        true => {
            let mutants = built(true, options.skip)?.kernel;
            mutants::check_traces(&guest.kernel, &mutants)?;
            Some(mutants)
        }
        false => None,
    };
    let emu = boot::emu();
    let emu = if options.skip && emu.is_file() { emu } else { boot::build_emu()? };
    let machine = Machine { emu, guest, mutants, verbose: options.verbose };
    let runs: Vec<Run> = cases.iter().flat_map(|case| run::runs_of(case, options.matrix)).collect();
    let failed = run_all(&runs, &machine, options.continue_);
    println!("{} guest tests, {failed} failed", runs.len());
    if failed == 0 { Ok(()) } else { Err(format!("{failed} guest tests failed")) }
}

/// The guest: built now, or what the last build left.
fn built(mutants: bool, skip: bool) -> Result<guest::Guest> {
    match guest::existing(mutants).filter(|_| skip) {
        Some(guest) => Ok(guest),
        None => guest::build(mutants, false),
    }
}

/// Runs as many at a time as the host has processors; how many failed.
fn run_all(runs: &[Run], machine: &Machine, continue_: bool) -> usize {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let stop = AtomicBool::new(false);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    match run.check(machine) {
                        Ok(()) => println!("test {}: passed", run.title()),
                        Err(why) => {
                            println!("test {}: FAILED\n{why}", run.title());
                            failed.fetch_add(1, Ordering::Relaxed);
                            stop.store(!continue_, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    failed.into_inner()
}
