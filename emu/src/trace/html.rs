//! The report: one HTML file with its figures, data and code in it, for any browser, offline.
//!
//! This file gathers what the figures need, in bounded memory: long runs are thinned evenly, the
//! totals stay exact. `report/report.js` draws.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::record::{Fault, Frame, MissCause, Moment, Outcome, Record, Who};
use super::sink::Sink;

/// Points that a figure keeps at the most.
const MAX_POINTS: usize = 60_000;
/// Source lines in the table of code sites.
const TOP_LINES: usize = 12;

/// A series that keeps every point until there are too many, then every second, every fourth …
#[derive(Serialize)]
#[serde(transparent)]
struct Thinned<T> {
    points: Vec<T>,
    #[serde(skip)]
    stride: u64,
    #[serde(skip)]
    seen: u64,
}

impl<T> Thinned<T> {
    fn new() -> Thinned<T> {
        Thinned { points: Vec::new(), stride: 1, seen: 0 }
    }

    fn push(&mut self, point: T) {
        if self.seen.is_multiple_of(self.stride) {
            self.points.push(point);
        }
        self.seen += 1;
        if self.points.len() > MAX_POINTS {
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
        }
    }
}

/// A fault in the reference plot: time in microseconds, page, process, outcome, cost.
#[derive(Serialize)]
struct FaultPoint(f64, u64, i64, usize, Option<u64>);

/// A frame event: time in microseconds, frame number, process (0 when it was freed).
#[derive(Serialize)]
struct FramePoint(f64, u64, i64);

/// A mark on the time axis.
#[derive(Serialize)]
struct Mark {
    us: f64,
    pid: Option<i32>,
    text: String,
}

/// A process in the fork tree.
#[derive(Default, Serialize)]
struct Process {
    name: String,
    parent: Option<i64>,
    born: f64,
    ended: Option<f64>,
    status: Option<i32>,
    faults: u64,
    zeroed: u64,
    copied: u64,
    kept: u64,
    joined: u64,
    killed: u64,
}

/// A code site with its source line.
#[derive(Clone, Default, Serialize)]
struct Site {
    function: String,
    place: String,
    code: String,
    faults: u64,
    insns: u64,
}

#[derive(Serialize)]
struct Totals {
    kernel: String,
    harts: u32,
    insns: u64,
    us: f64,
    faults: u64,
    fault_insns: u64,
    fault_traps: u64,
    ram_start: u64,
    ram: u64,
}

/// Everything that the figures draw.
#[derive(Serialize)]
struct Data {
    totals: Totals,
    outcomes: Vec<&'static str>,
    free: Thinned<(f64, u64)>,
    faults: Thinned<FaultPoint>,
    frames: Thinned<FramePoint>,
    marks: Thinned<Mark>,
    processes: BTreeMap<i64, Process>,
    costs: BTreeMap<u32, u64>,
    misses: BTreeMap<MissCause, u64>,
    findings: Vec<String>,
    sites: Vec<Site>,
}

/// Gathers a trace and writes the report when it is over.
pub struct Html<W: Write> {
    out: W,
    data: Data,
    sites: BTreeMap<(Option<String>, Option<u32>, String), Site>,
    written: bool,
}

impl<W: Write> Html<W> {
    /// Writes to `out` at the end.
    pub fn new(out: W) -> Html<W> {
        let totals = Totals {
            kernel: String::new(),
            harts: 0,
            insns: 0,
            us: 0.0,
            faults: 0,
            fault_insns: 0,
            fault_traps: 0,
            ram_start: 0,
            ram: 0,
        };
        let data = Data {
            totals,
            outcomes: Vec::new(),
            free: Thinned::new(),
            faults: Thinned::new(),
            frames: Thinned::new(),
            marks: Thinned::new(),
            processes: BTreeMap::new(),
            costs: BTreeMap::new(),
            misses: BTreeMap::new(),
            findings: Vec::new(),
            sites: Vec::new(),
        };
        Html { out, data, sites: BTreeMap::new(), written: false }
    }

    fn process(&mut self, who: &Who) -> &mut Process {
        let process = self.data.processes.entry(key(who)).or_default();
        if let Some(name) = &who.name {
            process.name.clone_from(name);
        } else if process.name.is_empty() {
            process.name = format!("satp {:x}", who.satp);
        }
        process
    }

    fn fault(&mut self, fault: &Fault) {
        let name = fault.outcome.name();
        let known = self.data.outcomes.iter().position(|other| *other == name);
        let outcome = known.unwrap_or_else(|| {
            self.data.outcomes.push(name);
            self.data.outcomes.len() - 1
        });
        let point = FaultPoint(us(&fault.at), fault.va >> 12, key(&fault.who), outcome, fault.cost);
        self.data.faults.push(point);
        self.data.totals.faults += 1;
        let cost = fault.cost.unwrap_or(0);
        self.data.totals.fault_insns += cost;
        if fault.cost.is_some() {
            *self.data.costs.entry(cost.max(1).ilog2()).or_default() += 1;
        }
        let process = self.process(&fault.who);
        process.faults += 1;
        match fault.outcome {
            Outcome::Zeroed { .. } | Outcome::Filled { .. } => process.zeroed += 1,
            Outcome::Copied { .. } => process.copied += 1,
            Outcome::MadeWritable { .. } => process.kept += 1,
            Outcome::Joined { .. } => process.joined += 1,
            Outcome::Killed => process.killed += 1,
            _ => {}
        }
        let place = &fault.place;
        let function = place.function.clone().unwrap_or_else(|| format!("{:#x}", place.pc));
        let site =
            self.sites.entry((place.file.clone(), place.line, function.clone())).or_default();
        site.function = function;
        site.faults += 1;
        site.insns += cost;
    }

