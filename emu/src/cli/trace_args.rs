//! The part of the command line that is about watching.

use std::path::PathBuf;

use clap::Args;

use crate::check::Checks;
use crate::trace::filter::Filter;
use crate::trace::kinds::Kinds;
use crate::trace::tlb_model::TlbConfig;

/// What is watched, and where it goes.
#[derive(Args, Clone, Debug, Default)]
pub struct TraceArgs {
    /// Log page faults to standard error or to -o FILE, and sum up at the end. KINDS, separated
    /// by commas: faults, tlb, frames, proc, sys, traps, insn.
    #[arg(long, value_name = "KINDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "")]
    pub trace: Option<Traced>,

    /// Where it goes.
    #[command(flatten)]
    pub show: OutputArgs,

    /// A folder of user programs with symbols, for the names of functions and lines. Those in
    /// a `user` folder at the kernel's and in the disk image are found without.
    #[arg(long, value_name = "DIR")]
    pub symbols: Vec<PathBuf>,

    /// Model a TLB: ENTRIESxWAYS[,fifo|random|lru][,asid=on|off], such as 64x4. Entries that are
    /// used although the table has changed are reported, as by --check=tlb. lru is slow.
    #[arg(long, value_name = "SPEC")]
    pub tlb: Option<TlbConfig>,

    /// Check the kernel as it runs: frames, tlb, cow, leak. With stop, the machine stops where
    /// one of them finds something: in the monitor or in gdb's hands, or else it ends.
    #[arg(long, value_name = "LIST")]
    pub check: Option<Checks>,
}

impl TraceArgs {
    /// Whether anything is to be watched.
    pub fn any(&self) -> bool {
        self.trace.is_some()
            || !self.show.output.is_empty()
            || self.show.summary
            || self.tlb.is_some()
            || self.check.is_some()
    }
}

/// What is shown of a trace, and where: the same for a run and for a saved one.
#[derive(Args, Clone, Debug, Default)]
pub struct OutputArgs {
    /// Write the trace to a file; the ending says what: .txt, .jsonl, .perfetto.json
    /// (ui.perfetto.dev), .html (a report). More than one are allowed.
    #[arg(short, long, value_name = "FILE")]
    pub output: Vec<PathBuf>,

    /// Trace only what all words of EXPR hold for: pid=N, name=TEXT, hart=N, va=HEX[-HEX],
    /// fn=TEXT, load, store, cow, killed, … `!` before a word: not; `,` in it: or.
    #[arg(short = 'e', long, value_name = "EXPR", default_value = "", hide_default_value = true)]
    pub filter: Filter,

    /// Only the summary at the end, no lines.
    #[arg(short = 'c', long)]
    pub summary: bool,
}

/// `--trace` without or with a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced(pub Option<Kinds>);

impl std::str::FromStr for Traced {
    type Err = String;

    fn from_str(list: &str) -> Result<Traced, String> {
        if list.is_empty() { Ok(Traced(None)) } else { list.parse().map(Some).map(Traced) }
    }
}
