//! Control and status registers: which exist, who may access them, what they hold.
//!
//! Source: privileged manual, the CSR listing and each register's section; unprivileged manual,
//! "Zicsr" and "Zicntr". A register that is not here is illegal. Accesses that may change more
//! than the register itself are the last instruction of a block.

use isa::csr::{self, counter, envcfg, fcsr, mip, mstatus, tvec};
use isa::paging::Satp;
use isa::trap::Exception;
use isa::{Inst, Op, Priv, ext};

use super::state::{Counter, Hart, Wants};
use super::trap::Trap;
use crate::events::{Events, View};
use crate::exec::{Cpu, System};

/// Debug triggers, of which there are none: `tselect` and `tdata1` to `tdata3` read zero, which
/// says just that.
const TRIGGERS: std::ops::RangeInclusive<u16> = 0x7a0..=0x7a3;
/// The counters after `cycle`, `time` and `instret`.
const MHPMCOUNTERS: std::ops::RangeInclusive<u16> = 0xb03..=0xb1f;
const HPMCOUNTERS: std::ops::RangeInclusive<u16> = 0xc03..=0xc1f;
const MHPMEVENTS: std::ops::RangeInclusive<u16> = 0x323..=0x33f;
const PMPCFGS: std::ops::RangeInclusive<u16> = 0x3a0..=0x3af;
const PMPADDRS: std::ops::RangeInclusive<u16> = 0x3b0..=0x3ef;

/// What may change in `mstatus` without changing how instructions are executed.
const PLAIN: u64 = mstatus::SIE | mstatus::MIE | mstatus::SPIE | mstatus::MPIE | mstatus::SPP;

/// Whether a CSR instruction may stand inside a block: it reads, or what it writes matters only
/// to traps. (Of `mstatus` and `sstatus` that depends on the bits that change.)
pub(crate) fn is_quiet(inst: &Inst) -> bool {
    let reads = !matches!(inst.op, Op::Csrrw | Op::Csrrwi) && inst.rs1 == 0;
    reads
        || matches!(
            inst.csr(),
            csr::SSTATUS
                | csr::SIE
                | csr::STVEC
                | csr::SSCRATCH
                | csr::SEPC
                | csr::SCAUSE
                | csr::STVAL
                | csr::MSTATUS
                | csr::MIE
                | csr::MTVEC
                | csr::MSCRATCH
                | csr::MEPC
                | csr::MCAUSE
                | csr::MTVAL
        )
}

