//! From the entry code to the first process, and back to where there is no power.

mod args;
mod fdt;

use core::slice;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::layout::{FINISHER, FINISHER_FAIL, FINISHER_PASS, KERNBASE, PGSIZE};

pub use args::BootArgs;

use crate::dev::{plic, uart, virtio_blk};
use crate::exec::{Args, exec};
use crate::fs::FS;
#[cfg(feature = "mutants")]
use crate::mm::mutants;
use crate::mm::{frame, set_policy};
use crate::proc::{self, me, scheduler};
use crate::sync::SetOnce;
use crate::{arch, console, kvm, println, trap};
use fdt::Fdt;

/// Longest command line that is looked at.
const LINE: usize = 1024;
/// Largest device tree that is looked at.
const MAX_TREE: u64 = 1 << 20;
/// Memory of a machine that does not say how much it has.
const DEFAULT_RAM: u64 = 128 << 20;
/// Exit status of a machine whose kernel panicked.
const PANIC_STATUS: i32 = 101;

static STARTED: AtomicBool = AtomicBool::new(false);
/// The command line, with zeros behind it.
static COMMAND_LINE: SetOnce<[u8; LINE]> = SetOnce::new();
static ARGS: SetOnce<BootArgs<'static>> = SetOnce::new();

/// The boot flags.
pub fn args() -> &'static BootArgs<'static> {
    ARGS.get()
}

/// Where every hart comes from its entry code, with translation and interrupts off. The first
/// hart makes everything ready, the others wait for it.
pub extern "C" fn boot(hart: usize, device_tree: u64) -> ! {
    if hart == 0 {
        start(device_tree);
        STARTED.store(true, Ordering::Release);
    } else {
        while !STARTED.load(Ordering::Acquire) {
            arch::relax();
        }
        println!("hart {hart} starting");
        start_hart();
    }
    scheduler()
}

fn start(device_tree: u64) {
    uart::init();
    println!();
    println!("xv6 kernel is booting");
    println!();
    let ram_end = read_device_tree(device_tree);
    // SAFETY: memory behind the kernel is nobody's, and is about to be mapped one to one.
    unsafe { frame::init(arch::kernel_layout().end, ram_end) };
    kvm::init(ram_end);
    plic::init();
    start_hart();
    console::init();
    assert!(virtio_blk::init(), "no virtio disk with a modern interface");
    proc::start_init(first_process);
}

fn start_hart() {
    kvm::init_hart();
    trap::init_hart();
    plic::init_hart();
}

/// Reads the boot flags and returns where memory ends. Without a usable tree there are defaults.
fn read_device_tree(address: u64) -> u64 {
    let mut line = [0; LINE];
    let mut ram = (KERNBASE, DEFAULT_RAM);
    if let Some(tree) = find_device_tree(address) {
        let bootargs = tree.bootargs().unwrap_or_default();
        let len = bootargs.len().min(LINE);
        line[..len].copy_from_slice(&bootargs[..len]);
        ram = tree.memory().unwrap_or(ram);
    }
    COMMAND_LINE.set(line);
    let text = COMMAND_LINE.get().split(|&byte| byte == 0).next().unwrap_or_default();
    let text = str::from_utf8(text).unwrap_or_default();
    ARGS.set(BootArgs::parse(text, |word| println!("unknown boot flag: {word}")));
    set_policy(args().policy);
    #[cfg(feature = "mutants")]
    if let Some(names) = args().mutants {
        mutants::choose(names, |name| println!("unknown mutant: {name}"));
    }
    ram_end(ram)
}

/// The end of the memory that the kernel is in, in whole pages; the default if that makes no sense.
fn ram_end((start, size): (u64, u64)) -> u64 {
    let end = start.saturating_add(size);
    let end = end - end % PGSIZE;
    let contains_kernel = start <= KERNBASE && end > arch::kernel_layout().end && end < 1 << 38;
    let is_there = contains_kernel && arch::probe(end - PGSIZE).is_some();
    if is_there { end } else { KERNBASE + DEFAULT_RAM }
}

/// The device tree at an address that may be anything.
fn find_device_tree(address: u64) -> Option<Fdt<'static>> {
    if address == 0 || !address.is_multiple_of(8) {
        return None;
    }
    let word = |offset| arch::probe(address.checked_add(offset)?).map(u32::swap_bytes);
    let size = u64::from(word(4).filter(|_| word(0) == Some(fdt::MAGIC))?);
    if !(8..=MAX_TREE).contains(&size) {
        return None;
    }
    // Every page that the blob is said to reach into is there.
    let pages = (0..size).step_by(PGSIZE as usize).chain([(size - 1) & !3]);
    for offset in pages {
        word(offset)?;
    }
    let start = core::ptr::with_exposed_provenance(address as usize);
    // SAFETY: all of it can be read, and memory is not given away before the tree was read.
    Fdt::new(unsafe { slice::from_raw_parts(start, size as usize) })
}

/// The first process: mounts the disk, for which one must be able to sleep, and becomes `init`.
extern "C" fn first_process() -> ! {
    trap::release_own_state();
    arch::interrupts_on();
    if let Err(error) = FS.mount(&virtio_blk::VirtioBlk) {
        panic!("cannot mount the disk: {error}");
    }
    let mut own = me().own();
    let mut argv = Args::new().expect("memory is free at boot");
    for arg in ["/init"].into_iter().chain(args().run) {
        argv.push_str(arg).expect("the command line is shorter than a page");
    }
    let argc = exec(&mut own, b"/init", &argv).unwrap_or_else(|error| panic!("/init: {error:?}"));
    drop(argv);
    *own.registers().arg(0) = argc;
    // From here on nothing that fails may stop the kernel.
    frame::fail_allocation(args().fail_alloc.unwrap_or(0));
    trap::return_to_user(own)
}

/// The first process must not end, unless it was only there to run one command.
pub fn init_exits(status: i32) -> ! {
    if args().run.is_some() {
        poweroff(status);
    }
    panic!("init exiting");
}

/// Ends the machine. Its exit status is the low byte of `status`, or 1 if only the others say
/// that something is wrong.
pub fn poweroff(status: i32) -> ! {
    let code = match status as u32 & 0xff {
        0 if status != 0 => 1,
        code => code,
    };
    let word = if code == 0 { FINISHER_PASS } else { code << 16 | FINISHER_FAIL };
    arch::mmio_write32(FINISHER, word);
    // A board without the finisher: there is nothing left to do.
    stop()
}

/// After a panic: a machine that runs one command ends, others wait for somebody to look.
pub fn after_panic() -> ! {
    if ARGS.is_set() && args().run.is_some() {
        poweroff(PANIC_STATUS);
    }
    stop()
}

fn stop() -> ! {
    arch::interrupts_off();
    loop {
        arch::relax();
    }
}
