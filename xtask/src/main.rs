//! `cargo xtask`: everything that takes more than one cargo command, each of which does all it
//! needs on a fresh machine.

mod bench;
mod boot;
mod cmd;
mod conformance;
mod grade;
mod guest;
mod test;
mod toolchain;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a task fails with: one line for the user.
pub type Result<T> = std::result::Result<T, String>;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, tests and benches of the project", version)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build kernel, user programs and file system image, then boot them.
    Boot {
        /// Build the image anew, dropping what the guest wrote to it.
        #[arg(long)]
        fresh: bool,
        /// Options of the emulator, e.g. `--smp 3` (see `cargo run -- --help`).
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        emu: Vec<String>,
    },
    /// Run every test: formatting, lints, unit tests, the guest's own tests.
    Test {
        /// Leave out the slow guest tests.
        #[arg(long)]
        quick: bool,
    },
    /// Build kernel, user programs and file system image into target/guest.
    Guest {
        /// Build the kernel with the labs' classic mistakes as switches (`mutant=...`).
        #[arg(long)]
        mutants: bool,
        /// Build the image anew, dropping what the guest wrote to it.
        #[arg(long)]
        fresh: bool,
    },
    /// Boot the in-tree kernel on QEMU, when that is installed.
    Qemu {
        /// Number of harts.
        #[arg(long, default_value_t = 3)]
        smp: usize,
        /// Kernel command line.
        #[arg(long, default_value = "")]
        append: String,
    },
    /// Run test cases `N.run` / `N.out` / `N.rc` on the guest and compare.
    Grade(grade::Options),
    /// Run a folder of riscv-tests or riscv-arch-test binaries on the emulator.
    Conformance(conformance::Options),
    /// Time guest programs here and on QEMU, and print rates and ratios.
    Bench(bench::Options),
    /// Compare the engines on random streams of instructions (see `cargo xtask fuzz -- --help`).
    Fuzz {
        /// Options: `--seed N`, `--runs N` or `--seconds N`, `--qemu`, ...
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Install what the guest's build needs, and say what was found.
    Setup,
}

/// What `cargo` needs to run the comparison of random streams.
pub const FUZZ: [&str; 5] = ["run", "--quiet", "--package", "fuzz", "--"];

fn main() -> ExitCode {
    let outcome = match Args::parse().task {
        Task::Boot { fresh, emu } => boot::boot(fresh, &emu),
        Task::Test { quick } => test::test(quick),
        Task::Guest { mutants, fresh } => guest::build(mutants, fresh).map(|_| ()),
        Task::Qemu { smp, append } => boot::qemu(smp, &append),
        Task::Grade(options) => grade::grade(&options),
        Task::Conformance(options) => conformance::conformance(&options),
        Task::Bench(options) => bench::bench(&options),
        Task::Fuzz { options } => cmd::run(cmd::cargo().args(FUZZ).args(options)),
        Task::Setup => toolchain::find().map(|found| println!("xtask: {found}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The project's root folder.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, PathBuf::from)
}
