//! Workloads that only a machine has: traps, page faults, address spaces, fences and walks.
//!
//! A fault ends with a fence of everything, as in teaching kernels.

use core::arch::asm;
use core::hint::black_box;

use super::ARENA;
use super::paging::{
    PAGE, Tables, USER_DATA, USER_PAGES, USER_READ, WINDOW_1G, WINDOW_2M, copy_page, fence,
    physical, pte, satp, set_satp, walk, zero_page,
};
use super::trap::{Frame, Handler, Program, Run};

/// User pages that faults walk through: one leaf table.
const PAGES: u64 = 512;
/// Loads between two fences.
const LOADS: u64 = 256;
/// `scause` of a system call and of a store page fault.
const USER_CALL: u64 = 8;
const STORE_FAULT: u64 = 15;

/// The workloads by name; an iteration is one trap, one load or one write of `satp`.
pub const WORKLOADS: [(&str, fn(u64, &mut Tables) -> u64); 13] = [
    ("syscall", |n, tables| user(n, tables, Program::Calls, on_call, false)),
    ("syscall-satp", |n, tables| user(n, tables, Program::Calls, on_call, true)),
    ("lazy", |n, tables| faults(n, tables, 0, on_lazy, false)),
    ("lazy-zero", |n, tables| faults(n, tables, 0, on_lazy_zero, false)),
    ("cow", |n, tables| faults(n, tables, USER_READ, on_cow, false)),
    ("xv6-fault", |n, tables| faults(n, tables, 0, on_lazy_zero, true)),
    ("timer", timer),
    ("fence-load", fence_load),
    ("satp", satp_loop),
    ("satp-touch", satp_touch),
    ("walk-4k", |n, _| walks(n, ARENA, PAGE + 64)),
    ("walk-2m", |n, _| walks(n, WINDOW_2M + (1 << 21), 1 << 21)),
    ("walk-1g", |n, _| walks(n, WINDOW_1G + (1 << 21), 1 << 30)),
];

macro_rules! read {
    ($name:ident $csr:literal) => {
        #[inline(always)]
        fn $name() -> u64 {
            let value;
            // SAFETY: reading a CSR of supervisor mode has no effect.
            unsafe { asm!(concat!("csrr {}, ", $csr), out(reg) value, options(nostack)) };
            value
        }
    };
}

macro_rules! write {
    ($name:ident $csr:literal) => {
        #[inline(always)]
        fn $name(value: u64) {
            // SAFETY: where to go on and when to interrupt are the handler's to say.
            unsafe { asm!(concat!("csrw ", $csr, ", {}"), in(reg) value, options(nostack)) };
        }
    };
}

read!(scause "scause");
read!(stval "stval");
read!(sepc "sepc");
write!(set_sepc "sepc");
read!(time "time");
// stimecmp, by number for assemblers that do not know it.
write!(set_stimecmp "0x14d");

fn user(n: u64, tables: &mut Tables, program: Program, handler: Handler, switch: bool) -> u64 {
    let kernel = if switch { tables.kernel } else { tables.user };
    Run {
        program,
        pages: (USER_PAGES, USER_PAGES + PAGES * PAGE),
        handler,
        switch,
        roots: (kernel, tables.user),
        traps: n,
        frames: 0,
    }
    .run()
}

/// One trap less to come.
fn go_on(frame: &mut Frame) -> bool {
    frame.left -= 1;
    frame.left != 0
}

extern "C" fn on_call(frame: &mut Frame) -> bool {
    assert!(scause() == USER_CALL);
    set_sepc(sepc() + 4);
    frame.sum += frame.x[11];
    go_on(frame)
}

/// Store faults in [`PAGES`] user pages, with a frame for each. `before` are their rights before
/// the fault, all of one frame; without rights they are not mapped.
fn faults(n: u64, tables: &mut Tables, before: u64, handler: Handler, switch: bool) -> u64 {
    let shared = tables.frame();
    let frames = tables.frame();
    for _ in 1..PAGES {
        tables.frame();
    }
    let entry = if before == 0 { 0 } else { pte(shared, before) };
    for page in 0..PAGES {
        tables.map(tables.user, USER_PAGES + page * PAGE, shared, USER_READ, 0);
    }
    reset(tables.user, entry);
    let run = Run {
        program: Program::Stores,
        pages: (USER_PAGES, USER_PAGES + PAGES * PAGE),
        handler,
        switch,
        roots: (if switch { tables.kernel } else { tables.user }, tables.user),
        traps: n,
        frames,
    };
    let sum = run.run();
    sum.wrapping_add(n)
}

