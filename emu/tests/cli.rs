//! The program from outside: what it says and how it ends, for good and bad command lines.

mod common;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::*;

/// What came of a run: exit status, standard output, standard error.
struct Outcome {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn command() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("emu"))
}

fn run(args: &[&str]) -> Outcome {
    let output = command().args(args).stdin(Stdio::null()).output().expect("emu runs");
    Outcome {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The run fails with that status and one line, which holds `text`.
#[track_caller]
fn fails(args: &[&str], status: i32, text: &str) {
    let outcome = run(args);
    assert_eq!(outcome.status, Some(status), "{args:?}: {}", outcome.stderr);
    assert_eq!(outcome.stderr.lines().count(), 1, "{args:?}: {}", outcome.stderr);
    assert!(outcome.stderr.starts_with("emu: "), "{args:?}: {}", outcome.stderr);
    assert!(outcome.stderr.contains(text), "{args:?}: {}", outcome.stderr);
    assert_eq!(outcome.stdout, "");
}

#[test]
fn wrong_command_lines_are_named() {
    fails(&["-netdev", "user,id=n"], 64, "-netdev");
    fails(&["--frobnicate"], 64, "--frobnicate");
    fails(&["--trase", "k"], 64, "is --trace meant?");
    fails(&["--trace", "sys", "k"], 64, "is --trace=sys meant?");
    fails(&["--engine=fast", "k"], 64, "interp");
    fails(&["-smp", "9", "k"], 64, "1 to 8");
    fails(&["-m", "12Q", "k"], 64, "Q is no unit");
    fails(&["-machine", "sifive_u", "k"], 64, "sifive_u");
    fails(&["-kernel"], 64, "needs a value");
    fails(&["a.elf", "b.elf"], 64, "b.elf");
    fails(&["-device", "e1000,netdev=n", "k"], 64, "netdev");
    fails(&["-drive", "file=x,format=qcow2", "k"], 64, "qcow2");
}

#[test]
fn broken_kernels_are_named() {
    let folder = Folder::new("broken");
    let good = elf(&finish(0x5555), 0, &[]);
    let fails_with = |name: &str, content: &[u8], text: &str| {
        let path = folder.file(name, content);
        fails(&[path.to_str().expect("UTF-8")], 65, text);
    };
    fails(&["/nonexistent/kernel"], 65, "/nonexistent/kernel");
    fails(&[folder.as_ref().to_str().expect("UTF-8")], 65, "is not a file");
    fails_with("empty", b"", "is empty");
    fails_with("text", &b"hello ".repeat(20), "neither an ELF file nor");
    fails_with("short", &good[..40], "cut off");
    fails_with("cut", &good[..130], "cut off");
    let mut other = good.clone();
    other[4] = 1;
    fails_with("class", &other, "32-bit");
    let mut other = good.clone();
    other[18] = 62;
    fails_with("machine", &other, "X86_64");
    let mut other = good;
    other[91] = 0;
    fails_with("user", &other, "user program");
}

#[test]
fn broken_images_are_named() {
    let folder = Folder::new("images");
    let kernel = folder.file("k", &elf(&finish(0x5555), 0, &[]));
    let kernel = kernel.to_str().expect("UTF-8");
    let device = ["-device", "virtio-blk-device,drive=x"];
    fails(
        &[&["-kernel", kernel, "-drive", "file=/nonexistent,id=x"][..], &device].concat(),
        66,
        "/nonexistent",
    );
    fails(&["-kernel", kernel, "-drive", "file=x,id=x"], 64, "used by no -device");
    fails(&[&["-kernel", kernel][..], &device].concat(), 64, "wants drive x");
    let mut image = vec![0; 2048];
    image[1024..1032].copy_from_slice(&[0x40, 0x30, 0x20, 0x10, 100, 0, 0, 0]);
    let image = folder.file("cut.img", &image);
    let drive = format!("file={},id=x", image.display());
    fails(&[&["-kernel", kernel, "-drive", &drive][..], &device].concat(), 66, "cut off");
}

#[test]
fn help_serves_people_and_makefiles() {
    let help = run(&["-help"]);
    assert_eq!(help.status, Some(0));
    assert!(help.stdout.lines().any(|line| line.starts_with("-gdb")), "xv6's makefile looks");
    assert!(help.stdout.contains("--max-insns"));
    let version = run(&["--version"]);
    assert!(version.stdout.starts_with("QEMU emulator version 7.2.0 "), "xv6's makefile looks");
}

#[test]
fn the_device_tree_is_written() {
    let folder = Folder::new("dtb");
    let path = folder.path("virt.dtb");
    let args = ["-smp", "2", "-append", "hello", "-dump-dtb", path.to_str().expect("UTF-8")];
    assert_eq!(run(&args).status, Some(0));
    let tree = std::fs::read(&path).expect("the tree");
    assert_eq!(tree[..4], [0xd0, 0x0d, 0xfe, 0xed]);
    assert!(tree.windows(6).any(|window| window == b"hello\0"));
    let kernel = folder.file("kernel.elf", &elf(&finish(0x5555), 0, &[]));
    let kernel = kernel.to_str().expect("UTF-8");
    fails(&[kernel, "-dtb", kernel], 65, "is no device tree");
    assert_eq!(run(&[kernel, "-dtb", args[5]]).status, Some(0));
}

/// Runs a kernel of these instructions.
fn boot(name: &str, code: &[u32], args: &[&str]) -> Outcome {
    let folder = Folder::new(name);
    let kernel = folder.file("kernel.elf", &elf(code, 8192, &[]));
    run(&[&[kernel.to_str().expect("UTF-8")], args].concat())
}

#[test]
fn the_guests_code_is_the_exit_status() {
    assert_eq!(boot("pass", &finish(0x5555), &[]).status, Some(0));
    assert_eq!(boot("fail", &finish(7 << 16 | 0x3333), &[]).status, Some(7));
    assert_eq!(boot("large", &finish(0x7fff_3333), &[]).status, Some(255));
}

#[test]
fn the_guest_prints_and_a_reset_starts_again() {
    let outcome = boot("print", &[print("hi\n"), finish(0x5555)].concat(), &[]);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("hi\n", Some(0)));
    let outcome = boot("reset", &[print("r"), finish(0x7777)].concat(), &["-no-reboot"]);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("r", Some(0)));
    let again = boot("again", &[print("r"), finish(0x7777)].concat(), &["--max-insns", "5000"]);
    assert!(again.stdout.starts_with("rr"), "{:?}", again.stdout);
}

