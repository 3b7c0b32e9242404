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
use super::notes::{Batch, FaultNote, Note, Reader, RunNote};
use super::numbers::Numbers;
use super::outputs::Outputs;
use super::record::{Frame, MAX_CALLERS, Place, Record};
use super::tracer::Spot;
use super::tracer::on_hart::Process;

/// Notes in a batch.
const BATCH: usize = 1024;
/// Frames in a batch.
const FRAMES: usize = 8192;
/// Batches that may be on their way.
const UNDERWAY: usize = 8;
/// How long a record may wait for its batch to become full.
const PATIENCE: Duration = Duration::from_millis(50);

/// Outputs on a thread of their own.
pub struct Courier {
    kinds: Kinds,
    batch: Batch,
    /// The numbers of places that were told of.
    places: Numbers<Spot>,
    /// The process that was told of last.
    process: Process,
    /// How often there was time.
    pauses: u32,
    handed_over: Instant,
    /// None when the trace is over.
    full: Option<SyncSender<Batch>>,
    /// Batches come back: freeing them is left to who allocated them.
    empty: Receiver<Batch>,
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
            let mut reader = Reader::default();
            for batch in to_write {
                reader.read(&batch, |record| outputs.record(record));
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
            places: Numbers::default(),
            process: Process::default(),
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
        self.batch.record(record);
        self.taken();
    }

    /// Takes a fault of this process, at `spot`, which is `place`; its number need not be noted.
    pub(super) fn fault(
        &mut self,
        note: &FaultNote,
        process: &Process,
        spot: Spot,
        place: impl FnOnce() -> Arc<Place>,
    ) {
        self.process(process);
        self.places.make_room(1);
        let place = self.place(spot, place);
        self.batch.faults.push(FaultNote { place, ..*note });
        self.batch.notes.push(Note::Fault);
        self.taken();
    }

    /// A run of frames of this process begins; nothing else is taken until it ends.
    pub(super) fn begin_run(&mut self, process: &Process) {
        self.process(process);
        self.places.make_room(MAX_CALLERS);
    }

    /// Takes another caller of frames of the run, at `spot`, which is `place`.
    pub(super) fn caller(&mut self, spot: Spot, place: impl FnOnce() -> Arc<Place>) {
        let number = self.place(spot, place);
        self.batch.callers.push(number);
    }

    /// Takes another frame of the run.
    pub(super) fn frame(&mut self, frame: Frame) {
        self.batch.frames.push(frame);
    }

    /// The run is over.
    pub(super) fn end_run(&mut self, note: RunNote) {
        self.batch.runs.push(note);
        self.batch.notes.push(Note::Run);
        self.taken();
    }

    fn process(&mut self, process: &Process) {
        let name = |process: &Process| process.name.as_ref().map(|name| name.as_ptr());
        // A name in another place is told of again, though it may be the same.
        if self.process.pid != process.pid || name(&self.process) != name(process) {
            self.process = process.clone();
            let name = process.name.as_deref().map(Arc::from);
            self.batch.processes.push((process.pid, name));
            self.batch.notes.push(Note::Process);
        }
    }

    fn place(&mut self, spot: Spot, place: impl FnOnce() -> Arc<Place>) -> u32 {
        let (number, new) = self.places.of(spot, || ());
        if new {
            self.batch.places.push((number, place()));
            self.batch.notes.push(Note::Place);
        }
        number
    }

    fn taken(&mut self) {
        if self.batch.notes.len() >= BATCH || self.batch.frames.len() >= FRAMES {
            self.hand_over();
        }
    }

    /// There is time: what waits for long is handed over.
    pub fn pause(&mut self) {
        // There is time very often, and to look at the clock takes some.
        self.pauses = self.pauses.wrapping_add(1);
        let look = self.pauses.is_multiple_of(8) && !self.batch.notes.is_empty();
        if look && self.handed_over.elapsed() >= PATIENCE {
            self.hand_over();
        }
    }

    /// Hands over what there is.
    pub fn hand_over(&mut self) {
        self.handed_over = Instant::now();
        let mut next = self.empty.try_recv().unwrap_or_default();
        next.clear();
        self.batch.split(&mut next);
        let batch = std::mem::replace(&mut self.batch, next);
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
