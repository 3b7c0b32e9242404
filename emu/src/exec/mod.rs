//! Execution: the interpreter that defines what every instruction does.
//!
//! [`run`] is the block loop with the frequent instructions, one arm each; whatever else there
//! is, and every load or store that the fast TLB does not cover, is in [`Cpu::rare`]. The pure
//! semantics of the extensions are functions in their own files.

pub mod atomic;
pub mod bits;
pub mod block;
pub mod code;
pub mod fetch;
pub mod float;
pub mod memory;
pub mod muldiv;
pub mod system;

pub use block::run;

use isa::{Inst, Op};

use crate::bus::Bus;
use crate::clock::Clock;
use crate::events::{Events, View};
use crate::hart::{Hart, Trap, Wants};
use crate::inspect::{Hit, Points};
use crate::jit::Translator;
use crate::mmu::Tables;
use code::{Block, Code};

/// What harts share.
pub struct System {
    /// Memory and devices.
    pub bus: Bus,
    /// The machine's time.
    pub clock: Clock,
    /// Decoded code.
    pub code: Code,
    /// Page tables in use.
    pub tables: Tables,
    /// Translated code, unless only the interpreter is to run.
    pub native: Option<Translator>,
    /// Where a debugger wants the machine to stop.
    pub points: Points,
    /// A trap ends the turn: the debugger lets a hart do one step.
    pub stepping: bool,
    /// Why the machine stops for a debugger or the observer.
    pub hit: Option<Hit>,
}

impl System {
    /// Drops what is wrong because memory was written by others than harts. Returns whether that
    /// was decoded code; harts have to catch up with the rest.
    pub(crate) fn sync_memory(&mut self) -> bool {
        let ram = &mut self.bus.ram;
        if !ram.has_touched() {
            return false;
        }
        let epoch = self.code.epoch;
        for pa in ram.take_touched() {
            self.code.drop_page(ram, pa);
            self.tables.forget(ram, pa);
        }
        self.code.epoch != epoch
    }

    /// Where translated code goes on when it jumps to a block.
    pub(crate) fn native_entry(&self, block: &Block) -> u64 {
        self.native.as_ref().map_or(0, |native| native.entry(block))
    }
}

/// A hart at work: itself, what it shares, and who watches.
pub struct Cpu<'a, E: Events> {
    /// The hart.
    pub hart: &'a mut Hart,
    /// Memory, devices, time, code.
    pub sys: &'a mut System,
    /// The observer.
    pub events: &'a mut E,
}

/// What follows an instruction outside of the block loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The next instruction of the block.
    Inst,
    /// The next instruction, but not of this block: it may be stale, or something else is due.
    Leave,
    /// Wherever the hart's pc points to.
    Jump,
}

