//! The same streams on QEMU: many cases in one machine, each in a region of its own, one after the
//! other. Memory is a file, which is compared with what our machine leaves behind: registers, traps,
//! data, page tables with their A and D bits.
//!
//! What implementations may do as they like, or QEMU 7.2 does wrong, is not in these streams
//! ([`Kind::Qemu`]), or the handlers hide it; each place says so. It is: what counts and what tells
//! time; reserved rounding modes; `mtval` of illegal instructions, of refused accesses to nothing,
//! of calls and breakpoints; stores to code without `fence.i` and to page tables without
//! `sfence.vma`; changes of PTEs of code; reservations over traps and store-conditional alone; A of
//! what an AMO may load but not store; loads as the cause of refused AMOs; tables outside of memory;
//! writes that change nothing to a read-only register; `ctzw` of a multiple of 2³²; cache blocks; the
//! half of Svinval that QEMU allows in U-mode.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use emu::jit::Engine;
use emu::machine::Stop;
use isa::asm::{i, s};
use isa::{Op, encode};

use crate::asm::{Asm, li};
use crate::case::{Case, Kind};
use crate::generate::generate;
use crate::layout::*;
use crate::lockstep;

/// The program.
const QEMU: &str = "qemu-system-riscv64";
/// From one case to the next: behind a region is what its superpage maps, without translation.
const STRIDE: u64 = 2 * SUPERPAGE;
/// Cases of a batch.
pub const BATCH: usize = 48;
/// Instructions within which a case has to end.
const LIMIT: u64 = 300_000;
/// After this time, and that much more for every case, a batch is stuck.
const PATIENCE: [Duration; 2] = [Duration::from_secs(4), Duration::from_millis(500)];
/// Where the last case goes: from the start of memory.
const FINAL: u64 = 0x100;

/// Whether QEMU is installed.
pub fn is_there() -> bool {
    let version = Command::new(QEMU).arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// The case of this seed, if it ends by itself, and the region that it leaves behind.
pub fn prepare(seed: u64, number: usize) -> Option<Ready> {
    Ready::new(generate(seed, Kind::Qemu), number)
}

/// A case that ends by itself, and how.
#[derive(Debug)]
pub struct Ready {
    /// The case.
    pub case: Case,
    /// The number of its region.
    pub number: usize,
    base: u64,
    left: Vec<u8>,
}

impl Ready {
    /// Runs a case here, in the region of this number.
    pub fn new(case: Case, number: usize) -> Option<Ready> {
        let base = RAM + STRIDE * (number as u64 + 1);
        let case = Case { insns: LIMIT, turn: 10_000, ..case };
        let (stop, left) = lockstep::leaves(&case, base, RAM + FINAL, &last(), Engine::Jit);
        matches!(stop, Stop::Exit(_)).then_some(Ready { case, number, base, left })
    }
}

/// What ends the machine.
fn last() -> Vec<u32> {
    const FINISHER: u64 = 0x10_0000;
    let mut a = Asm::default();
    a.add(li(5, FINISHER));
    a.add(li(6, 0x5555));
    a.add([s(Op::Sw, 5, 6, 0), i(Op::Jal, 0, 0, 0)]);
    a.finish()
}

/// Where a case differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The number of the case in its batch; none if QEMU did not end.
    pub number: Option<usize>,
    /// What sort of difference it is.
    pub sort: String,
    /// What differs.
    pub what: String,
}

/// Runs a batch on QEMU; the first difference, if there is one.
pub fn run(batch: &[Ready]) -> Result<Option<Difference>, String> {
    let file = Memory::new(batch).map_err(|error| format!("memory for QEMU: {error}"))?;
    if let Err(what) = machine(&file.path, batch) {
        return Ok(Some(Difference { number: None, sort: String::new(), what }));
    }
    let mut memory = std::fs::File::open(&file.path).map_err(|error| error.to_string())?;
    for (number, ready) in batch.iter().enumerate() {
        let mut theirs = vec![0; REGION as usize];
        let read = memory.seek(SeekFrom::Start(ready.base - RAM));
        read.and_then(|_| memory.read_exact(&mut theirs)).map_err(|error| error.to_string())?;
        if let Some((sort, what)) = difference(ready, &theirs) {
            return Ok(Some(Difference { number: Some(number), sort, what }));
        }
    }
    Ok(None)
}

/// A file that is QEMU's memory.
struct Memory {
    path: PathBuf,
}

