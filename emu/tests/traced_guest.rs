//! The trace of the in-tree guest against what the guest says itself, and against a run without
//! a trace.

mod common;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use abi::hint::{FaultClass, Hint};
use common::guest::{self, run};
use emu::cli::args::Args;
use emu::cli::watch;
use emu::events::{Events, NoEvents, View};
use emu::inspect::Inspect;
use emu::machine::Machine;
use emu::mmu::Fault;
use emu::trace::observer::{Observer, Watch};
use emu::trace::record::{Outcome, Record, Via};
use emu::trace::sink::read_jsonl;
use isa::Priv;
use isa::trap::{Cause, Exception};

/// The tracer, and counts of our own beside it.
struct Both {
    observer: Observer<false>,
    /// Page-fault traps.
    traps: u64,
    /// What the kernel called each fault.
    classes: BTreeMap<u64, u64>,
}

impl Events for Both {
    const PROBES: bool = true;

    fn probes(&self) -> Vec<u64> {
        self.observer.probes()
    }

    fn probed(&mut self, view: &View, pc: u64) {
        self.observer.probed(view, pc);
    }

    fn trap_taken(&mut self, view: &View, cause: Cause, tval: u64, pc: u64, from: Priv) {
        let exception = match cause {
            Cause::Exception(exception) => Some(exception),
            Cause::Interrupt(_) => None,
        };
        self.traps += u64::from(matches!(
            exception,
            Some(Exception::InstPageFault | Exception::LoadPageFault | Exception::StorePageFault)
        ));
        self.observer.trap_taken(view, cause, tval, pc, from);
    }

    fn trap_returned(&mut self, view: &View, pc: u64) {
        self.observer.trap_returned(view, pc);
    }

    fn page_faulted(&mut self, view: &View, pc: u64, fault: &Fault) {
        self.observer.page_faulted(view, pc, fault);
    }

    fn hinted(&mut self, view: &View, pc: u64, kind: i32) {
        if Hint::from_imm(kind) == Some(Hint::FaultClassified) {
            *self.classes.entry(view.hart.x(11)).or_default() += 1;
        }
        self.observer.hinted(view, pc, kind);
    }
}

fn tracer<const EVERY: bool>(args: &Args, kernel: &Path) -> Observer<EVERY> {
    let tracer = watch::tracer(args, kernel, true).expect("the outputs can be made");
    Observer { tracer: tracer.expect("something is traced"), tlb: None, checker: None }
}

/// A file that goes away with the value.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Temporary {
        let name = format!("emu-traced-{name}-{}.jsonl", std::process::id());
        Temporary(std::env::temp_dir().join(name))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What the kernel calls a fault that has this outcome.
fn classes(outcome: &Outcome) -> &'static [FaultClass] {
    use FaultClass::*;
    match outcome {
        Outcome::Zeroed { .. } => &[Lazy],
        Outcome::Copied { .. } => &[CowCopy],
        Outcome::MadeWritable { .. } => &[CowLast],
        Outcome::Joined { .. } => &[SharedJoin],
        Outcome::Filled { .. } => &[FileFill],
        Outcome::Spurious => &[Spurious],
        Outcome::Killed | Outcome::Refused => {
            &[Protection, Guard, BeyondBreak, ExecNx, Unmapped, OutOfMemory]
        }
        _ => &[],
    }
}