#[test]
fn limits_and_dead_ends_have_their_status() {
    let outcome = boot("limit", &[SELF], &["--max-insns", "100000"]);
    assert_eq!(outcome.status, Some(76));
    assert!(outcome.stderr.contains("100000"), "{}", outcome.stderr);
    let outcome = boot("stuck", &[WFI, BACK], &[]);
    assert_eq!(outcome.status, Some(75), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("stuck"), "{}", outcome.stderr);
    // The trap of the first instruction leads to address zero.
    let outcome = boot("trapped", &[0], &["--max-insns", "100000"]);
    assert_eq!(outcome.status, Some(78), "{}", outcome.stderr);
    let what = "hart 0 at 0x0 traps itself (instruction access fault)";
    assert!(outcome.stderr.contains(what), "{}", outcome.stderr);
}

#[test]
fn host_target_interface_and_signature() {
    let folder = Folder::new("htif");
    // sw x6, 0(x5) with x5 = BASE + 0x1000, x6 = 5 << 1 | 1.
    let code = [lui(5, 0x8000_1000), addi(6, 0, 11), sw(6, 5, 16), sw(6, 5, 0), SELF];
    // lui sign-extends; a zero-extending shift pair makes it an address again.
    let code = [&code[..1], &[0x0202_9293, 0x0202_d293], &code[1..]].concat();
    let symbols = [
        ("tohost", BASE + 0x1000),
        ("begin_signature", BASE + 0x1010),
        ("end_signature", BASE + 0x1018),
    ];
    let kernel = folder.file("k.elf", &elf(&code, 8192, &symbols));
    let signature = folder.path("signature");
    let option = format!("+signature={}", signature.display());
    let args = [kernel.to_str().expect("UTF-8"), &option, "+signature-granularity=4"];
    assert_eq!(run(&args).status, Some(5));
    assert_eq!(std::fs::read_to_string(signature).expect("written"), "0000000b\n00000000\n");
}

