//! Finds a Rust compiler that can build for `riscv64gc-unknown-none-elf`, installing one when
//! it can.
//!
//! In this order: the toolchain at hand has the target; `rustup target add` brings it; Debian's
//! `rustc-web` and `rust-web-src` build the standard library's core from source.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, cmd};

/// The guest's target triple.
pub const TARGET: &str = "riscv64gc-unknown-none-elf";

/// How the guest gets built.
pub enum Toolchain {
    /// The toolchain at hand has the target installed.
    Target,
    /// A compiler whose library sources build with `-Zbuild-std`.
    BuildStd { rustc: PathBuf, linker: PathBuf },
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Toolchain::Target => write!(f, "the installed {TARGET} target builds the guest"),
            Toolchain::BuildStd { rustc, linker } => write!(
                f,
                "{} builds the guest (core from source), {} links it",
                rustc.display(),
                linker.display()
            ),
        }
    }
}

impl Toolchain {
    /// A `cargo build` that is set up for the guest.
    pub fn cargo_build(&self) -> Command {
        let mut command = cmd::cargo();
        // Flags of the host's build (coverage, target-cpu=native) have no place in the guest.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        command.args(["build", "--target", TARGET]);
        if let Toolchain::BuildStd { rustc, linker } = self {
            command
                .env("RUSTC", rustc)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_RISCV64GC_UNKNOWN_NONE_ELF_LINKER", linker)
                .arg("-Zbuild-std=core,alloc,compiler_builtins")
                .arg("-Zbuild-std-features=compiler-builtins-mem");
        }
        command
    }
}

/// Finds or installs a toolchain for the guest.
pub fn find() -> Result<Toolchain> {
    if has_target() {
        return Ok(Toolchain::Target);
    }
    if let Some(found) = debian() {
        return Ok(found);
    }
    if cmd::which("rustup").is_some() {
        eprintln!("xtask: installing the {TARGET} target with rustup");
        let added = Command::new("rustup").args(["target", "add", TARGET]).status();
        if added.is_ok_and(|status| status.success()) && has_target() {
            return Ok(Toolchain::Target);
        }
    }
    if install_debian()
        && let Some(found) = debian()
    {
        return Ok(found);
    }
    Err(format!(
        "no compiler for {TARGET}. With network: `rustup target add {TARGET}`;\n\
         on Debian: `apt-get install rustc-web rust-web-src` as root. Then run this again."
    ))
}

fn has_target() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libdir = cmd::output(
        Command::new(rustc)
            .args(["--print", "target-libdir", "--target", TARGET])
            .current_dir(crate::root()),
    );
    libdir.and_then(|dir| std::fs::read_dir(dir).ok()).is_some_and(|files| {
        files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

/// Debian's compiler with its library sources, and a linker for it.
fn debian() -> Option<Toolchain> {
    let rustc = PathBuf::from("/usr/bin/rustc");
    let sysroot = cmd::output(Command::new(&rustc).args(["--print", "sysroot"]))?;
    let core = Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/Cargo.toml");
    let linker = linker()?;
    core.is_file().then_some(Toolchain::BuildStd { rustc, linker })
}

/// `rust-lld` of the toolchain at hand, else an LLVM linker on the PATH.
fn linker() -> Option<PathBuf> {
    let sysroot =
        cmd::output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(crate::root()));
    let host = cmd::output(Command::new("rustc").args(["--print", "host-tuple"]));
    let bundled = sysroot
        .zip(host)
        .map(|(root, host)| Path::new(&root).join("lib/rustlib").join(host).join("bin/rust-lld"));
    bundled.filter(|file| file.is_file()).or_else(|| cmd::which("ld.lld"))
}

/// Installs Debian's compiler, when this is Debian and we may.
fn install_debian() -> bool {
    let root = cmd::output(Command::new("id").arg("-u")).is_some_and(|id| id == "0");
    if !root || cmd::which("apt-get").is_none() {
        return false;
    }
    eprintln!("xtask: installing Debian's rustc-web and rust-web-src (once, about 2 minutes)");
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(words).stdout(std::io::stderr());
        cmd::run(&mut command).is_ok()
    };
    apt(&["-q", "update"]) && apt(&["-q", "install", "-y", "rustc-web", "rust-web-src"])
}
