//! The JSON Lines output: one record a line, nothing lost.
//!
//! What there are millions of, frames and faults, is written by hand, the rest by `serde`; both
//! say the same, as the tests compare.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;

use super::line::{Few, Line};
use super::numbers::Numbers;
use super::record::{
    AS_BEFORE, Access, Change, FRAME_SHIFT, Fault, Frame, Frames, Moment, Outcome, Place, Reason,
    Record, Via, Who,
};
use super::sink::Sink;

/// Writes a trace that can be read again.
pub struct JsonLines<W: Write> {
    out: W,
    line: Line,
    /// The numbers of places: by where they are in memory, and by address if nothing else is
    /// known. They are kept, so that nothing else can be there.
    places: Numbers<(usize, u64), Arc<Place>>,
    /// The numbers of a run's callers.
    callers: Vec<u32>,
    /// Frames that become part of the record behind them if that is a fault's.
    held: Option<Frames>,
    /// Frames that were held: what they have allocated serves the next.
    spare: Frames,
    /// The address spaces of the fault and of the frames before.
    satp: [u64; 2],
}

impl<W: Write> JsonLines<W> {
    /// Writes to `out`, which should be buffered.
    pub fn new(out: W) -> JsonLines<W> {
        let (line, places, callers) = (Line::default(), Numbers::default(), Vec::new());
        let (held, spare) = (None, Frames::default());
        JsonLines { out, line, places, callers, held, spare, satp: [0; 2] }
    }

    /// Ends a line.
    fn end(&mut self) -> io::Result<()> {
        self.line.text("\n");
        let result = self.out.write_all(self.line.bytes());
        self.line.clear();
        result
    }

    fn place(&mut self, place: &Arc<Place>) -> u32 {
        let bare = place.function.is_none() && place.file.is_none();
        let key = (if bare { 0 } else { Arc::as_ptr(place).addr() }, place.pc);
        let (number, new) = self.places.of(key, || place.clone());
        if new {
            let place = Place::clone(place);
            self.line.json(&Record::Place { id: number.into(), place }).text("\n");
        }
        number
    }

    fn callers(&mut self, run: &Frames) {
        self.callers.clear();
        for place in &run.callers {
            let number = self.place(place);
            self.callers.push(number);
        }
    }

    /// Frames that have a line of their own.
    fn write_held(&mut self) -> io::Result<()> {
        let Some(run) = self.held.take() else { return Ok(()) };
        self.places.make_room(run.callers.len());
        self.callers(&run);
        let satp = as_before(run.who.satp, &mut self.satp[1]);
        self.line.frames_object(&run, satp, &self.callers);
        self.spare = run;
        self.end()
    }

    fn fault(&mut self, fault: &Fault) -> io::Result<()> {
        let satp = self.satp[1];
        let run = self.held.take_if(|run| run.who.satp == satp && is_part(run, fault));
        self.write_held()?;
        self.places.make_room(1 + run.as_ref().map_or(0, |run| run.callers.len()));
        if let Some(run) = &run {
            self.callers(run);
        }
        let place = self.place(&fault.place);
        let satp = as_before(fault.who.satp, &mut self.satp[0]);
        self.line.fault_object(fault, satp, place);
        if let Some(run) = run {
            let first = Frame {
                insns: (run.at.insns - fault.at.insns) as u32,
                ns: (run.at.ns - fault.at.ns) as u32,
                ..run.frames[0]
            };
            self.line.text(",").frames(&run, first, &self.callers);
            self.spare = run;
        }
        self.line.text("}");
        self.end()
    }
}

/// What stands in a file for an address space.
fn as_before(satp: u64, before: &mut u64) -> u64 {
    if std::mem::replace(before, satp) == satp { AS_BEFORE } else { satp }
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Fetch => ",\"access\":\"fetch\",\"va\":",
        Access::Load => ",\"access\":\"load\",\"va\":",
        Access::Store => ",\"access\":\"store\",\"va\":",
    }
}

/// Whether frames can be told of as part of a fault.
fn is_part(run: &Frames, fault: &Fault) -> bool {
    let since =
        |run: u64, fault: u64| run.checked_sub(fault).is_some_and(|since| since <= u32::MAX.into());
    let first = run.frames.first();
    first.is_some_and(|first| first.insns == 0 && first.ns == 0)
        && fault.free == Some(run.free)
        && run.at.hart == fault.at.hart
        && since(run.at.insns, fault.at.insns)
        && since(run.at.ns, fault.at.ns)
        && run.who.pid == fault.who.pid
        && run.who.name == fault.who.name
}