impl Memory {
    fn new(batch: &[Ready]) -> std::io::Result<Memory> {
        let path = std::env::temp_dir().join(format!("fuzz-{}.ram", std::process::id()));
        let memory = Memory { path };
        let mut file = std::fs::File::create(&memory.path)?;
        file.set_len(size(batch))?;
        let mut put = |pa: u64, bytes: &[u8]| {
            file.seek(SeekFrom::Start(pa - RAM))?;
            file.write_all(bytes)
        };
        let bytes = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
        let first = batch.first().map_or(RAM + FINAL, |ready| Case::entry(ready.base, 0));
        let mut boot: Vec<u32> = li(5, first).iter().map(encode).collect();
        boot.push(encode(&i(Op::Jalr, 0, 5, 0)));
        put(RAM, &bytes(&boot))?;
        put(RAM + FINAL, &bytes(&last()))?;
        for (number, ready) in batch.iter().enumerate() {
            let next = batch.get(number + 1).map(|next| Case::entry(next.base, 0));
            put(ready.base, &ready.case.image(ready.base, next.unwrap_or(RAM + FINAL)))?;
        }
        Ok(memory)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // It may be gone already; that is what is wanted.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn size(batch: &[Ready]) -> u64 {
    let last = batch.iter().map(|ready| ready.base).max().unwrap_or(RAM);
    (last - RAM + 2 * SUPERPAGE).next_multiple_of(16 << 20)
}

/// Runs QEMU to its end.
fn machine(memory: &Path, batch: &[Ready]) -> Result<(), String> {
    let megabytes = size(batch) >> 20;
    let object = format!(
        "memory-backend-file,id=ram,size={megabytes}M,mem-path={},share=on",
        memory.display()
    );
    let mut qemu = Command::new(QEMU)
        .args(["-machine", "virt,memory-backend=ram", "-object", &object])
        .args(["-m", &format!("{megabytes}M"), "-bios", "none"])
        .args(["-cpu", "rv64,h=false,svinval=true", "-accel", "tcg,thread=single"])
        .args(["-display", "none", "-serial", "none", "-monitor", "none"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run {QEMU}: {error}"))?;
    wait(&mut qemu, PATIENCE[0] + PATIENCE[1] * batch.len() as u32)
}

fn wait(qemu: &mut Child, patience: Duration) -> Result<(), String> {
    let start = Instant::now();
    while start.elapsed() < patience {
        match qemu.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                let mut why = String::new();
                if let Some(stderr) = &mut qemu.stderr {
                    // Without its message the status still says it.
                    let _ = stderr.read_to_string(&mut why);
                }
                return Err(format!("QEMU: {status}: {}", why.trim()));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(error) => return Err(error.to_string()),
        }
    }
    // It may have ended by itself just now.
    let _ = qemu.kill();
    let _ = qemu.wait();
    Err(format!("QEMU does not end within {} s", patience.as_secs()))
}

/// Where a region differs: what sort of difference it is, and all of it.
fn difference(ready: &Ready, theirs: &[u8]) -> Option<(String, String)> {
    let ours = ready.left.as_slice();
    if let Some(found) = different_trap(ours, theirs) {
        return Some(found);
    }
    // Where the exit leads depends on the batch.
    let next = (CONTROL * PAGE + NEXT) as usize;
    let mut places = (0..REGION as usize).step_by(8).filter(|at| *at != next);
    let at = places.find(|at| word(ours, *at) != word(theirs, *at))?;
    let (page, offset) = (at as u64 / PAGE, at as u64 % PAGE);
    let place = match (page, offset) {
        (CONTROL, DUMP..) => match (offset - DUMP) / 8 {
            n @ 0..31 => isa::int_reg_name(n as usize + 1).to_owned(),
            n @ 31..63 => isa::fp_reg_name(n as usize - 31).to_owned(),
            n => format!("CSR number {} of the exit", n - 63),
        },
        _ => format!("page {page} of the region at {offset:#x}"),
    };
    let (ours, theirs) = (word(ours, at), word(theirs, at));
    Some((format!("page {page}"), format!("{place}: {ours:#x} here, {theirs:#x} there")))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte))
}

/// The first trap that differs.
fn different_trap(ours: &[u8], theirs: &[u8]) -> Option<(String, String)> {
    let list = (TRAPS * PAGE) as usize..((TRAPS + 1) * PAGE - TRAP_SIZE) as usize;
    let mut places = list.step_by(TRAP_SIZE as usize).rev();
    let trap = |bytes: &[u8], at: usize| [0, 8, 16].map(|field| word(bytes, at + field));
    let at = places.find(|at| trap(ours, *at) != trap(theirs, *at))?;
    let [a, b] = [ours, theirs].map(|bytes| trap(bytes, at));
    let show = |[cause, pc, value]: [u64; 3]| match pc {
        0 => "none".to_owned(),
        _ => format!("cause {cause} at {pc:#x}, value {value:#x}"),
    };
    let sort = format!("trap {} {} {}", a[0], b[0], a[1] == b[1]);
    Some((sort, format!("traps: {} here, {} there", show(a), show(b))))
}
