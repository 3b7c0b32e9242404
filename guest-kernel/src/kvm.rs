//! The kernel's own page table: all memory and the devices at their physical addresses, and the
//! trampoline where every address space has it.
//!
//! Memory that is larger than a page is mapped with superpages (privileged manual, "Sv39").

use abi::layout::{
    FINISHER, KERNBASE, PGSIZE, PLIC, TRAMPOLINE, UART0, VIRTIO_SLOTS, VIRTIO_STRIDE, VIRTIO0,
};

use crate::arch;
use crate::mm::frame::pointer;
use crate::mm::pagetable::{PTE_A, PTE_D, PTE_R, PTE_V, PTE_W, PTE_X};
use crate::mm::{Frame, Owner};
use crate::stack::{HART_STACKS, PROC_STACKS};
use crate::sync::SetOnce;

/// Bytes of the PLIC up to the last context that the kernel uses.
const PLIC_BYTES: u64 = 0x40_0000;
/// `satp`'s mode field for Sv39.
const SATP_SV39: u64 = 8 << 60;

/// `satp` for the kernel's page table.
static SATP: SetOnce<u64> = SetOnce::new();

/// What a mapping allows; A and D are set, for machines that leave that to software.
#[derive(Clone, Copy)]
struct Rights(u64);

const CODE: Rights = Rights(PTE_R | PTE_X | PTE_A);
const CONSTANTS: Rights = Rights(PTE_R | PTE_A);
const DATA: Rights = Rights(PTE_R | PTE_W | PTE_A | PTE_D);

/// The kernel's page table under construction: the physical address of its root.
struct Table(u64);

/// Bytes that an entry at a level covers.
fn coverage(level: u32) -> u64 {
    PGSIZE << (9 * level)
}

fn new_page() -> u64 {
    Frame::zeroed(Owner::Kernel).expect("memory is free at boot").into_raw()
}

/// A valid entry for a page or table page.
fn leads_to(pa: u64) -> u64 {
    (pa / PGSIZE) << 10 | PTE_V
}

impl Table {
    /// Maps a range with the largest pages that fit.
    fn map(&self, mut va: u64, mut pa: u64, bytes: u64, rights: Rights) {
        let end = va + bytes;
        while va < end {
            let fits = |level: &u32| {
                let size = coverage(*level);
                va.is_multiple_of(size) && pa.is_multiple_of(size) && end - va >= size
            };
            let level = (0..=2).rev().find(fits).expect("everything is whole pages");
            self.map_one(va, pa, level, rights);
            va += coverage(level);
            pa += coverage(level);
        }
    }

    fn map_one(&self, va: u64, pa: u64, leaf_level: u32, rights: Rights) {
        let mut table = self.0;
        for level in (leaf_level..=2).rev() {
            let index = va / coverage(level) % 512;
            let entry: *mut u64 = pointer(table).cast::<u64>().wrapping_add(index as usize);
            // SAFETY: an entry of a page of this table, which nobody else knows yet.
            unsafe {
                if level == leaf_level {
                    assert!(entry.read() == 0, "kernel address {va:#x} is mapped twice");
                    entry.write(leads_to(pa) | rights.0);
                } else if entry.read() == 0 {
                    entry.write(leads_to(new_page()));
                }
                table = entry.read() >> 10 << 12;
            }
        }
    }

    /// Maps a range at its physical address.
    fn identity(&self, start: u64, end: u64, rights: Rights) {
        self.map(start, start, end - start, rights);
    }
}

/// Makes the kernel's page table, for memory up to `ram_end`.
pub fn init(ram_end: u64) {
    let table = Table(new_page());
    for device in [FINISHER, UART0] {
        table.identity(device, device + PGSIZE, DATA);
    }
    table.identity(VIRTIO0, VIRTIO0 + VIRTIO_SLOTS as u64 * VIRTIO_STRIDE, DATA);
    table.identity(PLIC, PLIC + PLIC_BYTES, DATA);

    let kernel = arch::kernel_layout();
    table.identity(KERNBASE, kernel.text_end, CODE);
    table.identity(kernel.text_end, kernel.rodata_end, CONSTANTS);
    for page in (kernel.rodata_end..kernel.end).step_by(PGSIZE as usize) {
        if !HART_STACKS.is_guard(page) && !PROC_STACKS.is_guard(page) {
            table.identity(page, page + PGSIZE, DATA);
        }
    }
    table.identity(kernel.end, ram_end, DATA);
    table.map(TRAMPOLINE, arch::trampoline_pa(), PGSIZE, CODE);
    SATP.set(SATP_SV39 | (table.0 / PGSIZE));
}

/// Turns address translation on for this hart.
pub fn init_hart() {
    // SAFETY: the table maps the kernel where it is, and is never changed or freed.
    unsafe { arch::set_satp(*SATP.get()) };
}