impl<W: Write> Sink for JsonLines<W> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        match record {
            Record::Fault(fault) => return self.fault(fault),
            Record::Frames(run) => {
                self.write_held()?;
                let mut held = std::mem::take(&mut self.spare);
                held.copy(run);
                self.held = Some(held);
                return Ok(());
            }
            _ => self.write_held()?,
        }
        if let Record::Trapped { .. } | Record::Finding { .. } = record {
            let mut record = record.clone();
            for place in record.places() {
                self.places.make_room(1);
                let pc = self.place(place).into();
                *place = Arc::new(Place { pc, ..Place::default() });
            }
            self.line.json(&record);
        } else {
            self.line.json(record);
        }
        self.end()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.write_held()?;
        self.out.flush()
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

    /// All but the frames and the end.
    fn fault_object(&mut self, fault: &Fault, satp: u64, place: u32) -> &mut Line {
        self.text("{\"record\":\"fault\"");
        self.moment(&fault.at).who(&fault.who, satp).field(",\"place\":", place.into());
        if !fault.user {
            self.text(",\"kernel\":true");
        }
        self.few(|few| few.field(access(fault.access), fault.va));
        match fault.reason {
            Reason::Invalid => self.text(",\"reason\":\"invalid\""),
            Reason::NoWrite => self.text(",\"reason\":\"no_write\""),
            reason => self.text(",\"reason\":").json(&reason),
        };
        self.few(|few| {
            few.unless_zero(",\"level\":", fault.level.into());
            few.unless_zero(",\"pte\":", fault.pte);
        });
        if let Via::Syscall { number, name } = &fault.via {
            self.field(",\"via\":{\"kind\":\"syscall\",\"number\":", *number);
            if let Some(name) = name {
                self.text(",\"name\":").word(name);
            }
            self.text("}");
        }
        self.outcome_field(&fault.outcome);
        let returned = fault.returned.filter(|_| fault.returned != fault.usual_return());
        self.few(|few| {
            few.option(",\"cost\":", fault.cost);
            few.option(",\"returned\":", returned);
            few.unless_zero(",\"allocated\":", fault.allocated.into());
            few.unless_zero(",\"freed\":", fault.freed.into());
        });
        self.few(|few| few.option(",\"free\":", fault.free));
        if let Some(class) = &fault.class {
            self.text(",\"class\":").word(class);
        }
        self
    }

    fn outcome_field(&mut self, outcome: &Outcome) -> &mut Line {
        match outcome {
            Outcome::Zeroed { pa } => self.few(|few| {
                few.field(",\"outcome\":{\"kind\":\"zeroed\",\"pa\":", *pa);
                few.byte(b'}');
            }),
            _ => self.text(",\"outcome\":").json(outcome),
        }
    }

    /// `callers`: the numbers of its callers.
    fn frames_object(&mut self, run: &Frames, satp: u64, callers: &[u32]) -> &mut Line {
        self.text("{\"record\":\"frames\"");
        self.moment(&run.at).who(&run.who, satp).field(",\"free\":", run.free).text(",");
        match run.frames.first() {
            Some(first) => self.frames(run, *first, callers),
            None => self.text("\"frames\":[]"),
        };
        self.text("}")
    }

    /// The frames of a run, with this for the first.
    fn frames(&mut self, run: &Frames, first: Frame, callers: &[u32]) -> &mut Line {
        self.text("\"frames\":[");
        let mut before = None;
        let frames = [first].into_iter().chain(run.frames.iter().skip(1).copied());
        for (i, frame) in frames.enumerate() {
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
                    few.number((*caller).into());
                    if !frame.is_usual() {
                        few.byte(b',');
                        few.number(frame.ns.into());
                    }
                }
                few.byte(b']');
            });
        }
        self.text("]")
    }

    fn moment(&mut self, at: &Moment) -> &mut Line {
        self.few(|few| {
            few.field(",\"ns\":", at.ns);
            few.field(",\"insns\":", at.insns);
            few.unless_zero(",\"hart\":", at.hart.into());
        })
    }

    /// `satp`: what stands for its address space.
    fn who(&mut self, who: &Who, satp: u64) -> &mut Line {
        if let Some(pid) = who.pid {
            self.text(",\"pid\":").decimal(pid);
        }
        if let Some(name) = &who.name {
            self.text(",\"name\":").word(name);
        }
        self.few(|few| few.option(",\"satp\":", Some(satp).filter(|satp| *satp != AS_BEFORE)))
    }
}

impl Few {
    #[inline]
    fn unless_zero(&mut self, name: &str, number: u64) {
        if number != 0 {
            self.field(name, number);
        }
    }

    #[inline]
    fn option(&mut self, name: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.field(name, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::sink::read_jsonl;

    #[test]
    fn what_is_written_by_hand_is_what_serde_writes_and_reads() {
        let mut sink = JsonLines::new(Vec::new());
        let header =
            Record::Header { version: 4, kernel: "k".into(), harts: 1, ram: 0, ram_start: 0 };
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
        for pc in 0..crate::trace::numbers::MAX_NUMBERS as u64 + 5 {
            fault.place = Arc::new(Place { pc, ..Place::default() });
            sink.record(&Record::Fault(fault.clone())).expect("a vector takes everything");
        }
        let last = format!(",\"place\":{},", 4);
        let text = String::from_utf8(sink.out).expect("text");
        assert!(text.lines().last().is_some_and(|line| line.contains(&last)), "{last}");
    }
}
