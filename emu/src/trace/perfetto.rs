//! The timeline output: Chrome's JSON trace format, which ui.perfetto.dev and chrome://tracing
//! open.
//!
//! One group of tracks for the harts (which process runs where), one track for every process
//! (its faults and system calls as slices, fork, exec and exit as marks), a counter of free
//! pages, and an arrow from each fault to the place where its process goes on. Source: the
//! "Trace Event Format" document; times are microseconds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde_json::{Value, json};

use super::record::{Fault, Moment, Record, Who};
use super::sink::Sink;
use super::text;

/// The group of the hart tracks; guests number processes from 1.
const HARTS: i64 = 0;

/// Writes the timeline as it happens; memory is bounded by harts and processes.
pub struct Perfetto<W: Write> {
    out: W,
    started: bool,
    running: BTreeMap<u32, (Moment, Who)>,
    named: BTreeSet<i64>,
    flows: u64,
}

impl<W: Write> Perfetto<W> {
    /// Writes to `out`, which should be buffered.
    pub fn new(out: W) -> Perfetto<W> {
        Perfetto { out, started: false, running: BTreeMap::new(), named: BTreeSet::new(), flows: 0 }
    }

    fn event(&mut self, event: &Value) -> io::Result<()> {
        self.out.write_all(if self.started { b",\n" } else { b"{\"traceEvents\":[\n" })?;
        self.started = true;
        serde_json::to_writer(&mut self.out, event)?;
        Ok(())
    }

    /// The track of a process; the first event on it carries its name.
    fn track(&mut self, who: &Who) -> io::Result<i64> {
        let track = who.pid.map_or_else(|| (who.satp & 0xfff_ffff) as i64, i64::from);
        if self.named.insert(track) {
            let name = match (&who.name, who.pid) {
                (Some(name), Some(pid)) => format!("{name} (pid {pid})"),
                _ => format!("satp {:x}", who.satp),
            };
            self.rename(track, &name)?;
        }
        Ok(track)
    }

    fn rename(&mut self, track: i64, name: &str) -> io::Result<()> {
        self.event(
            &json!({"ph": "M", "name": "process_name", "pid": track, "args": {"name": name}}),
        )
    }

    fn slice(
        &mut self,
        track: i64,
        at: &Moment,
        ns: u64,
        name: &str,
        args: Value,
    ) -> io::Result<()> {
        self.event(&json!({
            "ph": "X", "pid": track, "tid": track, "ts": us(at.ns), "dur": us(ns),
            "name": name, "args": args,
        }))
    }

    fn mark(&mut self, at: &Moment, who: &Who, name: &str) -> io::Result<()> {
        let track = self.track(who)?;
        self.event(&json!({
            "ph": "i", "s": "p", "pid": track, "tid": track, "ts": us(at.ns), "name": name,
        }))
    }

    fn free_pages(&mut self, at: &Moment, free: u64) -> io::Result<()> {
        self.event(&json!({
            "ph": "C", "pid": HARTS, "ts": us(at.ns), "name": "free pages",
            "args": {"pages": free},
        }))
    }

    /// Ends the slice of what the hart ran so far.
    fn switch(&mut self, at: &Moment, next: Option<&Who>) -> io::Result<()> {
        let last = match next {
            Some(who) => self.running.insert(at.hart, (*at, who.clone())),
            None => self.running.remove(&at.hart),
        };
        let Some((since, who)) = last else { return Ok(()) };
        let name =
            who.name.as_deref().map_or_else(|| format!("satp {:x}", who.satp), str::to_owned);
        self.event(&json!({
            "ph": "X", "pid": HARTS, "tid": at.hart, "ts": us(since.ns),
            "dur": us(at.ns.saturating_sub(since.ns)), "name": name, "args": {"pid": who.pid},
        }))
    }