#[test]
fn the_image_beside_the_kernel_is_attached() {
    let folder = Folder::new("beside");
    let kernel = folder.file("tree/kernel/kernel", &elf(&finish(0x5555), 0, &[]));
    let image = folder.file("tree/fs.img", &[0; 4096]);
    let outcome = run(&[kernel.to_str().expect("UTF-8")]);
    assert_eq!(outcome.status, Some(0));
    assert_eq!(outcome.stderr.lines().count(), 1);
    assert!(outcome.stderr.contains(image.to_str().expect("UTF-8")), "{}", outcome.stderr);
}

#[test]
fn an_image_in_use_is_refused() {
    let folder = Folder::new("in-use");
    let kernel = folder.file("kernel.elf", &elf(&[SELF], 0, &[]));
    folder.file("fs.img", &[0; 4096]);
    let kernel = kernel.to_str().expect("UTF-8");
    let mut first =
        command().arg(kernel).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("emu");
    // The first one says that it has the disk.
    let mut line = [0; 10];
    std::io::Read::read_exact(first.stderr.as_mut().expect("piped"), &mut line).expect("a note");
    fails(&[kernel], 66, "in use");
    first.kill().expect("it runs");
    first.wait().expect("it ends");
    assert_eq!(run(&[kernel, "--max-insns", "1000"]).status, Some(76));
}

/// Reads bytes from the serial line, prints them again, ends at `.`.
fn echo() -> Vec<u32> {
    let wait = [lbu(6, 7, 5), andi(6, 6, 1), beq_back(6, 0, 8)];
    let copy = [lbu(28, 7, 0), sb(28, 7), addi(29, 0, i32::from(b'.'))];
    // Back to the wait unless the byte is the full stop; `bne` is `beq` with another function.
    let leave = [addi(30, 28, 0)];
    let bne_back = beq_back(29, 30, 4 * 7) | 1 << 12;
    [&[lui(7, 0x1000_0000)][..], &wait, &copy, &leave, &[bne_back], &finish(0x5555)].concat()
}

