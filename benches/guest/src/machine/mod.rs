//! The machine below the workloads: boot, page tables, traps, and what only a machine can do.

mod console;
mod entry;
mod paging;
mod system;
mod trap;

use core::panic::PanicInfo;

use bench_guest::{ARENA_WORDS, WORKLOADS};
use console::{finish, print, print_hex, print_number};
use paging::Tables;

/// Where the memory of compute workloads begins.
pub const ARENA: u64 = 0x8020_0000;
/// Page tables and frames are behind the arena.
pub const FRAMES: u64 = ARENA + 8 * ARENA_WORDS as u64;
/// The end of frames; the device tree is above.
pub const FRAMES_END: u64 = 0x87c0_0000;
/// The end of what is mapped.
pub const MEMORY_END: u64 = 0x8800_0000;
/// Iterations when the command line names none.
const ITERATIONS: u64 = 100;
/// Exit statuses: the command line is wrong; a bug.
const USAGE: u32 = 64;
const PANIC: u32 = 70;

/// Supervisor mode begins here.
extern "C" fn main(device_tree: u64) -> ! {
    let line = entry::command_line(device_tree);
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let name = words.next().unwrap_or_default();
    let n = words.next().map_or(Some(ITERATIONS), number);
    let Some(n) = n else { usage("iterations must be a number") };
    let mut tables = Tables::new();
    tables.turn_on();
    if let Some((_, run)) = WORKLOADS.iter().find(|(known, _)| known.as_bytes() == name) {
        // SAFETY: the arena is memory that nothing else uses, and this is its only borrow.
        let arena = unsafe { core::slice::from_raw_parts_mut(ARENA as *mut u64, ARENA_WORDS) };
        mark();
        let sum = run(n, arena);
        mark();
        done(name, n, sum);
    }
    if let Some((_, run)) = system::WORKLOADS.iter().find(|(known, _)| known.as_bytes() == name) {
        mark();
        let sum = run(n, &mut tables);
        mark();
        done(name, n, sum);
    }
    usage("no such workload")
}

/// Tells whoever watches that a workload begins or ends: the hint `Mark`.
fn mark() {
    // SAFETY: an instruction without effect.
    unsafe { core::arch::asm!("slti x0, a0, 11", options(nostack)) };
}

/// The last word of a workload.
fn done(name: &[u8], n: u64, checksum: u64) -> ! {
    print(name);
    print(b" ");
    print_number(n);
    print(b" checksum ");
    print_hex(checksum);
    print(b"\n");
    finish(0)
}

fn usage(what: &str) -> ! {
    print(what.as_bytes());
    print(b"; -append \"NAME ITERATIONS\", where NAME is one of\n");
    let compute = WORKLOADS.iter().map(|(name, _)| name);
    for name in compute.chain(system::WORKLOADS.iter().map(|(name, _)| name)) {
        print(name.as_bytes());
        print(b"\n");
    }
    finish(USAGE)
}

fn number(word: &[u8]) -> Option<u64> {
    word.iter().try_fold(0u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    print(b"panic\n");
    finish(PANIC)
}