/// All user pages are again what they were before the faults.
fn reset(root: u64, entry: u64) {
    let Some(first) = walk(root, USER_PAGES) else { panic!() };
    for page in 0..PAGES as usize {
        // SAFETY: the pages' PTEs are one table.
        unsafe { *first.add(page) = entry };
    }
    fence();
}

/// The PTE of a store fault, and the frame that it shall have; a system call instead
/// resets all pages to `entry`.
#[inline(always)]
fn fault(frame: &mut Frame, entry: u64) -> Option<(*mut u64, u64)> {
    match scause() {
        STORE_FAULT => {
            let va = stval() & !(PAGE - 1);
            assert!(va.wrapping_sub(USER_PAGES) < PAGES * PAGE);
            let slot = walk(frame.root, va)?;
            frame.sum = frame.sum.wrapping_add(va);
            Some((slot, frame.frames + (va - USER_PAGES)))
        }
        USER_CALL => {
            set_sepc(sepc() + 4);
            reset(frame.root, entry);
            None
        }
        _ => panic!(),
    }
}

extern "C" fn on_lazy(frame: &mut Frame) -> bool {
    let Some((slot, page)) = fault(frame, 0) else { return true };
    // SAFETY: `walk` found the PTE in a table of ours.
    unsafe { slot.write_volatile(pte(page, USER_DATA)) };
    fence();
    go_on(frame)
}

extern "C" fn on_lazy_zero(frame: &mut Frame) -> bool {
    let Some((slot, page)) = fault(frame, 0) else { return true };
    zero_page(page);
    // SAFETY: as in `on_lazy`.
    unsafe { slot.write_volatile(pte(page, USER_DATA)) };
    fence();
    go_on(frame)
}

extern "C" fn on_cow(frame: &mut Frame) -> bool {
    let shared = frame.frames - PAGE;
    let Some((slot, page)) = fault(frame, pte(shared, USER_READ)) else { return true };
    // SAFETY: as in `on_lazy`.
    unsafe {
        copy_page(physical(slot.read_volatile()), page);
        slot.write_volatile(pte(page, USER_DATA));
    }
    fence();
    go_on(frame)
}

/// Interrupts that are due at once.
fn timer(n: u64, tables: &mut Tables) -> u64 {
    set_stimecmp(time());
    // SAFETY: interrupts stay off in this mode; the handler of user mode expects them.
    unsafe { asm!("csrs sie, {}", in(reg) 1u64 << 5, options(nomem, nostack)) };
    user(n, tables, Program::Spins, on_timer, false);
    n
}

extern "C" fn on_timer(frame: &mut Frame) -> bool {
    assert!(scause() == 1 << 63 | 5);
    set_stimecmp(time());
    go_on(frame)
}

/// A load that is not optimised away.
#[inline(always)]
fn load(va: u64) -> u64 {
    // SAFETY: callers name mapped memory; what it holds does not matter.
    unsafe { (va as *const u64).read_volatile() }
}

fn fence_load(n: u64, _: &mut Tables) -> u64 {
    let mut sum = n;
    for _ in 0..n {
        fence();
        sum = sum.wrapping_add(load(black_box(ARENA)));
    }
    sum
}

fn satp_loop(n: u64, tables: &mut Tables) -> u64 {
    let (a, b) = (satp(tables.kernel), satp(tables.user));
    let mut sum = n;
    for i in 0..n {
        set_satp(if i & 1 == 0 { b } else { a });
        sum = sum.wrapping_add(load(ARENA));
    }
    set_satp(a);
    sum
}

/// An address space, a fence and 16 pages.
fn satp_touch(n: u64, tables: &mut Tables) -> u64 {
    let (a, b) = (satp(tables.kernel), satp(tables.user));
    let mut sum = n;
    for i in 0..n {
        set_satp(if i & 1 == 0 { b } else { a });
        fence();
        for page in 0..16 {
            sum = sum.wrapping_add(load(ARENA + page * PAGE));
        }
    }
    set_satp(a);
    fence();
    sum
}

/// Loads from one page after the other, with a fence behind every [`LOADS`].
fn walks(n: u64, base: u64, stride: u64) -> u64 {
    let mut sum = n;
    for i in 0..n {
        if i % LOADS == 0 {
            fence();
        }
        sum = sum.wrapping_add(load(base + i % LOADS * stride));
    }
    sum
}
