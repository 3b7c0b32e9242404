//! Where records go, one interface for every output, and how a saved trace is read.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::sync::Arc;

use super::record::Record;

/// An output. Records arrive in the order of the trace, header first, end last (when the run
/// came to its end).
pub trait Sink {
    /// Takes one record.
    fn record(&mut self, record: &Record) -> io::Result<()>;

    /// Writes what can be written already.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Writes what is still held back. Called once, also after a run that was cut short.
    fn finish(&mut self) -> io::Result<()>;
}

/// Why a saved trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A line is not a record.
    #[error("line {line}: {error}")]
    Line {
        /// Number of the line, from 1.
        line: u64,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// A place is named that no line before describes.
    #[error("line {line}: no line before it says which place {id} is")]
    Place {
        /// Number of the line, from 1.
        line: u64,
        /// The place's number.
        id: u64,
    },
    /// The first line is not a header.
    #[error("it does not start with a trace header")]
    NoHeader,
    /// The header names a version that this program does not know.
    #[error("it has format version {0}, and this program reads version {known}", known = super::record::VERSION)]
    Version(u32),
}

/// Reads a saved trace and hands every record to `each`. A last line that was cut off in the
/// middle (a full disk, a killed run) is not an error: what came before it is whole.
pub fn read_jsonl(
    mut input: impl BufRead,
    mut each: impl FnMut(Record) -> io::Result<()>,
) -> Result<(), ReadError> {
    let (mut text, mut places) = (String::new(), HashMap::new());
    let mut line = 0;
    loop {
        text.clear();
        line += 1;
        if input.read_line(&mut text)? == 0 {
            return if line == 1 { Err(ReadError::NoHeader) } else { Ok(()) };
        }
        let mut record = match serde_json::from_str::<Record>(&text) {
            Ok(record) => record,
            Err(_) if line > 1 && !text.ends_with('\n') => return Ok(()),
            Err(error) => return Err(ReadError::Line { line, error }),
        };
        match (&record, line) {
            (Record::Header { version, .. }, 1) if *version != super::record::VERSION => {
                return Err(ReadError::Version(*version));
            }
            (Record::Header { .. }, 1) => {}
            (_, 1) => return Err(ReadError::NoHeader),
            (Record::Place { .. }, _) => {
                if let Record::Place { id, place } = record {
                    places.insert(id, Arc::new(place));
                }
                continue;
            }
            _ => {}
        }
        for place in record.places() {
            let id = place.pc;
            *place = places.get(&id).ok_or(ReadError::Place { line, id })?.clone();
        }
        each(record)?;
    }
}
