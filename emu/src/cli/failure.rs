//! Why a run ends otherwise than by the guest's word: the text for the user and the status for
//! the shell.

use std::io;
use std::path::Path;

use thiserror::Error;

use crate::dev::virtio::disk::DiskError;
use crate::loader::LoadError;

/// Highest status a process can end with.
const MAX_STATUS: u32 = 255;

/// What went wrong, and what to do about it. `--help` lists the statuses.
#[derive(Debug, Error)]
pub enum Failure {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// A file cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// There is no in-tree kernel.
    #[error(
        "no kernel given, and the in-tree one is not built; `cargo xtask boot` builds and boots \
         it, or give a kernel's file name"
    )]
    NoKernel,
    /// A disk image cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The host cannot do it.
    #[error("{what}: {error}")]
    Host {
        /// What was tried.
        what: String,
        /// What the host said.
        error: io::Error,
    },
    /// Output cannot be written.
    #[error("cannot write the guest's output: {0}")]
    Output(String),
    /// Nobody reads the output any more; not worth a word.
    #[error("")]
    OutputClosed,
    /// The guest cannot go on.
    #[error(
        "the guest is stuck: every hart waits for an interrupt that cannot come (pc {pc:#x}); \
         did the kernel enable its timer and devices?"
    )]
    Stuck {
        /// Where the first hart waits.
        pc: u64,
    },
    /// The guest does nothing but trap.
    #[error(
        "the guest is stuck: the trap handler of hart {hart} at {pc:#x} traps itself ({why}), \
         for ever; is the address in mtvec or stvec right, and the handler mapped?"
    )]
    Trapped {
        /// Which hart.
        hart: usize,
        /// Where the handler is.
        pc: u64,
        /// Why it traps.
        why: &'static str,
    },
    /// The limit was reached.
    #[error("stopped after {0} instructions, as --max-insns said")]
    MaxInsns(u64),
    /// A checker stopped the run there.
    #[error("the checkers found something, and --check says stop: hart {hart} is at pc {pc:#x}")]
    Found {
        /// The hart.
        hart: usize,
        /// Its next instruction.
        pc: u64,
    },
    /// A checker found something at the run's end.
    #[error("the checkers found something at the end, and --check says stop")]
    FoundAtEnd,
    /// A signal ended the run.
    #[error("")]
    Signal(i32),
}

impl Failure {
    /// A host failure.
    pub fn host(what: impl Into<String>, error: io::Error) -> Failure {
        Failure::Host { what: what.into(), error }
    }

    /// A host failure with a file.
    pub fn file(what: &str, path: &Path, error: io::Error) -> Failure {
        Failure::host(format!("{what} {}", path.display()), error)
    }

    /// The process's exit status.
    pub fn status(&self) -> u8 {
        match self {
            Failure::Usage(_) => 64,
            Failure::Load(_) | Failure::NoKernel => 65,
            Failure::Disk(_) => 66,
            Failure::Host { .. } => 71,
            Failure::Output(_) | Failure::OutputClosed => 74,
            Failure::Stuck { .. } => 75,
            Failure::MaxInsns(_) => 76,
            Failure::Found { .. } | Failure::FoundAtEnd => 77,
            Failure::Trapped { .. } => 78,
            Failure::Signal(signal) => 128 + *signal as u8,
        }
    }
}

/// The status for a guest's code: the code, as far as it fits.
pub fn guest_status(code: u32) -> u8 {
    code.min(MAX_STATUS) as u8
}