impl<E: Events> Cpu<'_, E> {
    /// Does what the observer wants after an event.
    #[inline]
    pub(crate) fn heed(&mut self) {
        if !E::STORES && !E::MISSES {
            return;
        }
        let wishes = self.events.take_wishes();
        wishes.forget.into_iter().for_each(|what| self.hart.forget(what));
        for (pa, watched) in wishes.pages {
            self.sys.bus.ram.set_watched(pa, watched);
            if watched {
                self.sys.tables.forbid_writes(&self.sys.bus.ram, pa);
            }
        }
        self.hart.catch_up(&self.sys.tables);
        if wishes.stop {
            self.sys.hit = Some(Hit::Observer);
            self.hart.ctx.wants.0 |= Wants::STOP;
        }
    }

    /// Tells the observer that the block at `pc` is entered. If the machine is to stop, nothing is
    /// left of the budget: the block is entered when it goes on, and the observer is not told again.
    pub(crate) fn probe(&mut self, pc: u64) {
        let here = (pc, self.hart.x(2));
        if E::STORES && self.hart.told == Some(here) {
            self.hart.told = None;
            return;
        }
        self.events.probed(&View { hart: self.hart, sys: self.sys }, pc);
        self.heed();
        if E::STORES && self.hart.ctx.wants.0 & Wants::STOP != 0 {
            self.hart.told = Some(here);
            self.hart.use_up();
        }
    }

    /// Tells the observer of the hint that is instruction `index` of `block`, which starts at
    /// `start`.
    pub(crate) fn hint(&mut self, block: &Block, index: usize, start: u64) {
        self.hart.ctx.pending = i64::from(block.count) - index as i64;
        let (pc, kind) = (start.wrapping_add(block.offset(index)), block.insts()[index].imm);
        self.events.hinted(&View { hart: self.hart, sys: self.sys }, pc, kind);
        self.hart.ctx.pending = 0;
    }

    /// The machine's time at the present instruction.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.sys.clock.now(self.hart.retired())
    }

    /// Executes instruction `index` of `block`, which starts at `start`. Returns whether the block
    /// loop goes on with the next one; else the hart's pc says where to go on, and the rest of
    /// the block is paid back.
    #[cold]
    #[inline(never)]
    pub(crate) fn rare(&mut self, block: &Block, index: usize, start: u64) -> bool {
        // SAFETY: `index` is that of an instruction of the block, which lives until the end of the
        // turn even if it is dropped from the cache.
        let inst = unsafe { *block.insts.add(index) };
        let aside = self.store_aside(&inst);
        if aside && self.hart.ctx.wants == Wants::default() {
            return true;
        }
        let left = i64::from(block.count) - index as i64;
        let pc = || start.wrapping_add(block.offset(index));
        if E::STORES {
            self.hart.at = pc();
        }
        self.hart.ctx.pending = left;
        let outcome = if aside { Ok(Next::Inst) } else { self.execute(&inst, pc) };
        self.hart.ctx.pending = 0;
        match outcome {
            Ok(Next::Inst) if self.hart.ctx.wants == Wants::default() => return true,
            Ok(Next::Inst | Next::Leave) => {
                self.hart.ctx.pc = pc().wrapping_add(block.len(index));
                self.hart.ctx.budget += left - 1;
            }
            Ok(Next::Jump) => self.hart.ctx.budget += left - 1,
            Err(trap) => {
                self.hart.ctx.budget += left;
                self.take(trap, pc());
            }
        }
        false
    }

    fn execute(&mut self, inst: &Inst, pc: impl Fn() -> u64) -> Result<Next, Trap> {
        match inst.op {
            Op::Lb | Op::Lh | Op::Lw | Op::Ld | Op::Lbu | Op::Lhu | Op::Lwu => {
                self.load_instruction(inst)
            }
            Op::Sb | Op::Sh | Op::Sw | Op::Sd => self.store_instruction(inst),
            Op::Fence => Ok(self.fence(inst, pc)),
            Op::LrW | Op::LrD => self.load_reserved(inst),
            Op::ScW | Op::ScD => self.store_conditional(inst),
            op if (Op::AmoswapW as u8..=Op::AmomaxuD as u8).contains(&(op as u8)) => {
                self.atomic(inst)
            }
            Op::CboInval | Op::CboClean | Op::CboFlush | Op::CboZero => self.cache_block(inst),
            op if (Op::Flw as u8..=Op::FmvDX as u8).contains(&(op as u8)) => {
                self.float_instruction(inst)
            }
            op => match compute(op, self.hart.x(inst.rs1()), self.hart.x(inst.rs2())) {
                Some(value) => {
                    self.hart.set_x(inst.rd, value);
                    Ok(Next::Inst)
                }
                None => self.system_instruction(inst, pc),
            },
        }
    }
}

/// The computations that are not worth machine code: for translated code, since the block loop
/// does them itself.
fn compute(op: Op, a: u64, b: u64) -> Option<u64> {
    Some(match op {
        Op::Mulhsu => muldiv::mulhsu(a, b),
        Op::OrcB => bits::orc_b(a),
        Op::Clmul => bits::clmul(a, b),
        Op::Clmulh => bits::clmulh(a, b),
        Op::Clmulr => bits::clmulr(a, b),
        Op::Clz => a.leading_zeros().into(),
        Op::Clzw => (a as u32).leading_zeros().into(),
        Op::Ctz => a.trailing_zeros().into(),
        Op::Ctzw => (a as u32).trailing_zeros().into(),
        Op::Cpop => a.count_ones().into(),
        Op::Cpopw => (a as u32).count_ones().into(),
        _ => return None,
    })
}
