//! Agreement with two independent disassemblers on millions of words: which are legal, names and
//! operands.
//!
//! The crate disc-v always runs; GNU objdump is slower and is asked about fewer words. Tests with
//! it are ignored by a plain `cargo test`; `cargo xtask test` runs them where
//! `riscv64-unknown-elf-objdump` (or `riscv64-linux-gnu-`) is installed. `ISA_ORACLE_WORDS` sets
//! the number of words for both.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use common::Random;
use isa::{Op, decode, disasm};

const WORDS: usize = 4_000_000;
const WORDS_FOR_OBJDUMP: usize = 250_000;

/// The extensions that have instructions.
const ARCH: &str = "rv64imafdc_zicbom_zicboz_zicsr_zifencei_zihintpause_zba_zbb_zbc_zbs_svinval";

/// A difference that is meant.
struct Accepted {
    reason: &'static str,
    /// On the word, our text (empty: illegal) and theirs (empty: illegal).
    applies: fn(u32, &str, &str) -> bool,
}

const ACCEPTED: &[Accepted] = &[
    Accepted {
        reason: "exact conversions accept every rounding mode; older objdumps know mode 0",
        applies: |word, _, theirs| {
            let exact = is(word, &[Op::FcvtDS, Op::FcvtDW, Op::FcvtDWu]);
            exact && theirs.is_empty() && word >> 12 & 7 != 0
        },
    },
    Accepted {
        reason: "implementations ignore the reserved fields of fences; objdump wants zero",
        applies: |word, _, theirs| is(word, &[Op::Fence, Op::FenceI]) && theirs.is_empty(),
    },
    Accepted {
        reason: "with rd and rs1 ignored, more fences are `pause`",
        applies: |_, ours, theirs| ours == "pause" && theirs == "fence w,unknown",
    },
    Accepted {
        reason: "CSRs of extensions that are absent have no name here",
        applies: |word, ours, theirs| {
            let (Some(ours), Some(theirs)) = (split_csr(ours), split_csr(theirs)) else {
                return false;
            };
            ours == (theirs.0, format!("{:#x}", word >> 20).as_str(), theirs.2)
        },
    },
    Accepted {
        reason: "dropped from the manuals, or of an absent extension (N, H, debug)",
        applies: |_, ours, theirs| {
            const NAMES: [&str; 8] = [
                "uret",
                "hret",
                "dret",
                "sfence.vm",
                "hinval.vvma",
                "hinval.gvma",
                "hfence.vvma",
                "hfence.gvma",
            ];
            ours.is_empty() && NAMES.contains(&theirs.split(' ').next().unwrap_or(theirs))
        },
    },
];

fn is(word: u32, ops: &[Op]) -> bool {
    decode(word).is_some_and(|inst| ops.contains(&inst.op))
}

/// What stands before, in and after the second operand of a CSR instruction.
fn split_csr(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.strip_prefix("csr").and_then(|t| t.split_once(','))?;
    let (csr, after) = rest.split_once(',')?;
    Some((before, csr, after))
}

/// What the names of their programs begin with.
fn binutils() -> &'static str {
    let prefixes = ["riscv64-unknown-elf-", "riscv64-linux-gnu-"];
    let installed = prefixes.into_iter().find(|prefix| {
        let objdump = Command::new(format!("{prefix}objdump")).arg("--version").output();
        objdump.is_ok_and(|out| out.status.success())
    });
    installed.expect("binutils for RISC-V are installed")
}

/// An object file whose text section is `bytes`, marked with the extensions.
fn object(prefix: &str, name: &str, bytes: &[u8]) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, text) = (dir.join(format!("{name}.s")), dir.join(format!("{name}.bin")));
    let object = dir.join(format!("{name}.o"));
    fs::write(&source, format!(".attribute arch,\"{ARCH}\"\n.text\nnop\n")).expect("writable");
    fs::write(&text, bytes).expect("writable");
    run(Command::new(format!("{prefix}as")).arg("-o").args([&object, &source]));
    let update = format!(".text={}", text.display());
    run(Command::new(format!("{prefix}objcopy")).arg("--update-section").arg(update).arg(&object));
    object
}

fn run(command: &mut Command) {
    let status = command.status().expect("binutils are installed as a whole");
    assert!(status.success(), "{command:?}: {status}");
}

