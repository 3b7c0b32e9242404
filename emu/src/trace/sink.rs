//! Where records go, one interface for every output, and how a saved trace is read.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::sync::Arc;

use super::record::{AS_BEFORE, Fault, Place, Record};

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
    #[error(
        "it has format version {0}, and this program reads version {known}: trace the run anew, or \
         read it with the program that wrote it",
        known = super::record::VERSION
    )]
    Version(u32),
}

/// Reads a saved trace and hands every record to `each`. A last line that was cut off in the
/// middle (a full disk, a killed run) is not an error: what came before it is whole.
pub fn read_jsonl(
    mut input: impl BufRead,
    mut each: impl FnMut(Record) -> io::Result<()>,
) -> Result<(), ReadError> {
    let (mut text, mut known) = (String::new(), Known::default());
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
        match (&mut record, line) {
            (Record::Header { version, .. }, 1) if *version != super::record::VERSION => {
                return Err(ReadError::Version(*version));
            }
            (Record::Header { .. }, 1) => {}
            (_, 1) => return Err(ReadError::NoHeader),
            (Record::Place { id, place }, _) => {
                known.places.insert(*id, Arc::new(std::mem::take(place)));
                continue;
            }
            (Record::Fault(fault), _) => {
                if let Some(run) = known.complete_fault(fault, line)? {
                    each(run)?;
                }
            }
            (Record::Frames(run), _) => as_before(&mut run.who.satp, &mut known.frames_satp),
            _ => {}
        }
        known.find_places(&mut record, line)?;
        each(record)?;
    }
}

/// What the lines before say about the next.
#[derive(Default)]
struct Known {
    places: HashMap<u64, Arc<Place>>,
    fault_satp: u64,
    frames_satp: u64,
}

impl Known {
    /// Adds to a fault what is usual. Returns the frames that its line holds.
    fn complete_fault(
        &mut self,
        fault: &mut Fault,
        line: u64,
    ) -> Result<Option<Record>, ReadError> {
        as_before(&mut fault.who.satp, &mut self.fault_satp);
        fault.returned = fault.returned.or(fault.usual_return());
        let wrong = |what| ReadError::Line { line, error: serde::de::Error::custom(what) };
        let run = fault.take_frames(self.frames_satp).map_err(wrong)?;
        let mut run = run.map(Record::Frames);
        run.iter_mut().try_for_each(|run| self.find_places(run, line))?;
        Ok(run)
    }

    /// Puts places where their numbers are.
    fn find_places(&self, record: &mut Record, line: u64) -> Result<(), ReadError> {
        for place in record.places() {
            let id = place.pc;
            *place = self.places.get(&id).ok_or(ReadError::Place { line, id })?.clone();
        }
        Ok(())
    }
}

fn as_before(satp: &mut u64, before: &mut u64) {
    if *satp == AS_BEFORE {
        *satp = *before;
    }
    *before = *satp;
}
