//! From a virtual pc to a block.
//!
//! Source: privileged manual, "Virtual Address Translation Process". Instructions are fetched in
//! parcels of 16 bits: an instruction whose second half cannot be fetched faults with the address
//! of that half.

use isa::paging::Mode;
use isa::{Inst, decode};

use super::Cpu;
use super::code::{Block, Found, Jump};
use crate::events::Events;
use crate::hart::{Refused, Trap, Wants};
use crate::inspect::Hit;
use crate::mem::PAGE_SIZE;
use crate::mmu::{Access, Reason, walk};

impl<E: Events> Cpu<'_, E> {
    /// The block at `pc`, no longer than the budget, which is not zero. If there is none the trap
    /// is taken, and the hart's pc says where to go on.
    #[inline(never)]
    pub(crate) fn enter(&mut self, pc: u64) -> Option<*const Block> {
        let jump = *self.hart.jumps.at(pc);
        let block = if jump.va == pc && jump.generation == self.hart.ctx.space.generation {
            jump.block
        } else {
            match self.find(pc) {
                Ok(block) => block,
                Err(trap) => {
                    self.take(trap, pc);
                    return None;
                }
            }
        };
        if E::STORES && self.hart.ctx.wants.0 & Wants::STOP != 0 {
            // For what the observer saw of the fetch.
            self.hart.ctx.pc = pc;
            return None;
        }
        // SAFETY: blocks live until the end of the turn, the scratch block until it is made anew.
        let whole = unsafe { &*block };
        let limit = self.breakpoint(pc, whole).min(self.hart.ctx.budget as u64) as u32;
        if limit == 0 {
            self.hart.ctx.pc = pc;
            return None;
        }
        if limit < whole.count {
            return Some(self.hart.scratch.truncated(whole, limit));
        }
        Some(block)
    }

    /// How many instructions of the block at `pc` come before a breakpoint. If there is one at the
    /// very start, the machine stops.
    fn breakpoint(&mut self, pc: u64, block: &Block) -> u64 {
        let points = &self.sys.points.breakpoints;
        let end = pc.saturating_add(u64::from(block.bytes));
        if points.is_empty() || points.range(pc..end).next().is_none() {
            return u64::MAX;
        }
        let passes = self.hart.let_go.take() == Some(self.hart.retired());
        let is_point = |n: &usize| points.contains(&pc.wrapping_add(block.offset(*n)));
        let first = (usize::from(passes)..block.count as usize).find(is_point);
        if first == Some(0) {
            self.sys.hit = Some(Hit::Breakpoint);
            self.hart.ctx.wants.0 |= Wants::STOP;
        }
        first.map_or(u64::MAX, |n| n as u64)
    }

    fn find(&mut self, pc: u64) -> Result<*const Block, Trap> {
        let (pa, whole_page) = self.fetch_address(pc)?;
        if !whole_page {
            return self.fetch_single(pc, pa);
        }
        let ram = &mut self.sys.bus.ram;
        let had_code = ram.is_code(pa);
        let found = self.sys.code.find(ram, pa);
        if !had_code && ram.is_code(pa) {
            self.sys.tables.forbid_writes(ram, pa);
            self.hart.catch_up(&self.sys.tables);
        }
        match found {
            Found::Block(block) => {
                if self.sys.points.breakpoints.is_empty() {
                    let generation = self.hart.ctx.space.generation;
                    // SAFETY: blocks live until the end of the turn.
                    let code = self.sys.native_entry(unsafe { &*block });
                    *self.hart.jumps.at(pc) = Jump { va: pc, generation, block, code };
                }
                Ok(block)
            }
            Found::Illegal => Err(Trap::Illegal),
            Found::Crossing => self.fetch_single(pc, pa),
        }
    }

    /// The physical address of the parcel at `va`, and whether its whole page can be fetched from.
    fn fetch_address(&mut self, va: u64) -> Result<(u64, bool), Refused> {
        let offset = va % PAGE_SIZE;
        if !E::ACCESSES
            && let Some(page) = self.hart.ctx.space.fetch(va)
        {
            return Ok((page + offset, true));
        }
        let (pa, level) = self.translate(va, Access::Fetch)?;
        let privilege = self.hart.privilege;
        let pmp = &self.hart.csr.pmp;
        if !pmp.allows(pa, 2, Access::Fetch, privilege) {
            return Err(self.refuse(va, Access::Fetch, Reason::Pmp));
        }
        if !self.sys.bus.ram.contains(pa, 2) {
            return Err(self.refuse(va, Access::Fetch, Reason::NoDevice));
        }
        let whole = pmp.allows(pa - offset, PAGE_SIZE, Access::Fetch, privilege);
        self.tell_access(va, pa, Access::Fetch);
        if whole {
            self.derive(va, level, true);
            self.hart.ctx.space.fill_fetch(va, pa);
        }
        Ok((pa, whole))
    }

    /// Bits at a physical address that was found to be memory.
    fn parcel(&self, pa: u64) -> u32 {
        self.sys.bus.ram.read::<u16>(pa).map_or(0, u32::from)
    }

    /// An instruction that does not lie in one page, or in a page with different protections.
    fn fetch_single(&mut self, pc: u64, pa: u64) -> Result<*const Block, Trap> {
        let mut bits = self.parcel(pa);
        if bits & 3 == 3 {
            let (second, _) = self.fetch_address(pc.wrapping_add(2))?;
            bits |= self.parcel(second) << 16;
        }
        let inst: Inst = decode(bits).ok_or(Trap::Illegal)?;
        Ok(self.hart.scratch.single(inst, pa))
    }

    /// The bits of the instruction at `pc`, which was just fetched: for `mtval`.
    pub(crate) fn bits_at(&mut self, pc: u64) -> u64 {
        let low = self.parcel_at(pc);
        if low & 3 != 3 {
            return low.into();
        }
        (low | self.parcel_at(pc.wrapping_add(2)) << 16).into()
    }

    /// Bits at a virtual address that was just fetched from: nobody is told of it again.
    fn parcel_at(&mut self, va: u64) -> u32 {
        let regime = self.hart.regime(true);
        let pa = match self.hart.ctx.space.fetch(va) {
            Some(page) => Some(page + va % PAGE_SIZE),
            None if regime.satp.mode == Mode::Bare => Some(va),
            None => {
                let (ram, pmp) = (&mut self.sys.bus.ram, &self.hart.csr.pmp);
                walk(ram, pmp, &regime, va, Access::Fetch).ok().map(|leaf| leaf.pa)
            }
        };
        pa.map_or(0, |pa| self.parcel(pa))
    }
}
