//! The page-table walk for Sv39, Sv48 and Sv57, with Svnapot, Svpbmt, Svade and Svadu.
//!
//! Source: privileged manual, "Virtual Address Translation Process". Walks and PTE updates are
//! atomic because harts take turns.

use isa::Priv;
use isa::paging::{Mode, PAGE_SHIFT, Pa, Ppn, Pte, Va, leaf_size};

use super::pmp::Pmp;
use super::{Access, Fault, Reason, Regime};
use crate::mem::Ram;

/// The result of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The physical address.
    pub pa: u64,
    /// The leaf as it is now, A and D updated.
    pub pte: Pte,
    /// The leaf as the walk found it.
    pub found: Pte,
    /// Where the leaf is.
    pub pte_pa: u64,
    /// Its level; 0 is a page of 4 KiB.
    pub level: u8,
}

/// Translates `va` for `access`; `regime.satp` must not be bare.
///
/// Updates A and D if the regime says so. The caller has to look at [`Ram::has_touched`] then: the
/// page table may lie in a page with decoded code.
pub fn walk(
    ram: &mut Ram,
    pmp: &Pmp,
    regime: &Regime,
    va: u64,
    access: Access,
) -> Result<Leaf, Fault> {
    let mode = regime.satp.mode;
    let top = mode.levels().saturating_sub(1);
    if mode == Mode::Bare || !mode.is_canonical(Va(va)) {
        let fault = Fault::plain(va, access, Reason::NotCanonical);
        return Err(Fault { level: top as u8, ..fault });
    }
    walk_from(ram, pmp, regime, va, access, (regime.satp.ppn, top))
}

/// The part of a walk from a page table of the given level on.
#[inline(always)]
pub fn walk_from(
    ram: &mut Ram,
    pmp: &Pmp,
    regime: &Regime,
    va: u64,
    access: Access,
    (mut table, level): (Ppn, u32),
) -> Result<Leaf, Fault> {
    let mut fault = Fault::plain(va, access, Reason::Reserved);
    for level in (0..=level).rev() {
        let pte_pa = table.pa().0 + 8 * Va(va).index(level) as u64;
        fault = Fault { level: level as u8, pte_pa, pte: Pte(0), ..fault };
        if !pmp.allows(pte_pa, 8, Access::Load, Priv::Supervisor) {
            return Err(Fault { reason: Reason::TablePmp, ..fault });
        }
        let Ok(bits) = ram.read::<u64>(pte_pa) else {
            return Err(Fault { reason: Reason::TableNotMemory, ..fault });
        };
        let pte = Pte(bits);
        fault.pte = pte;
        if let Some(reason) = malformed(pte, level, regime) {
            return Err(Fault { reason, ..fault });
        }
        if !pte.is_leaf() {
            table = pte.ppn();
            continue;
        }
        if let Some(reason) = forbidden(pte, level, regime, access) {
            return Err(Fault { reason, ..fault });
        }
        let now = update(ram, pmp, pte_pa, pte, regime, access);
        let now = now.map_err(|reason| Fault { reason, ..fault })?;
        let pa = physical(pte, level, va).0;
        return Ok(Leaf { pa, pte: now, found: pte, pte_pa, level: level as u8 });
    }
    // `malformed` refuses pointers at level 0.
    Err(fault)
}

/// Why this PTE is not a pointer or leaf at this level, if it is neither.
fn malformed(pte: Pte, level: u32, regime: &Regime) -> Option<Reason> {
    const NOT_IN_POINTERS: u64 = Pte::D | Pte::A | Pte::U | Pte::PBMT | Pte::N;
    let reserved = if pte.is_leaf() {
        pte.writable() && !pte.readable()
            || pte.0 & Pte::PBMT != 0 && !regime.pbmte
            || pte.pbmt() == 3
            || pte.napot() && level > 0
            || pte.napot() && pte.ppn().0 % Pte::NAPOT_PAGES != Pte::NAPOT_PPN
    } else {
        level == 0 || pte.0 & NOT_IN_POINTERS != 0
    };
    if !pte.valid() {
        Some(Reason::Invalid)
    } else if reserved || pte.0 & Pte::RESERVED != 0 {
        Some(Reason::Reserved)
    } else {
        None
    }
}

/// Why this leaf does not allow the access, if it does not.
fn forbidden(pte: Pte, level: u32, regime: &Regime, access: Access) -> Option<Reason> {
    match regime.privilege {
        Priv::User if !pte.user() => return Some(Reason::NotUser),
        Priv::Supervisor if pte.user() && (access == Access::Fetch || !regime.sum) => {
            return Some(Reason::UserFromSupervisor);
        }
        _ => {}
    }
    match access {
        Access::Fetch if !pte.executable() => return Some(Reason::NoExec),
        Access::Load if !(pte.readable() || regime.mxr && pte.executable()) => {
            return Some(Reason::NoRead);
        }
        Access::Store if !pte.writable() => return Some(Reason::NoWrite),
        _ => {}
    }
    let pages = leaf_size(level) >> PAGE_SHIFT;
    (!pte.ppn().0.is_multiple_of(pages)).then_some(Reason::Misaligned)
}

/// Sets A, and D for a store, or says that software has to.
#[inline]
fn update(
    ram: &mut Ram,
    pmp: &Pmp,
    pte_pa: u64,
    pte: Pte,
    regime: &Regime,
    access: Access,
) -> Result<Pte, Reason> {
    let need = if access == Access::Store { Pte::A | Pte::D } else { Pte::A };
    if pte.has(need) {
        return Ok(pte);
    }
    if !regime.adue {
        return Err(if pte.accessed() { Reason::NeedD } else { Reason::NeedA });
    }
    if !pmp.allows(pte_pa, 8, Access::Store, Priv::Supervisor) {
        return Err(Reason::TablePmp);
    }
    let now = Pte(pte.0 | need);
    let written = ram.update_pte(pte_pa, now);
    written.map(|()| now).map_err(|_| Reason::TableNotMemory)
}

/// The physical address of `va` in the page, superpage or NAPOT range that the leaf maps.
fn physical(pte: Pte, level: u32, va: u64) -> Pa {
    let (size, ppn) = if pte.napot() {
        (leaf_size(0) * Pte::NAPOT_PAGES, pte.ppn().0 & !(Pte::NAPOT_PAGES - 1))
    } else {
        (leaf_size(level), pte.ppn().0)
    };
    Pa(ppn << PAGE_SHIFT | va & (size - 1))
}
