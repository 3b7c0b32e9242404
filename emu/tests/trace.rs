//! Traces of endless faults from outside: bounded memory, full disks, closed pipes, signals.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::*;
use rustix::process::{Pid, Signal, kill_process};

/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Records that are no faults: header, switch to user mode, the place that faults, end.
const OTHERS: u64 = 4;

/// `csrw csr, rs`.
fn csrw(csr: u32, rs: u32) -> u32 {
    csr << 20 | rs << 15 | 1 << 12 | 0x73
}

/// A kernel that goes to user mode with an empty page table that many times, a multiple of 4096:
/// each time the first fetch is a page fault.
fn faults(count: u32) -> Vec<u32> {
    const MRET: u32 = 0x3020_0073;
    let (t0, t1, t2, s0) = (5, 6, 7, 8);
    let slli = |rd: u32, by: u32| by << 20 | rd << 15 | 1 << 12 | rd << 7 | 0x13;
    let mut code = vec![
        0x17 | t0 << 7,
        addi(t0, t0, 16 * 4),
        csrw(0x305, t0),
        // The table: the page behind this one, which is empty.
        addi(t1, 0, 8),
        slli(t1, 60),
        lui(t2, 0x80000),
        addi(t2, t2, 1),
        t2 << 20 | t1 << 15 | 6 << 12 | t1 << 7 | 0x33,
        csrw(0x180, t1),
        // User mode may access everything that its table allows.
        addi(t1, 0, -1),
        csrw(0x3b0, t1),
        addi(t1, 0, 0x1f),
        csrw(0x3a0, t1),
        csrw(0x341, 0),
        lui(s0, count),
        MRET,
        // The handler.
        addi(s0, s0, -1),
        // beq s0, x0, +8
        s0 << 15 | 8 << 7 | 0x63,
        MRET,
    ];
    code.extend(finish(0x5555));
    code
}

struct Bed {
    folder: Folder,
    kernel: PathBuf,
}

impl Bed {
    fn new(name: &str, count: u32) -> Bed {
        let folder = Folder::new(name);
        let kernel = folder.file("kernel.elf", &elf(&faults(count), 16384, &[]));
        Bed { folder, kernel }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("emu"));
        command.arg(&self.kernel).args(["-m", "16M"]).args(args).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("emu runs")
    }

    fn path(&self, name: &str) -> String {
        self.folder.path(name).to_str().expect("UTF-8").to_owned()
    }
}

/// The lines of a JSON Lines file, each of which is whole.
fn records(path: impl AsRef<Path>) -> u64 {
    let lines = BufReader::new(File::open(path).expect("a trace")).lines();
    let check = |line: std::io::Result<String>| {
        let line = line.expect("UTF-8");
        assert!(line.starts_with("{\"record\":\"") && line.ends_with('}'), "{line}");
    };
    lines.map(check).count() as u64
}