impl<E: Events> Cpu<'_, E> {
    /// The six CSR instructions. Returns whether the block may go on.
    pub(crate) fn csr_instruction(&mut self, inst: &Inst) -> Result<bool, Trap> {
        let number = inst.csr();
        let status = self.hart.ctx.mstatus;
        let operand = match inst.op {
            Op::Csrrw | Op::Csrrs | Op::Csrrc => self.hart.x(inst.rs1()),
            _ => inst.rs1 as u64,
        };
        let replaces = matches!(inst.op, Op::Csrrw | Op::Csrrwi);
        let writes = replaces || inst.rs1 != 0;
        self.check_csr(number, writes)?;
        // `csrrw` with rd = x0 does not read; no register here has effects of reading, but what
        // cannot be read cannot be written either.
        let timed = matches!(number, csr::TIME | csr::SIP | csr::MIP);
        let now = if timed { self.now() } else { 0 };
        let old = read(self.hart, self.sys, now, number).ok_or(Trap::Illegal)?;
        if writes {
            let new = match inst.op {
                Op::Csrrw | Op::Csrrwi => operand,
                // SEIP reads as software's bit or the controller's; only the former is modified.
                Op::Csrrs | Op::Csrrsi => self.writable_part(number, old) | operand,
                _ => self.writable_part(number, old) & !operand,
            };
            self.write_csr(number, new)?;
        }
        self.hart.set_x(inst.rd, old);
        Ok(is_quiet(inst) && (self.hart.ctx.mstatus ^ status) & !PLAIN == 0)
    }

    fn writable_part(&self, number: u16, old: u64) -> u64 {
        if number == csr::MIP { old & !mip::SEIP | self.hart.csr.mip & mip::SEIP } else { old }
    }

    /// Whether the present mode may access a register at all.
    fn check_csr(&self, number: u16, writes: bool) -> Result<(), Trap> {
        let hart = &*self.hart;
        let status = hart.ctx.mstatus;
        if hart.privilege < csr::min_priv(number) || writes && csr::is_read_only(number) {
            return Err(Trap::Illegal);
        }
        let legal = match number {
            csr::FFLAGS | csr::FRM | csr::FCSR => status & mstatus::FS != 0,
            csr::SATP => hart.privilege == Priv::Machine || status & mstatus::TVM == 0,
            csr::STIMECMP => {
                hart.privilege == Priv::Machine
                    || hart.has_stimecmp() && hart.csr.mcounteren & counter::TM != 0
            }
            csr::CYCLE..=0xc1f => hart.may_count(number - csr::CYCLE),
            _ => true,
        };
        if legal { Ok(()) } else { Err(Trap::Illegal) }
    }

    /// Writes a register that exists; fields that cannot hold the value keep theirs.
    pub(crate) fn write_csr(&mut self, number: u16, value: u64) -> Result<(), Trap> {
        let hart = &mut *self.hart;
        let c = &mut hart.csr;
        match number {
            csr::FFLAGS | csr::FRM | csr::FCSR => hart.write_fcsr(number, value),
            csr::SSTATUS => {
                let shown = mstatus::SSTATUS & mstatus::WRITABLE;
                hart.write_status(hart.ctx.mstatus & !shown | value & shown);
            }
            csr::SIE => c.mie = c.mie & !c.mideleg | value & c.mideleg,
            csr::STVEC => c.stvec = vector(value),
            csr::SCOUNTEREN => c.scounteren = value & counter::ENABLE,
            csr::SENVCFG => c.senvcfg = environment(c.senvcfg, value, envcfg::SENVCFG),
            csr::SSCRATCH => c.sscratch = value,
            csr::SEPC => c.sepc = value & !1,
            csr::SCAUSE => c.scause = value,
            csr::STVAL => c.stval = value,
            csr::SIP => {
                let own = mip::SSIP & c.mideleg;
                c.mip = c.mip & !own | value & own;
            }
            csr::STIMECMP => c.stimecmp = value,
            csr::SATP => self.write_satp(value),
            csr::MSTATUS => hart.write_status(value),
            csr::MEDELEG => c.medeleg = value & Exception::DELEGABLE,
            csr::MIDELEG => c.mideleg = value & mip::SUPERVISOR,
            csr::MIE => c.mie = value & mip::ALL,
            csr::MTVEC => c.mtvec = vector(value),
            csr::MCOUNTEREN => c.mcounteren = value & counter::ENABLE,
            csr::MENVCFG => {
                c.menvcfg = environment(c.menvcfg, value, envcfg::MENVCFG);
                hart.flush_translations();
            }
            csr::MCOUNTINHIBIT => hart.inhibit(value & counter::INHIBIT),
            csr::MSCRATCH => c.mscratch = value,
            csr::MEPC => c.mepc = value & !1,
            csr::MCAUSE => c.mcause = value,
            csr::MTVAL => c.mtval = value,
            csr::MIP => {
                let stip = if c.menvcfg & envcfg::STCE == 0 { mip::STIP } else { 0 };
                let own = mip::SSIP | mip::SEIP | stip;
                c.mip = c.mip & !own | value & own;
            }
            csr::MCYCLE => hart.csr.mcycle = hart.counter_at(hart.csr.mcycle, value),
            csr::MINSTRET => hart.csr.minstret = hart.counter_at(hart.csr.minstret, value),
            n if PMPCFGS.contains(&n) => {
                c.pmp.set_config((n - csr::PMPCFG0) as usize, value);
                hart.flush_translations();
            }
            n if PMPADDRS.contains(&n) => {
                c.pmp.set_address((n - csr::PMPADDR0) as usize, value);
                hart.flush_translations();
            }
            // Read-only zero, or `misa`, whose extensions cannot be switched off.
            _ => {}
        }
        // Any of the registers about interrupts and timers may have changed.
        let timer = number == csr::STIMECMP || number == csr::MENVCFG;
        if timer || self.hart.interrupt_ready() {
            self.hart.ctx.wants.0 |= Wants::CHECK;
        }
        Ok(())
    }

    /// A mode that does not exist makes the whole write void.
    fn write_satp(&mut self, value: u64) {
        let Some(satp) = Satp::from_bits(value) else { return };
        let old = std::mem::replace(&mut self.hart.csr.satp, satp);
        self.hart.see_memory();
        self.events.satp_written(&View { hart: self.hart, sys: self.sys }, old, satp);
        self.heed();
    }
}