#[test]
#[ignore = "needs the guest: cargo xtask test"]
fn every_fault_is_recorded_as_the_kernel_handled_it() {
    let kernel = guest::kernel("kernel.elf");
    for (command, harts) in
        [("echo hi", 1), ("lazytests", 1), ("cowtest", 3), ("mmaptest", 1), ("mmaptest", 3)]
    {
        let file = Temporary::new(&format!("{}{harts}", &command[..4]));
        let path = file.0.to_str().expect("UTF-8");
        let options = ["-o", path, "--trace=faults"];
        let flags = format!("run=\"{command}\"");
        let machine = run(&kernel, &flags, harts, &options, |args| Both {
            observer: tracer(args, &kernel),
            traps: 0,
            classes: BTreeMap::new(),
        })
        .machine;
        let Both { observer, traps, classes: mut said } = machine.events;
        assert!(observer.finish(0));
        let mut trapped = 0;
        let mut check = |record: Record| {
            let Record::Fault(fault) = record else { return Ok(()) };
            trapped += u64::from(fault.via == Via::Trap);
            assert!(fault.who.pid.is_some() && fault.who.name.is_some(), "{fault:?}");
            assert!(fault.free.is_some(), "{fault:?}");
            let place = &fault.place;
            let known = place.function.is_some() && place.file.is_some();
            // Of the library is only what does not belong to anything else.
            let own = place.file.as_ref().is_none_or(|file| file.starts_with("guest-"));
            assert!(own || place.function.as_deref() == Some("memset"), "{place:?}");
            // A jump into nowhere is at no place.
            assert!(known || fault.va == fault.place.pc, "{command}: {fault:?}");
            // What others did while it was not its turn does not count.
            assert!(fault.cost.is_none_or(|cost| cost < 100_000), "{command}: {fault:?}");
            let class = classes(&fault.outcome)
                .iter()
                .find(|class| fault.class.as_deref() == Some(&format!("{class:?}")));
            let class = class.unwrap_or_else(|| panic!("{command}: {fault:?}"));
            let left = said.get_mut(&(*class as u64)).expect("the kernel said so");
            *left -= 1;
            Ok(())
        };
        let saved = BufReader::new(std::fs::File::open(&file.0).expect("a trace"));
        read_jsonl(saved, &mut check).expect("a whole trace");
        assert_eq!(trapped, traps, "{command}: page-fault traps");
        assert!(trapped > 3, "{command}: {trapped}");
        said.retain(|_, left| *left > 0);
        assert!(said.is_empty(), "{command}: without a record: {said:?}");
    }
}

/// What wanted a frame is named, not the functions of the ledger that are in between.
#[test]
#[ignore = "needs the guest: cargo xtask test"]
fn frames_are_allocated_by_who_wants_them() {
    let kernel = guest::kernel("kernel.elf");
    let file = Temporary::new("frames");
    let path = file.0.to_str().expect("UTF-8");
    let options = ["-o", path, "--trace=frames"];
    let run = run(&kernel, "run=\"echo hi\"", 1, &options, |args| tracer::<false>(args, &kernel));
    assert!(run.machine.events.finish(0));
    let mut functions = BTreeMap::new();
    let saved = BufReader::new(std::fs::File::open(&file.0).expect("a trace"));
    read_jsonl(saved, |mut record| {
        for place in record.places() {
            let name = place.inlined_into.as_ref().or(place.function.as_ref());
            *functions.entry(name.cloned().expect("known")).or_insert(0) += 1;
        }
        Ok(())
    })
    .expect("a whole trace");
    let names: Vec<&String> = functions.keys().collect();
    assert!(names.iter().all(|name| !name.contains("::mm::frame::")), "{names:?}");
    for part in ["::mm::pagetable::PageTable", "::mm::aspace::AddressSpace"] {
        assert!(names.iter().any(|name| name.contains(part)), "{names:?}");
    }
}

/// Everything that a guest can see of its machine, in a number.
fn hash<E: Events>(machine: &Machine<E>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |word: u64| hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x100_0000_01b3);
    for hart in 0..machine.harts() {
        add(machine.pc(hart));
        (0..32).for_each(|number| add(machine.x(hart, number)));
        (0..32).for_each(|number| add(machine.f(hart, number)));
        (0..0x1000).for_each(|number| add(machine.csr(hart, number).unwrap_or(0)));
    }
    let ram = &machine.sys.bus.ram;
    let bytes = ram.bytes(emu::board::RAM_BASE, 128 << 20).expect("memory");
    bytes.as_chunks::<8>().0.iter().for_each(|word| add(u64::from_le_bytes(*word)));
    hash
}

