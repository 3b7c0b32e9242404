//! Address translation: the walk, physical memory protection, and the caches of their results.
//!
//! The types here say *why* an access was refused, with the level and the PTE; the architecture's
//! three page-fault and three access-fault causes are derived from them when a trap is taken.

pub mod memo;
pub mod pmp;
pub mod tables;
pub mod tlb;
pub mod walk;

use isa::paging::{Pte, Satp};
use isa::trap::Exception;
use isa::{Priv, csr};
use serde::{Deserialize, Serialize};

pub use pmp::Pmp;
pub use tables::{Range, Tables};
pub use tlb::{Key, Space, Spaces};
pub use walk::{Leaf, walk, walk_from};

/// What is attempted with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// An instruction fetch.
    Fetch,
    /// A load, load-reserved included.
    Load,
    /// A store, store-conditional, atomic operation or cache-block operation.
    Store,
}

/// Why an access was refused. Those up to [`Reason::NeedD`] are page faults, the others access
/// faults (privileged manual, "Virtual Address Translation Process", "Physical Memory
/// Protection" and "Physical Memory Attributes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The address is not canonical for the translation mode.
    NotCanonical,
    /// A PTE with V = 0.
    Invalid,
    /// A reserved encoding: W without R, reserved bits, a pointer below level 0.
    Reserved,
    /// User mode, and the page has U = 0.
    NotUser,
    /// Supervisor mode, the page has U = 1, and SUM = 0 (or it is a fetch).
    UserFromSupervisor,
    /// A load from a page that may not be read.
    NoRead,
    /// A store to a page that may not be written.
    NoWrite,
    /// A fetch from a page that may not be executed.
    NoExec,
    /// A superpage whose physical page number is not aligned to its size.
    Misaligned,
    /// A = 0, and the hart does not update it.
    NeedA,
    /// D = 0 on a store, and the hart does not update it.
    NeedD,
    /// Physical memory protection forbids the access itself.
    Pmp,
    /// Physical memory protection forbids reading or updating a PTE.
    TablePmp,
    /// Nothing answers at the physical address, or not to this kind of access.
    NoDevice,
    /// A page table lies outside of memory.
    TableNotMemory,
}

impl Reason {
    /// Whether the architecture reports a page fault, and not an access fault.
    pub const fn is_page_fault(self) -> bool {
        (self as u8) <= Reason::NeedD as u8
    }
}

/// A refused access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The virtual address that could not be accessed: of the second page, if it was that one.
    pub va: u64,
    /// What was attempted.
    pub access: Access,
    /// Why it was refused.
    pub reason: Reason,
    /// The level of the page table at which the walk stopped; 0 is the last.
    pub level: u8,
    /// The last PTE that was read, zero if none was.
    pub pte: Pte,
    /// Physical address of the last PTE that was read or should have been, zero if there is none.
    pub pte_pa: u64,
}

impl Fault {
    /// A fault that is not about a PTE.
    pub const fn plain(va: u64, access: Access, reason: Reason) -> Fault {
        Fault { va, access, reason, level: 0, pte: Pte(0), pte_pa: 0 }
    }

    /// The exception that the architecture makes of it.
    pub const fn exception(&self) -> Exception {
        match (self.access, self.reason.is_page_fault()) {
            (Access::Fetch, true) => Exception::InstPageFault,
            (Access::Load, true) => Exception::LoadPageFault,
            (Access::Store, true) => Exception::StorePageFault,
            (Access::Fetch, false) => Exception::InstAccess,
            (Access::Load, false) => Exception::LoadAccess,
            (Access::Store, false) => Exception::StoreAccess,
        }
    }
}

/// What a translation depends on besides the address and the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regime {
    /// Root and mode of translation; bare in machine mode.
    pub satp: Satp,
    /// The effective privilege: of `mstatus.MPP` for loads and stores under MPRV.
    pub privilege: Priv,
    /// `mstatus.SUM`.
    pub sum: bool,
    /// `mstatus.MXR`.
    pub mxr: bool,
    /// `menvcfg.ADUE`: A and D are updated, not reported.
    pub adue: bool,
    /// `menvcfg.PBMTE`: memory types are legal in leaves.
    pub pbmte: bool,
}

impl Regime {
    /// The regime of these registers, for an access with this effective privilege.
    pub fn new(satp: Satp, mstatus: u64, menvcfg: u64, privilege: Priv) -> Regime {
        Regime {
            satp: if privilege == Priv::Machine { Satp::default() } else { satp },
            privilege,
            sum: mstatus & csr::mstatus::SUM != 0,
            mxr: mstatus & csr::mstatus::MXR != 0,
            adue: menvcfg & csr::envcfg::ADUE != 0,
            pbmte: menvcfg & csr::envcfg::PBMTE != 0,
        }
    }
}
