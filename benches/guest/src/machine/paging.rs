//! Sv39 tables: memory page by page at its physical addresses, as a kernel has it; the user
//! program; and windows of large pages.

use core::arch::asm;

use super::console::{FINISHER, UART};
use super::{FRAMES, FRAMES_END, MEMORY_END};

/// Bytes of a page.
pub const PAGE: u64 = 4096;
const V: u64 = 1;
/// Accessed and dirty, so that nobody has to set them.
const AD: u64 = 3 << 6;
/// A leaf's rights: supervisor text and data, user text, data, and data that cannot be written.
pub const TEXT: u64 = V | 1 << 1 | 1 << 3 | AD;
/// Supervisor data.
pub const DATA: u64 = V | 1 << 1 | 1 << 2 | AD;
/// User text.
pub const USER_TEXT: u64 = TEXT | 1 << 4;
/// User data.
pub const USER_DATA: u64 = DATA | 1 << 4;
/// User data that cannot be written.
pub const USER_READ: u64 = USER_DATA & !(1 << 2);
/// Where user text is.
pub const USER: u64 = 0x10_0000_0000;
/// Where user data is: in one leaf table.
pub const USER_PAGES: u64 = USER + 0x4000_0000;
/// Where the window of 2 MiB pages is: one table of them.
pub const WINDOW_2M: u64 = 0x20_0000_0000;
/// Where the window of 1 GiB pages is: the upper half of the address space.
pub const WINDOW_1G: u64 = 0xffff_ffc0_0000_0000;
/// First page of memory.
const BASE: u64 = 0x8000_0000;

unsafe extern "C" {
    // From bench.ld.
    static text_end: u8;
    static user_end: u8;
}

/// The tables, and the memory that is left.
pub struct Tables {
    next: u64,
    /// Root without the user program.
    pub kernel: u64,
    /// Root with it: the kernel's part is shared.
    pub user: u64,
}

/// `satp` for a root.
pub fn satp(root: u64) -> u64 {
    8 << 60 | root / PAGE
}

/// Writes `satp`.
#[inline(always)]
pub fn set_satp(value: u64) {
    // SAFETY: both tables map the kernel at its physical addresses.
    unsafe { asm!("csrw satp, {}", in(reg) value, options(nostack)) };
}

/// Forgets all translations.
#[inline(always)]
pub fn fence() {
    // SAFETY: a fence.
    unsafe { asm!("sfence.vma zero, zero", options(nostack)) };
}

/// A PTE.
pub fn pte(pa: u64, rights: u64) -> u64 {
    pa >> 12 << 10 | rights
}

/// Physical address in a PTE.
pub fn physical(pte: u64) -> u64 {
    pte >> 10 << 12
}

impl Tables {
    /// Maps all there is.
    pub fn new() -> Tables {
        let mut tables = Tables { next: FRAMES, kernel: 0, user: 0 };
        tables.kernel = tables.frame();
        let user_start = (&raw const text_end).addr() as u64;
        let data = (&raw const user_end).addr() as u64;
        for pa in (BASE..MEMORY_END).step_by(PAGE as usize) {
            tables.map(tables.kernel, pa, pa, if pa < data { TEXT } else { DATA }, 0);
        }
        for device in [UART, FINISHER] {
            tables.map(tables.kernel, device, device, DATA, 0);
        }
        for n in 0..512 {
            let pa = BASE + (n << 21) % (1 << 26);
            tables.map(tables.kernel, WINDOW_2M + (n << 21), pa, DATA, 1);
        }
        for n in 0..256 {
            tables.map(tables.kernel, WINDOW_1G + (n << 30), BASE, DATA, 2);
        }
        tables.user = tables.frame();
        copy_page(tables.kernel, tables.user);
        for pa in (user_start..data).step_by(PAGE as usize) {
            tables.map(tables.user, USER + pa - user_start, pa, USER_TEXT, 0);
        }
        tables
    }

    /// Translation with the kernel's table.
    pub fn turn_on(&self) {
        set_satp(satp(self.kernel));
        fence();
    }

    /// A zeroed page that nobody uses.
    pub fn frame(&mut self) -> u64 {
        let frame = self.next;
        assert!(frame < FRAMES_END);
        self.next += PAGE;
        zero_page(frame);
        frame
    }

    /// Maps a page of 4 KiB, 2 MiB or 1 GiB (level 0, 1, 2).
    pub fn map(&mut self, root: u64, va: u64, pa: u64, rights: u64, level: u64) {
        let mut table = root;
        for above in (level + 1..3).rev() {
            let slot = slot(table, va, above);
            // SAFETY: tables are frames of ours.
            unsafe {
                if *slot & V == 0 {
                    *slot = pte(self.frame(), V);
                }
                table = physical(*slot);
            }
        }
        // SAFETY: as above.
        unsafe { *slot(table, va, level) = pte(pa, rights) };
    }
}

/// Where a table's entry for an address is.
fn slot(table: u64, va: u64, level: u64) -> *mut u64 {
    (table + 8 * (va >> (12 + 9 * level) & 511)) as *mut u64
}

/// Where the leaf PTE of a page is, as a kernel finds it; the tables above must be there.
#[inline(never)]
pub fn walk(root: u64, va: u64) -> Option<*mut u64> {
    let mut table = root;
    for level in [2, 1] {
        // SAFETY: tables are frames of ours.
        let entry = unsafe { slot(table, va, level).read_volatile() };
        if entry & V == 0 {
            return None;
        }
        table = physical(entry);
    }
    Some(slot(table, va, 0))
}

/// Zeroes a frame.
pub fn zero_page(frame: u64) {
    // SAFETY: frames are memory of ours that no reference points to.
    unsafe { (frame as *mut u8).write_bytes(0, PAGE as usize) };
}

/// Copies a frame.
pub fn copy_page(from: u64, to: u64) {
    // SAFETY: as in `zero_page`; frames are different pages.
    unsafe { (from as *const u8).copy_to_nonoverlapping(to as *mut u8, PAGE as usize) };
}
