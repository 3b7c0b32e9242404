//! What the tracer hands to the outputs: records as plain numbers.
//!
//! Faults and frames come by the hundred thousand, and the thread that runs the machine is the one
//! that must not wait. So it writes down numbers, one behind the other, and only refers to what
//! it told of before: processes, places. The other thread makes records of them, with processes
//! and places of its own, so that the two do not fight for who counts the references.

use std::sync::Arc;

use abi::syscall::Syscall;

use super::record::{
    Access, Fault, Frame, Frames, Moment, Outcome, Place, Reason, Record, Via, Who, Word,
};

/// What comes next of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Note {
    /// A process: that of faults and frames from now on.
    Process,
    /// A place and its number from now on.
    Place,
    /// A fault.
    Fault,
    /// A run of frames.
    Run,
    /// Anything else, as it is.
    Record,
}

/// A fault of the process that was noted before. Fields are those of [`Fault`].
#[derive(Clone, Copy, Debug)]
pub struct FaultNote {
    pub at: Moment,
    pub satp: u64,
    /// The number of its place.
    pub place: u32,
    pub user: bool,
    pub access: Access,
    pub reason: Reason,
    pub level: u32,
    pub va: u64,
    pub pte: u64,
    /// The system call that needed the page.
    pub call: Option<u64>,
    pub outcome: Outcome,
    pub cost: Option<u64>,
    pub returned: Option<u64>,
    pub allocated: u32,
    pub freed: u32,
    pub free: Option<u64>,
    pub class: Option<&'static str>,
}

/// A run of frames on behalf of the process that was noted before.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunNote {
    pub at: Moment,
    pub satp: u64,
    /// Free pages after the last.
    pub free: u64,
    /// How many frames it has.
    pub frames: usize,
    /// How many callers they have.
    pub callers: usize,
}

/// Notes, each kind in a list of its own.
#[derive(Default)]
pub struct Batch {
    pub notes: Vec<Note>,
    pub processes: Vec<(Option<i32>, Option<Arc<str>>)>,
    pub places: Vec<(u32, Arc<Place>)>,
    pub faults: Vec<FaultNote>,
    pub runs: Vec<RunNote>,
    /// The runs' frames, and what belongs to a run that is not noted yet.
    pub frames: Vec<Frame>,
    /// The numbers of the runs' callers, likewise.
    pub callers: Vec<u32>,
    /// Other records; behind those that are noted there are some from an earlier journey, which
    /// give way to new ones.
    pub records: Vec<Record>,
    /// How many of them are noted.
    pub noted: usize,
}

impl Batch {
    /// Notes any record.
    pub fn record(&mut self, record: Record) {
        match self.records.get_mut(self.noted) {
            Some(place) => *place = record,
            None => self.records.push(record),
        }
        self.noted += 1;
        self.notes.push(Note::Record);
    }

    /// Copies the run that is not noted yet.
    pub fn split(&self, next: &mut Batch) {
        let frames = self.runs.iter().map(|run| run.frames).sum();
        let callers = self.runs.iter().map(|run| run.callers).sum();
        next.frames.extend_from_slice(&self.frames[frames..]);
        next.callers.extend_from_slice(&self.callers[callers..]);
    }

    /// Makes it as good as new.
    pub fn clear(&mut self) {
        self.notes.clear();
        self.processes.clear();
        self.places.clear();
        self.faults.clear();
        self.runs.clear();
        self.frames.clear();
        self.callers.clear();
        self.noted = 0;
    }
}

/// Makes records of notes, one after the other in the same memory.
pub struct Reader {
    who: Who,
    places: Vec<Arc<Place>>,
    fault: Record,
    run: Record,
}

impl Default for Reader {
    fn default() -> Reader {
        let fault = Fault {
            at: Moment::default(),
            who: Who::default(),
            place: Arc::default(),
            user: true,
            access: Access::Load,
            va: 0,
            reason: Reason::Invalid,
            level: 0,
            pte: 0,
            via: Via::Trap,
            outcome: Outcome::NeverReturned,
            cost: None,
            returned: None,
            allocated: 0,
            freed: 0,
            free: None,
            class: None,
            frames: Vec::new(),
        };
        let (fault, run) = (Record::Fault(fault), Record::Frames(Frames::default()));
        Reader { who: Who::default(), places: Vec::new(), fault, run }
    }
}

impl Reader {
    /// Hands a batch's records to `each`, in order.
    pub fn read(&mut self, batch: &Batch, mut each: impl FnMut(&Record)) {
        let mut processes = batch.processes.iter();
        let mut places = batch.places.iter();
        let mut faults = batch.faults.iter();
        let mut runs = batch.runs.iter();
        let (mut frames, mut callers) = (batch.frames.as_slice(), batch.callers.as_slice());
        let mut records = batch.records.iter();
        for note in &batch.notes {
            match note {
                Note::Process => processes.by_ref().take(1).for_each(|new| self.process(new)),
                Note::Place => places.by_ref().take(1).for_each(|new| self.place(new)),
                Note::Fault => faults.by_ref().take(1).for_each(|note| each(self.fault(note))),
                Note::Run => {
                    for note in runs.by_ref().take(1) {
                        let (ours, later) = frames.split_at(note.frames.min(frames.len()));
                        let (called, others) = callers.split_at(note.callers.min(callers.len()));
                        (frames, callers) = (later, others);
                        each(self.run(note, ours, called));
                    }
                }
                Note::Record => records.by_ref().take(1).for_each(&mut each),
            }
        }
    }

    fn process(&mut self, (pid, name): &(Option<i32>, Option<Arc<str>>)) {
        (self.who.pid, self.who.name) = (*pid, name.as_deref().map(Arc::from));
    }

    fn place(&mut self, (number, place): &(u32, Arc<Place>)) {
        let (number, place) = (*number as usize, Arc::new(Place::clone(place)));
        if number < self.places.len() {
            self.places[number] = place;
        } else {
            self.places.push(place);
        }
    }

    fn place_of(&self, number: u32) -> Arc<Place> {
        self.places.get(number as usize).cloned().unwrap_or_default()
    }

    fn fault(&mut self, note: &FaultNote) -> &Record {
        let place = self.place_of(note.place);
        if let Record::Fault(fault) = &mut self.fault {
            fault.at = note.at;
            fault.who.update(&self.who);
            fault.who.satp = note.satp;
            fault.place = place;
            (fault.user, fault.access, fault.va) = (note.user, note.access, note.va);
            (fault.reason, fault.level, fault.pte) = (note.reason, note.level, note.pte);
            fault.via = note.call.map_or(Via::Trap, |number| {
                let name = Syscall::from_number(number).map(|call| Word::Borrowed(call.name()));
                Via::Syscall { number, name }
            });
            fault.outcome = note.outcome;
            (fault.cost, fault.returned) = (note.cost, note.returned);
            (fault.allocated, fault.freed) = (note.allocated, note.freed);
            (fault.free, fault.class) = (note.free, note.class.map(Word::Borrowed));
        }
        &self.fault
    }

    fn run(&mut self, note: &RunNote, frames: &[Frame], callers: &[u32]) -> &Record {
        if let Record::Frames(run) = &mut self.run {
            (run.at, run.free) = (note.at, note.free);
            run.who.update(&self.who);
            run.who.satp = note.satp;
            run.frames.clear();
            run.frames.extend_from_slice(frames);
            run.callers.clear();
            let place = |number: &u32| self.places.get(*number as usize).cloned();
            run.callers.extend(callers.iter().map(|number| place(number).unwrap_or_default()));
        }
        &self.run
    }
}
