//! Every test of the project, in the order in which failures are cheapest to find.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::grade::{self, Options};
use crate::{FUZZ, Result, boot, cmd, guest};

/// Tests that compare with GNU objdump, which not every machine has.
const WITH_OBJDUMP: &str = "agree_with_objdump";

/// Runs everything; `quick` leaves out what takes minutes. What cannot run is said at the end.
pub fn test(quick: bool) -> Result<()> {
    step("formatting", || cmd::run(cmd::cargo().args(["fmt", "--all", "--check"])))?;
    step("lints", || {
        let mut clippy = cmd::cargo();
        clippy.args([
            "clippy",
            "--quiet",
            "--workspace",
            "--exclude",
            "guest-user",
            "--all-targets",
        ]);
        cmd::run(clippy.args(["--", "-D", "warnings"]))
    })?;
    // Tests of the workspace run these files.
    step("guest build", || {
        guest::build(true, true)?;
        guest::build(false, false).map(|_| ())
    })?;
    step("emulator build", || boot::build_emu().map(|_| ()))?;
    let mut left_out = Vec::new();
    step("unit and integration tests", || {
        let mut tests = cmd::cargo();
        tests.args(["test", "--workspace", "--exclude", "guest-user", "--quiet"]);
        // What a plain `cargo test` ignores needs what was built above.
        tests.args(["--", "--include-ignored"]);
        let objdumps = ["riscv64-unknown-elf-objdump", "riscv64-linux-gnu-objdump"];
        if !objdumps.iter().any(|name| cmd::which(name).is_some()) {
            tests.args(["--skip", WITH_OBJDUMP]);
            left_out.push("isa against objdump: no RISC-V binutils are installed");
        }
        cmd::run(&mut tests)
    })?;
    step("guest tests", || grade::grade(&Options::everything(false)))?;
    if quick {
        left_out.push("guest tests on QEMU: --quick");
    } else if cmd::which("qemu-system-riscv64").is_none() {
        left_out.push("guest tests on QEMU: qemu-system-riscv64 is not installed");
    } else {
        step("streams and guest tests on QEMU", on_qemu)?;
    }
    for reason in left_out {
        eprintln!("xtask: NOT RUN: {reason}");
    }
    Ok(())
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("xtask: {name} ...");
    let start = Instant::now();
    work().map_err(|error| format!("{name}: {error}"))?;
    eprintln!("xtask: {name}: done in {} s", start.elapsed().as_secs());
    Ok(())
}

/// The same kernel and image must pass on QEMU, with as many page faults.
fn on_qemu() -> Result<()> {
    cmd::run(cmd::cargo().args(FUZZ).args(["--qemu", "--runs", "500"]))?;
    let guest = guest::build(false, false)?;
    let tests = "usertests -q";
    for harts in [1, 3] {
        let append = format!("run=\"{tests}\"");
        let mut qemu = Command::new("timeout");
        let command = boot::qemu_command(&guest, harts, &append);
        qemu.arg("600").arg(command.get_program()).args(command.get_args());
        let output = qemu.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || !text.contains("ALL TESTS PASSED") {
            return Err(format!("{tests} with {harts} harts: {}\n{text}", output.status));
        }
        println!("test {tests} on QEMU with {harts} harts: passed");
    }
    ["cat README | wc", "mmaptest", "lazytests"].iter().try_for_each(|line| faults(&guest, line))
}

/// A trace must have a record for every page fault that QEMU takes when it runs the same.
fn faults(guest: &guest::Guest, line: &str) -> Result<()> {
    let file = |ending: &str| {
        let name = format!("xtask-faults-{}.{ending}", std::process::id());
        std::env::temp_dir().join(name)
    };
    let (log, trace) = (file("log"), file("jsonl"));
    let append = format!("run=\"{line}\"");
    let mut qemu = boot::qemu_command(guest, 1, &append);
    qemu.args(["-d", "int", "-D"]).arg(&log).stdin(Stdio::null()).stdout(Stdio::null());
    cmd::run(&mut qemu)?;
    let mut emu = Command::new(boot::emu());
    emu.arg(&guest.kernel).args(["-snapshot", "--trace=faults", "-append", &append, "-o"]);
    cmd::run(emu.arg(&trace).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
    let count = |path: &Path, is_fault: fn(&str) -> bool| {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        // What is left behind in the folder for temporary files does no harm.
        let _ = std::fs::remove_file(path);
        Ok::<_, String>(text.lines().filter(|line| is_fault(line)).count())
    };
    let theirs = count(&log, |line| line.contains("page_fault"))?;
    // Those of system calls are no traps.
    let is_trap =
        |line: &str| line.starts_with("{\"record\":\"fault\"") && !line.contains("\"via\":");
    let ours = count(&trace, is_trap)?;
    if ours != theirs || ours == 0 {
        return Err(format!("{line}: {ours} page faults in the trace, {theirs} on QEMU"));
    }
    println!("test {ours} page faults of {line} here and on QEMU: passed");
    Ok(())
}
