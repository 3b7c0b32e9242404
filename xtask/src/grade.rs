//! Runs test cases on the guest: each boots the machine, runs one guest command and compares
//! output and exit status.
//!
//! A case is a set of files in a folder: `N.run` (the guest's command line), `N.out` (its
//! expected output; a line `...` stands for any lines), `N.rc` (its exit status, 0 when absent),
//! `N.desc` (what it checks) and `N.flags` (a line `modes: NAME=VALUE ...` for boot flags that
//! are pinned, a line `emu: OPTION ...` for options of the emulator, a line `sweep: LAST` for a
//! command that is run once for every n up to LAST while the n-th allocation of a frame fails:
//! however it ends, the kernel must not panic and no page may be lost).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use clap::Args;

use crate::{Result, boot, guest, root};

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
    /// Skip the build.
    #[arg(short)]
    skip: bool,
    /// Run every case under all of {lazy, eager} x {cow, copy} x {1, 3 harts}.
    #[arg(long)]
    matrix: bool,
}

impl Options {
    /// Every case of the in-tree folder, not stopping at failures.
    pub fn everything(matrix: bool) -> Options {
        Options { verbose: false, test: None, continue_: true, dir: None, skip: true, matrix }
    }
}

/// A guest that runs for longer than this is stuck: two minutes of its virtual time.
const MAX_INSNS: &str = "120000000000";
/// Exit statuses that mean a page lost (`leakcheck`), a panic, and a guest that was stuck.
const FATAL: [i32; 3] = [99, 101, 76];
/// Every so many allocations one fails, unless the whole matrix is asked for.
const SWEEP_STEP: usize = 13;

struct Case {
    name: String,
    command: String,
    expected: Option<String>,
    status: i32,
    pinned: Vec<String>,
    emu: Vec<String>,
    /// The last allocation that fails in a sweep, and from one to the next.
    sweep: Option<(usize, usize)>,
}

/// One boot of one case.
struct Run<'a> {
    case: &'a Case,
    harts: usize,
    flags: Vec<String>,
}

