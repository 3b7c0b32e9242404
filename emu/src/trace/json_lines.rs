//! The JSON Lines output: one record a line, nothing lost.
//!
//! What there are millions of, frames and faults, is written by hand, the rest by `serde`; both
//! say the same, as the tests compare.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;

use super::line::Line;
use super::quick::QuickMap;
use super::record::{Change, FRAME_SHIFT, Fault, Frames, Moment, Place, Record, Via, Who};
use super::sink::Sink;

/// Places that have a number at a time.
const MAX_PLACES: usize = 1 << 12;

/// Writes a trace that can be read again.
pub struct JsonLines<W: Write> {
    out: W,
    line: Line,
    places: Places,
    /// The numbers of a record's places.
    numbers: Vec<u64>,
    /// The process of the record before, and how it is written.
    who: (Who, Line),
}

impl<W: Write> JsonLines<W> {
    /// Writes to `out`, which should be buffered.
    pub fn new(out: W) -> JsonLines<W> {
        let (line, places, numbers) = (Line::default(), Places::default(), Vec::new());
        let mut who = (Who::default(), Line::default());
        who.1.who(&who.0);
        JsonLines { out, line, places, numbers, who }
    }
}

impl<W: Write> Sink for JsonLines<W> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        let JsonLines { line, places, numbers, who, .. } = self;
        line.clear();
        if let Record::Fault(Fault { who: new, .. }) | Record::Frames(Frames { who: new, .. }) =
            record
            && who.0 != *new
        {
            who.0.clone_from(new);
            who.1.clear();
            who.1.who(new);
        }
        match record {
            Record::Fault(fault) => {
                let place = places.number(&fault.place, line);
                line.fault_object(fault, &who.1, place)
            }
            Record::Frames(run) => {
                numbers.clear();
                numbers.extend(run.callers.iter().map(|place| places.number(place, line)));
                line.frames_object(run, &who.1, numbers)
            }
            Record::Trapped { .. } => {
                let mut record = record.clone();
                for place in record.places() {
                    let pc = places.number(place, line);
                    *place = Arc::new(Place { pc, ..Place::default() });
                }
                line.json(&record)
            }
            _ => line.json(record),
        };
        line.text("\n");
        self.out.write_all(line.bytes())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The numbers of places: by where they are in memory, and by address if nothing else is known.
#[derive(Default)]
struct Places(QuickMap<(usize, u64), (Arc<Place>, u64)>);

impl Places {
    /// A place's number. If it has none yet, a line says which it gets.
    fn number(&mut self, place: &Arc<Place>, line: &mut Line) -> u64 {
        let bare = place.function.is_none() && place.file.is_none();
        let key = (if bare { 0 } else { Arc::as_ptr(place).addr() }, place.pc);
        if let Some((_, known)) = self.0.get(&key) {
            return *known;
        }
        if self.0.len() >= MAX_PLACES {
            self.0.clear();
        }
        let id = self.0.len() as u64;
        line.json(&Record::Place { id, place: Place::clone(place) }).text("\n");
        // It is kept, so that nothing else can be at its address.
        self.0.insert(key, (place.clone(), id));
        id
    }
}

/// Records as JSON objects.
impl Line {
    /// Anything; what is not worth writing by hand.
    fn json(&mut self, value: &impl Serialize) -> &mut Line {
        // Plain data becomes JSON without fail, and a line takes everything.
        let _ = serde_json::to_writer(&mut *self, value);
        self
    }

