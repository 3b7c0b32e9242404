//! Loads and stores that the fast TLB does not cover: translation, protection, devices, code,
//! misaligned addresses.
//!
//! Misaligned loads and stores of memory work. If one crosses a page, both pages are translated
//! before anything is accessed, and a fault reports the address in the page that faulted.

use isa::paging::{Mode, Pa};
use isa::{Inst, Op};

use super::{Cpu, Next};
use crate::events::{Events, View};
use crate::hart::state::Reservation;
use crate::hart::{Refused, Trap, Wants};
use crate::inspect::Hit;
use crate::mem::PAGE_SIZE;
use crate::mmu::{Access, Fault, Reason, tlb, walk, walk_from};

/// How far `to` is behind `from`.
fn va_distance(from: u64, to: u64) -> u64 {
    to.wrapping_sub(from)
}

impl<E: Events> Cpu<'_, E> {
    /// The physical address of `va`, and the level of the leaf if there is one. Protection of that
    /// address is not checked here.
    pub(crate) fn translate(
        &mut self,
        va: u64,
        access: Access,
    ) -> Result<(u64, Option<u8>), Refused> {
        let regime = self.hart.regime(access == Access::Fetch);
        if regime.satp.mode == Mode::Bare {
            return Ok((va, None));
        }
        let (ram, pmp) = (&mut self.sys.bus.ram, &self.hart.csr.pmp);
        let known = if access == Access::Fetch { None } else { self.hart.ctx.space.table(va) };
        let walked = match known {
            Some(table) => walk_from(ram, pmp, &regime, va, access, (Pa(table).ppn(), 0)),
            None => walk(ram, pmp, &regime, va, access),
        };
        let leaf = match walked {
            Ok(leaf) => leaf,
            Err(fault) => {
                self.hart.refused = fault;
                if known.is_none() {
                    self.remember();
                }
                return Err(Refused);
            }
        };
        if leaf.pte != leaf.found {
            self.sync_memory();
            self.events.pte_updated(&View { hart: self.hart, sys: self.sys }, va, &leaf);
        }
        self.events.walked(&View { hart: self.hart, sys: self.sys }, va, access, &leaf);
        self.heed();
        Ok((leaf.pa, Some(leaf.level)))
    }

    /// To be called before the hart remembers a translation that was found with a leaf at `level`.
    pub(crate) fn derive(&mut self, va: u64, level: Option<u8>, fetch: bool) {
        let Some(level) = level else { return };
        let (satp, ram) = (self.hart.csr.satp, &mut self.sys.bus.ram);
        match self.hart.ctx.space.table(va) {
            Some(table) if !fetch => self.sys.tables.derive_last(ram, satp, va, table),
            _ => {
                let table = self.sys.tables.derive(ram, satp, va, level, fetch);
                self.hart.catch_up(&self.sys.tables);
                if level == 0 {
                    self.hart.ctx.space.fill_table(va, table);
                }
            }
        }
        self.hart.catch_up(&self.sys.tables);
    }

    /// A walk failed. If it came to a last-level page table, most likely the next one succeeds.
    #[cold]
    fn remember(&mut self) {
        let Fault { va, level, pte_pa, .. } = self.hart.refused;
        if level == 0 {
            self.derive(va, Some(1), false);
            self.hart.ctx.space.fill_table(va, pte_pa);
        }
    }

    /// Refuses an access for a reason that is not about a PTE.
    #[cold]
    pub(super) fn refuse(&mut self, va: u64, access: Access, reason: Reason) -> Refused {
        self.hart.refused = Fault::plain(va, access, reason);
        Refused
    }

    /// Drops what is wrong because devices or PTE updates wrote memory.
    pub(crate) fn sync_memory(&mut self) {
        if self.sys.sync_memory() {
            self.code_dropped();
        }
        self.hart.catch_up(&self.sys.tables);
    }

    /// Decoded code was dropped: no cached jump may lead there, and the present block may be gone.
    fn code_dropped(&mut self) {
        self.hart.forget_jumps();
        self.hart.code_epoch = self.sys.code.epoch;
        self.hart.ctx.wants.0 |= Wants::CHECK;
    }

    /// The physical address of `va` if it is in memory and was located before.
    #[inline]
    fn located(&self, va: u64, access: Access) -> Option<u64> {
        let space = &self.hart.ctx.space;
        let ram = &self.sys.bus.ram;
        let at = tlb::index(va);
        match access {
            Access::Store => match space.write[at].host(va, 1) {
                Some(host) => Some(ram.guest_address(host)),
                None => {
                    let page = space.guarded(va).filter(|page| !ram.is_plain(*page))?;
                    Some(page + va % PAGE_SIZE)
                }
            },
            _ => space.read[at].host(va, 1).map(|host| ram.guest_address(host)),
        }
    }

    /// Translates and checks an access of `length` bytes that does not cross a page; if it is to
    /// memory and the whole page may be accessed, the fast TLB learns it.
    pub(crate) fn locate(&mut self, va: u64, length: u64, access: Access) -> Result<u64, Refused> {
        if !E::ACCESSES
            && let Some(pa) = self.located(va, access)
        {
            return Ok(pa);
        }
        let (pa, level) = self.translate(va, access)?;
        let privilege = self.hart.data_privilege();
        let page = pa & !(PAGE_SIZE - 1);
        let whole = self.hart.csr.pmp.allows(page, PAGE_SIZE, access, privilege);
        if !whole && !self.hart.csr.pmp.allows(pa, length, access, privilege) {
            return Err(self.refuse(va, access, Reason::Pmp));
        }
        self.tell_access(va, pa, access);
        if E::ACCESSES || self.watched(va, length, access) {
            return Ok(pa);
        }
        if whole && let Some(host) = self.sys.bus.ram.host_address(pa) {
            self.derive(va, level, false);
            let space = &mut self.hart.ctx.space;
            match access {
                Access::Load => space.fill_read(va, host),
                Access::Store if self.sys.bus.ram.is_plain(pa) => space.fill_write(va, host),
                _ => space.fill_guarded(va, pa),
            }
        }
        Ok(pa)
    }

    /// An access is allowed that was not known to be.
    pub(super) fn tell_access(&mut self, va: u64, pa: u64, access: Access) {
        if E::ACCESSES || E::MISSES {
            self.events.accessed(&View { hart: self.hart, sys: self.sys }, va, pa, access);
            self.heed();
        }
    }

    /// Whether a debugger watches something in the page of `va`; if it is this access that it is
    /// waiting for, the machine stops behind the instruction.
    fn watched(&mut self, va: u64, length: u64, access: Access) -> bool {
        let page = va & !(PAGE_SIZE - 1);
        let mut in_page = false;
        for watch in &self.sys.points.watches {
            let overlaps = |start: u64, length: u64| {
                let behind = va_distance(start, watch.va) < length;
                behind || va_distance(watch.va, start) < watch.len
            };
            in_page |= overlaps(page, PAGE_SIZE);
            let meant = if access == Access::Store { watch.stores } else { watch.loads };
            if meant && overlaps(va, length) {
                self.sys.hit = Some(Hit::Watch(*watch));
                self.hart.ctx.wants.0 |= Wants::STOP;
            }
        }
        in_page
    }

    /// Loads `size` bytes, zero-extended.
    pub(crate) fn load(&mut self, va: u64, size: u64) -> Result<u64, Refused> {
        let first = PAGE_SIZE - va % PAGE_SIZE;
        if first >= size {
            let pa = self.locate(va, size, Access::Load)?;
            return self.read_physical(va, pa, size);
        }
        self.load_across(va, size, first)
    }

    /// A load whose `first` bytes are in one page, the others in the next.
    #[cold]
    fn load_across(&mut self, va: u64, size: u64, first: u64) -> Result<u64, Refused> {
        let second = va.wrapping_add(first);
        let low = self.locate(va, first, Access::Load)?;
        let high = self.locate(second, size - first, Access::Load)?;
        let low = self.read_bytes(va, low, first)?;
        let high = self.read_bytes(second, high, size - first)?;
        Ok(low | high << (8 * first))
    }

    /// Stores the low `size` bytes of `value`.
    pub(crate) fn store(&mut self, va: u64, size: u64, value: u64) -> Result<(), Refused> {
        let first = PAGE_SIZE - va % PAGE_SIZE;
        if first >= size {
            let pa = self.locate(va, size, Access::Store)?;
            return self.write_physical(va, pa, size, value);
        }
        self.store_across(va, size, value, first)
    }

    /// A store whose `first` bytes are in one page, the others in the next.
    #[cold]
    fn store_across(&mut self, va: u64, size: u64, value: u64, first: u64) -> Result<(), Refused> {
        let second = va.wrapping_add(first);
        let low = self.locate(va, first, Access::Store)?;
        let high = self.locate(second, size - first, Access::Store)?;
        for (va, pa, length) in [(va, low, first), (second, high, size - first)] {
            if !self.sys.bus.ram.contains(pa, length) {
                return Err(self.refuse(va, Access::Store, Reason::NoDevice));
            }
        }
        let bytes = value.to_le_bytes();
        let (one, two) = bytes[..size as usize].split_at(first as usize);
        self.write_bytes(va, low, one);
        self.write_bytes(second, high, two);
        Ok(())
    }

    /// Part of a misaligned load; devices do not support those.
    fn read_bytes(&mut self, va: u64, pa: u64, length: u64) -> Result<u64, Refused> {
        let mut bytes = [0; 8];
        let read = self.sys.bus.ram.dma_read(pa, &mut bytes[..length as usize]);
        read.map_err(|_| self.refuse(va, Access::Load, Reason::NoDevice))?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Executes a store to a page that needs attention, if it was located before and the block
    /// may go on: data beside code, or a page table.
    pub(super) fn store_aside(&mut self, inst: &Inst) -> bool {
        let size = match inst.op {
            Op::Sb => 1,
            Op::Sh => 2,
            Op::Sw => 4,
            Op::Sd => 8,
            _ => return false,
        };
        let va = self.hart.x(inst.rs1()).wrapping_add(inst.imm as i64 as u64);
        let Some(page) = self.hart.ctx.space.guarded(va) else { return false };
        let pa = page + va % PAGE_SIZE;
        let ram = &mut self.sys.bus.ram;
        let told = E::STORES && ram.is_watched(pa);
        if told || !va.is_multiple_of(size) || ram.is_plain(pa) || self.sys.code.covers(pa, size) {
            return false;
        }
        self.write_bytes(va, pa, &self.hart.x(inst.rs2()).to_le_bytes()[..size as usize]);
        true
    }

    /// Stores to memory, which `pa` was checked to be; all in one page.
    pub(crate) fn write_bytes(&mut self, va: u64, pa: u64, bytes: &[u8]) {
        let (ram, length) = (&mut self.sys.bus.ram, bytes.len() as u64);
        if ram.is_table(pa) {
            self.sys.tables.store(ram, pa, bytes);
            self.hart.catch_up(&self.sys.tables);
        }
        if ram.put(pa, bytes).is_ok() && ram.is_code(pa) && self.sys.code.stored(ram, pa, length) {
            self.code_dropped();
        }
        if E::STORES && self.sys.bus.ram.is_watched(pa) {
            self.events.stored(&View { hart: self.hart, sys: self.sys }, va, pa, length);
            self.heed();
        }
    }

    pub(crate) fn read_physical(&mut self, va: u64, pa: u64, size: u64) -> Result<u64, Refused> {
        if self.sys.bus.ram.contains(pa, size) {
            return self.read_bytes(va, pa, size);
        }
        let now = self.now();
        if pa.is_multiple_of(size)
            && let Ok(value) = self.sys.bus.read(pa, size as u8, now)
        {
            self.after_device();
            return Ok(value);
        }
        Err(self.refuse(va, Access::Load, Reason::NoDevice))
    }

    fn write_physical(&mut self, va: u64, pa: u64, size: u64, value: u64) -> Result<(), Refused> {
        if self.sys.bus.ram.contains(pa, size) {
            self.write_bytes(va, pa, &value.to_le_bytes()[..size as usize]);
            return Ok(());
        }
        let now = self.now();
        if pa.is_multiple_of(size) && self.sys.bus.write(pa, size as u8, value, now).is_ok() {
            self.after_device();
            return Ok(());
        }
        Err(self.refuse(va, Access::Store, Reason::NoDevice))
    }

    /// A device may have written memory, changed interrupt lines or timers, or ended the run.
    fn after_device(&mut self) {
        self.sync_memory();
        self.hart.ctx.reservation = Reservation::NONE;
        self.hart.ctx.wants.0 |= Wants::CHECK;
    }

    /// The integer loads.
    pub(super) fn load_instruction(&mut self, inst: &Inst) -> Result<Next, Trap> {
        let va = self.hart.x(inst.rs1()).wrapping_add(inst.imm as i64 as u64);
        let size = match inst.op {
            Op::Lb | Op::Lbu => 1,
            Op::Lh | Op::Lhu => 2,
            Op::Lw | Op::Lwu => 4,
            _ => 8,
        };
        let value = self.load(va, size)?;
        let value = match inst.op {
            Op::Lb => value as i8 as u64,
            Op::Lh => value as i16 as u64,
            Op::Lw => value as i32 as u64,
            _ => value,
        };
        self.hart.set_x(inst.rd, value);
        Ok(Next::Inst)
    }

    /// The integer stores.
    pub(super) fn store_instruction(&mut self, inst: &Inst) -> Result<Next, Trap> {
        let va = self.hart.x(inst.rs1()).wrapping_add(inst.imm as i64 as u64);
        let size = match inst.op {
            Op::Sb => 1,
            Op::Sh => 2,
            Op::Sw => 4,
            _ => 8,
        };
        self.store(va, size, self.hart.x(inst.rs2()))?;
        Ok(Next::Inst)
    }
}
