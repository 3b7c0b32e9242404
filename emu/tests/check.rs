//! Every mistake of memory management that a checker is for is found by that checker, in the
//! in-tree kernel with its mistakes as switches; the kernel without mistakes has no findings.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use clap::Parser;
use emu::bus::{Bus, BusConfig};
use emu::cli::args::Args;
use emu::cli::setup::Boot;
use emu::cli::watch;
use emu::console::BufferConsole;
use emu::inspect::{Hit, Inspect};
use emu::jit::Engine;
use emu::machine::{Machine, MachineConfig, Stop};
use emu::mem::Ram;
use emu::trace::observer::Observer;

use common::{BASE, Folder, addi, elf, finish, guest, lui};

/// Runs a kernel of the guest build with all checkers.
fn run(kernel: &str, append: &str, options: &[&str]) -> Output {
    let mut emu = Command::new(env!("CARGO_BIN_EXE_emu"));
    emu.arg(guest::kernel(kernel)).args([
        "--snapshot",
        "--check=frames,tlb,cow,leak",
        "--append",
        append,
    ]);
    // Little memory is soon used up.
    emu.args(["-m", "16M", "--max-insns", "300000000"]).args(options);
    emu.output().expect("the program starts")
}

/// A run of a guest that gets the same page fault for ever.
fn same_fault(name: &str, check: &str) -> Output {
    let folder = Folder::new(name);
    let kernel = folder.file("kernel.elf", &elf(&common::same_fault(), 8192, &[]));
    let mut emu = Command::new(env!("CARGO_BIN_EXE_emu"));
    emu.arg(kernel).args([check, "--max-insns", "1000"]);
    emu.output().expect("the program starts")
}

#[test]
fn the_same_fault_again_and_again_is_found() {
    let output = same_fault("same-fault", "--check=frames");
    let (checks, text) = findings(&output);
    assert_eq!(checks, ["frames"], "{text}");
    assert!(text.contains("the same load page fault at 0x0 comes again and again"), "{text}");
    assert_eq!(text.matches("again and again").count(), 1, "{text}");
    assert_eq!(output.status.code(), Some(76), "{text}");
    let (checks, text) = findings(&same_fault("other-check", "--check=tlb"));
    assert!(checks.is_empty(), "nobody asked for that: {text}");
}

#[test]
fn a_finding_ends_the_run_if_that_is_wanted() {
    let output = same_fault("stop-fault", "--check=frames,stop");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("again and again"), "{text}");
    assert_eq!(output.status.code(), Some(77), "{text}");
}

/// A C kernel, as far as the checkers can tell: `kfree` fills the frame with junk and returns. It
/// allocates a frame twice, and frees it twice.
fn twice() -> Vec<u8> {
    let jal = |words: u32| (2 * words) << 21 | 1 << 7 | 0x6f;
    let mut code = vec![
        // s0: the page behind this one. t0: junk.
        1 << 12 | 8 << 7 | 0x17,
        lui(5, 0x0101_0000),
        addi(5, 5, 0x101),
        32 << 20 | 5 << 15 | 1 << 12 | 6 << 7 | 0x13,
        6 << 20 | 5 << 15 | 5 << 7 | 0x33,
        jal(14 - 5),
        jal(14 - 6),
        jal(16 - 7),
        jal(16 - 8),
    ];
    code.extend(finish(0x5555));
    let (store_t0, ret) = (2 << 25 | 5 << 20 | 10 << 15 | 3 << 12 | 0x23, 0x0000_8067);
    code.extend([addi(10, 8, 0), ret, store_t0, ret]);
    elf(&code, 8192, &[("kalloc", BASE + 4 * 14), ("kfree", BASE + 4 * 16)])
}

/// A kernel that takes W from a page of 1 GiB, without `sfence.vma`, and then loads from it and
/// executes what is in it; or in the other order.
fn stale(loads_first: bool) -> Vec<u8> {
    let (load, call) = (0x0005_b503, 0x0800_0667);
    let [first, second] = if loads_first { [load, call] } else { [call, load] };
    let code = [
        // All memory is for all modes.
        0xfff0_0293,
        0x3b02_9073,
        0x01f0_0293,
        0x3a02_9073,
        // The page behind this one is a table: RAM at 0 and at its own address, in satp.
        0x0000_1417,
        0xff04_0413,
        0x2000_02b7,
        0x0cf2_8293,
        0x0054_3023,
        0x0054_3823,
        0x00c4_5313,
        0x0080_0393,
        0x03c3_9393,
        0x0073_6333,
        0x1803_1073,
        // To supervisor mode.
        0x0010_0393,
        0x00b3_9393,
        0x3003_9073,
        0x0000_0397,
        0x0103_8393,
        0x3413_9073,
        0x3020_0073,
        // a1: an address in the page. t0: the leaf without W.
        0x0000_15b7,
        0xffc2_8293,
        // Call and load, take W, load and call.
        call,
        load,
        0x0054_3023,
        first,
        second,
        0x0000_006f,
        0x0000_0013,
        0x0000_0013,
        // The function, at 128: it returns by a2.
        0x0006_0067,
    ];
    elf(&code, 8192, &[])
}