/// Calls `check` with each address and text (empty: illegal) that objdump prints.
fn objdump(prefix: &str, name: &str, bytes: &[u8], mut check: impl FnMut(u64, &str)) {
    let mut child = Command::new(format!("{prefix}objdump"))
        .args(["-d", "-z", "-M", "no-aliases"])
        .arg(object(prefix, name, bytes))
        .stdout(Stdio::piped())
        .spawn()
        .expect("objdump starts");
    let mut out = BufReader::with_capacity(1 << 20, child.stdout.take().expect("piped"));
    let mut line = String::new();
    while out.read_line(&mut line).expect("text") != 0 {
        if let Some((addr, rest)) = line.trim_end().split_once(":\t") {
            let addr = u64::from_str_radix(addr.trim(), 16).expect("an address");
            let text = rest.split_once('\t').map_or("", |(_, text)| text);
            check(addr, &normal(text));
        }
        line.clear();
    }
    assert!(child.wait().expect("objdump ends").success());
}

/// Their text without what is not the instruction: comments, symbols, raw data.
fn normal(text: &str) -> String {
    if text.starts_with('.') || text.starts_with("c.unimp") || text.starts_with("unimp") {
        return String::new();
    }
    let text = text.split(" #").next().unwrap_or(text);
    match text.split_once(" <") {
        None => text.trim_end().replacen('\t', " ", 1),
        Some((text, _)) => {
            let at = text.rfind([',', '\t']).map_or(0, |at| at + 1);
            format!("{}0x{}", text[..at].replacen('\t', " ", 1), &text[at..])
        }
    }
}

/// Our text of the word at `pc`; empty if it is illegal.
fn ours(word: u32, pc: u64) -> String {
    decode(word).map_or(String::new(), |inst| disasm(&inst, pc).to_string())
}

/// Collects what we and another disassembler disagree on.
#[derive(Default)]
struct Tally {
    words: usize,
    different: Vec<String>,
    accepted: [usize; ACCEPTED.len()],
}

impl Tally {
    fn check(&mut self, word: u32, pc: u64, theirs: &str) {
        self.words += 1;
        let ours = ours(word, pc);
        if ours == theirs {
            return;
        }
        match ACCEPTED.iter().position(|a| (a.applies)(word, &ours, theirs)) {
            Some(at) => self.accepted[at] += 1,
            None => self.different.push(format!("{word:08x}: ours `{ours}`, theirs `{theirs}`")),
        }
    }

    fn finish(mut self, words: usize) {
        assert_eq!(self.words, words, "lost step");
        for (accepted, times) in ACCEPTED.iter().zip(&self.accepted) {
            eprintln!("{times:8} times: {}", accepted.reason);
        }
        let count = self.different.len();
        self.different.truncate(60);
        assert_eq!(count, 0, "{}", self.different.join("\n"));
    }
}

/// 32-bit words to ask about.
fn words(default: usize) -> Vec<u32> {
    let count = std::env::var("ISA_ORACLE_WORDS").ok().and_then(|n| n.parse().ok());
    let mut random = Random(3);
    // Words that end in 11111 belong to longer encodings, in which objdump would lose step.
    let words = std::iter::repeat_with(|| random.word()).filter(|w| w & 31 != 31);
    words.take(count.unwrap_or(default)).collect()
}

/// disc-v's text, empty for what is illegal.
fn disc_v(word: u32, pc: u64) -> String {
    static DECODER: LazyLock<disc_v::Decoder> =
        LazyLock::new(|| disc_v::Decoder::from_march(ARCH).expect("it knows our extensions"));
    let inst = DECODER.decode(pc, word as u64);
    if inst.is_illegal() { String::new() } else { normal(&inst.without_aliases().to_string()) }
}

#[test]
fn words_agree_with_disc_v() {
    let words = words(WORDS);
    let mut tally = Tally::default();
    for (at, &word) in words.iter().enumerate() {
        let pc = at as u64 * 4;
        tally.check(word, pc, &disc_v(word, pc));
    }
    tally.finish(words.len());
}

#[test]
#[ignore = "needs a RISC-V objdump"]
fn words_agree_with_objdump() {
    let prefix = binutils();
    let words = words(WORDS_FOR_OBJDUMP);
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let mut tally = Tally::default();
    objdump(prefix, "words", &bytes, |pc, theirs| {
        tally.check(words[pc as usize / 4], pc, theirs);
    });
    tally.finish(words.len());
}

