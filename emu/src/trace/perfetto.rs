//! The timeline output: Chrome's JSON trace format, which ui.perfetto.dev and chrome://tracing
//! open.
//!
//! The machine comes first: counters of free and used pages, and one track for every hart (which
//! process runs there, and what page faults came to). Then follows one track for every process,
//! with its system calls and faults as slices and with fork, exec and exit as marks. From each
//! fault an arrow leads to the hart on which its process goes on, or to the process's exit.
//!
//! Source: the "Trace Event Format" document; times are microseconds. As Perfetto reads it, a
//! thread 0 is its process's main thread; a counter is called by its name and its argument's
//! together; of what begins at the same time, slices come first, long ones before short ones; an
//! end of an arrow belongs to the slice or mark that began last on its track, and so has to follow
//! that; a list may be cut off after any event, an object may not.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::record::{Change, Fault, Frames, Moment, Outcome, Place, Record, Via, Who};
use super::sink::Sink;
use super::text;

/// The machine's number among the processes; guests number theirs from 1.
const MACHINE: i64 = 0;
/// The first hart's number among the threads.
const HARTS: i64 = 1000;
/// Faults that wait for the end of the process that they ended.
const MAX_KILLED: usize = 1 << 10;

/// Writes the timeline as it happens; memory is bounded by harts and processes.
pub struct Perfetto<W: Write> {
    out: W,
    started: bool,
    running: BTreeMap<u32, Run>,
    named: BTreeSet<i64>,
    arrows: u64,
    /// The most pages that were free at a time.
    most_free: u64,
    /// Faults that ended their process: their slices end with it.
    killed: BTreeMap<i64, Fault>,
}

/// What a hart runs.
struct Run {
    since: u64,
    who: Who,
    /// Of a process that has exited: when it was seen last. It may free its pages for a while.
    ended: Option<u64>,
}

/// What one line of the file says.
#[derive(Serialize)]
struct Event<'a, A> {
    ph: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cat: &'static str,
    pid: i64,
    tid: i64,
    /// Microseconds.
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<A>,
}

impl<'a, A> Event<'a, A> {
    fn new(ph: &'static str, name: &'a str, (pid, tid): Track, ns: u64) -> Event<'a, A> {
        let (dur, id, s, bp, args) = (None, None, None, None, None);
        Event { ph, name, cat: "", pid, tid, ts: us(ns), dur, id, s, bp, args }
    }
}

/// Process and thread in the file.
type Track = (i64, i64);

/// The counters.
#[derive(Serialize)]
struct Pages {
    free: u64,
    used: u64,
}

/// What the details of a fault say.
#[derive(Serialize)]
struct FaultArgs<'a> {
    access: &'static str,
    va: String,
    pte: String,
    at: String,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    insns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_pages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_call: Option<&'a str>,
}

impl<'a> FaultArgs<'a> {
    fn new(fault: &'a Fault) -> FaultArgs<'a> {
        FaultArgs {
            access: text::access_word(fault.access),
            va: format!("{:#x}", fault.va),
            pte: format!("{} in level {}", text::pte_bits(fault.pte), fault.level),
            at: place_text(&fault.place),
            outcome: text::outcome(fault),
            insns: fault.cost,
            free_pages: fault.free,
            system_call: match &fault.via {
                Via::Trap => None,
                Via::Syscall { name, .. } => Some(name.as_deref().unwrap_or("?")),
            },
        }
    }
}

impl<W: Write> Perfetto<W> {
    /// Writes to `out`, which should be buffered.
    pub fn new(out: W) -> Perfetto<W> {
        let (running, named, killed) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Perfetto { out, started: false, running, named, arrows: 0, most_free: 0, killed }
    }

    fn event(&mut self, event: &Event<'_, impl Serialize>) -> io::Result<()> {
        self.out.write_all(if self.started { b",\n" } else { b"[\n" })?;
        self.started = true;
        serde_json::to_writer(&mut self.out, event)?;
        Ok(())
    }

