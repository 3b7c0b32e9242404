//! The report: one HTML file with its figures, data and code in it, for any browser, offline.
//!
//! This file gathers what the figures need, in bounded memory: long runs are thinned evenly, the
//! totals stay exact. `report/report.js` draws.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::record::{Change, Changed, Fault, Frames, MissCause, Moment, Outcome, Record, Who};
use super::series::{Bins, Merge, Thinned};
use super::sink::Sink;
use super::sites::Sites;
use super::text;

/// Stretches into which a curve is divided.
const FINE: usize = 1200;
/// Stretches into which the frame map is divided.
const COARSE: usize = 128;
/// Processes in the fork tree, and what stands for the others.
const MAX_PROCESSES: usize = 1 << 14;
const OTHERS: i64 = -1 << 40;
/// Source lines in the table of code sites.
const TOP_LINES: usize = 12;

/// A fault in the reference plot: when, page, process, outcome.
#[derive(Serialize)]
struct FaultPoint(u64, u64, i64, usize);

/// Free pages in a stretch of the run: fewest, most, last.
#[derive(Clone, Copy, Serialize)]
struct Free(u64, u64, u64);

impl Merge for Free {
    fn merge(&mut self, later: Free) {
        *self = Free(self.0.min(later.0), self.1.max(later.1), later.2);
    }
}

/// Faults in a stretch of the run, by outcome.
impl Merge for BTreeMap<usize, u64> {
    fn merge(&mut self, later: BTreeMap<usize, u64>) {
        later.into_iter().for_each(|(outcome, count)| *self.entry(outcome).or_default() += count);
    }
}

/// Frames that changed hands in a stretch of the run, and whose they then were (0: free).
#[derive(Default)]
struct Owners(BTreeMap<u64, i64>);

impl Merge for Owners {
    fn merge(&mut self, mut later: Owners) {
        self.0.append(&mut later.0);
    }

    fn weight(&self) -> usize {
        self.0.len()
    }
}

impl Serialize for Owners {
    /// As a flat list: frame, owner, frame, owner …
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.0.iter().flat_map(|(frame, owner)| [*frame as i64, *owner]))
    }
}

/// A mark on the time axis.
#[derive(Serialize)]
struct Mark {
    t: u64,
    pid: Option<i32>,
    text: String,
}

/// A process in the fork tree.
#[derive(Default, Serialize)]
struct Process {
    name: String,
    parent: Option<i64>,
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

/// A modelled TLB: its size, and misses of instruction and data accesses.
#[derive(Serialize)]
struct Tlb {
    config: String,
    insts: u64,
    data: u64,
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
pub struct Data {
    totals: Totals,
    outcomes: Vec<&'static str>,
    free: Bins<Free>,
    faults: Thinned<FaultPoint>,
    counts: Bins<BTreeMap<usize, u64>>,
    frames: Bins<Owners>,
    marks: Thinned<Mark>,
    processes: BTreeMap<i64, Process>,
    costs: BTreeMap<u32, u64>,
    misses: BTreeMap<MissCause, u64>,
    tlbs: Vec<Tlb>,
    findings: Vec<String>,
    sites: Vec<Site>,
}

/// Gathers a trace and writes the report when it is over.
pub struct Html<W: Write> {
    out: W,
    data: Data,
    sites: Sites<(u64, u64)>,
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
            free: Bins::new(FINE),
            faults: Thinned::new(),
            counts: Bins::new(FINE),
            frames: Bins::new(COARSE),
            marks: Thinned::new(),
            processes: BTreeMap::new(),
            costs: BTreeMap::new(),
            misses: BTreeMap::new(),
            tlbs: Vec::new(),
            findings: Vec::new(),
            sites: Vec::new(),
        };
        Html { out, data, sites: Sites::default(), written: false }
    }

    /// What was gathered.
    pub fn into_data(mut self) -> Data {
        self.data.sites = self.top_sites();
        self.data
    }

