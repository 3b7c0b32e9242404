//! Test cases: what to run, and what must come of it.
//!
//! A case is a set of files: `N.run` (the guest's command line), `N.out` (its expected output, a
//! pattern of [`compare`](super::compare)), `N.rc` (its exit status, 0 when absent), `N.desc`
//! (what it checks) and `N.flags`: a line `modes: NAME=VALUE ...` for boot flags that are pinned,
//! a line `emu: OPTION ...` for options of the emulator, a line `sweep: LAST` for a command that
//! is run once for every n up to LAST while the n-th allocation of a frame fails. However it ends
//! then, the kernel must not panic and no page may be lost; with n = LAST nothing fails any more.

use std::path::Path;

use crate::Result;

/// One test case.
pub struct Case {
    /// What `-t` calls it.
    pub name: String,
    /// The guest's command line.
    pub command: String,
    /// The pattern for its output, if that matters.
    pub expected: Option<String>,
    /// Its exit status.
    pub status: i32,
    /// Boot flags, `harts=N` among them, that are not varied.
    pub pinned: Vec<String>,
    /// Options of the emulator.
    pub emu: Vec<String>,
    /// Patterns of lines that must be among the emulator's messages.
    pub messages: Vec<String>,
    /// The last allocation that fails in a sweep.
    pub sweep: Option<usize>,
    /// Whether it runs on the kernel that can make the labs' mistakes.
    pub mutant: bool,
}

/// Every case of a folder, in the order of their numbers.
pub fn read_all(dir: &Path) -> Result<Vec<Case>> {
    let entries = std::fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "run"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort_by_key(|name| (name.parse::<u64>().unwrap_or(u64::MAX), name.clone()));
    if names.is_empty() {
        return Err(format!("no test case in {}", dir.display()));
    }
    names.iter().map(|name| read(dir, name)).collect()
}

fn read(dir: &Path, name: &str) -> Result<Case> {
    let file = |ext: &str| std::fs::read_to_string(dir.join(format!("{name}.{ext}")));
    let command = file("run").map_err(|error| format!("{name}.run: {error}"))?;
    let number = |what: &str, text: &str| -> Result<i32> {
        text.trim().parse().map_err(|_| format!("{name}.{what}: not a number"))
    };
    let status = file("rc").map_or(Ok(0), |text| number("rc", &text))?;
    let flags = file("flags").unwrap_or_default();
    let words = |key: &str| {
        let lines = flags.lines().filter_map(|line| line.strip_prefix(key));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect::<Vec<_>>()
    };
    let sweep = words("sweep:").first().map(|last| number("flags", last)).transpose()?;
    Ok(Case {
        name: name.to_owned(),
        command: command.trim().to_owned(),
        expected: file("out").ok(),
        status,
        pinned: words("modes:"),
        emu: words("emu:"),
        messages: Vec::new(),
        sweep: sweep.map(|last| last as usize),
        mutant: false,
    })
}
