//! The machine: a RISC-V hart with S mode, Sv39 and Sstc.

mod csr;
mod entry;
mod hint;
mod mmio;
mod switch;
mod trampoline;
mod trap;

pub use csr::{
    fence_i, hart_id, interrupts_enabled, interrupts_off, interrupts_on, relax, set_satp,
    set_timer, sfence_vma, sfence_vma_all, time, wait_for_interrupt,
};
pub use hint::hint;
pub use mmio::*;
pub use switch::switch;
pub use trampoline::{enter_user, trampoline_pa};
pub use trap::{probe, read_trap, restore_trap, traps_to_kernel};

use super::Layout;

/// Number of harts that [`hart_id`] may tell apart.
pub const MAX_HARTS: usize = abi::param::NCPU;

unsafe extern "C" {
    // From kernel.ld.
    static text_end: u8;
    static rodata_end: u8;
    static end: u8;
}

/// Parts of the kernel in memory.
pub fn kernel_layout() -> Layout {
    Layout {
        text_end: (&raw const text_end).addr() as u64,
        rodata_end: (&raw const rodata_end).addr() as u64,
        end: (&raw const end).addr() as u64,
    }
}