type Checked = Observer<false, true>;

/// A machine with that kernel under the checkers, which stop it.
fn machine(kernel: &Path, engine: Engine, check: &str) -> Machine<Checked> {
    let path = kernel.to_str().expect("a path in UTF-8");
    let args = Args::parse_from(["emu", path, &format!("--check={check},stop")]);
    let boot = Boot::prepare(&args, kernel).expect("it can be loaded");
    let mut ram = Ram::new(args.memory).expect("memory");
    boot.load(&mut ram).expect("it fits");
    let bus = Bus::new(ram, BusConfig::new(1));
    let tracer = watch::tracer(&args, kernel, false).expect("no files").expect("asked for");
    let observer = Checked { tracer, tlb: None, checker: watch::checker(&args, kernel) };
    let max_insns = Some(1000);
    let config = MachineConfig { engine, max_insns, ..MachineConfig::default() };
    let mut machine = Machine::with_events(config, bus, observer);
    machine.set_entry(0, boot.entry, 0, 0);
    machine
}

/// The machine stops at, or right behind, the very instruction, and goes on from there as if
/// nothing had been.
#[test]
fn stops_are_where_the_rules_are_broken() {
    let folder = Folder::new("stops");
    let twice = folder.file("twice", &twice());
    let (loads, calls) = (folder.file("loads", &stale(true)), folder.file("calls", &stale(false)));
    for engine in [Engine::Interp, Engine::Jit, Engine::JitAtOnce] {
        let stops = |kernel: &Path, check: &str| {
            let mut machine = machine(kernel, engine, check);
            let mut console = BufferConsole::default();
            let mut stops = Vec::new();
            while let Stop::Point { hart, hit: Hit::Observer } = machine.run(&mut console) {
                stops.push((machine.pc(hart) % BASE, machine.insns()));
            }
            stops
        };
        // Before kalloc's return and kfree's first instruction.
        assert_eq!(stops(&twice, "frames"), [(60, 10), (64, 15)], "{engine:?}");
        // Behind the load, and before the function.
        assert_eq!(stops(&loads, "tlb"), [(0x70, 29), (0x80, 30)], "{engine:?}");
        assert_eq!(stops(&calls, "tlb"), [(0x80, 29), (0x74, 31)], "{engine:?}");
    }
}

#[test]
fn findings_name_the_instruction() {
    let folder = Folder::new("named");
    let run = |name: &str, kernel: &[u8], check: &str| {
        let kernel = folder.file(name, kernel);
        let mut emu = Command::new(env!("CARGO_BIN_EXE_emu"));
        emu.arg(kernel).args([check, "--max-insns", "1000"]);
        findings(&emu.output().expect("the program starts"))
    };
    let (checks, text) = run("twice", &twice(), "--check=frames");
    assert_eq!(checks, ["frames"; 2], "{text}");
    for part in [
        "frame 80001 is allocated by user code at 0x8000001c",
        "[pc 8000003c kalloc+0x4]",
        "frame 80001 is freed by",
        "; it was freed by",
        "[pc 80000040 kfree+0x0]",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (checks, text) = run("stale", &stale(true), "--check=tlb");
    assert_eq!(checks, ["tlb"; 2], "{text}");
    assert!(text.contains("load at 0x1000 by") && text.contains("[pc 8000006c "), "{text}");
    assert!(text.contains("fetch at 0x80 by") && text.contains("[pc 80 "), "{text}");
    let (_, text) = findings(&same_fault("named-fault", "--check=frames"));
    assert!(text.contains("[pc 8000003c 8000003c]"), "{text}");
}

/// The checkers in the order in which they found something, and the text.
fn findings(output: &Output) -> (Vec<String>, String) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = text.lines().filter_map(|line| line.split_once(" CHECK  ")?.1.split_once(':'));
    let checks: Vec<String> = words.map(|(check, _)| check.to_owned()).collect();
    (checks, text)
}

/// The mistake, the command that shows it, the checker, and what its finding says of both sides
/// and of the function of the instruction at which it shows.
const MISTAKES: [(&str, &str, &str, &[&str]); 6] = [
    (
        "cow_no_ref",
        "echo hi",
        "frames",
        &["has 1 reference and is mapped 2 times", "share_frame", " user_return+"],
    ),
    (
        "cow_parent_stays_w",
        "alloctest fork",
        "cow",
        &["may write to frame", "copy-on-write at", " user_return+"],
    ),
    (
        "cow_no_sfence",
        "echo hi",
        "tlb",
        &["the table was changed by", "share_frame", "sfence.vma", " wait]"],
    ),
    (
        "cow_copyout_skips",
        "usertests pipe1",
        "cow",
        &["the kernel writes to", "copyout", "copy-on-write", " memcpy+"],
    ),
    ("oom_leak fork=copy", "leakcheck cowtest", "leak", &["no owner any more", "allocated by"]),
    (
        "unmapshared_free_now",
        "test-shared1",
        "frames",
        &["was freed by", "still mapped by pid 2", " user_return+"],
    ),
];

