//! Opens outputs: the file's ending says which kind.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::filter::Filter;
use super::html::Html;
use super::perfetto::Perfetto;
use super::record::Record;
use super::sink::{JsonLines, Sink};
use super::summary::Summary;
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
    #[error("{path}: {error}; what was written before is complete and readable")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// An open output.
struct Output {
    path: PathBuf,
    sink: Box<dyn Sink>,
}

/// All outputs of a run, behind one filter. The first one that fails is reported once, and the
/// others go on.
#[derive(Default)]
pub struct Outputs {
    outputs: Vec<Output>,
    filter: Filter,
    failed: Option<OutputError>,
}

impl Outputs {
    /// No outputs yet.
    pub fn new(filter: Filter) -> Outputs {
        Outputs { filter, ..Outputs::default() }
    }

    /// Adds a file; its ending says what it holds.
    pub fn add_file(&mut self, path: &Path) -> Result<(), OutputError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let known = [".txt", ".log", ".jsonl", ".perfetto.json", ".html"];
        if !known.iter().any(|ending| name.ends_with(ending)) {
            return Err(OutputError::Ending(path.to_owned()));
        }
        let file = File::create(path)
            .map_err(|error| OutputError::Create { path: path.to_owned(), error })?;
        let out = BufWriter::new(file);
        let sink: Box<dyn Sink> = if name.ends_with(".jsonl") {
            Box::new(JsonLines::new(out))
        } else if name.ends_with(".perfetto.json") {
            Box::new(Perfetto::new(out))
        } else if name.ends_with(".html") {
            Box::new(Html::new(out))
        } else {
            Box::new(Text::new(out, false))
        };
        self.outputs.push(Output { path: path.to_owned(), sink });
        Ok(())
    }

    /// Adds text lines on standard error, coloured on a terminal.
    pub fn add_stderr(&mut self) {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let sink = Box::new(Text::new(BufWriter::new(io::stderr()), colour));
        self.outputs.push(Output { path: PathBuf::from("standard error"), sink });
    }

    /// Adds the summary tables, at the end of the run.
    pub fn add_summary(&mut self, out: impl Write + 'static) {
        let sink = Box::new(Summary::new(out));
        self.outputs.push(Output { path: PathBuf::from("summary"), sink });
    }

    /// Whether anybody listens.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Hands a record to every output.
    pub fn record(&mut self, record: &Record) {
        if self.filter.passes(record) {
            self.each(|sink| sink.record(record));
        }
    }

    /// Ends every output. An error is the first that any output had.
    pub fn finish(mut self) -> Result<(), OutputError> {
        self.each(|sink| sink.finish());
        self.failed.map_or(Ok(()), Err)
    }

    /// An output that fails is closed; its buffer holds whole records and is written as far as
    /// possible when it is dropped.
    fn each(&mut self, mut work: impl FnMut(&mut dyn Sink) -> io::Result<()>) {
        let failed = &mut self.failed;
        self.outputs.retain_mut(|output| match work(output.sink.as_mut()) {
            Ok(()) => true,
            Err(error) => {
                let path = output.path.clone();
                failed.get_or_insert(OutputError::Write { path, error });
                false
            }
        });
    }
}
