//! The A extension and the cache-block operations: read-modify-write of memory.
//!
//! Source: unprivileged manual, "A Extension", and "CMO Extensions". Atomicity comes from harts
//! taking turns. A reservation ends with the hart's turn if another hart runs in between, with a
//! device access, and with the next store-conditional.

use isa::csr::envcfg;
use isa::ext::CACHE_BLOCK;
use isa::trap::Exception;
use isa::{Inst, Op, Priv};

use super::{Cpu, Next};
use crate::events::Events;
use crate::hart::state::Reservation;
use crate::hart::{Refused, Trap, Wants};
use crate::mmu::{Access, Reason};

/// After this many swaps in a row that changed nothing, the hart gives up its turn.
const SPINS: u16 = 4;

/// Bytes that an instruction of the A extension accesses.
fn size(op: Op) -> u64 {
    if (op as u8) < Op::LrD as u8 { 4 } else { 8 }
}

/// The value in a register of an access of `size` bytes.
fn extended(value: u64, size: u64) -> u64 {
    if size == 4 { value as i32 as u64 } else { value }
}

impl<E: Events> Cpu<'_, E> {
    /// The physical address for an atomic access: naturally aligned, and in memory.
    fn atomic_address(&mut self, va: u64, size: u64, access: Access) -> Result<u64, Trap> {
        if !va.is_multiple_of(size) {
            let exception = match access {
                Access::Store => Exception::StoreMisaligned,
                _ => Exception::LoadMisaligned,
            };
            return Err(Trap::Exception(exception, va));
        }
        let pa = self.locate(va, size, access)?;
        if !self.sys.bus.ram.contains(pa, size) {
            return Err(self.refuse(va, access, Reason::NoDevice).into());
        }
        Ok(pa)
    }

    /// `lr.w` and `lr.d`.
    pub(super) fn load_reserved(&mut self, inst: &Inst) -> Result<Next, Trap> {
        let (va, size) = (self.hart.x(inst.rs1()), size(inst.op));
        let pa = self.atomic_address(va, size, Access::Load)?;
        let value = self.read_physical(va, pa, size)?;
        self.hart.ctx.reservation = Reservation::new(pa, size);
        self.hart.set_x(inst.rd, extended(value, size));
        Ok(Next::Inst)
    }

    /// `sc.w` and `sc.d`. Without a reservation, memory is not accessed in any way.
    pub(super) fn store_conditional(&mut self, inst: &Inst) -> Result<Next, Trap> {
        let (va, size) = (self.hart.x(inst.rs1()), size(inst.op));
        if !va.is_multiple_of(size) {
            return Err(Trap::Exception(Exception::StoreMisaligned, va));
        }
        let mut done = false;
        if self.hart.ctx.reservation != Reservation::NONE {
            let pa = self.atomic_address(va, size, Access::Store)?;
            done = self.hart.ctx.reservation == Reservation::new(pa, size);
            if done {
                let value = self.hart.x(inst.rs2()).to_le_bytes();
                self.write_bytes(va, pa, &value[..size as usize]);
            }
            self.hart.ctx.reservation = Reservation::NONE;
        }
        if !done {
            // Most likely another hart has been here, and will be again.
            self.hart.ctx.wants.0 |= Wants::YIELD;
        }
        self.hart.set_x(inst.rd, u64::from(!done));
        Ok(Next::Inst)
    }

    /// The AMO instructions. The page must allow both reading and writing; what it refuses is
    /// reported as a store. (What may be written may be read: PTEs and PMP entries that say
    /// otherwise are reserved.)
    pub(super) fn atomic(&mut self, inst: &Inst) -> Result<Next, Trap> {
        let (va, size) = (self.hart.x(inst.rs1()), size(inst.op));
        let pa = self.atomic_address(va, size, Access::Store)?;
        let old = extended(self.read_physical(va, pa, size)?, size);
        let operand = extended(self.hart.x(inst.rs2()), size);
        // Sign extension keeps the order of unsigned numbers, too.
        let new = match inst.op {
            Op::AmoswapW | Op::AmoswapD => operand,
            Op::AmoaddW | Op::AmoaddD => old.wrapping_add(operand),
            Op::AmoxorW | Op::AmoxorD => old ^ operand,
            Op::AmoandW | Op::AmoandD => old & operand,
            Op::AmoorW | Op::AmoorD => old | operand,
            Op::AmominW | Op::AmominD => (old as i64).min(operand as i64) as u64,
            Op::AmomaxW | Op::AmomaxD => (old as i64).max(operand as i64) as u64,
            Op::AmominuW | Op::AmominuD => old.min(operand),
            _ => old.max(operand),
        };
        self.write_bytes(va, pa, &new.to_le_bytes()[..size as usize]);
        self.hart.set_x(inst.rd, old);
        let spins = matches!(inst.op, Op::AmoswapW | Op::AmoswapD) && new == old;
        self.hart.ctx.spins = if spins { self.hart.ctx.spins + 1 } else { 0 };
        if self.hart.ctx.spins >= SPINS {
            self.hart.ctx.spins = 0;
            self.hart.ctx.wants.0 |= Wants::YIELD;
        }
        Ok(Next::Inst)
    }

    /// `cbo.inval`, `cbo.clean`, `cbo.flush`, which have no caches to act on but all checks to
    /// make, and `cbo.zero`.
    pub(super) fn cache_block(&mut self, inst: &Inst) -> Result<Next, Trap> {
        let allowed = match inst.op {
            Op::CboInval => envcfg::CBIE,
            Op::CboZero => envcfg::CBZE,
            _ => envcfg::CBCFE,
        };
        let refuses = |register: u64| register & allowed == 0;
        let c = &self.hart.csr;
        let refused = match self.hart.privilege {
            Priv::Machine => false,
            Priv::Supervisor => refuses(c.menvcfg),
            Priv::User => refuses(c.menvcfg) || refuses(c.senvcfg),
        };
        if refused {
            return Err(Trap::Illegal);
        }
        let va = self.hart.x(inst.rs1());
        if inst.op != Op::CboZero {
            self.reach(va)?;
            return Ok(Next::Inst);
        }
        let aligned = va & !(CACHE_BLOCK - 1);
        let located = self.locate(aligned, CACHE_BLOCK, Access::Store);
        let pa = located.inspect_err(|_| self.hart.refused.va = va)?;
        if !self.sys.bus.ram.contains(pa, CACHE_BLOCK) {
            return Err(self.refuse(va, Access::Store, Reason::NoDevice).into());
        }
        self.write_bytes(aligned, pa, &[0; CACHE_BLOCK as usize]);
        Ok(Next::Inst)
    }

    /// Whether the cache block of `va` may be read or written; if neither, the fault is a store's.
    fn reach(&mut self, va: u64) -> Result<(), Refused> {
        let aligned = va & !(CACHE_BLOCK - 1);
        let located = match self.locate(aligned, CACHE_BLOCK, Access::Load) {
            Ok(pa) => Ok(pa),
            Err(_) => self.locate(aligned, CACHE_BLOCK, Access::Store),
        };
        let pa = located.inspect_err(|_| self.hart.refused.va = va)?;
        if self.sys.bus.ram.contains(pa, CACHE_BLOCK) {
            Ok(())
        } else {
            Err(self.refuse(va, Access::Store, Reason::NoDevice))
        }
    }
}