/// The most memory that a process has used so far, in KiB.
fn peak(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_million_events_take_no_more_memory_than_a_few() {
    const MILLION: u32 = 1 << 20;
    let peak_of = |name: &str, count: u32| {
        let bed = Bed::new(name, count);
        let files = ["a.jsonl", "a.html", "a.perfetto.json", "a.txt"].map(|name| bed.path(name));
        let mut command = bed.command(&[]);
        command.args(files.iter().flat_map(|file| ["-o", file]));
        let mut child = command.spawn().expect("emu runs");
        let mut most = 0;
        let status = loop {
            most = most.max(peak(&child).unwrap_or(0));
            if let Some(status) = child.try_wait().expect("a child") {
                break status;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(status.success(), "{status}");
        assert_eq!(records(&files[0]), u64::from(count) + OTHERS);
        assert!(std::fs::metadata(&files[1]).expect("a report").len() < 8 << 20);
        most
    };
    let (few, many) = (peak_of("few", 1 << 16), peak_of("many", MILLION));
    assert!(many < few + (24 << 10), "{few} KiB, then {many} KiB");
}

#[test]
fn a_full_disk_is_named_and_the_run_goes_on() {
    let bed = Bed::new("full", 1 << 12);
    let full = bed.path("full.jsonl");
    std::os::unix::fs::symlink("/dev/full", &full).expect("a link");
    let good = bed.path("good.jsonl");
    let output = bed.run(&["-o", &full, "-o", &good]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("full.jsonl: No space left on device"), "{stderr}");
    assert_eq!(records(&good), (1 << 12) + OTHERS, "the other output is whole");
}

#[test]
fn a_reader_that_leaves_ends_the_run_quietly() {
    let bed = Bed::new("pipe", 1 << 30);
    let mut child = bed.command(&["--trace"]).stderr(Stdio::piped()).spawn().expect("emu runs");
    let mut first = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    stderr.read_line(&mut first).expect("a line");
    assert!(first.contains("outcome"), "{first}");
    drop(stderr);
    assert_eq!(wait(&mut child), Some(74));
}

#[test]
fn a_signal_leaves_a_whole_trace() {
    let bed = Bed::new("signal", 1 << 30);
    let (json, text) = (bed.path("a.jsonl"), bed.path("a.txt"));
    let mut child = bed.command(&["-o", &json, "-o", &text]).spawn().expect("emu runs");
    let begun = Instant::now();
    while std::fs::metadata(&json).map_or(0, |file| file.len()) == 0 {
        assert!(begun.elapsed() < PATIENCE, "nothing is written");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = Pid::from_raw(child.id() as i32).expect("a process");
    kill_process(pid, Signal::INT).expect("it can be told");
    assert_eq!(wait(&mut child), Some(130));
    assert!(records(&json) > 100);
    let trace = std::fs::read_to_string(&json).expect("a trace");
    let end = trace.lines().last().expect("lines");
    assert!(end.starts_with("{\"record\":\"end\"") && end.contains("\"status\":130"), "{end}");
    let mut summary = String::new();
    File::open(text).expect("a trace").read_to_string(&mut summary).expect("text");
    assert!(summary.contains("\nPage faults: "), "a summary comes last");
}

/// Waits for the end; the status.
fn wait(child: &mut Child) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.code();
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_same_command_writes_the_same_trace() {
    let bed = Bed::new("same", 1 << 12);
    let traces = ["a.jsonl", "b.jsonl"].map(|name| {
        let path = bed.path(name);
        assert_eq!(bed.run(&["-o", &path, "--trace=faults,traps,insn"]).status.code(), Some(0));
        std::fs::read(path).expect("a trace")
    });
    assert!(traces[0].len() > 1 << 20 && traces[0] == traces[1]);
}

/// In a kernel that counts references, a frame's next owner may fill it before `kfree` comes to its
/// end: that it was freed shows when it is handed out again.
#[test]
fn a_frame_that_is_handed_out_again_was_freed() {
    let jal = |words: u32| (2 * words) << 21 | 1 << 7 | 0x6f;
    let mut code = vec![1 << 12 | 8 << 7 | 0x17, jal(9 - 1), jal(11 - 2), jal(9 - 3)];
    code.extend(finish(0x5555));
    let (nop, ret) = (addi(0, 0, 0), 0x0000_8067);
    code.extend([addi(10, 8, 0), ret, nop, ret]);
    let folder = Folder::new("again");
    let symbols = [("kalloc", BASE + 4 * 9), ("kfree", BASE + 4 * 11)];
    let kernel = folder.file("kernel.elf", &elf(&code, 8192, &symbols));
    let mut emu = Command::new(env!("CARGO_BIN_EXE_emu"));
    let output = emu.arg(kernel).arg("--trace=frames").output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().filter_map(|line| line.split_once(" - ")).collect();
    let lines: Vec<_> = lines.iter().map(|(_, line)| line.trim_start_matches(['-', ' '])).collect();
    let expected = [
        "alloc  80001, 0 free by 80000004",
        "free   80001, 1 free by 80000008",
        "alloc  80001, 0 free by 8000000c",
    ];
    assert_eq!(lines, expected, "{text}");
}
