//! Boots the in-tree guest: on this machine, or on QEMU.

use std::path::PathBuf;
use std::process::Command;

use crate::{Result, cmd, guest, root};

/// Builds the emulator with optimisation and returns its path.
pub fn build_emu() -> Result<PathBuf> {
    cmd::run(cmd::cargo().args(["build", "--release", "--quiet", "--package", "emu"]))?;
    Ok(emu())
}

/// Where the emulator is when it is built.
pub fn emu() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("release/emu")
}

/// Builds everything and becomes the emulator, so that its exit status is ours.
pub fn boot(fresh: bool, options: &[String]) -> Result<()> {
    let guest = guest::build(false, fresh)?;
    let mut emu = Command::new(build_emu()?);
    emu.arg(&guest.kernel).args(options);
    become_program(&mut emu)
}

/// Boots the guest on QEMU's `virt` board.
pub fn qemu(smp: usize, append: &str) -> Result<()> {
    if cmd::which("qemu-system-riscv64").is_none() {
        return Err("qemu-system-riscv64 is not installed (Debian: qemu-system-misc)".to_owned());
    }
    let guest = guest::build(false, false)?;
    become_program(&mut qemu_command(&guest, smp, append))
}

/// QEMU's command line for the in-tree guest; the image is not written to.
pub fn qemu_command(guest: &guest::Guest, smp: usize, append: &str) -> Command {
    let mut qemu = Command::new("qemu-system-riscv64");
    qemu.args(["-machine", "virt", "-bios", "none", "-m", "128M", "-nographic", "-snapshot"])
        .args(["-smp", &smp.to_string()])
        .arg("-kernel")
        .arg(&guest.kernel)
        .args(["-global", "virtio-mmio.force-legacy=false"])
        .args(["-drive", &format!("file={},if=none,format=raw,id=x0", guest.image.display())])
        .args(["-device", "virtio-blk-device,drive=x0,bus=virtio-mmio-bus.0"]);
    if !append.is_empty() {
        qemu.args(["-append", append]);
    }
    qemu
}

#[cfg(unix)]
fn become_program(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    Err(format!("cannot run {:?}: {error}", command.get_program()))
}

#[cfg(not(unix))]
fn become_program(command: &mut Command) -> Result<()> {
    cmd::run(command)
}
