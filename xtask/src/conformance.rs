//! Runs a folder tree of bare-metal test programs (riscv-tests, riscv-arch-test) on the emulator.
//!
//! A test is any RISC-V ELF file. It passes if it ends with success (`tohost` or the test
//! finisher) and, where a reference signature lies beside it, writes that signature. References
//! are `NAME.reference_output`, `NAME.signature`, `NAME.sig` or `NAME.ref`, in the test's folder
//! or in `references/` below it, with one hexadecimal number a line.
//!
//! Suites do not say whether they expect the machine to update A and D or to fault (both are
//! allowed, and references exist for both): a test that fails is run once more with `--ad=fault`,
//! and the table says how many needed that.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;

use crate::{Result, boot};

/// What to run and how.
#[derive(Args, Clone)]
pub struct Options {
    /// The folder.
    dir: PathBuf,
    /// Tests at the same time; as many as there are processors.
    #[arg(short, long)]
    jobs: Option<usize>,
    /// Instructions after which a test has failed.
    #[arg(long, default_value_t = 100_000_000)]
    max_insns: u64,
    /// Say of every test how it went.
    #[arg(short, long)]
    verbose: bool,
    /// More options for the emulator.
    #[arg(last = true)]
    emu: Vec<String>,
}

/// Tests after which to say how many there were.
const MANY: usize = 200;
/// A test that is still running after that is stuck in the emulator itself.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The A/D schemes under which a test may pass, by the option that asks for them.
const SCHEMES: [&[&str]; 2] = [&[], &["--ad=fault"]];

struct Test {
    /// Path below the folder.
    name: String,
    elf: PathBuf,
    reference: Option<PathBuf>,
}

/// How a test went: the scheme under which it passed, or why it failed.
type Outcome = std::result::Result<usize, String>;

/// A line of the table.
#[derive(Default)]
struct Row {
    tests: usize,
    signatures: usize,
    passed: [usize; SCHEMES.len()],
}

/// Runs the folder's tests; an error says how many failed.
pub fn conformance(options: &Options) -> Result<()> {
    let mut tests = Vec::new();
    find(&options.dir, &options.dir, &mut tests)?;
    if tests.is_empty() {
        return Err(format!("no RISC-V ELF file in {}", options.dir.display()));
    }
    let emu = boot::build_emu()?;
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    let outcomes = run_all(&tests, &emu, options);
    let mut table: BTreeMap<String, Row> = BTreeMap::new();
    let mut failures = 0;
    for (test, outcome) in tests.iter().zip(&outcomes) {
        let row = table.entry(suite(&test.name)).or_default();
        row.tests += 1;
        row.signatures += usize::from(test.reference.is_some());
        match outcome {
            Ok(scheme) => row.passed[*scheme] += 1,
            Err(why) => {
                failures += 1;
                println!("FAILED {}: {why}", test.name);
            }
        }
        if let (true, Ok(scheme)) = (options.verbose, outcome) {
            println!("passed {} {}", test.name, SCHEMES[*scheme].join(" "));
        }
    }
    print_table(&table);
    if failures == 0 { Ok(()) } else { Err(format!("{failures} of {} tests failed", tests.len())) }
}

/// Collects the tests of a folder and the folders in it.
fn find(top: &Path, dir: &Path, tests: &mut Vec<Test>) -> Result<()> {
    let entries = std::fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            find(top, &path, tests)?;
        } else if is_riscv_elf(&path) {
            let name = path.strip_prefix(top).unwrap_or(&path).display().to_string();
            let reference = reference(&path);
            tests.push(Test { name, elf: path, reference });
        }
    }
    Ok(())
}

/// Whether the file is a 64-bit little-endian RISC-V executable.
fn is_riscv_elf(path: &Path) -> bool {
    const EXEC: u8 = 2;
    const RISCV: u8 = 243;
    let mut head = [0; 20];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok()
        && head.starts_with(b"\x7fELF\x02\x01")
        && head[16..18] == [EXEC, 0]
        && head[18..20] == [RISCV, 0]
}

/// The reference signature that lies beside the ELF file, if one does.
fn reference(elf: &Path) -> Option<PathBuf> {
    let dir = elf.parent()?;
    let stems = [elf.file_name()?.to_str()?, elf.file_stem()?.to_str()?];
    let places = [dir.to_owned(), dir.join("references")];
    let kinds = ["reference_output", "signature", "sig", "ref"];
    let files = places.iter().flat_map(|place| {
        let names = stems.iter().flat_map(|stem| kinds.map(|kind| format!("{stem}.{kind}")));
        names.map(|name| place.join(name)).collect::<Vec<_>>()
    });
    files.into_iter().find(|file| file.is_file())
}

/// The suite that a test is counted under: its folder, or the part of riscv-tests' names before
/// the test's own (`rv64ui-p`).
fn suite(name: &str) -> String {
    match name.rsplit_once('/') {
        Some((folder, _)) => folder.to_owned(),
        None => match name.match_indices('-').nth(1) {
            Some((end, _)) => name[..end].to_owned(),
            None => ".".to_owned(),
        },
    }
}