#[test]
fn piped_input_arrives_and_its_end_is_no_end() {
    let folder = Folder::new("echo");
    let kernel = folder.file("kernel.elf", &elf(&echo(), 0, &[]));
    let mut child = command()
        .arg(&kernel)
        .args(["--max-insns", "20000000000"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("emu runs");
    child.stdin.take().expect("piped").write_all(b"one\ntwo.").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one\ntwo.");
}

#[test]
fn a_command_in_piped_input_quits() {
    let folder = Folder::new("quit");
    let kernel = folder.file("kernel.elf", &elf(&echo(), 0, &[]));
    let mut child = command()
        .arg(&kernel)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("emu runs");
    child.stdin.take().expect("piped").write_all(b"a\x01ab\n\x01x").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"a\x01b\n");
}

#[test]
fn a_signal_ends_the_run_with_its_status() {
    let folder = Folder::new("signal");
    let kernel = folder.file("kernel.elf", &elf(&[print("x"), vec![SELF]].concat(), 0, &[]));
    let mut child = command()
        .arg(&kernel)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("emu runs");
    let mut byte = [0];
    std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut byte).expect("output");
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(kill.expect("kill runs").success());
    let begun = Instant::now();
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_closed_output_ends_the_run_quietly() {
    let folder = Folder::new("closed");
    // Prints for ever.
    let code = [&print("y")[..], &[beq_back(0, 0, 4)]].concat();
    let kernel = folder.file("kernel.elf", &elf(&code, 0, &[]));
    let mut child = command()
        .arg(&kernel)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("emu runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(74), &b""[..]));
}

#[test]
fn two_runs_retire_the_same_instructions() {
    let count = |seed: &str| {
        let outcome = boot(
            "count",
            &[print("z"), finish(0x5555)].concat(),
            &["--count", "-smp", "3", "--seed", seed],
        );
        outcome.stderr
    };
    assert!(count("0").contains(" instructions"));
    assert_eq!(count("0"), count("0"));
    assert_eq!(count("5"), count("5"));
}

#[test]
fn wrong_trace_options_are_named() {
    fails(&["--trace=fault", "k"], 64, "`fault` cannot be traced");
    fails(&["-e", "stor", "--trace", "k"], 64, "`stor` in a filter");
    fails(&["--check=tlbs", "k"], 64, "`tlbs` is no check");
    fails(&["--tlb", "63x4", "k"], 64, "not a power of two");
    let folder = Folder::new("traceopts");
    let kernel = folder.file("k", &elf(&finish(0x5555), 0, &[]));
    let kernel = kernel.to_str().expect("UTF-8");
    fails(&["-e", "store", kernel], 64, "add --trace");
    fails(&["-o", "trace.pdf", kernel], 64, "the ending says what to write");
    fails(&["-o", "/nonexistent/a.jsonl", kernel], 71, "/nonexistent/a.jsonl");
}

#[test]
fn a_summary_tells_what_was_looked_at() {
    let summary = |trace: &str| boot("summary", &finish(0x5555), &[trace]).stderr;
    // No table of no faults.
    let faults = summary("--trace");
    assert!(faults.contains("Page faults: 0 (0 traps)"), "{faults}");
    assert!(!faults.contains("outcome"), "{faults}");
    assert!(!summary("--trace=sys").contains("Page faults"));
    assert!(!summary("--check=frames").contains("Page faults"));
}

#[test]
fn a_trace_has_a_header_and_an_end() {
    let folder = Folder::new("jsonl");
    let path = folder.path("run.jsonl");
    let outcome = boot("traced", &finish(7 << 16 | 0x3333), &["-o", path.to_str().expect("UTF-8")]);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(7), ""));
    let trace = std::fs::read_to_string(path).expect("a trace");
    let lines: Vec<&str> = trace.lines().collect();
    assert!(lines[0].starts_with(r#"{"record":"header","version":4,"kernel":"kernel.elf""#));
    assert!(lines[1].starts_with(r#"{"record":"end""#) && lines[1].contains(r#""status":7"#));
    assert_eq!(lines.len(), 2, "{trace}");
}

#[test]
fn a_saved_trace_becomes_every_output_and_two_are_compared() {
    let folder = Folder::new("report");
    let trace = folder.path("a.jsonl");
    let trace = trace.to_str().expect("UTF-8");
    boot("report-run", &finish(0x5555), &["-o", trace]);
    let text = run(&["report", trace]);
    assert_eq!(text.status, Some(0), "{}", text.stderr);
    assert!(text.stdout.contains("Page faults: 0 (0 traps)"), "{}", text.stdout);
    for (name, part) in [
        ("b.jsonl", r#"{"record":"header""#),
        ("b.txt", "Page faults: 0"),
        ("b.perfetto.json", "process_name"),
        ("b.html", "<h2>Free pages over time</h2>"),
    ] {
        let path = folder.path(name);
        let made = run(&["report", trace, "-o", path.to_str().expect("UTF-8")]);
        assert_eq!(made.status, Some(0), "{name}: {}", made.stderr);
        let content = std::fs::read_to_string(path).expect("written");
        assert!(content.contains(part), "{name}: {content}");
    }
    let both = run(&["report", trace, trace]);
    assert!(
        both.stdout
            .contains("page faults                                 0                0         =")
    );
    fails(&["report"], 64, "<TRACE>... is missing");
    fails(&["report", trace, "-o", trace], 64, "is the trace itself");
    fails(&["report"], 64, "");
    let bad = folder.file("bad.jsonl", b"{\"record\":\"end\"}\n");
    fails(&["report", bad.to_str().expect("UTF-8")], 64, "bad.jsonl is no trace: line 1");
}
