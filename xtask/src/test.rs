//! Every test of the project, in the order in which failures are cheapest to find.

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

/// The same kernel and image must pass on QEMU.
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
    Ok(())
}
