//! The state of a hart.

use std::mem::offset_of;

use isa::csr::{envcfg, mstatus};
use isa::paging::Satp;
use isa::{Priv, csr};

use crate::events::Forget;
use crate::exec::code::{Jumps, Scratch};
use crate::mmu::{Access, Fault, Key, Pmp, Range, Reason, Regime, Space, Spaces, Tables};

/// Where writes to `x0` go: instructions are decoded so that they never name `x0` as destination.
pub const SINK: u8 = 32;

/// Reasons for leaving the execution of blocks, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Wants(pub u32);

impl Wants {
    /// Pending interrupts or the next timer event may have changed.
    pub const CHECK: u32 = 1;
    /// The hart has nothing useful to do in the rest of its turn.
    pub const YIELD: u32 = 2;
    /// The hart waits for an interrupt.
    pub const WAIT: u32 = 4;
    /// A debugger wants the machine to stop here.
    pub const STOP: u32 = 8;
}

/// What running code touches all the time, in one block; a register of translated code points at
/// it, so that the offsets are part of an interface.
#[repr(C)]
#[derive(Debug)]
pub struct Context {
    /// Integer registers. Any `u8` is a valid index; 0 is always zero, [`SINK`] is written for
    /// it, and the rest is not used.
    pub x: [u64; 256],
    /// Floating-point registers; single-precision values are boxed.
    pub f: [u64; 32],
    /// The next instruction, while no block is being executed.
    pub pc: u64,
    /// Instructions that may still be executed. A block is paid for when it is entered.
    pub budget: i64,
    /// Instructions of the current block, paid for but not yet retired, while one of them is
    /// executed outside of the block loop.
    pub pending: i64,
    /// Why to leave the block loop, if at all.
    pub wants: Wants,
    /// Accrued floating-point exceptions.
    pub fflags: u8,
    /// Dynamic rounding mode.
    pub frm: u8,
    /// Atomic swaps in a row that changed nothing: the hart spins on a lock.
    pub spins: u16,
    /// `mstatus`, without the summary bit SD.
    pub mstatus: u64,
    /// What a load reserved.
    pub reservation: Reservation,
    /// Cached translations for the present way to see memory.
    pub space: Box<Space>,
    /// Those for the way before that.
    pub twin: Box<Space>,
    /// Virtual address of the page that translated code executes. Like all that follows, it is
    /// meaningful only while translated code runs.
    pub page: u64,
    /// What translated code passes on to the functions below.
    pub cpu: usize,
    /// Executes an instruction.
    pub rare: usize,
    /// Tells the observer that a block is entered.
    pub probe: usize,
    /// Tells the observer of a hint.
    pub hint: usize,
    /// Does many rounds of a loop at once.
    pub bulk: usize,
    /// Makes an access look into the fast TLB at once.
    pub go_direct: usize,
    /// The table of jumps.
    pub jumps: usize,
}

// Translated code takes offsets from the type; these relations it relies on.
const _: () = assert!(offset_of!(Context, x) == 0);
const _: () = assert!(offset_of!(Context, frm) == offset_of!(Context, fflags) + 1);
const _: () = assert!(offset_of!(Context, spins) == offset_of!(Context, fflags) + 2);
const _: () = assert!(offset_of!(Space, read) == 0);
const _: () = assert!(offset_of!(Space, write) == 16384);
const _: () = assert!(offset_of!(Space, generation) == 32768);

/// A physical address and a size, or nothing. In memory there is no address 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Reservation(u64);

impl Reservation {
    /// No reservation.
    pub const NONE: Reservation = Reservation(0);
    /// What is added to the address if the size is eight bytes, not four.
    pub const WIDE: u64 = 1;

    /// Of `size` bytes, 4 or 8, at `pa`, a multiple of that.
    pub fn new(pa: u64, size: u64) -> Reservation {
        Reservation(pa | if size == 8 { Reservation::WIDE } else { 0 })
    }
}

/// A counter that runs with retired instructions: `mcycle` and `minstret`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    /// What to add to the hart's retired instructions.
    pub offset: u64,
    /// Its value while `mcountinhibit` holds it.
    pub held: Option<u64>,
}

