//! Units of streams that are about modes, traps, page tables, changes of code, and time.

use isa::asm::{csrw, i, r, s};
use isa::csr::pmpcfg;
use isa::{Inst, Op, csr, encode};

use crate::asm::li;
use crate::generate::bits;
use crate::layout::*;
use crate::stream::{Base, Stream, Word};
use crate::stubs::{OPEN, OPEN_ENTRY};

impl Stream<'_> {
    /// A change of some bits of a CSR.
    pub(crate) fn change_bits(&mut self) {
        let (number, mask) = bits(self.random, self.kind);
        let register = self.free();
        let op = self.random.of(&[Op::Csrrs, Op::Csrrc]);
        let mut unit = li(register, mask);
        unit.push(i(op, self.free(), register, number.into()));
        self.add(unit);
    }

    /// Asks for a mode, or for the tables to be repaired.
    pub(crate) fn call(&mut self) {
        let ask = self.random.of(&[0, 0, 1, 1, 1, 3, 7]);
        self.add([i(Op::Addi, ARG, 0, ask), Inst::new(Op::Ecall)]);
    }

    /// A return to what follows, in another mode.
    pub(crate) fn leave(&mut self) {
        let (by, mode) = (self.free(), self.random.of(&[0, 1, 1, 3]));
        let machine = self.random.one_in(2);
        let mut unit = vec![i(Op::Auipc, by, 0, 0), i(Op::Addi, by, by, 0)];
        let alias = [i(Op::Addi, ARG, 0, 1), i(Op::Slli, ARG, ARG, 37), r(Op::Or, by, by, ARG)];
        if mode == 0 {
            unit.extend(alias);
        }
        if machine {
            unit.push(csrw(csr::MEPC, by));
            unit.extend(li(ARG, csr::mstatus::MPP));
            unit.push(i(Op::Csrrc, 0, ARG, csr::MSTATUS.into()));
            unit.extend([i(Op::Addi, ARG, 0, mode), i(Op::Slli, ARG, ARG, 11)]);
            unit.extend([i(Op::Csrrs, 0, ARG, csr::MSTATUS.into()), Inst::new(Op::Mret)]);
        } else {
            let op = if mode == 0 { Op::Csrrc } else { Op::Csrrs };
            unit.extend([csrw(csr::SEPC, by), i(Op::Addi, ARG, 0, csr::mstatus::SPP as i32)]);
            unit.extend([i(op, 0, ARG, csr::SSTATUS.into()), Inst::new(Op::Sret)]);
        }
        unit[1].imm = 4 * unit.len() as i32;
        self.add(unit);
    }

    /// A load from the pool. If it is refused QEMU finds zero, or else a table might be nowhere,
    /// which QEMU takes for a page fault.
    fn taken(&self, by: u8, load: Inst) -> Vec<Inst> {
        let zero = (!self.ours()).then(|| i(Op::Addi, by, 0, 0));
        zero.into_iter().chain([load]).collect()
    }

    /// A change of a page table, with a fence or without.
    pub(crate) fn edit(&mut self) {
        let (by, ours) = (self.free(), self.ours());
        let tables = ours && self.random.one_in(4);
        let table = self.offsets[Base::Tables as usize] / PAGE;
        let page = match self.random.below(6) {
            0 if ours => CODE + self.random.below(DATA - CODE),
            1 if ours => self.random.below(PAGES),
            _ => DATA + self.random.below(DATA_PAGES),
        };
        let (base, level, imm) = match table {
            _ if !tables => (Base::Leaves, 0, 8 * page as i32 - 0x80),
            2..4 => (Base::Tables, 2, self.random.of(&[-0x200, 0x200])),
            HEAL.. => (Base::Tables, 3, self.random.of(&[-0x200, -0x200, -0x1f8])),
            _ => (Base::Tables, 1, self.random.of(&[-0x200, -0x200, -0x1f8])),
        };
        let from = POOL_PTE_COUNT * level + self.random.below(POOL_PTE_COUNT);
        let (table, pool) = (self.base(base), self.base(Base::Pool));
        let mut unit = self.taken(by, i(Op::Ld, by, pool, 8 * from as i32));
        match self.random.below(10) {
            0 if ours => unit.push(s(Op::Sb, table, by, imm)),
            1 if ours => unit.push(s(Op::Sd, table, by, imm + 4)),
            2 if ours => unit.extend([s(Op::Sw, table, by, imm), s(Op::Sw, table, by, imm)]),
            3 => {
                let op = self.random.of(&[Op::AmoxorD, Op::AmoswapD, Op::AmoorD, Op::AmoandD]);
                // Neither W nor A go, for QEMU: see `generate::leaf`.
                let bit = self.random.of(&[0, 4, 5, 7, 1, 2, 3, 6]);
                let change = 1 << if ours { bit } else { bit & 5 };
                let flags = [i(Op::Addi, by, 0, change), i(Op::Addi, by, 0, !change)];
                unit.push(i(Op::Addi, ADDRESS, table, imm));
                unit.extend(flags.into_iter().take(usize::from(op != Op::AmoswapD)));
                unit.push(r(op, self.free(), ADDRESS, by));
            }
            4 if ours => {
                unit.push(i(Op::Addi, ADDRESS, table, imm));
                unit.push(r(Op::CboZero, 0, ADDRESS, 0));
            }
            _ => unit.push(s(Op::Sd, table, by, imm)),
        }
        if !ours || self.random.one_in(2) {
            unit.push(r(Op::SfenceVma, 0, 0, 0));
        }
        if (DATA..SPARE).contains(&page) {
            unit.extend(self.address(page));
            unit.push(self.access());
        }
        self.add(unit);
    }

    /// A change of the stream itself.
    pub(crate) fn patch(&mut self) {
        let by = self.free();
        let from = (4 * self.random.below(POOL_INST_COUNT) + POOL_INSTS) as i32 - POOL_PTES as i32;
        let load = self.taken(by, i(Op::Lw, by, self.base(Base::Pool), from));
        let mut unit: Vec<Word> = load.iter().map(|inst| Word::Raw(encode(inst))).collect();
        let here = self.units.len();
        let to = if self.ours() {
            let near = here + self.random.below(6) as usize;
            if self.random.one_in(2) { near } else { self.random.below(here as u64 + 1) as usize }
        } else {
            let simple: Vec<usize> = (0..here).filter(|unit| self.simple[*unit]).collect();
            if simple.is_empty() {
                return;
            }
            self.random.of(&simple)
        };
        let op =
            if self.ours() { self.random.of(&[Op::Sw, Op::Sw, Op::Sd, Op::Sh]) } else { Op::Sw };
        unit.push(Word::Patch(s(op, self.base(Base::Code), by, 0), to));
        if !self.ours() || self.random.one_in(2) {
            unit.push(Word::Raw(encode(&Inst::new(Op::FenceI))));
        }
        self.push(unit);
    }

    /// Another protection of physical memory, most likely from M-mode.
    pub(crate) fn protect(&mut self) {
        let (by, ours) = (self.free(), self.ours());
        let (base, page) = match self.random.below(8) {
            0 if ours => (Base::Leaves, 0),
            1 if ours => (Base::Tables, 0),
            2 if ours => (Base::Code, self.random.below(3) as i32 - 1),
            _ => (Base::Data, self.random.below(5) as i32 - 2),
        };
        let ask = |mode| [i(Op::Addi, ARG, 0, mode), Inst::new(Op::Ecall)];
        let back = self.random.of(&[None, Some(0), Some(0), Some(1), Some(1), Some(1)]);
        let mut unit: Vec<Inst> = back.iter().flat_map(|_| ask(3)).collect();
        // A page, or some bytes at its start, or a range of addresses.
        let (mode, low) = match self.random.below(6) {
            0 if ours => (pmpcfg::TOR, self.random.below(0x400) as i32),
            1 if ours => (pmpcfg::NA4, self.random.below(0x400) as i32),
            2 if ours => (pmpcfg::NAPOT, (1 << self.random.below(9)) - 1),
            _ => (pmpcfg::NAPOT, 0x1ff),
        };
        if ours {
            unit.extend([i(Op::Srli, by, self.base(base), 12), i(Op::Addi, by, by, page)]);
            unit.extend([i(Op::Slli, by, by, 10), i(Op::Ori, by, by, low)]);
        } else {
            // All pages that leaves map: QEMU takes accesses across pages for such to consecutive
            // physical addresses.
            unit.extend([i(Op::Srli, by, self.base(base), 16), i(Op::Slli, by, by, 14)]);
            unit.extend(li(ARG, 0x1fff));
            unit.push(r(Op::Or, by, by, ARG));
        }
        let entry = self.random.below(OPEN_ENTRY.into()) as u16;
        unit.push(csrw(csr::PMPADDR0 + entry, by));
        // QEMU asks for AMOs whether they may load before it looks whether the PTE lets them store.
        let rights = self.random.of(&[0, 1, 1, 3, 4, 5, 7]);
        let config = u64::from(mode) | rights | if ours { 0 } else { 1 };
        unit.extend(li(by, OPEN | config << (8 * entry)));
        unit.push(i(Op::Csrrw, self.free(), by, csr::PMPCFG0.into()));
        if !ours || self.random.one_in(2) {
            unit.push(r(Op::SfenceVma, 0, 0, 0));
        }
        unit.extend(back.into_iter().flat_map(ask));
        let near = self.random.below(DATA_PAGES);
        unit.extend(self.address(DATA + near));
        unit.push(self.access());
        // What stays protected traps again and again.
        if let Some(mode) = back.filter(|_| !self.random.one_in(4)) {
            unit.extend(ask(3));
            unit.extend(li(by, OPEN));
            unit.push(csrw(csr::PMPCFG0, by));
            unit.extend(ask(mode));
        }
        self.add(unit);
    }

    /// Another address space.
    pub(crate) fn space(&mut self) {
        let by = self.free();
        let values = if self.ours() { 6 } else { 4 };
        let imm = (POOL_SATPS + 8 * self.random.below(values)) as i32 - POOL_PTES as i32;
        let mut unit = self.taken(by, i(Op::Ld, by, self.base(Base::Pool), imm));
        unit.push(i(Op::Csrrw, self.free(), by, csr::SATP.into()));
        if !self.ours() || self.random.one_in(2) {
            unit.push(r(Op::SfenceVma, 0, 0, 0));
        }
        self.add(unit);
    }

    /// Load-reserved and store-conditional.
    pub(crate) fn reserve(&mut self) {
        let page = DATA + self.random.below(DATA_PAGES);
        let mut unit = self.address(page);
        unit.push(i(Op::Andi, ADDRESS, ADDRESS, -8));
        let (load, store) = self.random.of(&[(Op::LrW, Op::ScW), (Op::LrD, Op::ScD)]);
        let value = self.free();
        unit.extend([r(load, value, ADDRESS, 0), i(Op::Addi, value, value, 1)]);
        unit.push(r(store, self.free(), ADDRESS, value));
        self.add(unit);
    }

    /// Something about time.
    pub(crate) fn wait(&mut self) {
        if !self.timer {
            return self.single();
        }
        let by = self.free();
        let later = 1 + self.random.below(20) as i32;
        match self.random.below(3) {
            0 => self.add([Inst::new(Op::Wfi)]),
            1 => {
                let pending = self.random.of(&[csr::MIP, csr::SIP]);
                self.add([i(Op::Csrrsi, by, 2, pending.into())]);
            }
            _ => self.add([
                i(Op::Csrrs, by, 0, csr::TIME.into()),
                i(Op::Addi, by, by, later),
                csrw(csr::STIMECMP, by),
            ]),
        }
    }
}
