//! Agreement with an independent disassembler, GNU objdump, on millions of words: which are
//! legal, names and operands.
//!
//! Skipped, and says so, where `riscv64-unknown-elf-objdump` (or `riscv64-linux-gnu-`) is not
//! installed. `ISA_ORACLE_WORDS` sets the number of words.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::Random;
use isa::{Op, decode, disasm};

const WORDS: usize = 2_000_000;

/// What the assembler's extension names call the instructions of the table.
const ARCH: &str = "rv64i2p1_m2p0_a2p1_f2p2_d2p2_c2p0_zicbom1p0_zicboz1p0_zicsr2p0_zifencei2p0\
                    _zihintpause2p0_zba1p0_zbb1p0_zbc1p0_zbs1p0_svinval1p0";

/// A difference that is meant.
struct Accepted {
    reason: &'static str,
    /// On the word, our text (empty: illegal) and theirs (empty: illegal).
    applies: fn(u32, &str, &str) -> bool,
}

const ACCEPTED: &[Accepted] = &[
    Accepted {
        reason: "exact conversions ignore the rounding mode; objdump only knows mode 0, silently",
        applies: |word, ours, theirs| {
            let exact = is(word, &[Op::FcvtDS, Op::FcvtDW, Op::FcvtDWu]);
            exact && (theirs.is_empty() && word >> 12 & 7 != 0 || ours == format!("{theirs},rne"))
        },
    },
    Accepted {
        reason: "implementations ignore the reserved fields of fences; objdump wants zero",
        applies: |word, _, theirs| is(word, &[Op::Fence, Op::FenceI]) && theirs.is_empty(),
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

/// Their assembler prefix, if installed.
fn binutils() -> Option<&'static str> {
    ["riscv64-unknown-elf-", "riscv64-linux-gnu-"].into_iter().find(|prefix| {
        let objdump = Command::new(format!("{prefix}objdump")).arg("--version").output();
        objdump.is_ok_and(|out| out.status.success())
    })
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
fn objdump(prefix: &str, name: &str, bytes: &[u8], mut check: impl FnMut(u64, &str)) -> usize {
    let mut child = Command::new(format!("{prefix}objdump"))
        .args(["-d", "-z", "-M", "no-aliases"])
        .arg(object(prefix, name, bytes))
        .stdout(Stdio::piped())
        .spawn()
        .expect("objdump starts");
    let mut out = BufReader::with_capacity(1 << 20, child.stdout.take().expect("piped"));
    let (mut line, mut lines) = (String::new(), 0);
    while out.read_line(&mut line).expect("text") != 0 {
        if let Some((addr, rest)) = line.trim_end().split_once(":\t") {
            let addr = u64::from_str_radix(addr.trim(), 16).expect("an address");
            let text = rest.split_once('\t').map_or("", |(_, text)| text);
            lines += 1;
            check(addr, &normal(text));
        }
        line.clear();
    }
    assert!(child.wait().expect("objdump ends").success());
    lines
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

fn words_agree(share: u64) {
    let Some(prefix) = binutils() else {
        return eprintln!("skipped: no RISC-V objdump is installed");
    };
    let count = std::env::var("ISA_ORACLE_WORDS").ok().and_then(|n| n.parse().ok());
    let count = count.unwrap_or(WORDS) / 2;
    let mut random = Random(3 + share);
    // Words that end in 11111 belong to longer encodings, in which objdump would lose step.
    let words: Vec<u32> =
        std::iter::repeat_with(|| random.word()).filter(|w| w & 31 != 31).take(count).collect();
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let mut different = Vec::new();
    let mut used = vec![0; ACCEPTED.len()];
    let lines = objdump(prefix, &format!("words{share}"), &bytes, |pc, theirs| {
        let word = words[pc as usize / 4];
        let ours = ours(word, pc);
        if ours == theirs {
            return;
        }
        match ACCEPTED.iter().position(|a| (a.applies)(word, &ours, theirs)) {
            Some(at) => used[at] += 1,
            None => different.push(format!("{word:08x}: ours `{ours}`, theirs `{theirs}`")),
        }
    });
    assert_eq!(lines, words.len(), "objdump lost step");
    for (accepted, times) in ACCEPTED.iter().zip(&used) {
        eprintln!("{times:8} times: {}", accepted.reason);
    }
    different.truncate(60);
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn half_of_the_words_agree_with_objdump() {
    words_agree(0);
}

#[test]
fn the_other_half_agrees_as_well() {
    words_agree(1);
}

/// What objdump's 16-bit instructions stand for, as the manual's listings put it: `0`, `1` and
/// `2` are objdump's operands.
const EXPANSIONS: &[(&str, &str)] = &[
    ("c.addi4spn", "addi 0,sp,2"),
    ("c.fld", "fld 0,1"),
    ("c.lw", "lw 0,1"),
    ("c.ld", "ld 0,1"),
    ("c.fsd", "fsd 0,1"),
    ("c.sw", "sw 0,1"),
    ("c.sd", "sd 0,1"),
    ("c.nop", "addi zero,zero,#0"),
    ("c.addi", "addi 0,0,1"),
    ("c.addiw", "addiw 0,0,1"),
    ("c.li", "addi 0,zero,1"),
    ("c.addi16sp", "addi sp,sp,1"),
    ("c.lui", "lui 0,1"),
    ("c.srli", "srli 0,0,1"),
    ("c.srai", "srai 0,0,1"),
    ("c.andi", "andi 0,0,1"),
    ("c.sub", "sub 0,0,1"),
    ("c.xor", "xor 0,0,1"),
    ("c.or", "or 0,0,1"),
    ("c.and", "and 0,0,1"),
    ("c.subw", "subw 0,0,1"),
    ("c.addw", "addw 0,0,1"),
    ("c.j", "jal zero,0"),
    ("c.beqz", "beq 0,zero,1"),
    ("c.bnez", "bne 0,zero,1"),
    ("c.slli", "slli 0,0,1"),
    ("c.slli64", "slli 0,0,#0x0"),
    ("c.srli64", "srli 0,0,#0x0"),
    ("c.srai64", "srai 0,0,#0x0"),
    ("c.fldsp", "fld 0,1"),
    ("c.lwsp", "lw 0,1"),
    ("c.ldsp", "ld 0,1"),
    ("c.jr", "jalr zero,#0(0)"),
    ("c.mv", "add 0,zero,1"),
    ("c.ebreak", "ebreak"),
    ("c.jalr", "jalr ra,#0(0)"),
    ("c.add", "add 0,0,1"),
    ("c.fsdsp", "fsd 0,1"),
    ("c.swsp", "sw 0,1"),
    ("c.sdsp", "sd 0,1"),
];

/// The base instruction for one of objdump's 16-bit instructions.
fn expansion(theirs: &str) -> String {
    if theirs.is_empty() {
        return String::new();
    }
    let (name, operands) = theirs.split_once(' ').unwrap_or((theirs, ""));
    let operands: Vec<&str> = operands.split(',').collect();
    let (_, pattern) = EXPANSIONS.iter().find(|e| e.0 == name).expect(name);
    let mut text = String::new();
    let mut literal = false;
    // A digit is an operand unless `#` comes before it (or it belongs to such a number).
    for (at, c) in pattern.char_indices() {
        let in_name = !pattern[..at].contains(' ');
        match c.to_digit(10) {
            _ if c == '#' => literal = true,
            Some(n) if !literal && !in_name => text.push_str(operands[n as usize]),
            _ => {
                literal &= c.is_alphanumeric();
                text.push(c);
            }
        }
    }
    text
}

#[test]
fn all_16_bit_encodings_agree_with_objdump() {
    let Some(prefix) = binutils() else {
        return eprintln!("skipped: no RISC-V objdump is installed");
    };
    let halves: Vec<u16> = (0..=u16::MAX).filter(|h| h & 3 != 3).collect();
    let bytes: Vec<u8> = halves.iter().flat_map(|h| h.to_le_bytes()).collect();
    let mut different = Vec::new();
    let lines = objdump(prefix, "halves", &bytes, |pc, theirs| {
        let half = halves[pc as usize / 2];
        let (ours, theirs) = (ours(half as u32, pc), expansion(theirs));
        // `c.addi16sp sp,0` is reserved; this objdump has no rule for it.
        if ours != theirs && half != 0x6101 {
            different.push(format!("{half:04x}: ours `{ours}`, theirs `{theirs}`"));
        }
    });
    assert_eq!(lines, halves.len(), "objdump lost step");
    different.truncate(60);
    assert!(different.is_empty(), "{}", different.join("\n"));
}
