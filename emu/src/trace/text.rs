//! The text output: one line an event, fixed columns for faults, words as well as colours.
//!
//! A fault line is at most 118 columns wide, can be searched with grep, and is the same in every
//! run of the same command.

use std::io::{self, Write};

use super::outputs::Look;
use super::record::{
    Access, Fault, Frame, MissCause, Moment, Outcome, Place, Reason, Record, Via, Who,
};
use super::sink::Sink;
use super::summary::Summary;

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
    summary: Summary,
}

impl<W: Write> Text<W> {
    /// Writes to `out`; `colour` adds terminal colours.
    pub fn new(out: W, colour: bool, look: Look) -> Text<W> {
        Text { out, colour, look, headed: false, summary: Summary::default() }
    }
}

impl<W: Write> Sink for Text<W> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        self.summary.add(record);
        if !self.look.lines {
            return Ok(());
        }
        if let Record::Fault(fault) = record {
            if !std::mem::replace(&mut self.headed, true) {
                writeln!(self.out, "{}", heading())?;
            }
            let line = fault_line(fault);
            return match colour_of(&fault.outcome).filter(|_| self.colour) {
                Some(code) => writeln!(self.out, "\x1b[{code}m{line}\x1b[0m"),
                None => writeln!(self.out, "{line}"),
            };
        }
        match event_line(record) {
            Some(line) => writeln!(self.out, "{line}"),
            None => Ok(()),
        }
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
    let cost = fault.cost.map_or_else(|| "-".to_owned(), |cost| cost.to_string());
    let free = fault.free.map_or_else(|| "-".to_owned(), |free| free.to_string());
    let access = match fault.via {
        Via::Trap => access_word(fault.access).to_owned(),
        Via::Syscall { .. } => format!("{}*", access_word(fault.access)),
    };
    format!(
        "{} {:<7} {:<6} {:>10} {:<19} {} L{} {:<6} {:<26} {:>5} {:>6}",
        head(&fault.at, &fault.who),
        clip(fault.who.name.as_deref().unwrap_or("-"), 7),
        access,
        address(fault.va),
        clip(&function(&fault.place), 19),
        pte_bits(fault.pte),
        fault.level,
        why(fault),
        clip(&outcome(fault), 26),
        cost,
        free,
    )
}

/// An address in at most ten columns: long ones keep both ends.
fn address(va: u64) -> String {
    let text = format!("{va:x}");
    match text.len() {
        ..=10 => text,
        long => format!("{}.{}", &text[..1], &text[long - 8..]),
    }
}

/// Time in seconds, hart and process id.
fn head(at: &Moment, who: &Who) -> String {
    let pid = who.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    format!("{:>8} {} {:>3}", seconds(at.ns), at.hart, pid)
}

/// Seconds with microseconds, eight columns up to 9.999999 s.
pub fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns / 1_000 % 1_000_000)
}

/// The access as a word.
pub fn access_word(access: Access) -> &'static str {
    match access {
        Access::Fetch => "fetch",
        Access::Load => "load",
        Access::Store => "store",
    }
}

/// `function+0x12`, or the bare address.
pub fn function(place: &Place) -> String {
    match (&place.function, place.offset) {
        (Some(function), Some(offset)) => {
            let offset = format!("+0x{offset:x}");
            let name = clip(&short_name(function), 19usize.saturating_sub(offset.len()));
            format!("{name}{offset}")
        }
        (Some(function), None) => short_name(function),
        _ => format!("{:x}", place.pc),
    }
}

/// A function's own name, without the modules and types around it. A closure keeps the name of
/// the function that it is in.
fn short_name(function: &str) -> String {
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
    if parts.is_empty() { function.to_owned() } else { parts[own..].concat() }
}

/// A source file's name with the folder that it is in.
pub fn short_file(file: &str) -> &str {
    let start = file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    &file[start..]
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
    }
}

/// What became of it, in words; frames are physical page numbers.
fn outcome(fault: &Fault) -> String {
    let frame = |pa: u64| pa >> 12;
    match &fault.outcome {
        Outcome::Zeroed { pa } => format!("zeroed {:x}", frame(*pa)),
        Outcome::Copied { from, to, refs } => {
            let refs = refs.map_or(String::new(), |n| format!(" rc {n}>{}", n.saturating_sub(1)));
            format!("copied {:x}>{:x}{refs}", frame(*from), frame(*to))
        }
        Outcome::MadeWritable { pa } => format!("writable {:x} (last)", frame(*pa)),
        Outcome::Joined { pa } => format!("joined {:x}", frame(*pa)),
        Outcome::Filled { pa } => format!("filled {:x}", frame(*pa)),
        Outcome::Remapped { pa, .. } => format!("remapped {:x}", frame(*pa)),
        Outcome::Spurious => "spurious".to_owned(),
        Outcome::Unresolved => "UNRESOLVED".to_owned(),
        Outcome::Refused => format!("refused {}", refusal(fault)),
        Outcome::Killed => format!("KILLED {}", refusal(fault)),
        Outcome::NeverReturned => "never returned".to_owned(),
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
    }
}

/// A line for everything but faults; nothing for what only files need.
fn event_line(record: &Record) -> Option<String> {
    let (at, who) = (record.at()?, record.who().cloned().unwrap_or_default());
    let name = clip(who.name.as_deref().unwrap_or("-"), 7);
    let line =
        |word: &str, rest: String| Some(format!("{} {name:<7} {word:<6} {rest}", head(&at, &who)));
    match record {
        Record::Header { .. }
        | Record::Fault(_)
        | Record::TlbCounted { .. }
        | Record::End { .. } => None,
        Record::FrameAllocated(frame) => line("alloc", frame_text(frame)),
        Record::FrameFreed(frame) => line("free", frame_text(frame)),
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
        Record::Finding { check, message, .. } => line("CHECK", format!("{check}: {message}")),
        Record::Mark { values: [a, b, c], .. } => line("mark", format!("{a:x} {b:x} {c:x}")),
        Record::Insn { pc, bits, text, .. } => {
            Some(format!("{} {pc:>10x} {bits:08x} {text}", at.hart))
        }
    }
}

fn frame_text(frame: &Frame) -> String {
    let caller =
        frame.caller.as_ref().map_or(String::new(), |place| format!(" by {}", function(place)));
    format!("frame {:x}, {} free{caller}", frame.pa >> 12, frame.free)
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

/// At most `width` characters; a cut shows as a full stop.
fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['.']).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Fault {
        Fault {
            at: Moment { ns: 412_331_000, insns: 400, hart: 0 },
            who: Who { pid: Some(5), name: Some("sh".into()), satp: 1 },
            place: Place {
                pc: 0x13a,
                function: Some("run_pipe".into()),
                offset: Some(0x3a),
                ..Place::default()
            },
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
        fault.place.function = Some("some::very::long::path::to::a::function".into());
        fault.place.offset = Some(0x12345);
        fault.va = u64::MAX >> 26;
        assert!(fault_line(&fault).chars().count() <= 118, "{}", fault_line(&fault));
        assert!(fault_line(&fault).contains(" function+0x12345"));
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
    fn absent_pages_have_no_permissions() {
        let mut fault = sample();
        fault.pte = 0b1111_1110;
        fault.reason = Reason::Invalid;
        fault.outcome = Outcome::Killed;
        fault.cost = None;
        assert!(fault_line(&fault).contains("------- L0 absent KILLED not mapped"));
    }
}