    fn process(&mut self, who: &Who) -> &mut Process {
        let full = self.data.processes.len() >= MAX_PROCESSES;
        if full && !self.data.processes.contains_key(&key(who)) {
            let others = self.data.processes.entry(OTHERS).or_default();
            "others".clone_into(&mut others.name);
            return others;
        }
        let process = self.data.processes.entry(key(who)).or_default();
        if let Some(name) = &who.name {
            name.as_ref().clone_into(&mut process.name);
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
        let at = fault.at.insns;
        self.data.faults.push(FaultPoint(at, fault.va >> 12, key(&fault.who), outcome));
        self.data.counts.add(at, BTreeMap::from([(outcome, 1)]));
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
        if let Some(site) = self.sites.at(&fault.place) {
            (site.0, site.1) = (site.0 + 1, site.1 + cost);
        }
    }

    fn frames(&mut self, run: &Frames) {
        for Changed { pa, change, at, free, .. } in run.each() {
            let owner = match change {
                Change::Allocated => key(&run.who),
                Change::Freed => 0,
            };
            self.data.free.add(at.insns, Free(free, free, free));
            self.data.frames.add(at.insns, Owners(BTreeMap::from([(pa >> 12, owner)])));
        }
    }

    fn mark(&mut self, at: &Moment, who: &Who, text: String) {
        self.data.marks.push(Mark { t: at.insns, pid: who.pid, text });
    }

    /// The most frequent code sites, with the text of their source lines where those are there.
    fn top_sites(&self) -> Vec<Site> {
        let mut lines: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        for (place, (faults, insns)) in self.sites.iter() {
            let function = place.function.clone().unwrap_or_else(|| format!("{:#x}", place.pc));
            let path = (place.dir.as_deref(), place.file.as_deref());
            let line = lines.entry((path, place.line, function)).or_default();
            *line = (line.0 + faults, line.1 + insns);
        }
        let mut lines: Vec<_> = lines.into_iter().collect();
        lines.sort_by_key(|(_, (faults, _))| std::cmp::Reverse(*faults));
        lines.truncate(TOP_LINES);
        let with_code = |(((dir, file), line, function), (faults, insns))| {
            let mut site = Site { function, faults, insns, ..Site::default() };
            if let (Some(file), Some(line)) = (file, line) {
                site.place = format!("{}:{line}", text::short_file(file));
                site.code = source_line(dir, file, line).unwrap_or_default();
            }
            site
        };
        lines.into_iter().map(with_code).collect()
    }
}

/// A line of a source file, if the file is where it was when the program was built.
fn source_line(dir: Option<&str>, file: &str, line: u32) -> Option<String> {
    let path = Path::new(dir.unwrap_or_default()).join(file);
    let text = std::fs::read_to_string(path).ok()?;
    let code = text.lines().nth((line as usize).checked_sub(1)?)?;
    Some(code.trim().to_owned())
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
            Record::Frames(run) => self.frames(run),
            Record::Forked { at, who, child } => {
                self.process(who);
                // The child may have run already.
                let known = self.data.processes.contains_key(&i64::from(*child));
                if known || self.data.processes.len() < MAX_PROCESSES {
                    let process = self.data.processes.entry(i64::from(*child)).or_default();
                    process.parent = Some(key(who));
                    if process.name.is_empty() {
                        who.name.as_deref().unwrap_or_default().clone_into(&mut process.name);
                    }
                }
                self.mark(at, who, format!("fork {child}"));
            }
            Record::Execed { at, who } => {
                self.process(who);
                self.mark(at, who, format!("exec {}", who.name.as_deref().unwrap_or("?")));
            }
            Record::Exited { at, who, status } => {
                let process = self.process(who);
                process.status = Some(*status);
                self.mark(at, who, format!("exit {status}"));
            }
            Record::TlbCounted { config, insts, data, .. } => {
                let (config, insts, data) = (config.clone(), insts.misses(), data.misses());
                self.data.tlbs.push(Tlb { config, insts, data });
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
        self.out.write_all(page(&[&self.data], "")?.as_bytes())?;
        self.out.flush()
    }
}

/// The page for one run, or for two beside each other with what they have in common in words.
pub fn page(runs: &[&Data], comparison: &str) -> io::Result<String> {
    // Inside a script element only `<` could end it early.
    let json = serde_json::to_string(runs)?.replace('<', "\\u003c");
    let comparison = comparison.replace('&', "&amp;").replace('<', "&lt;");
    Ok(include_str!("report/report.html")
        .replace("/*STYLE*/", include_str!("report/report.css"))
        .replace("/*CODE*/", include_str!("report/report.js"))
        .replace("<!--COMPARISON-->", &comparison)
        .replace("/*DATA*/", &json))
}

/// What stands for a process in the figures: its pid, else its address space; never 0.
fn key(who: &Who) -> i64 {
    who.pid.map_or_else(|| -1 - ((who.satp & 0xfff_ffff) as i64), i64::from)
}

fn us(at: &Moment) -> f64 {
    at.ns as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::record::Frame;

    #[test]
    fn a_child_that_runs_before_its_fork_returns_keeps_what_it_did() {
        let mut html = Html::new(Vec::new());
        let fault = text::tests::sample();
        let (at, parent) = (fault.at, Who { pid: Some(2), ..fault.who.clone() });
        for record in [Record::Fault(fault), Record::Forked { at, who: parent, child: 5 }] {
            html.record(&record).expect("a vector takes everything");
        }
        let child = &html.into_data().processes[&5];
        assert_eq!((child.name.as_str(), child.parent, child.faults), ("sh", Some(2), 1));
    }

    #[test]
    fn the_kernels_first_frames_are_somebodys() {
        let frame = Frame { pa: 4096, insns: 0, ns: 0, caller: 0, change: Change::Allocated };
        let mut html = Html::new(Vec::new());
        html.frames(&Frames { frames: vec![frame], ..Frames::default() });
        let owners = serde_json::to_string(&html.into_data().frames).expect("plain data");
        assert!(owners.ends_with("[1,-1]]]"), "{owners}");
    }

    #[test]
    fn names_from_the_guest_cannot_end_the_script() {
        let mut html = Html::new(Vec::new());
        let mut fault = text::tests::sample();
        fault.who.name = Some("</script><b>".into());
        html.record(&Record::Fault(fault)).expect("a vector takes everything");
        html.finish().expect("a vector takes everything");
        let page = String::from_utf8(html.out).expect("text");
        assert!(page.contains("\\u003c/script>\\u003cb>"));
        assert_eq!(page.matches("</script>").count(), 2);
        assert!(!page.contains("http://") || page.contains("http://www.w3.org"));
    }
}
