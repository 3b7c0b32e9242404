//! `emu report`: every output from a saved trace, and two runs side by side.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use clap::Parser;

use super::failure::Failure;
use super::trace_args::OutputArgs;
use super::watch::output_failure;
use crate::trace::html::{self, Html};
use crate::trace::kinds::Kinds;
use crate::trace::outputs::{Format, Outputs};
use crate::trace::record::Record;
use crate::trace::sink::{Sink, read_jsonl};
use crate::trace::summary::Summary;

/// Makes any output from a saved trace; of two traces, compares the summaries.
#[derive(Parser, Clone, Debug)]
#[command(bin_name = "emu report", override_usage = "emu report A.jsonl [B.jsonl] [-o FILE]")]
pub struct ReportArgs {
    /// The trace, and another one to compare it with.
    #[arg(value_name = "TRACE", required = true, num_args = 1..=2)]
    pub traces: Vec<PathBuf>,

    /// Without a file, text goes to standard output.
    #[command(flatten)]
    pub show: OutputArgs,
}

/// Reads the traces and writes what was asked for.
pub fn run(args: &ReportArgs) -> Result<u8, Failure> {
    let [trace] = args.traces.as_slice() else { return compare(args) };
    let mut outputs = Outputs::new(args.show.filter.clone(), !args.show.summary);
    for path in &args.show.output {
        if same_file(path, trace) {
            let path = path.display();
            return Err(Failure::Usage(format!("{path} is the trace itself")));
        }
        outputs.add_file(path, Kinds::ALL).map_err(output_failure)?;
    }
    if args.show.output.is_empty() {
        outputs.add_stdout(Kinds::ALL);
    }
    read(trace, |record| {
        outputs.record(&record);
        if outputs.is_unread() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    })
    .or_else(|failure| if outputs.is_unread() { Ok(()) } else { Err(failure) })?;
    if outputs.finish() { Ok(0) } else { Err(Failure::OutputClosed) }
}

/// Two runs: the same tables, column beside column.
fn compare(args: &ReportArgs) -> Result<u8, Failure> {
    let summaries = args.traces.iter().map(|trace| {
        let mut summary = Summary::default();
        read(trace, |record| {
            if args.show.filter.passes(&record) {
                summary.add(&record);
            }
            Ok(())
        })?;
        Ok(summary)
    });
    let summaries = summaries.collect::<Result<Vec<_>, Failure>>()?;
    let names: Vec<_> = args.traces.iter().map(|trace| trace.display().to_string()).collect();
    let text = Summary::compare(&summaries[0], &summaries[1], [&names[0], &names[1]]);
    if args.show.output.is_empty() {
        return print(&text);
    }
    for path in &args.show.output {
        let text = match Format::of(path).map_err(output_failure)? {
            Format::Text => text.clone(),
            Format::Html => both_reports(args, &text)?,
            _ => {
                return Err(Failure::Usage("two runs compare as .txt or .html".to_owned()));
            }
        };
        std::fs::write(path, text).map_err(|error| Failure::file("cannot write", path, error))?;
    }
    Ok(0)
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Hands the records of a saved trace to `each`.
fn read(path: &Path, each: impl FnMut(Record) -> io::Result<()>) -> Result<(), Failure> {
    let file = File::open(path).map_err(|error| Failure::file("cannot read", path, error))?;
    read_jsonl(BufReader::new(file), each)
        .map_err(|error| Failure::Usage(format!("{} is no trace: {error}", path.display())))
}

/// Both runs' figures beside each other.
fn both_reports(args: &ReportArgs, comparison: &str) -> Result<String, Failure> {
    let gathered =
        args.traces.iter().map(|trace| {
            let mut html = Html::new(io::sink());
            read(trace, |record| {
                if args.show.filter.passes(&record) { html.record(&record) } else { Ok(()) }
            })?;
            Ok(html.into_data())
        });
    let gathered = gathered.collect::<Result<Vec<_>, Failure>>()?;
    let page = html::page(&gathered.iter().collect::<Vec<_>>(), comparison);
    page.map_err(|error| Failure::host("cannot write the report", error))
}

/// Prints to standard output.
fn print(text: &str) -> Result<u8, Failure> {
    let written = io::stdout().write_all(text.as_bytes());
    match written {
        Ok(()) => Ok(0),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        Err(error) => Err(Failure::host("cannot write", error)),
    }
}
