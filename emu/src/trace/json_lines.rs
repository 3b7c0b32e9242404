//! The JSON Lines output: one record a line, nothing lost.
//!
//! What there are millions of, frames and faults, is written by hand, the rest by `serde`; both
//! say the same, as the tests compare.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;

use super::line::Line;
use super::quick::QuickMap;
use super::record::{Fault, Frame, Frames, Moment, Place, Record, Via, Who};
use super::sink::Sink;

/// Places whose text is remembered.
const MAX_PLACES: usize = 1 << 12;

/// Writes a trace that can be read again.
pub struct JsonLines<W: Write> {
    out: W,
    line: Line,
    places: Places,
}

/// Places as JSON, by where they are in memory.
type Places = QuickMap<usize, (Arc<Place>, String)>;

impl<W: Write> JsonLines<W> {
    /// Writes to `out`, which should be buffered.
    pub fn new(out: W) -> JsonLines<W> {
        JsonLines { out, line: Line::default(), places: Places::default() }
    }
}

impl<W: Write> Sink for JsonLines<W> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        let line = &mut self.line;
        line.clear();
        match record {
            Record::Fault(fault) => line.fault_object(fault, &mut self.places),
            Record::Frames(frames) => line.frames_object(frames, &mut self.places),
            _ => line.json(record),
        };
        line.text("\n");
        self.out.write_all(line.bytes())
    }

    fn finish(&mut self) -> io::Result<()> {
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
        self.text(name).decimal(number)
    }

    fn fault_object(&mut self, fault: &Fault, places: &mut Places) -> &mut Line {
        self.text("{\"record\":\"fault\"");
        self.moment(&fault.at).who(&fault.who).text(",\"place\":").place(&fault.place, places);
        self.text(if fault.user { ",\"user\":true" } else { ",\"user\":false" });
        self.text(",\"access\":").json(&fault.access).field(",\"va\":", fault.va);
        self.text(",\"reason\":").json(&fault.reason);
        self.field(",\"level\":", fault.level.into()).field(",\"pte\":", fault.pte);
        match &fault.via {
            Via::Trap => self.text(",\"via\":{\"kind\":\"trap\"}"),
            Via::Syscall { number, name } => {
                self.field(",\"via\":{\"kind\":\"syscall\",\"number\":", *number);
                if let Some(name) = name {
                    self.text(",\"name\":").word(name);
                }
                self.text("}")
            }
        };
        self.text(",\"outcome\":").json(&fault.outcome);
        self.option(",\"cost\":", fault.cost).option(",\"returned\":", fault.returned);
        self.field(",\"allocated\":", fault.allocated.into());
        self.field(",\"freed\":", fault.freed.into()).option(",\"free\":", fault.free);
        if let Some(class) = &fault.class {
            self.text(",\"class\":").word(class);
        }
        self.text("}")
    }

    fn frames_object(&mut self, frames: &Frames, places: &mut Places) -> &mut Line {
        self.text("{\"record\":\"frames\",\"change\":").json(&frames.change);
        self.moment(&frames.at).who(&frames.who).field(",\"free\":", frames.free);
        if let Some(caller) = &frames.caller {
            self.text(",\"caller\":").place(caller, places);
        }
        self.text(",\"frames\":[");
        for (i, Frame(pa, insns, ns)) in frames.frames.iter().enumerate() {
            self.field(if i == 0 { "[" } else { ",[" }, *pa);
            self.field(",", *insns).field(",", *ns).text("]");
        }
        self.text("]}")
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

    fn place(&mut self, place: &Arc<Place>, places: &mut Places) -> &mut Line {
        let address = Arc::as_ptr(place).addr();
        if let Some((_, known)) = places.get(&address) {
            return self.text(known);
        }
        self.json(&**place);
        if places.len() < MAX_PLACES
            && let Ok(text) = serde_json::to_string(&**place)
        {
            // It is kept, so that nothing else can be at its address.
            places.insert(address, (place.clone(), text));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::record::{Change, Outcome};

    fn check(record: &Record, sink: &mut JsonLines<Vec<u8>>) {
        sink.out.clear();
        sink.record(record).expect("a vector takes everything");
        let expected = serde_json::to_string(record).expect("plain data") + "\n";
        assert_eq!(String::from_utf8_lossy(&sink.out), expected);
    }

    #[test]
    fn what_is_written_by_hand_is_what_serde_writes() {
        let mut sink = JsonLines::new(Vec::new());
        let fault = crate::trace::text::tests::sample();
        let mut other = fault.clone();
        (other.user, other.via) = (false, Via::Syscall { number: 7, name: Some("exec".into()) });
        (other.outcome, other.class) = (Outcome::Zeroed { pa: 4096 }, Some("Lazy".into()));
        (other.cost, other.returned, other.free) = (None, None, None);
        other.who = Who { pid: Some(-1), name: Some("a\"\\\u{1}\u{e4}".into()), satp: 0 };
        let mut bare = other.clone();
        (bare.who, bare.class) = (Who::default(), None);
        bare.via = Via::Syscall { number: 99, name: None };
        let mut frames = Frames {
            change: Change::Freed,
            at: fault.at,
            who: fault.who.clone(),
            free: 7,
            caller: Some(fault.place.clone()),
            frames: vec![Frame(6, 0, 0), Frame(u64::MAX, 25, 26)],
        };
        for fault in [fault.clone(), fault, other, bare] {
            check(&Record::Fault(fault), &mut sink);
        }
        check(&Record::Frames(frames.clone()), &mut sink);
        (frames.change, frames.caller) = (Change::Allocated, None);
        check(&Record::Frames(frames), &mut sink);
    }
}
