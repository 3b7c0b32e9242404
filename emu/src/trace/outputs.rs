//! Opens outputs: the file's ending says which kind.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::file::LineFile;
use super::filter::Filter;
use super::html::Html;
use super::json_lines::JsonLines;
use super::kinds::Kinds;
use super::perfetto::Perfetto;
use super::record::Record;
use super::sink::Sink;
use super::text::Text;

/// Why an output failed.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The ending is none that we know.
    #[error("{0}: the ending says what to write: .txt, .jsonl, .perfetto.json or .html")]
    Ending(PathBuf),
    /// The file cannot be made.
    #[error("{path}: {error}")]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file could be written only in part.
    #[error("{path}: {error}; the trace is whole up to there, and the run goes on without it")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// What an output holds, by the ending of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Fault lines and summary, or only the summary.
    Text,
    /// JSON Lines.
    JsonLines,
    /// Chrome's trace format.
    Perfetto,
    /// The report.
    Html,
}

impl Format {
    /// The format that a file's name asks for.
    pub fn of(path: &Path) -> Result<Format, OutputError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let known = [
            (".txt", Format::Text),
            (".log", Format::Text),
            (".jsonl", Format::JsonLines),
            (".perfetto.json", Format::Perfetto),
            (".html", Format::Html),
        ];
        let format = known.iter().find(|(ending, _)| name.ends_with(ending));
        format.map(|(_, format)| *format).ok_or_else(|| OutputError::Ending(path.to_owned()))
    }

    /// What an output shows when nobody says it.
    pub fn usual_kinds(self) -> Kinds {
        match self {
            Format::Text => Kinds { faults: true, ..Kinds::default() },
            Format::JsonLines | Format::Perfetto | Format::Html => {
                Kinds { faults: true, frames: true, proc: true, sys: true, ..Kinds::default() }
            }
        }
    }
}

/// How text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// With the lines of the trace above the summary.
    pub lines: bool,
    /// With the faults in the summary.
    pub faults: bool,
}

/// An open output.
struct Output {
    path: PathBuf,
    kinds: Kinds,
    sink: Box<dyn Sink + Send>,
    /// A person may be looking.
    live: bool,
}

/// All outputs of a run, behind one filter. One that fails is named at once, and the others go on.
#[derive(Default)]
pub struct Outputs {
    outputs: Vec<Output>,
    filter: Filter,
    /// Text is more than the summary.
    lines: bool,
    failed: bool,
    unread: bool,
}

impl Outputs {
    /// No outputs yet; whether those in text will have the lines of the trace above the summary.
    pub fn new(filter: Filter, lines: bool) -> Outputs {
        Outputs { filter, lines, ..Outputs::default() }
    }

    fn look(&self, kinds: Kinds) -> Look {
        Look { lines: self.lines, faults: kinds.faults }
    }

    /// Adds a file; its ending says what it holds, `kinds` which records it gets.
    pub fn add_file(&mut self, path: &Path, kinds: Kinds) -> Result<(), OutputError> {
        let format = Format::of(path)?;
        let file = LineFile::create(path)
            .map_err(|error| OutputError::Create { path: path.to_owned(), error })?;
        let sink: Box<dyn Sink + Send> = match format {
            Format::Text => Box::new(Text::new(file, false, self.look(kinds))),
            Format::JsonLines => Box::new(JsonLines::new(file)),
            Format::Perfetto => Box::new(Perfetto::new(file)),
            Format::Html => Box::new(Html::new(file)),
        };
        self.outputs.push(Output { path: path.to_owned(), kinds, sink, live: false });
        Ok(())
    }

    /// Adds text on standard error, coloured on a terminal.
    pub fn add_stderr(&mut self, kinds: Kinds) {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let sink = Box::new(Text::new(BufWriter::new(io::stderr()), colour, self.look(kinds)));
        let path = PathBuf::from("standard error");
        self.outputs.push(Output { path, kinds, sink, live: true });
    }

    /// Adds text on standard output, coloured on a terminal.
    pub fn add_stdout(&mut self, kinds: Kinds) {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let sink = Box::new(Text::new(BufWriter::new(io::stdout()), colour, self.look(kinds)));
        let path = PathBuf::from("standard output");
        self.outputs.push(Output { path, kinds, sink, live: false });
    }

    /// The kinds that any output wants.
    pub fn kinds(&self) -> Kinds {
        self.outputs.iter().fold(Kinds::default(), |all, output| all | output.kinds)
    }

    /// Whether an output was a pipe that nobody reads any more.
    pub fn is_unread(&self) -> bool {
        self.unread
    }

    /// Hands a record to every output that wants its kind.
    pub fn record(&mut self, record: &Record) {
        match record {
            Record::Frames(run) if self.filter.tells_frames_apart() => {
                run.singly().for_each(|frame| self.passed_on(&Record::Frames(frame)));
            }
            _ => self.passed_on(record),
        }
    }

    fn passed_on(&mut self, record: &Record) {
        if self.filter.passes(record) {
            self.each(|output| {
                if output.kinds.include(record) { output.sink.record(record) } else { Ok(()) }
            });
        }
    }

    /// Writes what a person may be waiting for.
    pub fn flush(&mut self) {
        self.each(|output| if output.live { output.sink.flush() } else { Ok(()) });
    }

    /// Ends every output; returns whether all were written in full.
    pub fn finish(mut self) -> bool {
        self.each(|output| output.sink.finish());
        !self.failed
    }

    /// An output that fails is closed.
    fn each(&mut self, mut work: impl FnMut(&mut Output) -> io::Result<()>) {
        let (failed, unread) = (&mut self.failed, &mut self.unread);
        self.outputs.retain_mut(|output| match work(output) {
            Ok(()) => true,
            Err(error) => {
                *failed = true;
                if error.kind() == ErrorKind::BrokenPipe {
                    *unread = true;
                } else {
                    let path = output.path.clone();
                    // If standard error is what failed, there is nobody to tell.
                    let error = OutputError::Write { path, error };
                    let _ = writeln!(io::stderr(), "emu: {error}");
                }
                false
            }
        });
    }
}