/// What the 16-bit instructions stand for, as the manual's listings put it, in terms of the first
/// and the last operand that the disassembler shows.
const EXPANSIONS: &[(&str, &str)] = &[
    ("c.addi4spn", "addi {first},sp,{last}"),
    ("c.fld", "fld {first},{last}"),
    ("c.lw", "lw {first},{last}"),
    ("c.ld", "ld {first},{last}"),
    ("c.fsd", "fsd {first},{last}"),
    ("c.sw", "sw {first},{last}"),
    ("c.sd", "sd {first},{last}"),
    ("c.nop", "addi zero,zero,{last}"),
    ("c.addi", "addi {first},{first},{last}"),
    ("c.addiw", "addiw {first},{first},{last}"),
    ("c.li", "addi {first},zero,{last}"),
    ("c.addi16sp", "addi sp,sp,{last}"),
    ("c.lui", "lui {first},{last}"),
    ("c.srli", "srli {first},{first},{last}"),
    ("c.srli64", "srli {first},{first},0x0"),
    ("c.srai", "srai {first},{first},{last}"),
    ("c.srai64", "srai {first},{first},0x0"),
    ("c.andi", "andi {first},{first},{last}"),
    ("c.sub", "sub {first},{first},{last}"),
    ("c.xor", "xor {first},{first},{last}"),
    ("c.or", "or {first},{first},{last}"),
    ("c.and", "and {first},{first},{last}"),
    ("c.subw", "subw {first},{first},{last}"),
    ("c.addw", "addw {first},{first},{last}"),
    ("c.j", "jal zero,{last}"),
    ("c.beqz", "beq {first},zero,{last}"),
    ("c.bnez", "bne {first},zero,{last}"),
    ("c.slli", "slli {first},{first},{last}"),
    ("c.slli64", "slli {first},{first},0x0"),
    ("c.fldsp", "fld {first},{last}"),
    ("c.lwsp", "lw {first},{last}"),
    ("c.ldsp", "ld {first},{last}"),
    ("c.jr", "jalr zero,0({first})"),
    ("c.mv", "add {first},zero,{last}"),
    ("c.ebreak", "ebreak"),
    ("c.jalr", "jalr ra,0({first})"),
    ("c.add", "add {first},{first},{last}"),
    ("c.fsdsp", "fsd {first},{last}"),
    ("c.swsp", "sw {first},{last}"),
    ("c.sdsp", "sd {first},{last}"),
];

/// The base instruction for another disassembler's 16-bit instruction.
fn expansion(theirs: &str) -> String {
    if theirs.is_empty() {
        return String::new();
    }
    let (name, operands) = theirs.split_once(' ').unwrap_or((theirs, "0"));
    let (_, pattern) = EXPANSIONS.iter().find(|e| e.0 == name).expect(name);
    let first = operands.split(',').next().unwrap_or(operands);
    let last = operands.rsplit(',').next().unwrap_or(operands);
    pattern.replace("{first}", first).replace("{last}", last)
}

/// The 16-bit encodings, and what differs: ours, and theirs expanded.
#[derive(Default)]
struct Halves(Vec<String>);

impl Halves {
    fn check(&mut self, half: u16, pc: u64, theirs: &str) {
        let (ours, theirs) = (ours(half as u32, pc), expansion(theirs));
        // `c.addi16sp sp,0` is reserved; some objdumps have no rule for it.
        if ours != theirs && half != 0x6101 {
            self.0.push(format!("{half:04x}: ours `{ours}`, theirs `{theirs}`"));
        }
    }
}

fn halves() -> Vec<u16> {
    (0..=u16::MAX).filter(|h| h & 3 != 3).collect()
}

#[test]
fn all_16_bit_encodings_agree_with_disc_v() {
    let mut different = Halves::default();
    for (at, half) in halves().into_iter().enumerate() {
        let pc = at as u64 * 2;
        different.check(half, pc, &disc_v(half as u32, pc));
    }
    assert!(different.0.is_empty(), "{}", different.0.join("\n"));
}

#[test]
#[ignore = "needs a RISC-V objdump"]
fn all_16_bit_encodings_agree_with_objdump() {
    let prefix = binutils();
    let halves = halves();
    let bytes: Vec<u8> = halves.iter().flat_map(|h| h.to_le_bytes()).collect();
    let mut different = Halves::default();
    let mut lines = 0;
    objdump(prefix, "halves", &bytes, |pc, theirs| {
        lines += 1;
        different.check(halves[pc as usize / 2], pc, theirs);
    });
    assert_eq!(lines, halves.len(), "objdump lost step");
    assert!(different.0.is_empty(), "{}", different.0.join("\n"));
}