/// Runs the cases; an error says how many failed.
pub fn grade(options: &Options) -> Result<()> {
    let guest = guest::build(false, false)?;
    let emu = boot::build_emu()?;
    let dir = options.dir.clone().unwrap_or_else(|| root().join("guest-user/tests"));
    let mut cases = cases(&dir, options.test.as_deref())?;
    if options.matrix {
        cases.iter_mut().filter_map(|case| case.sweep.as_mut()).for_each(|(_, step)| *step = 1);
    }
    let runs: Vec<Run> = cases.iter().flat_map(|case| runs_of(case, options.matrix)).collect();
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
                    let outcome = run.check(&emu, &guest, options.verbose);
                    match &outcome {
                        Ok(()) => println!("test {}: passed", run.title()),
                        Err(why) => {
                            println!("test {}: FAILED\n{why}", run.title());
                            failed.fetch_add(1, Ordering::Relaxed);
                            stop.store(!options.continue_, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!("{} guest tests, {failed} failed", runs.len());
    if failed == 0 { Ok(()) } else { Err(format!("{failed} guest tests failed")) }
}

fn cases(dir: &Path, only: Option<&str>) -> Result<Vec<Case>> {
    let entries = std::fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "run"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| only.is_none_or(|only| only == name))
        .collect();
    names.sort_by_key(|name| (name.parse::<u64>().unwrap_or(u64::MAX), name.clone()));
    if names.is_empty() {
        return Err(format!(
            "no test case{} in {}",
            only.map_or(String::new(), |n| format!(" {n}")),
            dir.display()
        ));
    }
    names.iter().map(|name| Case::read(dir, name)).collect()
}

impl Case {
    fn read(dir: &Path, name: &str) -> Result<Case> {
        let file = |ext: &str| std::fs::read_to_string(dir.join(format!("{name}.{ext}")));
        let command = file("run").map_err(|error| format!("{name}.run: {error}"))?;
        let status = match file("rc") {
            Ok(text) => text.trim().parse().map_err(|_| format!("{name}.rc: not a number"))?,
            Err(_) => 0,
        };
        let flags = file("flags").unwrap_or_default();
        let words = |key: &str| {
            let lines = flags.lines().filter_map(|line| line.strip_prefix(key));
            lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
        };
        Ok(Case {
            name: name.to_owned(),
            command: command.trim().to_owned(),
            expected: file("out").ok(),
            status,
            pinned: words("modes:"),
            sweep: words("sweep:").first().and_then(|n| Some((n.parse().ok()?, SWEEP_STEP))),
            emu: words("emu:"),
        })
    }
}

/// The boots of one case: one, or the whole matrix but for what the case pins.
fn runs_of(case: &Case, matrix: bool) -> Vec<Run<'_>> {
    let pinned = |key: &str| case.pinned.iter().find(|flag| flag.starts_with(key)).cloned();
    let choices = |key: &str, values: &[&str]| match (pinned(key), matrix) {
        (Some(flag), _) => vec![flag],
        (None, true) => values.iter().map(|value| format!("{key}{value}")).collect(),
        (None, false) => vec![format!("{key}{}", values[0])],
    };
    let mut runs = Vec::new();
    for sbrk in choices("sbrk=", &["lazy", "eager"]) {
        for fork in choices("fork=", &["cow", "copy"]) {
            for harts in choices("harts=", &["1", "3"]) {
                let harts = harts.trim_start_matches("harts=").parse().unwrap_or(1);
                let known = ["sbrk=", "fork=", "harts="];
                let others = case.pinned.iter().filter(|f| !known.iter().any(|k| f.starts_with(k)));
                let flags = [&sbrk, &fork].into_iter().chain(others).cloned().collect();
                runs.push(Run { case, harts, flags });
            }
        }
    }
    runs
}

impl Run<'_> {
    fn title(&self) -> String {
        let Case { name, command, .. } = self.case;
        format!("{name} ({command}; {}, {} harts)", self.flags.join(" "), self.harts)
    }

    fn check(&self, emu: &Path, guest: &guest::Guest, verbose: bool) -> Result<()> {
        let Some((last, step)) = self.case.sweep else {
            let (status, text, errors) = self.boot(emu, guest, "", verbose)?;
            return self.judge(status, &text, &errors);
        };
        for n in (1..=last).step_by(step) {
            let (status, text, errors) =
                self.boot(emu, guest, &format!("fail_alloc={n}"), verbose)?;
            if FATAL.contains(&status) {
                return Err(format!("allocation {n} failed: status {status}\n{text}{errors}"));
            }
        }
        Ok(())
    }

    /// Runs the command; returns its exit status, its output, and the emulator's messages.
    fn boot(
        &self,
        emu: &Path,
        guest: &guest::Guest,
        flag: &str,
        verbose: bool,
    ) -> Result<(i32, String, String)> {
        let flags = self.flags.join(" ");
        let append = format!("{flags} {flag} run=\"{}\"", self.case.command);
        let output = Command::new(emu)
            .arg(&guest.kernel)
            .args(["--smp", &self.harts.to_string(), "--max-insns", MAX_INSNS, "-snapshot"])
            .args(["-append", &append])
            .args(&self.case.emu)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run {}: {error}", emu.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        let text = without_boot_lines(&text);
        if verbose {
            println!("{text}");
        }
        let status = output.status.code().unwrap_or(-1);
        Ok((status, text, String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    fn judge(&self, status: i32, text: &str, errors: &str) -> Result<()> {
        let right = self.case.status;
        if status != right {
            return Err(format!("exit status {status}, expected {right}\n{text}{errors}"));
        }
        match &self.case.expected {
            Some(expected) if !matches(expected, text) => {
                Err(format!("--- expected\n{expected}--- got\n{text}---"))
            }
            _ => Ok(()),
        }
    }
}

/// What the command printed: everything behind the kernel's own first lines.
fn without_boot_lines(text: &str) -> String {
    let boot = |line: &&str| {
        line.is_empty()
            || *line == "xv6 kernel is booting"
            || (line.starts_with("hart ") && line.ends_with(" starting"))
    };
    text.lines().skip_while(boot).map(|line| format!("{line}\n")).collect()
}

/// Whether `text` is `pattern`, in which a line `...` stands for any number of lines.
fn matches(pattern: &str, text: &str) -> bool {
    fn rest(pattern: &[&str], text: &[&str]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((&"...", tail)) => (0..=text.len()).any(|skip| rest(tail, &text[skip..])),
            Some((line, tail)) => text.first() == Some(line) && rest(tail, &text[1..]),
        }
    }
    rest(&pattern.lines().collect::<Vec<_>>(), &text.lines().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_stand_for_any_lines() {
        assert!(matches("a\n...\nd\n", "a\nb\nc\nd\n"));
        assert!(matches("a\n...\nd\n", "a\nd\n"));
        assert!(!matches("a\n...\nd\n", "a\nb\n"));
        assert!(!matches("a\n", "a\nb\n"));
    }

    #[test]
    fn boot_lines_are_the_kernels() {
        let text = "\nxv6 kernel is booting\n\nhart 1 starting\nx\n\nhart 2 starting\n";
        assert_eq!(without_boot_lines(text), "x\n\nhart 2 starting\n");
    }
}