    fn fault(&mut self, fault: &Fault) -> io::Result<()> {
        let track = self.track(&fault.who)?;
        let name = format!("{} {:#x}", text::why(fault), fault.va);
        let end = fault.returned.unwrap_or(fault.at.ns);
        let args = json!({
            "access": text::access_word(fault.access), "va": format!("{:#x}", fault.va),
            "outcome": fault.outcome, "at": text::function(&fault.place),
            "insns": fault.cost, "free": fault.free,
        });
        self.slice(track, &fault.at, end.saturating_sub(fault.at.ns), &name, args)?;
        if fault.returned.is_some() {
            self.flows += 1;
            for (phase, ts) in [("s", fault.at.ns), ("f", end)] {
                self.event(&json!({
                    "ph": phase, "bp": "e", "id": self.flows, "pid": track, "tid": track,
                    "ts": us(ts), "cat": "fault", "name": "resolved",
                }))?;
            }
        }
        Ok(())
    }
}

impl<W: Write> Sink for Perfetto<W> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        match record {
            Record::Header { harts, kernel, .. } => {
                self.rename(HARTS, &format!("harts of {kernel}"))?;
                (0..*harts).try_for_each(|hart| {
                    self.event(&json!({
                        "ph": "M", "name": "thread_name", "pid": HARTS, "tid": hart,
                        "args": {"name": format!("hart {hart}")},
                    }))
                })
            }
            Record::Fault(fault) => self.fault(fault),
            Record::Frames(run) => {
                run.each().try_for_each(|frame| self.free_pages(&frame.at, frame.free))
            }
            Record::ProcSwitched { at, who } => self.switch(at, Some(who)),
            Record::Forked { at, who, child } => self.mark(at, who, &format!("fork {child}")),
            Record::Execed { at, who } => {
                let track = self.track(who)?;
                let name = who.name.as_deref().unwrap_or("?");
                self.rename(track, &format!("{name} (pid {track})"))?;
                self.mark(at, who, &format!("exec {name}"))
            }
            Record::Exited { at, who, status } => self.mark(at, who, &format!("exit {status}")),
            Record::Syscall { at, who, number, call, result, returned, .. } => {
                let track = self.track(who)?;
                let name = call.clone().unwrap_or_else(|| format!("syscall {number}").into());
                let args = json!({"result": result.map(|value| value as i64)});
                let end = returned.unwrap_or(at.ns);
                self.slice(track, at, end.saturating_sub(at.ns), &name, args)
            }
            Record::Finding { at, who, check, message, .. } => {
                self.mark(at, who, &format!("{check}: {message}"))
            }
            Record::Mark { at, who, values } => self.mark(at, who, &format!("mark {values:x?}")),
            Record::End { at, .. } => {
                let harts: Vec<u32> = self.running.keys().copied().collect();
                harts.iter().try_for_each(|hart| self.switch(&Moment { hart: *hart, ..*at }, None))
            }
            Record::Place { .. }
            | Record::Trapped { .. }
            | Record::TlbMissed { .. }
            | Record::TlbFlushed { .. }
            | Record::TlbCounted { .. }
            | Record::Insn { .. } => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        // The format allows the closing bracket to be missing, so a cut-off file opens as well.
        let end: &[u8] = if self.started { b"\n]}\n" } else { b"{\"traceEvents\":[]}\n" };
        self.out.write_all(end)?;
        self.out.flush()
    }
}

/// Nanoseconds as the format's microseconds.
fn us(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_is_one_json_object_with_slices_and_arrows() {
        let fault = text::tests::sample();
        let (at, who) = (fault.at, fault.who.clone());
        let mut out = Perfetto::new(Vec::new());
        for record in [
            Record::ProcSwitched { at, who: who.clone() },
            Record::Fault(fault),
            Record::ProcSwitched { at: Moment { ns: at.ns + 5000, ..at }, who },
        ] {
            out.record(&record).expect("a vector takes everything");
        }
        out.finish().expect("a vector takes everything");
        let json: Value = serde_json::from_slice(&out.out).expect("valid JSON");
        let events = json["traceEvents"].as_array().expect("a list");
        let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
        assert_eq!((of("X"), of("s"), of("f")), (2, 1, 1), "{json}");
        let hart = events.iter().find(|event| event["pid"] == 0).expect("a hart's slice");
        assert_eq!((hart["name"].as_str(), hart["dur"].as_f64()), (Some("sh"), Some(5.0)));
    }
}