/// The control and status registers that are not in [`Context`].
#[derive(Clone, Debug, Default)]
pub struct Csrs {
    /// Exceptions and interrupts handled by S-mode.
    pub medeleg: u64,
    /// Exceptions and interrupts handled by S-mode.
    pub mideleg: u64,
    /// Interrupts enabled.
    pub mie: u64,
    /// Pending bits that software sets: SSIP, STIP, SEIP.
    pub mip: u64,
    /// Trap vectors of M- and S-mode.
    pub mtvec: u64,
    /// Trap vectors of M- and S-mode.
    pub stvec: u64,
    /// Software's own.
    pub mscratch: u64,
    /// Software's own.
    pub sscratch: u64,
    /// Where the last traps happened.
    pub mepc: u64,
    /// Where the last traps happened.
    pub sepc: u64,
    /// Why they happened.
    pub mcause: u64,
    /// Why they happened.
    pub scause: u64,
    /// Address or instruction concerned.
    pub mtval: u64,
    /// Address or instruction concerned.
    pub stval: u64,
    /// Counters that lower modes may read.
    pub mcounteren: u64,
    /// Counters that lower modes may read.
    pub scounteren: u64,
    /// Counters that stand still.
    pub mcountinhibit: u64,
    /// What lower modes may do.
    pub menvcfg: u64,
    /// What lower modes may do.
    pub senvcfg: u64,
    /// Supervisor's timer.
    pub stimecmp: u64,
    /// Cycles.
    pub mcycle: Counter,
    /// Retired instructions.
    pub minstret: Counter,
    /// Address translation.
    pub satp: Satp,
    /// Physical memory protection.
    pub pmp: Pmp,
}

/// A hart.
pub struct Hart {
    /// What running code touches.
    pub ctx: Context,
    /// Control and status registers.
    pub csr: Csrs,
    /// The present mode.
    pub privilege: Priv,
    /// Its number.
    pub id: usize,
    /// It executed WFI and nothing woke it since.
    pub waiting: bool,
    /// No other hart would use the rest of its turn.
    pub alone: bool,
    /// Pending bits that devices and timers drive, as of the last look at them.
    pub lines: u64,
    /// The last instruction that was executed outside of the block loop; kept only for observers
    /// of stores.
    pub at: u64,
    /// The access that was refused last.
    pub(crate) refused: Fault,
    /// Retired instructions when the budget is used up.
    pub(crate) count_end: u64,
    /// Other ways to see memory.
    pub(crate) spaces: Spaces,
    /// Blocks by virtual address.
    pub(crate) jumps: Jumps,
    /// Blocks that exist for one execution.
    pub(crate) scratch: Scratch,
    /// Retired instructions when a debugger let the hart go: it passes a breakpoint right there.
    pub(crate) let_go: Option<u64>,
    /// Where the machine stopped for the observer who was told of the instruction there, and the
    /// stack pointer: it goes on without telling.
    pub(crate) told: Option<(u64, u64)>,
    /// The state of decoded code that this hart's caches know of.
    pub(crate) code_epoch: u64,
    /// Changes of page tables that this hart knows of.
    pub(crate) tables_seen: u64,
}

impl Hart {
    /// A hart in its state after reset.
    ///
    /// With `hardware_ad`, A and D bits are updated unless software turns that off.
    pub fn new(id: usize, hardware_ad: bool) -> Hart {
        let mut hart = Hart {
            ctx: Context {
                x: [0; 256],
                f: [0; 32],
                pc: 0,
                budget: 0,
                pending: 0,
                wants: Wants::default(),
                fflags: 0,
                frm: 0,
                spins: 0,
                reservation: Reservation::NONE,
                mstatus: mstatus::UXL_64 | mstatus::SXL_64,
                space: Spaces::first(),
                twin: Spaces::first(),
                page: 0,
                cpu: 0,
                rare: 0,
                probe: 0,
                hint: 0,
                bulk: 0,
                go_direct: 0,
                jumps: 0,
            },
            csr: Csrs::default(),
            privilege: Priv::Machine,
            id,
            waiting: false,
            alone: false,
            lines: 0,
            at: 0,
            refused: Fault::plain(0, Access::Load, Reason::Invalid),
            count_end: 0,
            spaces: Spaces::default(),
            jumps: Jumps::default(),
            scratch: Scratch::default(),
            let_go: None,
            told: None,
            code_epoch: 0,
            tables_seen: 0,
        };
        hart.csr.menvcfg = if hardware_ad { envcfg::ADUE } else { 0 };
        hart.csr.stimecmp = u64::MAX;
        hart.see_memory();
        hart
    }

