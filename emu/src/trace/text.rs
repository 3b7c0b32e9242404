//! The text output: one line an event, fixed columns for faults, words as well as colours.
//!
//! A fault line is at most 118 columns wide, can be searched with grep, and is the same in every
//! run of the same command.

use std::borrow::Cow;
use std::io::{self, Write};

use super::line::Line;
use super::outputs::Look;
use super::record::{
    Access, Change, Changed, Fault, Frames, MissCause, Moment, Outcome, Place, Reason, Record, Via,
    Who,
};
use super::sink::Sink;
use super::summary::Summary;

/// Columns for a function.
const NAME: usize = 19;

/// The heading above fault lines.
pub fn heading() -> String {
    format!(
        "{:>8} h pid {:<7} {:<6} {:>10} {:<19} {:<7} lv {:<6} {:<26} {:>5} {:>6}",
        "time", "cmd", "acc", "va", "function", "pte", "why", "outcome", "insns", "free"
    )
}

/// Text lines for people and grep, and the summary at the end.
pub struct Text<W: Write> {
    out: W,
    colour: bool,
    look: Look,
    headed: bool,
    line: Line,
    summary: Summary,
}

impl<W: Write> Text<W> {
    /// Writes to `out`; `colour` adds terminal colours.
    pub fn new(out: W, colour: bool, look: Look) -> Text<W> {
        let (line, summary) = (Line::default(), Summary::default());
        Text { out, colour, look, headed: false, line, summary }
    }
}

impl<W: Write> Sink for Text<W> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        self.summary.add(record);
        if !self.look.lines {
            return Ok(());
        }
        let line = &mut self.line;
        line.clear();
        match record {
            Record::Fault(fault) => {
                if !std::mem::replace(&mut self.headed, true) {
                    line.text(&heading()).text("\n");
                }
                match colour_of(&fault.outcome).filter(|_| self.colour) {
                    Some(code) => line
                        .text("\x1b[")
                        .text(code)
                        .text("m")
                        .fault_columns(fault)
                        .text("\x1b[0m\n"),
                    None => line.fault_columns(fault).text("\n"),
                };
            }
            Record::Frames(run) => line.frames_lines(run),
            _ => {
                if let Some(text) = event_line(record) {
                    line.text(&text).text("\n");
                }
            }
        }
        self.out.write_all(line.bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.write_all(self.summary.report(self.look.faults).as_bytes())?;
        self.out.flush()
    }
}

/// Terminal colour (SGR code) of an outcome: red ends the process, yellow deserves a look.
fn colour_of(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Killed => Some("31"),
        Outcome::Spurious | Outcome::Unresolved | Outcome::Refused | Outcome::NeverReturned => {
            Some("33")
        }
        Outcome::Copied { .. } => Some("36"),
        _ => None,
    }
}

/// One fault in fixed columns, without the end of line.
pub fn fault_line(fault: &Fault) -> String {
    let mut line = Line::default();
    line.fault_columns(fault);
    line.into()
}

/// Records as lines.
impl Line {
    fn fault_columns(&mut self, fault: &Fault) -> &mut Line {
        self.head(&fault.at, &fault.who);
        let trapped = if fault.via == Via::Trap { "" } else { "*" };
        self.left(6, |access| access.text(access_word(fault.access)).text(trapped));
        self.text(" ").right(10, |va| va.address(fault.va));
        self.text(" ").left(NAME, |at| at.function(&fault.place, NAME));
        self.text(" ").text(&pte_bits(fault.pte));
        self.text(" L").decimal(fault.level);
        self.text(" ").left(6, |word| word.text(why(fault)));
        self.text(" ").left(26, |what| what.outcome(fault));
        self.text(" ").right(5, |cost| cost.number_or_dash(fault.cost));
        self.text(" ").right(6, |free| free.number_or_dash(fault.free))
    }

    /// Time in seconds, hart, process id and name.
    fn head(&mut self, at: &Moment, who: &Who) -> &mut Line {
        self.right(8, |time| time.seconds(at.ns)).text(" ").decimal(at.hart).text(" ");
        self.right(3, |pid| pid.number_or_dash(who.pid)).text(" ");
        let name = who.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("-");
        self.left(7, |column| column.clipped(name, 7)).text(" ")
    }