#[test]
#[ignore = "needs the guest: cargo xtask test"]
fn every_mistake_is_found_by_its_checker() {
    for (mistake, command, check, parts) in MISTAKES {
        let append = format!("run=\"{command}\" mutant={mistake}");
        let output = run("kernel-mutants.elf", &append, &[]);
        let (checks, text) = findings(&output);
        // Others may find what follows from it.
        assert_eq!(checks.first().map(String::as_str), Some(check), "{mistake}: {text}");
        for part in parts {
            assert!(text.contains(part), "{mistake}: no {part:?} in {text}");
        }
    }
}

/// Translated, interpreted, and with every access looked at, the same is found; and the first
/// finding decides its end where that is wanted.
#[test]
#[ignore = "needs the guest: cargo xtask test"]
fn findings_do_not_depend_on_the_engine() {
    for (mistake, command, check, _) in MISTAKES {
        let append = format!("run=\"{command}\" mutant={mistake}");
        let found = |options: &[&str]| {
            let output = run("kernel-mutants.elf", &append, options);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let lines = text.lines().filter(|line| line.contains(" CHECK  ")).map(str::to_owned);
            (lines.collect::<Vec<_>>(), output.status.code())
        };
        let interpreted = found(&["--engine=interp"]);
        assert_eq!(found(&[]), interpreted, "{mistake}");
        if command == "echo hi" {
            assert_eq!(found(&["--tlb=16x4"]), interpreted, "{mistake}");
        }
        let (lines, status) = found(&["--check", &format!("{check},stop")]);
        // An instruction, or a look for leaks at the end, may break several rules.
        let instant = |line: &String| {
            let (time, pc) =
                (line.split_once(' ')?.0.to_owned(), line.rsplit_once("[pc ")?.1.to_owned());
            Some((time, pc))
        };
        let first = &interpreted.0[0];
        let first = interpreted.0.iter().take_while(|line| instant(line) == instant(first));
        assert_eq!((lines, status), (first.cloned().collect(), Some(77)), "{mistake}");
    }
}

/// Instructions of a run, with these options.
fn count(options: &[&str]) -> String {
    let kernel = guest::kernel("kernel.elf");
    let mut emu = Command::new(env!("CARGO_BIN_EXE_emu"));
    emu.arg(&kernel).args(["--snapshot", "--count", "--smp", "2", "--append", "run=\"echo hi\""]);
    let output = emu.args(options).output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|line| line.ends_with(" instructions"));
    line.unwrap_or_else(|| panic!("no count: {text}")).to_owned()
}

#[test]
#[ignore = "needs the guest: cargo xtask test"]
fn watching_changes_nothing() {
    let plain = count(&[]);
    for option in ["--check=frames,tlb,cow,leak", "--tlb=64x4", "--tlb=64x4,lru"] {
        assert_eq!(count(&[option]), plain, "{option}");
    }
}

/// The summary has a row for each side of each size, and larger TLBs of LRU never miss more.
#[test]
#[ignore = "needs the guest: cargo xtask test"]
fn misses_are_told_by_size() {
    let mut emu = Command::new(env!("CARGO_BIN_EXE_emu"));
    emu.arg(guest::kernel("kernel.elf")).args([
        "--snapshot",
        "--tlb=64x64,lru",
        "--append",
        "run=\"echo hi\"",
    ]);
    let output = emu.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr);
    let rows = text.lines().filter(|line| line.contains(",lru,asid=on") && line.contains("data"));
    let mut sizes: Vec<(u64, u64)> = rows
        .map(|row| {
            let words: Vec<&str> = row.split_whitespace().collect();
            let entries = words[0].split('x').next().expect("a size");
            (entries.parse().expect("a number"), words[2].parse().expect("a number"))
        })
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes.len(), 8, "{text}");
    assert!(sizes.is_sorted_by(|a, b| a.1 >= b.1) && sizes[0].1 > sizes[7].1, "{sizes:?}");
}

#[test]
#[ignore = "needs the guest: cargo xtask test"]
fn a_kernel_without_mistakes_has_no_findings() {
    for command in ["echo hi", "forktest", "mmaptest", "leakcheck echo hi", "prodcons3"] {
        let output = run("kernel.elf", &format!("run=\"{command}\""), &[]);
        let (checks, text) = findings(&output);
        assert!(checks.is_empty(), "{command}: {text}");
        assert!(text.contains("the checkers found nothing wrong"), "{command}: {text}");
        assert_eq!(output.status.code(), Some(0), "{command}: {text}");
    }
}
