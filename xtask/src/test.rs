//! Every test of the project, in the order in which failures are cheapest to find.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::grade::{self, Options};
use crate::{Result, boot, cmd, guest};

/// Runs everything; `quick` leaves out what takes minutes.
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
    step("guest build", || guest::build(false, true).map(|_| ()))?;
    step("emulator build", || boot::build_emu().map(|_| ()))?;
    step("unit and integration tests", || {
        let mut tests = cmd::cargo();
        cmd::run(tests.args(["test", "--workspace", "--exclude", "guest-user", "--quiet"]))
    })?;
    step("guest tests", || grade::grade(&Options::everything(false)))?;
    if quick {
        return Ok(());
    }
    step("guest tests on QEMU", on_qemu)
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("xtask: {name} ...");
    let start = Instant::now();
    work().map_err(|error| format!("{name}: {error}"))?;
    eprintln!("xtask: {name}: done in {} s", start.elapsed().as_secs());
    Ok(())
}

/// The same kernel and image must pass on QEMU, when that is installed.
fn on_qemu() -> Result<()> {
    if cmd::which("qemu-system-riscv64").is_none() {
        println!("SKIPPED: guest tests on QEMU: qemu-system-riscv64 is not installed");
        return Ok(());
    }
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