    fn describe(&mut self, what: &str, track: Track, args: Value) -> io::Result<()> {
        self.event(&Event { args: Some(args), ..Event::new("M", what, track, 0) })
    }

    /// The track of a process; the first event on it carries its name.
    fn track(&mut self, who: &Who) -> io::Result<Track> {
        let number =
            who.pid.map_or_else(|| (who.satp & 0xfff_ffff) as i64, |pid| pid as u32 as i64);
        let track = (number, number);
        if self.named.insert(number) {
            self.describe("process_sort_index", track, json!({"sort_index": number}))?;
            self.rename(track, &process_name(who))?;
        }
        Ok(track)
    }

    /// The name that is written last is the one that is shown, from the beginning on.
    fn rename(&mut self, track: Track, name: &str) -> io::Result<()> {
        ["process_name", "thread_name"]
            .iter()
            .try_for_each(|what| self.describe(what, track, json!({"name": name})))
    }

    fn slice(
        &mut self,
        (track, cat): (Track, &'static str),
        (start, end): (u64, u64),
        name: &str,
        args: impl Serialize,
    ) -> io::Result<()> {
        let dur = Some(us(end.saturating_sub(start)));
        self.event(&Event { cat, dur, args: Some(args), ..Event::new("X", name, track, start) })
    }

    /// A slice that takes no time.
    fn mark(
        &mut self,
        (track, cat): (Track, &'static str),
        at: u64,
        name: &str,
        args: Option<Value>,
    ) -> io::Result<()> {
        self.event(&Event { cat, s: Some("t"), args, ..Event::new("i", name, track, at) })
    }

    fn process_mark(
        &mut self,
        (at, who): (&Moment, &Who),
        cat: &'static str,
        name: &str,
        args: Option<Value>,
    ) -> io::Result<()> {
        let track = self.track(who)?;
        self.mark((track, cat), at.ns, name, args)
    }

    /// The start (`s`) of a new arrow, or its end (`f`), at the slice or mark that was written just
    /// before, on the same track and at the same time.
    fn arrow(&mut self, ph: &'static str, track: Track, at: u64) -> io::Result<()> {
        self.arrows += u64::from(ph == "s");
        let (id, bp) = (Some(self.arrows), (ph == "f").then_some("e"));
        self.event(&Event::<()> { cat: "fault", id, bp, ..Event::new(ph, "resolved", track, at) })
    }

    fn pages(&mut self, frames: &Frames) -> io::Result<()> {
        for frame in frames.each() {
            let allocated = u64::from(frame.change == Change::Allocated);
            self.most_free = self.most_free.max(frame.free.saturating_add(allocated));
            let args = Some(Pages { free: frame.free, used: self.most_free - frame.free });
            let track = (MACHINE, HARTS);
            self.event(&Event { args, ..Event::new("C", "pages", track, frame.at.ns) })?;
            if let Some(Run { ended: Some(ended), .. }) = self.run_of(&frame.at, &frames.who) {
                *ended = frame.at.ns.max(*ended);
            }
        }
        Ok(())
    }

    /// What the hart runs, if it is that process.
    fn run_of(&mut self, at: &Moment, who: &Who) -> Option<&mut Run> {
        self.running.get_mut(&at.hart).filter(|run| is_same(&run.who, who))
    }

    /// The hart on which a process is.
    fn hart_of(&self, who: &Who) -> Option<u32> {
        self.running.iter().find(|(_, run)| is_same(&run.who, who)).map(|(hart, _)| *hart)
    }

    /// Ends the slice of what the hart ran so far. It may have been idle for a while, but that
    /// is not recorded; what runs elsewhere now does not run here any more.
    fn switch(&mut self, at: &Moment, next: Option<&Who>) -> io::Result<()> {
        if let Some(hart) = next.and_then(|who| self.hart_of(who)).filter(|hart| *hart != at.hart) {
            self.switch(&Moment { hart, ..*at }, None)?;
        }
        let next = next.map(|who| Run { since: at.ns, who: who.clone(), ended: None });
        let last = match next {
            Some(next) => self.running.insert(at.hart, next),
            None => self.running.remove(&at.hart),
        };
        let Some(Run { since, who, ended }) = last else { return Ok(()) };
        let times = (since, ended.unwrap_or(at.ns));
        let args = json!({"pid": who.pid});
        self.slice((hart_track(at.hart), "running"), times, &process_name(&who), args)
    }

    fn fault(&mut self, fault: &Fault) -> io::Result<()> {
        let track = self.track(&fault.who)?;
        if fault.outcome == Outcome::Killed {
            let older = self.killed.insert(track.0, fault.clone()).map(|older| (track.0, older));
            // Without records of exits nothing else ends them.
            let full = self.killed.len() > MAX_KILLED;
            let older = older.or_else(|| if full { self.killed.pop_first() } else { None });
            return older.map_or(Ok(()), |(process, older)| {
                self.fault_slice(&older, (process, process), older.at.ns)
            });
        }
        let Some(end) = fault.returned else {
            return self.fault_slice(fault, track, fault.at.ns);
        };
        self.fault_slice(fault, track, end)?;
        self.arrow("s", track, fault.at.ns)?;
        let hart = hart_track(self.hart_of(&fault.who).unwrap_or(fault.at.hart));
        let args = json!({
            "process": process_name(&fault.who), "pid": fault.who.pid,
            "outcome": text::outcome(fault),
        });
        self.mark((hart, "resolved"), end, fault.outcome.name(), Some(args))?;
        self.arrow("f", hart, end)
    }

    fn fault_slice(&mut self, fault: &Fault, track: Track, end: u64) -> io::Result<()> {
        let name = format!("{} fault: {}", text::why(fault), fault.outcome.name());
        self.slice((track, "fault"), (fault.at.ns, end), &name, FaultArgs::new(fault))
    }

    fn exited(&mut self, at: &Moment, who: &Who, status: i32) -> io::Result<()> {
        let track = self.track(who)?;
        let fatal = self.killed.remove(&track.0);
        if let Some(fault) = &fatal {
            self.fault_slice(fault, track, at.ns)?;
            self.arrow("s", track, fault.at.ns)?;
        }
        self.mark((track, "process"), at.ns, &format!("exit {status}"), None)?;
        if fatal.is_some() {
            self.arrow("f", track, at.ns)?;
        }
        if let Some(run) = self.run_of(at, who) {
            run.ended = Some(at.ns);
        }
        Ok(())
    }

    fn execed(&mut self, at: &Moment, who: &Who) -> io::Result<()> {
        let (track, name) = (self.track(who)?, process_name(who));
        self.rename(track, &name)?;
        self.mark((track, "process"), at.ns, &format!("exec {name}"), None)?;
        if self.run_of(at, who).is_some() { self.switch(at, Some(who)) } else { Ok(()) }
    }

    fn machine(&mut self, kernel: &str, harts: u32) -> io::Result<()> {
        let machine = (MACHINE, HARTS);
        self.describe("process_name", machine, json!({"name": kernel}))?;
        self.describe("process_sort_index", machine, json!({"sort_index": -1}))?;
        (0..harts).try_for_each(|hart| {
            let name = json!({"name": format!("hart {hart}")});
            self.describe("thread_name", hart_track(hart), name)
        })
    }
}

impl<W: Write> Sink for Perfetto<W> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        match record {
            Record::Header { harts, kernel, .. } => self.machine(kernel, *harts),
            Record::Fault(fault) => self.fault(fault),
            Record::Frames(run) => self.pages(run),
            Record::ProcSwitched { at, who } => self.switch(at, Some(who)),
            Record::Forked { at, who, child } => {
                self.process_mark((at, who), "process", &format!("fork {child}"), None)
            }
            Record::Execed { at, who } => self.execed(at, who),
            Record::Exited { at, who, status } => self.exited(at, who, *status),
            Record::Syscall { at, who, number, call, result, returned, .. } => {
                let track = self.track(who)?;
                let name = call.clone().unwrap_or_else(|| format!("syscall {number}").into());
                let args = json!({"result": result.map(|value| value as i64)});
                let times = (at.ns, returned.unwrap_or(at.ns));
                self.slice((track, "syscall"), times, &name, args)
            }
            Record::Finding { at, who, check, message, place } => {
                let args = Some(json!({"at": place_text(place)}));
                self.process_mark((at, who), "finding", &format!("{check}: {message}"), args)
            }
            Record::Trapped { at, who, what, tval, place, .. } => {
                let args = json!({
                    "process": process_name(who), "pid": who.pid,
                    "tval": format!("{tval:#x}"), "at": place_text(place),
                });
                self.mark((hart_track(at.hart), "trap"), at.ns, what, Some(args))
            }
            Record::TlbMissed { at, who, access, va, cause } => {
                let args = json!({
                    "process": process_name(who), "pid": who.pid,
                    "access": text::access_word(*access), "va": format!("{va:#x}"),
                });
                let name = format!("TLB miss: {}", text::miss_word(*cause));
                self.mark((hart_track(at.hart), "tlb"), at.ns, &name, Some(args))
            }
            Record::TlbFlushed { at, entries, cause, .. } => {
                let name = format!("TLB flush: {}", text::miss_word(*cause));
                let args = json!({"entries": entries});
                self.mark((hart_track(at.hart), "tlb"), at.ns, &name, Some(args))
            }
            Record::Mark { at, who, values } => {
                self.process_mark((at, who), "mark", &format!("mark {values:x?}"), None)
            }
            Record::End { at, .. } => {
                let harts: Vec<u32> = self.running.keys().copied().collect();
                harts.iter().try_for_each(|hart| self.switch(&Moment { hart: *hart, ..*at }, None))
            }
            Record::Place { .. } | Record::TlbCounted { .. } | Record::Insn { .. } => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        for (process, fault) in std::mem::take(&mut self.killed) {
            self.fault_slice(&fault, (process, process), fault.at.ns)?;
        }
        self.out.write_all(if self.started { b"\n]\n" } else { b"[]\n" })?;
        self.out.flush()
    }
}

fn hart_track(hart: u32) -> Track {
    (MACHINE, HARTS + i64::from(hart))
}

fn process_name(who: &Who) -> Cow<'_, str> {
    match (who.name.as_deref().filter(|name| !name.is_empty()), who.pid) {
        (Some(name), _) => name.into(),
        (None, Some(pid)) => format!("pid {pid}").into(),
        (None, None) => format!("satp {:x}", who.satp).into(),
    }
}

fn place_text(place: &Place) -> String {
    let function = text::function(place);
    match (&place.file, place.line) {
        (Some(file), Some(line)) => format!("{function} {}:{line}", text::short_file(file)),
        _ => function,
    }
}

fn is_same(one: &Who, other: &Who) -> bool {
    if one.pid.is_some() { one.pid == other.pid } else { one.satp == other.satp }
}

/// Nanoseconds as the format's microseconds.
fn us(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::super::record::Frame;
    use super::*;

    fn events(records: &[Record]) -> Vec<Value> {
        let mut out = Perfetto::new(Vec::new());
        for record in records {
            out.record(record).expect("a vector takes everything");
        }
        out.finish().expect("a vector takes everything");
        let mut events: Vec<Value> = serde_json::from_slice(&out.out).expect("a list");
        // As the viewers do it: descriptions hold from the beginning, the rest is in order of time.
        events.sort_by(|a, b| {
            let key = |event: &Value| {
                let dur = event["dur"].as_f64().unwrap_or(-1.0);
                (event["ts"].as_f64().expect("a number"), -dur)
            };
            key(a).partial_cmp(&key(b)).expect("numbers")
        });
        events
    }

    fn name(event: &Value) -> &str {
        event["name"].as_str().expect("a name")
    }

    fn thread(event: &Value) -> Track {
        let number = |key: &str| event[key].as_i64().expect("a number");
        (number("pid"), number("tid"))
    }

    /// From where to where arrows lead: an end belongs to the slice that began last on its track.
    fn arrows(events: &[Value]) -> Vec<(Track, &str, Track, &str)> {
        let (mut latest, mut from, mut found) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for event in events {
            let track = thread(event);
            match event["ph"].as_str() {
                Some("X" | "i") => drop(latest.insert(track, name(event))),
                Some("s") => drop(from.insert(event["id"].to_string(), (track, latest[&track]))),
                Some("f") => {
                    let (start, what) = from[&event["id"].to_string()];
                    assert_eq!(event["bp"], "e", "without it an end belongs to the next slice");
                    found.push((start, what, track, latest[&track]));
                }
                _ => {}
            }
        }
        found
    }

    fn later(at: Moment, ns: u64, hart: u32) -> Moment {
        Moment { ns: at.ns + ns, hart, ..at }
    }

    #[test]
    fn faults_that_end_processes_do_not_wait_for_ever() {
        let mut out = Perfetto::new(Vec::new());
        let most = MAX_KILLED as i32;
        for pid in 1..=2 * most {
            let who = Who { pid: Some(pid), name: None, satp: 0 };
            let fault = Fault { who, outcome: Outcome::Killed, ..text::tests::sample() };
            out.record(&Record::Fault(fault)).expect("a vector takes everything");
        }
        assert_eq!(out.killed.len(), MAX_KILLED);
        out.finish().expect("a vector takes everything");
        let written: Vec<Value> = serde_json::from_slice(&out.out).expect("a list");
        assert_eq!(written.iter().filter(|event| event["ph"] == "X").count(), 2 * MAX_KILLED);
    }

    #[test]
    fn an_arrow_leads_from_a_fault_to_the_hart_on_which_its_process_goes_on() {
        let fault = text::tests::sample();
        let (at, who, place) = (fault.at, fault.who.clone(), fault.place.clone());
        let other = Who { pid: Some(6), name: Some("wc".into()), satp: 2 };
        let events = events(&[
            Record::ProcSwitched { at: Moment::default(), who: who.clone() },
            Record::ProcSwitched { at: later(at, 100, 0), who: other },
            Record::ProcSwitched { at: later(at, 200, 1), who: who.clone() },
            Record::Trapped { at, who, cause: 15, what: "trap".into(), tval: 1, place },
            Record::Fault(fault),
            Record::End { at: later(at, 5000, 0), status: 0, fault_traps: 1, free: None },
        ]);
        let arrow = ((5, 5), "cow fault: copied", hart_track(1), "copied");
        assert_eq!(arrows(&events), [arrow], "{events:?}");
        let runs = |event: &&Value| event["cat"] == "running";
        let runs: Vec<_> = events.iter().filter(runs).map(|run| (thread(run), name(run))).collect();
        assert_eq!(runs, [(hart_track(0), "sh"), (hart_track(0), "wc"), (hart_track(1), "sh")]);
        let fault = events.iter().find(|event| event["cat"] == "fault").expect("a slice");
        assert_eq!((&fault["ts"], &fault["dur"]), (&json!(412_331.0), &json!(0.412)));
        assert_eq!(fault["args"]["outcome"], "copied 87f5b>87e21 rc 2>1");
        assert_eq!(fault["args"]["va"], "0x3f58");
    }

    #[test]
    fn an_arrow_leads_from_a_deadly_fault_to_the_exit() {
        let fault = Fault { outcome: Outcome::Killed, returned: None, ..text::tests::sample() };
        let (at, who) = (fault.at, fault.who.clone());
        let exit = Record::Exited { at: later(at, 2000, 0), who: who.clone(), status: -1 };
        let run = Record::ProcSwitched { at, who: who.clone() };
        let frame = Frame { pa: 0, insns: 1, ns: 10, caller: 0, change: Change::Freed };
        let (callers, frames) = (vec![], vec![frame]);
        let freed =
            Record::Frames(Frames { at: later(at, 2990, 0), who, free: 9, callers, frames });
        let end = Record::End { at: later(at, 9000, 0), status: 0, fault_traps: 1, free: None };
        let records = [run, Record::Fault(fault), exit, freed, end];
        let ended = events(&records);
        assert_eq!(arrows(&ended), [((5, 5), "rdonly fault: killed", (5, 5), "exit -1")]);
        let slices = |events: &[Value]| {
            let slices = events.iter().filter(|event| event["ph"] == "X");
            slices.map(|event| event["dur"].as_f64()).collect::<Vec<_>>()
        };
        // That of the hart, which frees the process's pages and then is idle, and the fault's.
        assert_eq!(slices(&ended), [Some(3.0), Some(2.0)], "{ended:?}");
        let cut = events(&records[..2]);
        assert!(arrows(&cut).is_empty());
        assert_eq!(slices(&cut), [Some(0.0)], "{cut:?}");
    }

    #[test]
    fn every_track_has_a_name_and_none_is_the_idle_task() {
        let (at, kernel) = (later(Moment::default(), 1, 1), "kernel".to_owned());
        let who = |name: &str| Who { pid: Some(1), name: Some(name.into()), satp: 1 };
        let events = events(&[
            Record::Header { version: 0, kernel, harts: 2, ram: 0, ram_start: 0 },
            Record::ProcSwitched { at, who: who("") },
            Record::Execed { at: later(at, 9, 1), who: who("init") },
            Record::Execed { at: later(at, 19, 1), who: who("sh") },
            Record::End { at: later(at, 29, 0), status: 0, fault_traps: 0, free: None },
        ]);
        let mut names = BTreeMap::new();
        for event in events.iter().filter(|event| event["ph"] == "M") {
            let (process, thread) = thread(event);
            let key = if name(event) == "thread_name" { thread } else { -process };
            // The last one counts.
            if let Some(name) = event["args"]["name"].as_str() {
                names.insert(key, name.to_owned());
            }
        }
        let expected = [(-1, "sh"), (0, "kernel"), (1, "sh"), (1000, "hart 0"), (1001, "hart 1")];
        let expected = expected.map(|(key, name)| (key, name.to_owned()));
        assert_eq!(names, BTreeMap::from(expected));
        assert!(events.iter().all(|event| thread(event).1 != 0), "{events:?}");
        let runs = events.iter().filter(|event| event["cat"] == "running").map(name);
        assert_eq!(runs.collect::<Vec<_>>(), ["pid 1", "init", "sh"]);
    }

    #[test]
    fn pages_are_free_or_used() {
        let (at, who) = (Moment::default(), Who::default());
        let frame = |change| Frame { pa: 0, insns: 1, ns: 10, caller: 0, change };
        let frames = [Change::Allocated, Change::Allocated, Change::Freed].map(frame).to_vec();
        let events =
            events(&[Record::Frames(Frames { at, who, free: 99, callers: vec![], frames })]);
        let counts = events.iter().map(|event| (event["ts"].as_f64(), &event["args"]));
        let pages = |free: u64, used: u64| json!({"free": free, "used": used});
        let expected = [(0.01, pages(99, 1)), (0.02, pages(98, 2)), (0.03, pages(99, 1))];
        let expected = expected.each_ref().map(|(ts, args)| (Some(*ts), args));
        assert_eq!(counts.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_was_cut_off_after_a_line_lacks_only_the_end_of_the_list() {
        let mut out = Perfetto::new(Vec::new());
        for _ in 0..3 {
            out.record(&Record::Fault(text::tests::sample())).expect("a vector");
        }
        let text = String::from_utf8(out.out).expect("UTF-8");
        let (first, rest) = text.split_once('\n').expect("lines");
        assert_eq!(first, "[");
        for line in rest.lines() {
            let event: Value = serde_json::from_str(line.trim_end_matches(',')).expect(line);
            assert!(event["ph"].is_string(), "{line}");
        }
    }
}
