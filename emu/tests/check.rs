//! Every mistake of memory management that a checker is for is found by that checker, in the
//! in-tree kernel with its mistakes as switches; the kernel without mistakes has no findings.

mod common;

use std::process::{Command, Output};

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

/// A C kernel, as far as the checkers can tell: `kfree` fills the frame with junk and returns.
#[test]
fn a_frame_that_is_freed_twice_is_found() {
    let jal = |words: u32| (2 * words) << 21 | 1 << 7 | 0x6f;
    let mut code = vec![
        // a0: the page behind this one. t0: junk.
        1 << 12 | 10 << 7 | 0x17,
        lui(5, 0x0101_0000),
        addi(5, 5, 0x101),
        32 << 20 | 5 << 15 | 1 << 12 | 6 << 7 | 0x13,
        6 << 20 | 5 << 15 | 5 << 7 | 0x33,
        jal(12 - 5),
        jal(12 - 6),
    ];
    code.extend(finish(0x5555));
    code.extend([2 << 25 | 5 << 20 | 10 << 15 | 3 << 12 | 0x23, 0x0000_8067]);
    let folder = Folder::new("freed-twice");
    let symbols = [("kalloc", BASE + 4 * 11), ("kfree", BASE + 4 * 12)];
    let kernel = folder.file("kernel.elf", &elf(&code, 8192, &symbols));
    let mut emu = Command::new(env!("CARGO_BIN_EXE_emu"));
    let output = emu.arg(kernel).arg("--check=frames").output().expect("the program starts");
    let (checks, text) = findings(&output);
    assert_eq!(checks, ["frames"], "{text}");
    assert!(
        text.contains("frame 80001 is freed by") && text.contains("; it was freed by"),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(0), "{text}");
}

/// The checkers in the order in which they found something, and the text.
fn findings(output: &Output) -> (Vec<String>, String) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = text.lines().filter_map(|line| line.split_once(" CHECK  ")?.1.split_once(':'));
    let mut checks: Vec<String> = words.map(|(check, _)| check.to_owned()).collect();
    checks.dedup();
    (checks, text)
}

/// The mistake, the command that shows it, the checker, and what its finding says of both sides.
const MISTAKES: [(&str, &str, &str, &[&str]); 6] = [
    ("cow_no_ref", "echo hi", "frames", &["has 1 references and is mapped 2 times"]),
    ("cow_parent_stays_w", "alloctest fork", "cow", &["may write to frame", "copy-on-write at"]),
    ("cow_no_sfence", "echo hi", "tlb", &["the table was changed by", "share_frame", "sfence.vma"]),
    (
        "cow_copyout_skips",
        "usertests pipe1",
        "cow",
        &["the kernel writes to", "copyout", "copy-on-write"],
    ),
    ("oom_leak fork=copy", "leakcheck cowtest", "leak", &["no owner any more", "allocated by"]),
    ("unmapshared_free_now", "test-shared1", "frames", &["was freed by", "still mapped by pid 2"]),
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
        let time = |line: &String| line.split_once(' ').map(|(time, _)| time.to_owned());
        let first = interpreted.0.iter().take_while(|line| time(line) == time(&interpreted.0[0]));
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