    /// Seconds with microseconds, eight columns up to 9.999999 s.
    fn seconds(&mut self, ns: u64) -> &mut Line {
        let micros = ns / 1_000 % 1_000_000;
        self.decimal(ns / 1_000_000_000).text(".");
        for least in [100_000, 10_000, 1_000, 100, 10] {
            self.text(if micros < least { "0" } else { "" });
        }
        self.decimal(micros)
    }

    fn number_or_dash(&mut self, number: Option<impl itoa::Integer>) -> &mut Line {
        match number {
            Some(number) => self.decimal(number),
            None => self.text("-"),
        }
    }

    /// An address in at most ten columns: long ones keep both ends.
    fn address(&mut self, va: u64) -> &mut Line {
        const SHORT: u32 = 10;
        match (64 - va.leading_zeros()).div_ceil(4) {
            ..=SHORT => self.hex(va, 1),
            long => self.hex(va >> (4 * (long - 1)), 1).text(".").hex(va & 0xffff_ffff, 8),
        }
    }

    /// `function+0x12` in at most so many columns, `function` alone if it was inlined into another
    /// one, or the bare address.
    fn function(&mut self, place: &Place, columns: usize) -> &mut Line {
        let offset = place.offset.filter(|_| place.inlined_into.is_none());
        match (&place.function, offset) {
            (Some(function), Some(offset)) => {
                let digits = (64 - offset.leading_zeros()).div_ceil(4).max(1) as usize;
                let width = columns.saturating_sub("+0x".len() + digits).max(1);
                self.clipped(&short_name(function), width).text("+0x").hex(offset, 1)
            }
            (Some(function), None) => self.clipped(&short_name(function), columns),
            _ => self.hex(place.pc, 1),
        }
    }

    /// Frames, as many to a line as fit of those that one caller treats alike; each line tells when
    /// its first was, and how many pages are free after its last.
    fn frames_lines(&mut self, run: &Frames) {
        const EACH: usize = 8;
        let mut each = run.each().peekable();
        while let Some(first) = each.next() {
            let word = match first.change {
                Change::Allocated => "alloc  ",
                Change::Freed => "free   ",
            };
            let mut free = first.free;
            self.head(&first.at, &run.who).text(word).hex(first.pa >> 12, 1);
            for _ in 1..EACH {
                let alike =
                    |next: &Changed| (next.change, next.caller) == (first.change, first.caller);
                let Some(next) = each.next_if(alike) else { break };
                free = next.free;
                self.text(" ").hex(next.pa >> 12, 1);
            }
            self.text(", ").decimal(free).text(" free");
            if let Some(caller) = first.caller {
                self.text(" by ").function(caller, NAME);
            }
            self.text("\n");
        }
    }

    /// What became of a fault, in words; frames are physical page numbers.
    fn outcome(&mut self, fault: &Fault) -> &mut Line {
        let frame = |pa: u64| pa >> 12;
        match &fault.outcome {
            Outcome::Zeroed { pa } => self.text("zeroed ").hex(frame(*pa), 1),
            Outcome::Copied { from, to, refs } => {
                self.text("copied ").hex(frame(*from), 1).text(">").hex(frame(*to), 1);
                match refs {
                    Some(refs) => {
                        self.text(" rc ").decimal(*refs).text(">").decimal(refs.saturating_sub(1))
                    }
                    None => self,
                }
            }
            Outcome::MadeWritable { pa } => {
                self.text("writable ").hex(frame(*pa), 1).text(" (last)")
            }
            Outcome::Joined { pa } => self.text("joined ").hex(frame(*pa), 1),
            Outcome::Filled { pa } => self.text("filled ").hex(frame(*pa), 1),
            Outcome::Remapped { pa, .. } => self.text("remapped ").hex(frame(*pa), 1),
            Outcome::Spurious => self.text("spurious"),
            Outcome::Unresolved => self.text("UNRESOLVED"),
            Outcome::Refused => self.text("refused ").text(refusal(fault)),
            Outcome::Killed => self.text("KILLED ").text(refusal(fault)),
            Outcome::NeverReturned => self.text("never returned"),
        }
    }
}