fn run_all(tests: &[Test], emu: &Path, options: &Options) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![Err("not run".to_owned()); tests.len()]);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.unwrap_or(processors).max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(test) = tests.get(at) else { return };
                    if at > 0 && at.is_multiple_of(MANY) {
                        eprintln!("xtask: {at} of {} tests", tests.len());
                    }
                    let outcome = test.run(at, emu, options);
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner)[at] = outcome;
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Test {
    /// Runs the test under each scheme until it passes; the first failure is what is reported.
    fn run(&self, number: usize, emu: &Path, options: &Options) -> Outcome {
        let mut first = None;
        for (scheme, words) in SCHEMES.iter().enumerate() {
            match self.run_once(number, emu, words, options) {
                Ok(()) => return Ok(scheme),
                Err(why) => first = first.or(Some(why)),
            }
        }
        Err(first.unwrap_or_default())
    }

    fn run_once(&self, number: usize, emu: &Path, words: &[&str], options: &Options) -> Result<()> {
        let file = format!("conformance-{}-{number}.signature", std::process::id());
        let signature = std::env::temp_dir().join(file);
        let expected = match &self.reference {
            Some(path) => Some(read_signature(path)?),
            None => None,
        };
        let mut command = Command::new(emu);
        command.arg("-kernel").arg(&self.elf).args(words).args(&options.emu);
        command.args(["--max-insns", &options.max_insns.to_string()]);
        if let Some(expected) = &expected {
            let bytes = expected.first().map_or(4, |line| line.len().div_ceil(2));
            command.arg("--signature").arg(&signature);
            command.args(["--signature-granularity", &bytes.to_string()]);
        }
        let outcome = finish(&mut command)
            .and_then(|()| expected.map_or(Ok(()), |expected| compare(&expected, &signature)));
        // It exists only if the test got far enough.
        let _ = std::fs::remove_file(&signature);
        outcome
    }
}

/// Runs the emulator to its end, or stops it.
fn finish(command: &mut Command) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run {:?}: {error}", command.get_program()))?;
    let status = wait(&mut child)?;
    if status.success() {
        return Ok(());
    }
    let mut why = String::new();
    if let Some(stderr) = &mut child.stderr {
        // Without its message the status still says it.
        let _ = stderr.read_to_string(&mut why);
    }
    Err(format!("{status} {}", why.lines().last().unwrap_or_default()).trim_end().to_owned())
}

fn wait(child: &mut Child) -> Result<std::process::ExitStatus> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if start.elapsed() < TIMEOUT => std::thread::sleep(pause),
            Ok(None) => {
                // It may have ended by itself just now.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("still running after {} s", TIMEOUT.as_secs()));
            }
            Err(error) => return Err(format!("cannot wait: {error}")),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The lines of a signature, in lower case.
fn read_signature(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.split_whitespace().map(str::to_ascii_lowercase).collect())
}

fn compare(expected: &[String], signature: &Path) -> Result<()> {
    let got = read_signature(signature)?;
    let different = expected.iter().zip(&got).position(|(expected, got)| expected != got);
    match different {
        Some(at) => Err(format!(
            "signature differs at line {}: expected {}, got {}",
            at + 1,
            expected[at],
            got[at]
        )),
        None if expected.len() != got.len() => {
            Err(format!("signature has {} lines, expected {}", got.len(), expected.len()))
        }
        None => Ok(()),
    }
}

fn print_table(table: &BTreeMap<String, Row>) {
    let width = table.keys().map(String::len).max().unwrap_or(0).max("total".len());
    println!("{:width$}  tests  passed  failed  signatures  with --ad=fault", "suite");
    let mut total = Row::default();
    let line = |name: &str, row: &Row| {
        let passed: usize = row.passed.iter().sum();
        println!(
            "{name:width$}  {:5}  {passed:6}  {:6}  {:10}  {:15}",
            row.tests,
            row.tests - passed,
            row.signatures,
            row.passed[1]
        );
    };
    for (name, row) in table {
        line(name, row);
        total.tests += row.tests;
        total.signatures += row.signatures;
        for (sum, passed) in total.passed.iter_mut().zip(row.passed) {
            *sum += passed;
        }
    }
    line("total", &total);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_a_folder_or_a_prefix() {
        assert_eq!(suite("rv64ui-p-add"), "rv64ui-p");
        assert_eq!(suite("rv64i_m/I/add-01.elf"), "rv64i_m/I");
        assert_eq!(suite("test.elf"), ".");
    }

    #[test]
    fn signatures_are_compared_line_by_line() {
        let file = std::env::temp_dir().join(format!("conformance-test-{}", std::process::id()));
        std::fs::write(&file, "DEADBEEF\n00000001\n").expect("a temporary file");
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(compare(&lines("deadbeef\n00000001"), &file), Ok(()));
        assert!(compare(&lines("deadbeef\n00000002"), &file).is_err());
        assert!(compare(&lines("deadbeef"), &file).is_err());
        std::fs::remove_file(&file).expect("it was just written");
    }
}