#[test]
#[ignore = "needs the guest: cargo xtask test"]
fn a_trace_changes_nothing() {
    let kernel = guest::kernel("kernel.elf");
    for harts in [1, 3] {
        let command = "run=\"cat README | grep xv6 | wc; mmaptest\"";
        let bare = run(&kernel, command, harts, &[], |_| NoEvents).machine;
        let expected = (bare.insns(), hash(&bare));
        let file = Temporary::new(&format!("hash{harts}"));
        let path = file.0.to_str().expect("UTF-8");
        let some =
            run(&kernel, command, harts, &["-o", path], |args| tracer::<false>(args, &kernel))
                .machine;
        assert_eq!((some.insns(), hash(&some)), expected, "faults, frames, {harts} harts");
        let all = ["-o", path, "--trace=faults,frames,proc,sys,traps,insn", "-e", "pid=3"];
        let all = run(&kernel, command, harts, &all, |args| tracer::<true>(args, &kernel)).machine;
        assert_eq!((all.insns(), hash(&all)), expected, "everything, {harts} harts");
    }
}

/// A slice of a timeline: to, name, process.
type Slice = (u64, String, i64);

/// Reads a timeline as its viewers do: in order of time, each slice inside the one that began
/// before it and has not ended. An arrow's end belongs to the slice that began last on its track.
/// What it returns is from where to where the arrows lead.
fn read_timeline(text: &str) -> Vec<(Slice, Slice)> {
    let mut events: Vec<serde_json::Value> = serde_json::from_str(text).expect("a list");
    // Microseconds with three decimals.
    let ns = |event: &serde_json::Value, field: &str| {
        (event[field].as_f64().unwrap_or(0.0) * 1000.0).round() as u64
    };
    // Of what begins at the same time, slices come first, long ones before short ones.
    let length = |event: &serde_json::Value| ns(event, "dur") + u64::from(event["ph"] == "X");
    events.sort_by_key(|event| (ns(event, "ts"), std::cmp::Reverse(length(event))));
    let (mut tracks, mut starts) = (BTreeMap::<_, Vec<Slice>>::new(), BTreeMap::new());
    let mut arrows = Vec::new();
    for event in &events {
        let process = event["pid"].as_i64().expect("a number");
        let open = tracks.entry((process, event["tid"].as_i64())).or_default();
        match event["ph"].as_str().expect("a phase") {
            "X" | "i" => {
                let (from, to) = (ns(event, "ts"), ns(event, "ts") + ns(event, "dur"));
                open.retain(|outer| outer.0 > from);
                let name = event["name"].as_str().expect("a name").to_owned();
                assert!(
                    open.last().is_none_or(|outer| to <= outer.0),
                    "{name} sticks out: {open:?}"
                );
                open.push((to, name, process));
            }
            "s" => {
                let start = open.last().expect("a slice to start from").clone();
                assert!(starts.insert(event["id"].as_u64(), start).is_none(), "{event}");
            }
            "f" => {
                let start = starts.remove(&event["id"].as_u64()).expect("an arrow that started");
                arrows.push((start, open.last().expect("a slice to lead to").clone()));
            }
            _ => {}
        }
    }
    assert!(starts.is_empty(), "arrows without an end: {starts:?}");
    arrows
}

#[test]
#[ignore = "needs the guest: cargo xtask test"]
fn a_timeline_can_be_drawn() {
    let kernel = guest::kernel("kernel.elf");
    for harts in [1, 3] {
        let file = Temporary::new(&format!("timeline{harts}"));
        let path = file.0.with_extension("perfetto.json");
        let options = ["-o", path.to_str().expect("UTF-8"), "--trace=faults,frames,proc,sys,traps"];
        let command = "run=\"echo hi; cat README | wc; mmaptest\"";
        let machine =
            run(&kernel, command, harts, &options, |args| tracer::<false>(args, &kernel)).machine;
        assert!(machine.events.finish(0));
        let text = std::fs::read_to_string(&path).expect("a timeline");
        let _ = std::fs::remove_file(&path);
        let arrows = read_timeline(&text);
        let faults = text.matches("\"cat\":\"fault\"").count() - 2 * arrows.len();
        assert!(faults > 10 && faults == arrows.len(), "{faults} faults, {} arrows", arrows.len());
        for (from, to) in arrows {
            let (why, outcome) = from.1.split_once(" fault: ").expect("a fault");
            match outcome {
                "killed" => assert_eq!((&*to.1, to.2), ("exit -1", from.2), "{why}"),
                _ => assert_eq!((&*to.1, to.0, to.2), (outcome, from.0, 0), "{why}"),
            }
        }
    }
}