    fn word(&mut self, word: &str) -> &mut Line {
        if word.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !b"\"\\".contains(&byte)) {
            self.text("\"").text(word).text("\"")
        } else {
            self.json(&word)
        }
    }

    fn field(&mut self, name: &str, number: u64) -> &mut Line {
        self.text(name).number(number)
    }

    fn fault_object(&mut self, fault: &Fault, who: &Line, place: u64) -> &mut Line {
        self.text("{\"record\":\"fault\"");
        self.moment(&fault.at).line(who).field(",\"place\":", place);
        self.text(if fault.user { ",\"user\":true" } else { ",\"user\":false" });
        self.text(",\"access\":").json(&fault.access).field(",\"va\":", fault.va);
        self.text(",\"reason\":").json(&fault.reason);
        self.unless_zero(",\"level\":", fault.level.into()).unless_zero(",\"pte\":", fault.pte);
        if let Via::Syscall { number, name } = &fault.via {
            self.field(",\"via\":{\"kind\":\"syscall\",\"number\":", *number);
            if let Some(name) = name {
                self.text(",\"name\":").word(name);
            }
            self.text("}");
        }
        self.text(",\"outcome\":").json(&fault.outcome);
        self.option(",\"cost\":", fault.cost).option(",\"returned\":", fault.returned);
        self.unless_zero(",\"allocated\":", fault.allocated.into());
        self.unless_zero(",\"freed\":", fault.freed.into()).option(",\"free\":", fault.free);
        if let Some(class) = &fault.class {
            self.text(",\"class\":").word(class);
        }
        self.text("}")
    }

    /// `callers`: the numbers of its callers.
    fn frames_object(&mut self, run: &Frames, who: &Line, callers: &[u64]) -> &mut Line {
        self.text("{\"record\":\"frames\"");
        self.moment(&run.at).line(who).field(",\"free\":", run.free);
        self.text(",\"frames\":[");
        let mut before = None;
        for (i, frame) in run.frames.iter().enumerate() {
            let known = before.replace(frame.caller) == Some(frame.caller) && frame.is_usual();
            let caller = callers.get(usize::from(frame.caller)).filter(|_| !known);
            self.few(|few| {
                if i > 0 {
                    few.byte(b',');
                }
                few.byte(b'[');
                if frame.change == Change::Freed {
                    few.byte(b'-');
                }
                few.number(frame.pa >> FRAME_SHIFT);
                few.byte(b',');
                few.number(frame.insns.into());
                if let Some(caller) = caller {
                    few.byte(b',');
                    few.number(*caller);
                    if !frame.is_usual() {
                        few.byte(b',');
                        few.number(frame.ns.into());
                    }
                }
                few.byte(b']');
            });
        }
        self.text("]}")
    }

    fn unless_zero(&mut self, name: &str, number: u64) -> &mut Line {
        self.option(name, Some(number).filter(|number| *number != 0))
    }

    fn option(&mut self, name: &str, number: Option<u64>) -> &mut Line {
        match number {
            Some(number) => self.field(name, number),
            None => self,
        }
    }

    fn moment(&mut self, at: &Moment) -> &mut Line {
        self.field(",\"ns\":", at.ns).field(",\"insns\":", at.insns);
        self.field(",\"hart\":", at.hart.into())
    }

    fn who(&mut self, who: &Who) -> &mut Line {
        if let Some(pid) = who.pid {
            self.text(",\"pid\":").decimal(pid);
        }
        if let Some(name) = &who.name {
            self.text(",\"name\":").word(name);
        }
        self.field(",\"satp\":", who.satp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::record::{Frame, Outcome};
    use crate::trace::sink::read_jsonl;

    #[test]
    fn what_is_written_by_hand_is_what_serde_writes_and_reads() {
        let mut sink = JsonLines::new(Vec::new());
        let header =
            Record::Header { version: 3, kernel: "k".into(), harts: 1, ram: 0, ram_start: 0 };
        let fault = crate::trace::text::tests::sample();
        let mut other = fault.clone();
        (other.user, other.via) = (false, Via::Syscall { number: 7, name: Some("exec".into()) });
        (other.outcome, other.class) = (Outcome::Zeroed { pa: 4096 }, Some("Lazy".into()));
        (other.cost, other.returned, other.free) = (None, None, None);
        (other.level, other.pte, other.allocated, other.freed) = (0, 0, 3, 0);
        other.who = Who { pid: Some(-1), name: Some("a\"\\\u{1}\u{e4}".into()), satp: 0 };
        let mut bare = other.clone();
        (bare.who, bare.class, bare.place) = (Who::default(), None, Arc::default());
        bare.via = Via::Syscall { number: 99, name: None };
        let frame = |number: u64, caller, insns, ns, change| Frame {
            pa: number << 12,
            insns,
            ns,
            caller,
            change,
        };
        let frames = Frames {
            at: fault.at,
            who: fault.who.clone(),
            free: 7,
            callers: vec![fault.place.clone(), bare.place.clone()],
            frames: vec![
                frame(6, 0, 0, 0, Change::Freed),
                frame(u64::MAX >> 12, 0, 25, 250, Change::Allocated),
                frame(1, 0, 25, u32::MAX, Change::Allocated),
                frame(1, 1, u32::MAX, u32::MAX.wrapping_mul(10), Change::Freed),
            ],
        };
        let mut trapped = Record::Trapped {
            at: fault.at,
            who: bare.who.clone(),
            cause: 8,
            what: "c".into(),
            tval: 0,
            place: fault.place.clone(),
        };
        let mut records: Vec<_> = [fault.clone(), fault, other, bare].map(Record::Fault).into();
        records.insert(0, header);
        records.extend([Record::Frames(frames), trapped.clone()]);
        trapped.places()[0] = Arc::new(Place { pc: 1, line: Some(4), ..Place::default() });
        records.push(trapped);
        records.iter().for_each(|record| sink.record(record).expect("a vector takes everything"));
        let mut back = Vec::new();
        let keep = |record| {
            back.push(record);
            Ok(())
        };
        read_jsonl(sink.out.as_slice(), keep).expect("a trace");
        assert_eq!(back, records);
        let text = String::from_utf8(sink.out).expect("text");
        for line in text.lines() {
            let record: Record = serde_json::from_str(line).expect(line);
            assert_eq!(serde_json::to_string(&record).expect("plain data"), line);
        }
        assert_eq!(text.lines().filter(|line| line.contains("\"record\":\"place\"")).count(), 3);
        assert!(text.ends_with(",\"place\":2}\n"), "{text}");
    }

    #[test]
    fn numbers_of_places_are_given_anew() {
        let mut sink = JsonLines::new(Vec::new());
        let mut fault = crate::trace::text::tests::sample();
        for pc in 0..MAX_PLACES as u64 + 5 {
            fault.place = Arc::new(Place { pc, ..Place::default() });
            sink.record(&Record::Fault(fault.clone())).expect("a vector takes everything");
        }
        let last = format!(",\"place\":{},", 4);
        let text = String::from_utf8(sink.out).expect("text");
        assert!(text.lines().last().is_some_and(|line| line.contains(&last)), "{last}");
    }
}