/// Seconds with microseconds.
pub fn seconds(ns: u64) -> String {
    let mut line = Line::default();
    line.seconds(ns);
    line.into()
}

/// The access as a word.
pub fn access_word(access: Access) -> &'static str {
    match access {
        Access::Fetch => "fetch",
        Access::Load => "load",
        Access::Store => "store",
    }
}

/// `function+0x12`, `function` if it was inlined into another one, or the bare address.
pub fn function(place: &Place) -> String {
    const COLUMNS: usize = 40;
    let mut line = Line::default();
    line.function(place, COLUMNS);
    line.into()
}

/// What became of a fault, in words.
pub fn outcome(fault: &Fault) -> String {
    let mut line = Line::default();
    line.outcome(fault);
    line.into()
}

/// A function's own name, without the modules and types around it. A closure keeps the name of
/// the function that it is in.
pub fn short_name(function: &str) -> Cow<'_, str> {
    if !function.contains("::") {
        return function.into();
    }
    let (mut depth, mut start, mut parts) = (0u32, 0, Vec::new());
    for (at, byte) in function.bytes().enumerate() {
        match byte {
            b'<' | b'{' | b'(' => depth += 1,
            b'>' | b'}' | b')' => depth = depth.saturating_sub(1),
            b':' if depth == 0 => {
                parts.push(&function[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&function[start..]);
    parts.retain(|part| !part.is_empty() && !part.starts_with('<'));
    let closures = parts.iter().rev().take_while(|part| part.starts_with('{')).count();
    let own = parts.len().saturating_sub(closures + 1);
    if parts.is_empty() { function.into() } else { parts[own..].concat().into() }
}

/// A source file's name with the folder that it is in.
pub fn short_file(file: &str) -> &str {
    let start = file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    &file[start..]
}

/// A source file's name from the root of its tree, as far as that is known.
pub fn file_in_tree(file: &str) -> &str {
    if file.starts_with('/') { short_file(file) } else { file }
}

/// The PTE's low bits as letters; all dashes for an absent one.
pub fn pte_bits(pte: u64) -> String {
    let valid = pte & 1 != 0;
    let letter = |bit: u32, letter: char| if valid && pte >> bit & 1 != 0 { letter } else { '-' };
    [(1, 'r'), (2, 'w'), (3, 'x'), (4, 'u'), (5, 'g'), (6, 'a'), (7, 'd')]
        .iter()
        .map(|(bit, name)| letter(*bit, *name))
        .collect()
}

/// The cause in one word: what the kernel will make of it where that shows, else what the walk
/// found.
pub fn why(fault: &Fault) -> &'static str {
    const EXECUTABLE: u64 = 1 << 3;
    match (fault.reason, &fault.outcome) {
        (Reason::Invalid, Outcome::Zeroed { .. }) => "lazy",
        (Reason::Invalid, Outcome::Joined { .. }) => "shared",
        (Reason::Invalid, Outcome::Filled { .. }) => "file",
        (Reason::Invalid, _) => "absent",
        (Reason::NoWrite, Outcome::Copied { .. } | Outcome::MadeWritable { .. }) => "cow",
        (Reason::NoWrite, _) if fault.pte & EXECUTABLE != 0 => "text",
        (Reason::NoWrite, _) => "rdonly",
        (Reason::NoRead, _) => "noread",
        (Reason::NoExec, _) => "noexec",
        (Reason::NotUser, _) => "kernel",
        (Reason::UserFromSupervisor, _) => "user",
        (Reason::NotCanonical, _) => "canon",
        (Reason::Reserved, _) => "rsvd",
        (Reason::Misaligned, _) => "align",
        (Reason::NeedA, _) => "needA",
        (Reason::NeedD, _) => "needD",
        // Access faults, which are no page faults.
        (Reason::Pmp | Reason::TablePmp, _) => "pmp",
        (Reason::NoDevice | Reason::TableNotMemory, _) => "nowhere",
    }
}

/// Why a page was not to be had, in a few words: the kernel's, where it said so.
pub fn refusal(fault: &Fault) -> &'static str {
    match (fault.class.as_deref(), fault.reason) {
        (Some("OutOfMemory"), _) => "out of memory",
        (Some("Guard"), _) => "stack guard",
        (Some("BeyondBreak"), _) => "beyond the break",
        (Some("Protection"), Reason::Invalid) => "not allowed",
        (Some("ExecNx"), _) => "not executable",
        (_, Reason::NotCanonical) => "not canonical",
        (_, Reason::Invalid) => "not mapped",
        (_, Reason::Reserved) => "reserved encoding",
        (_, Reason::NotUser) => "not a user page",
        (_, Reason::UserFromSupervisor) => "a user page",
        (_, Reason::NoRead) => "not readable",
        (_, Reason::NoWrite) => "not writable",
        (_, Reason::NoExec) => "not executable",
        (_, Reason::Misaligned) => "misaligned superpage",
        (_, Reason::NeedA) => "accessed bit clear",
        (_, Reason::NeedD) => "dirty bit clear",
        (_, Reason::Pmp | Reason::TablePmp) => "protected",
        (_, Reason::NoDevice | Reason::TableNotMemory) => "no memory",
    }
}

/// A line for everything but faults; nothing for what only files need.
fn event_line(record: &Record) -> Option<String> {
    let (at, who) = (record.at()?, record.who().cloned().unwrap_or_default());
    let line = |word: &str, rest: String| {
        let mut line = Line::default();
        line.head(&at, &who).left(6, |column| column.text(word)).text(" ").text(&rest);
        Some(line.into())
    };
    match record {
        Record::Header { .. }
        | Record::Place { .. }
        | Record::Fault(_)
        | Record::Frames(_)
        | Record::TlbCounted { .. }
        | Record::End { .. } => None,
        Record::ProcSwitched { .. } => line("switch", format!("satp {:x}", who.satp)),
        Record::Forked { child, .. } => line("fork", format!("child {child}")),
        Record::Execed { .. } => line("exec", String::new()),
        Record::Exited { status, .. } => line("exit", format!("status {status}")),
        Record::Syscall { number, call, args, result, cost, .. } => {
            line("sys", syscall_text(*number, call.as_deref(), args, *result, *cost))
        }
        Record::Trapped { what, tval, place, .. } => {
            line("trap", format!("{what} tval {tval:x} at {}", function(place)))
        }
        Record::TlbMissed { access, va, cause, .. } => {
            line("miss", format!("{} {va:x} {}", access_word(*access), miss_word(*cause)))
        }
        Record::TlbFlushed { entries, cause, .. } => {
            line("flush", format!("{entries} entries, {}", miss_word(*cause)))
        }
        Record::Finding { check, message, place, .. } => {
            let at = function(place);
            line("CHECK", format!("{check}: {message} [pc {:x} {at}]", place.pc))
        }
        Record::Mark { values: [a, b, c], .. } => line("mark", format!("{a:x} {b:x} {c:x}")),
        Record::Insn { pc, bits, text, .. } => {
            Some(format!("{} {pc:>10x} {bits:08x} {text}", at.hart))
        }
    }
}

fn syscall_text(
    number: u64,
    name: Option<&str>,
    args: &[u64; 6],
    result: Option<u64>,
    cost: Option<u64>,
) -> String {
    let name = name.map_or_else(|| format!("syscall {number}"), str::to_owned);
    let result = result.map_or_else(|| "?".to_owned(), |value| format!("{}", value as i64));
    let cost = cost.map_or(String::new(), |insns| format!(" ({insns} insns)"));
    let [a, b, c, ..] = args;
    format!("{name}({a:#x}, {b:#x}, {c:#x}) = {result}{cost}")
}

/// Why a TLB missed, in a word.
pub fn miss_word(cause: MissCause) -> &'static str {
    match cause {
        MissCause::Cold => "cold",
        MissCause::Capacity => "capacity",
        MissCause::SatpWrite => "satp",
        MissCause::SfenceVma => "sfence",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::trace::record::Frame;

    pub(crate) fn sample() -> Fault {
        Fault {
            at: Moment { ns: 412_331_000, insns: 400, hart: 0 },
            who: Who { pid: Some(5), name: Some("sh".into()), satp: 1 },
            place: Arc::new(Place {
                pc: 0x13a,
                function: Some("run_pipe".into()),
                offset: Some(0x3a),
                ..Place::default()
            }),
            user: true,
            access: Access::Store,
            va: 0x3f58,
            reason: Reason::NoWrite,
            level: 0,
            pte: 0b0101_0011,
            via: Via::Trap,
            outcome: Outcome::Copied { from: 0x87f5_b000, to: 0x87e2_1000, refs: Some(2) },
            cost: Some(412),
            returned: Some(412_331_412),
            allocated: 1,
            freed: 0,
            free: Some(31987),
            class: None,
            frames: Vec::new(),
        }
    }

    #[test]
    fn a_copied_page_reads_from_left_to_right() {
        assert_eq!(
            fault_line(&sample()),
            "0.412331 0   5 sh      store        3f58 run_pipe+0x3a       r--u-a- L0 cow    \
             copied 87f5b>87e21 rc 2>1    412  31987"
        );
    }

    #[test]
    fn lines_keep_their_width_whatever_the_names() {
        let mut fault = sample();
        fault.who.name = Some("a-very-long-name".into());
        fault.place = Arc::new(Place {
            function: Some("some::very::long::path::to::a::function".into()),
            offset: Some(0x12345),
            ..Place::default()
        });
        fault.va = u64::MAX >> 26;
        assert!(fault_line(&fault).chars().count() <= 118, "{}", fault_line(&fault));
        assert!(fault_line(&fault).contains(" function+0x12345"));
        fault.place =
            Arc::new(Place { inlined_into: Some("other".into()), ..Place::clone(&fault.place) });
        assert!(fault_line(&fault).contains(" function        "), "{}", fault_line(&fault));
        let names = [
            ("<alloc::Global as core::Alloc<x::Y>>::alloc::<z::T>", "alloc"),
            ("user::sh::run_one::{closure#0}", "run_one{closure#0}"),
            ("main", "main"),
            ("<a::b>", "<a::b>"),
        ];
        for (long, short) in names {
            assert_eq!(short_name(long), short);
        }
        assert!(heading().chars().count() <= 118);
    }

    #[test]
    fn frames_fill_lines_that_keep_their_width() {
        let fault = sample();
        let frame = |i: u64| Frame {
            pa: 0x8_7fff_f000 + 4096 * i,
            insns: 100,
            ns: 1000,
            caller: 0,
            change: if i < 9 { Change::Freed } else { Change::Allocated },
        };
        let (free, callers) = (31_986, vec![fault.place]);
        let frames = (0..10).map(frame).collect();
        let run = Frames { at: fault.at, who: fault.who, free, callers, frames };
        let mut line = Line::default();
        line.frames_lines(&run);
        let text = String::from(line);
        assert!(text.lines().all(|line| line.chars().count() <= 118), "{text}");
        let first = "0.412332 0   5 sh      free   87ffff 880000 880001 880002 880003 880004 880005 \
                     880006, 31986 free by run_pipe+0x3a";
        let then = "0.412340 0   5 sh      free   880007, 31987 free by run_pipe+0x3a";
        let last = "0.412341 0   5 sh      alloc  880008, 31986 free by run_pipe+0x3a";
        assert_eq!(text.lines().collect::<Vec<_>>(), [first, then, last]);
    }

    #[test]
    fn absent_pages_have_no_permissions() {
        let mut fault = sample();
        fault.pte = 0b1111_1110;
        fault.reason = Reason::Invalid;
        fault.outcome = Outcome::Killed;
        fault.cost = None;
        assert!(fault_line(&fault).contains("------- L0 absent KILLED not mapped"));
    }
}
