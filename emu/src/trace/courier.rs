//! Takes records to the outputs, which have a thread of their own: making text of them and writing
//! it would take longer than everything else about a trace.
//!
//! Records are handed over in batches. A few batches may be on their way, then the machine waits,
//! so that memory is bounded; the outputs see every record in order, so that they write the same
//! as they would without a thread. However the run ends, what was recorded is written.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::kinds::Kinds;
use super::outputs::Outputs;
use super::record::{Frames, Record};

/// Records in a batch.
const BATCH: usize = 512;
/// Batches that may be on their way.
const UNDERWAY: usize = 4;
/// How long a record may wait for its batch to become full.
const PATIENCE: Duration = Duration::from_millis(50);

/// A batch: the records, and how many of them are new. What is behind is from an earlier journey,
/// and gives way to new ones.
type Batch = (Vec<Record>, usize);

/// Outputs on a thread of their own.
pub struct Courier {
    kinds: Kinds,
    batch: Batch,
    /// Runs of frames that were written: what they have allocated serves the next ones.
    spare: Vec<Frames>,
    /// How often there was time.
    pauses: u32,
    handed_over: Instant,
    /// None when the trace is over.
    full: Option<SyncSender<Batch>>,
    /// Batches come back: freeing them is left to who allocated them.
    empty: Receiver<Vec<Record>>,
    unread: Arc<AtomicBool>,
    thread: Option<JoinHandle<bool>>,
}

impl Courier {
    /// Starts the thread.
    pub fn new(mut outputs: Outputs) -> io::Result<Courier> {
        let (full, to_write) = sync_channel::<Batch>(UNDERWAY);
        let (written, empty) = channel();
        let (kinds, unread) = (outputs.kinds(), Arc::new(AtomicBool::new(false)));
        let tells = unread.clone();
        let write = move || {
            for (batch, new) in to_write {
                batch[..new].iter().for_each(|record| outputs.record(record));
                outputs.flush();
                tells.store(outputs.is_unread(), Ordering::Relaxed);
                // At the end nobody takes it back.
                let _ = written.send(batch);
            }
            outputs.finish()
        };
        let thread = Some(Builder::new().name("trace".to_owned()).spawn(write)?);
        Ok(Courier {
            kinds,
            batch: Batch::default(),
            spare: Vec::new(),
            pauses: 0,
            handed_over: Instant::now(),
            full: Some(full),
            empty,
            unread,
            thread,
        })
    }

    /// The kinds that any output wants.
    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Whether an output was a pipe that nobody reads any more.
    pub fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Takes a record.
    pub fn record(&mut self, record: Record) {
        let (batch, new) = &mut self.batch;
        match batch.get_mut(*new) {
            Some(place) => {
                if let Record::Frames(run) = std::mem::replace(place, record)
                    && self.spare.len() < BATCH
                {
                    self.spare.push(run);
                }
            }
            None => batch.push(record),
        }
        *new += 1;
        if *new >= BATCH {
            self.hand_over();
        }
    }

    /// An empty run of frames to be filled.
    pub fn run(&mut self) -> Frames {
        let mut run = self.spare.pop().unwrap_or_default();
        run.callers.clear();
        run.frames.clear();
        run
    }

    /// There is time: what waits for long is handed over.
    pub fn pause(&mut self) {
        // There is time very often, and to look at the clock takes some.
        self.pauses = self.pauses.wrapping_add(1);
        let look = self.pauses.is_multiple_of(8) && self.batch.1 > 0;
        if look && self.handed_over.elapsed() >= PATIENCE {
            self.hand_over();
        }
    }

    /// Hands over what there is.
    pub fn hand_over(&mut self) {
        self.handed_over = Instant::now();
        let next = self.empty.try_recv().unwrap_or_default();
        let batch = std::mem::replace(&mut self.batch, (next, 0));
        if let Some(full) = &self.full {
            // It fails only when the thread panicked, which is noticed at the end.
            let _ = full.send(batch);
        }
    }

    /// Ends every output; returns whether all were written in full.
    pub fn finish(mut self) -> bool {
        self.end()
    }

    fn end(&mut self) -> bool {
        self.hand_over();
        self.full = None;
        self.thread.take().is_some_and(|thread| thread.join().unwrap_or(false))
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::filter::Filter;
    use crate::trace::record::Moment;

    /// Records whose order shows, in a file; `end` ends the trace.
    fn written(name: &str, end: impl FnOnce(Courier)) -> Vec<String> {
        let path = std::env::temp_dir().join(format!("emu-{name}-{}.jsonl", std::process::id()));
        let mut outputs = Outputs::new(Filter::default(), true);
        outputs.add_file(&path, Kinds::ALL).expect("temporary file");
        let mut courier = Courier::new(outputs).expect("a thread");
        for pc in 0..10_000 {
            let at = Moment::default();
            courier.record(Record::Insn { at, pc, bits: 0, text: String::new() });
        }
        end(courier);
        let text = std::fs::read_to_string(&path).expect("readable");
        let _ = std::fs::remove_file(&path);
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_record_arrives_in_order_however_it_ends() {
        let finished = written("finish", |courier| assert!(courier.finish()));
        for lines in [finished, written("drop", drop)] {
            assert_eq!(lines.len(), 10_000);
            let is_at = |(pc, line): (usize, &String)| line.contains(&format!("\"pc\":{pc},"));
            assert!(lines.iter().enumerate().all(is_at));
        }
    }
}