    fn frame(&mut self, frame: &Frame, owner: i64) {
        self.data.free.push((us(&frame.at), frame.free));
        self.data.frames.push(FramePoint(us(&frame.at), frame.pa >> 12, owner));
    }

    fn mark(&mut self, at: &Moment, who: &Who, text: String) {
        self.data.marks.push(Mark { us: us(at), pid: who.pid, text });
    }

    /// The most frequent code sites, with the text of their source lines where those are there.
    fn top_sites(&self) -> Vec<Site> {
        let mut sites: Vec<_> = self.sites.iter().collect();
        sites.sort_by(|a, b| b.1.faults.cmp(&a.1.faults).then(a.0.cmp(b.0)));
        sites.truncate(TOP_LINES);
        let with_code =
            |((file, line, _), site): (&(Option<String>, Option<u32>, String), &Site)| {
                let mut site = site.clone();
                if let (Some(file), Some(line)) = (file, line) {
                    site.place = format!("{file}:{line}");
                    let text = std::fs::read_to_string(file).unwrap_or_default();
                    let code = text.lines().nth(line.saturating_sub(1) as usize);
                    site.code = code.unwrap_or_default().trim().to_owned();
                }
                site
            };
        sites.into_iter().map(with_code).collect()
    }
}

impl<W: Write> Sink for Html<W> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        if let Some(at) = record.at() {
            self.data.totals.insns = self.data.totals.insns.max(at.insns);
            self.data.totals.us = self.data.totals.us.max(us(&at));
        }
        match record {
            Record::Header { kernel, harts, ram, ram_start, .. } => {
                let totals = &mut self.data.totals;
                totals.kernel.clone_from(kernel);
                (totals.harts, totals.ram, totals.ram_start) = (*harts, *ram, *ram_start);
            }
            Record::Fault(fault) => self.fault(fault),
            Record::FrameAllocated(frame) => self.frame(frame, key(&frame.who)),
            Record::FrameFreed(frame) => self.frame(frame, 0),
            Record::Forked { at, who, child } => {
                self.process(who);
                let name = who.name.clone().unwrap_or_default();
                let parent = Some(key(who));
                let born = us(at);
                let process = Process { name, parent, born, ..Process::default() };
                self.data.processes.insert(i64::from(*child), process);
                self.mark(at, who, format!("fork {child}"));
            }
            Record::Execed { at, who } => {
                self.process(who);
                self.mark(at, who, format!("exec {}", who.name.as_deref().unwrap_or("?")));
            }
            Record::Exited { at, who, status } => {
                let process = self.process(who);
                (process.ended, process.status) = (Some(us(at)), Some(*status));
                self.mark(at, who, format!("exit {status}"));
            }
            Record::TlbMissed { cause, .. } => *self.data.misses.entry(*cause).or_default() += 1,
            Record::Finding { check, message, .. } if self.data.findings.len() < 100 => {
                self.data.findings.push(format!("{check}: {message}"));
            }
            Record::End { fault_traps, .. } => self.data.totals.fault_traps = *fault_traps,
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.written, true) {
            return Ok(());
        }
        self.data.sites = self.top_sites();
        // Inside a script element only `<` could end it early.
        let json = serde_json::to_string(&self.data)?.replace('<', "\\u003c");
        let page = include_str!("report/report.html")
            .replace("/*STYLE*/", include_str!("report/report.css"))
            .replace("/*CODE*/", include_str!("report/report.js"))
            .replace("/*DATA*/", &json);
        self.out.write_all(page.as_bytes())?;
        self.out.flush()
    }
}

/// What stands for a process in the figures: its pid, else its address space.
fn key(who: &Who) -> i64 {
    who.pid.map_or_else(|| -((who.satp & 0xfff_ffff) as i64), i64::from)
}

fn us(at: &Moment) -> f64 {
    at.ns as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_series_are_thinned_evenly() {
        let mut series = Thinned::new();
        (0..10 * MAX_POINTS as u64).for_each(|i| series.push(i));
        assert!(series.points.len() <= MAX_POINTS);
        assert!(series.points.windows(2).all(|pair| pair[1] - pair[0] == series.stride));
    }

    #[test]
    fn names_from_the_guest_cannot_end_the_script() {
        let mut html = Html::new(Vec::new());
        let mut fault = super::super::text::tests::sample();
        fault.who.name = Some("</script><b>".into());
        html.record(&Record::Fault(fault)).expect("a vector takes everything");
        html.finish().expect("a vector takes everything");
        let page = String::from_utf8(html.out).expect("text");
        assert!(page.contains("\\u003c/script>\\u003cb>"));
        assert_eq!(page.matches("</script>").count(), 2);
        assert!(!page.contains("http://") || page.contains("http://www.w3.org"));
    }
}