    /// Instructions retired since reset.
    #[inline]
    pub fn retired(&self) -> u64 {
        self.count_end.wrapping_sub((self.ctx.budget + self.ctx.pending) as u64)
    }

    /// Allows that many more instructions.
    pub(crate) fn grant(&mut self, budget: u64) {
        let retired = self.retired();
        self.ctx.budget = budget as i64;
        self.count_end = retired + budget;
    }

    /// Allows no instruction more of those that were allowed before.
    pub(crate) fn use_up(&mut self) {
        self.count_end -= self.ctx.budget.max(0) as u64;
        self.ctx.budget = self.ctx.budget.min(0);
    }

    /// Reads an integer register.
    #[inline]
    pub fn x(&self, number: usize) -> u64 {
        self.ctx.x[number & 31]
    }

    /// Writes an integer register; `x0` stays zero.
    #[inline]
    pub fn set_x(&mut self, number: u8, value: u64) {
        let number = if number == 0 { SINK } else { number };
        self.ctx.x[number as usize] = value;
    }

    /// The privilege of loads and stores: under MPRV that of MPP.
    pub fn data_privilege(&self) -> Priv {
        let status = self.ctx.mstatus;
        if status & mstatus::MPRV == 0 {
            return self.privilege;
        }
        Priv::from_bits((status & mstatus::MPP) >> mstatus::MPP_SHIFT).unwrap_or(Priv::User)
    }

    /// How a fetch, or else a load or store, sees memory at present.
    pub fn regime(&self, fetch: bool) -> Regime {
        let privilege = if fetch { self.privilege } else { self.data_privilege() };
        Regime::new(self.csr.satp, self.ctx.mstatus, self.csr.menvcfg, privilege)
    }

    /// To be called when something changed that decides how memory is seen: mode, `satp`, MPRV,
    /// MPP, SUM, MXR.
    pub(crate) fn see_memory(&mut self) {
        let status = self.ctx.mstatus;
        let key = Key::new(
            self.csr.satp.bits(),
            self.privilege,
            self.data_privilege(),
            status & csr::mstatus::SUM != 0,
            status & csr::mstatus::MXR != 0,
        );
        self.spaces.select([&mut self.ctx.space, &mut self.ctx.twin], key);
    }

    /// Drops what the latest changes of page tables make wrong. If the present block could come from
    /// elsewhere now, it is left behind the present instruction.
    #[inline]
    pub(crate) fn catch_up(&mut self, tables: &Tables) {
        if self.tables_seen == tables.seen() {
            return;
        }
        match tables.since(self.tables_seen) {
            Some(changes) => {
                for change in changes {
                    let near = [&mut self.ctx.space, &mut self.ctx.twin];
                    if self.spaces.apply(near, change) {
                        self.ctx.wants.0 |= Wants::CHECK;
                    }
                }
            }
            None => self.flush_translations(),
        }
        self.tables_seen = tables.seen();
    }

    /// Makes every cached jump target invalid.
    pub(crate) fn forget_jumps(&mut self) {
        self.spaces.forget_jumps([&mut self.ctx.space, &mut self.ctx.twin]);
    }

    /// Forgets what an observer wants it to.
    pub(crate) fn forget(&mut self, what: Forget) {
        match what {
            Forget::All => self.flush_translations(),
            Forget::Page { va, shift, fetch } => {
                let range = Range::everywhere(va, shift, fetch);
                self.spaces.forget([&mut self.ctx.space, &mut self.ctx.twin], &range);
            }
        }
    }

    /// Forgets all cached translations of this hart.
    pub(crate) fn flush_translations(&mut self) {
        self.spaces.flush([&mut self.ctx.space, &mut self.ctx.twin]);
    }
}