/// The value of a register at the machine's time `now`.
pub(crate) fn read(hart: &Hart, sys: &System, now: u64, number: u16) -> Option<u64> {
    let c = &hart.csr;
    Some(match number {
        csr::FFLAGS => hart.ctx.fflags as u64,
        csr::FRM => hart.ctx.frm as u64,
        csr::FCSR => (hart.ctx.frm as u64) << fcsr::FRM_SHIFT | hart.ctx.fflags as u64,
        csr::SSTATUS => hart.status() & mstatus::SSTATUS,
        csr::SIE => c.mie & c.mideleg,
        csr::STVEC => c.stvec,
        csr::SCOUNTEREN => c.scounteren,
        csr::SENVCFG => c.senvcfg,
        csr::SSCRATCH => c.sscratch,
        csr::SEPC => c.sepc,
        csr::SCAUSE => c.scause,
        csr::STVAL => c.stval,
        csr::SIP => present_mip(hart, sys, now) & c.mideleg,
        csr::STIMECMP => c.stimecmp,
        csr::SATP => c.satp.bits(),
        csr::MSTATUS => hart.status(),
        csr::MISA => ext::misa(),
        csr::MEDELEG => c.medeleg,
        csr::MIDELEG => c.mideleg,
        csr::MIE => c.mie,
        csr::MTVEC => c.mtvec,
        csr::MCOUNTEREN => c.mcounteren,
        csr::MENVCFG => c.menvcfg,
        csr::MCOUNTINHIBIT => c.mcountinhibit,
        csr::MSCRATCH => c.mscratch,
        csr::MEPC => c.mepc,
        csr::MCAUSE => c.mcause,
        csr::MTVAL => c.mtval,
        csr::MIP => present_mip(hart, sys, now),
        csr::MCYCLE | csr::CYCLE => hart.count(c.mcycle),
        csr::MINSTRET | csr::INSTRET => hart.count(c.minstret),
        csr::TIME => sys.bus.time(now),
        csr::MHARTID => hart.id as u64,
        csr::MVENDORID | csr::MARCHID | csr::MIMPID | csr::MCONFIGPTR => 0,
        n if PMPCFGS.contains(&n) && n % 2 == 0 => c.pmp.config((n - csr::PMPCFG0) as usize),
        n if PMPADDRS.contains(&n) => c.pmp.address((n - csr::PMPADDR0) as usize),
        n if MHPMCOUNTERS.contains(&n) || HPMCOUNTERS.contains(&n) => 0,
        n if MHPMEVENTS.contains(&n) || TRIGGERS.contains(&n) => 0,
        _ => return None,
    })
}

/// `mip` with timers as of the time `now`.
fn present_mip(hart: &Hart, sys: &System, now: u64) -> u64 {
    let supervisor = hart.has_stimecmp() && sys.bus.time(now) >= hart.csr.stimecmp;
    let timer = if supervisor { mip::STIP } else { 0 };
    hart.mip() | sys.bus.mip(hart.id, now) | timer
}

/// A trap vector: mode 0 or 1, base aligned to four bytes.
fn vector(value: u64) -> u64 {
    value & !(tvec::MODE & !tvec::VECTORED)
}

/// `menvcfg` or `senvcfg`; CBIE keeps its value when it would become 2, which is reserved.
fn environment(old: u64, value: u64, mask: u64) -> u64 {
    let reserved = value & envcfg::CBIE == 2 << envcfg::CBIE_SHIFT;
    let keep = if reserved { envcfg::CBIE } else { 0 };
    (value & !keep | old & keep) & mask
}

impl Hart {
    /// `mstatus` as it reads.
    pub fn status(&self) -> u64 {
        let dirty = self.ctx.mstatus & mstatus::FS == mstatus::FS_DIRTY;
        self.ctx.mstatus | if dirty { mstatus::SD } else { 0 }
    }

    fn write_status(&mut self, value: u64) {
        let mut writable = mstatus::WRITABLE;
        if Priv::from_bits((value & mstatus::MPP) >> mstatus::MPP_SHIFT).is_none() {
            writable &= !mstatus::MPP;
        }
        let old = self.ctx.mstatus;
        self.ctx.mstatus = old & !writable | value & writable;
        let seen = mstatus::MPRV | mstatus::MPP | mstatus::SUM | mstatus::MXR;
        if (old ^ self.ctx.mstatus) & seen != 0 {
            self.see_memory();
        }
    }

    fn write_fcsr(&mut self, number: u16, value: u64) {
        if number != csr::FRM {
            self.ctx.fflags = (value & fcsr::FFLAGS) as u8;
        }
        match number {
            csr::FRM => self.ctx.frm = (value & 7) as u8,
            csr::FCSR => self.ctx.frm = (value >> fcsr::FRM_SHIFT & 7) as u8,
            _ => {}
        }
        self.ctx.mstatus |= mstatus::FS_DIRTY;
    }

    /// Whether counter `bit` may be read in the present mode.
    fn may_count(&self, bit: u16) -> bool {
        let machine = self.csr.mcounteren >> bit & 1 != 0;
        let supervisor = self.csr.scounteren >> bit & 1 != 0;
        match self.privilege {
            Priv::Machine => true,
            Priv::Supervisor => machine,
            Priv::User => machine && supervisor,
        }
    }

    fn count(&self, counter: Counter) -> u64 {
        counter.held.unwrap_or_else(|| self.retired().wrapping_add(counter.offset))
    }

    /// A counter that the next instruction reads as `value`.
    fn counter_at(&self, old: Counter, value: u64) -> Counter {
        let offset = value.wrapping_sub(self.retired() + 1);
        Counter { offset, held: old.held.map(|_| value) }
    }

    /// Stops and restarts counters. This instruction itself is counted by the old setting.
    fn inhibit(&mut self, value: u64) {
        let next = self.retired() + 1;
        self.csr.mcountinhibit = value;
        let holds = [value & counter::CY != 0, value & counter::IR != 0];
        for (counter, hold) in [&mut self.csr.mcycle, &mut self.csr.minstret].into_iter().zip(holds)
        {
            match (counter.held, hold) {
                (None, true) => counter.held = Some(next.wrapping_add(counter.offset)),
                (Some(value), false) => {
                    *counter = Counter { offset: value.wrapping_sub(next), held: None };
                }
                _ => {}
            }
        }
    }
}
