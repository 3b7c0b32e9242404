//! A stream in the making: units, and where they are put.

use isa::asm::{i, r, s};
use isa::compressed::expand;
use isa::{Inst, Op, Operand, decode, encode};

use crate::case::{Case, Kind, NOP};
use crate::generate::{csr, is_made_in_units};
use crate::layout::*;
use crate::random::Random;

/// What registers that are not written point at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// Data.
    Data,
    /// Data near the end of a page.
    Edge,
    /// An alias of data, or the superpage.
    Alias,
    /// The middle of the hart's own stream.
    Code,
    /// Leaves.
    Leaves,
    /// Other tables.
    Tables,
    /// The pool.
    Pool,
    /// Data, or a device.
    Other,
}

impl Base {
    /// All of them, in the order of [`Case::bases`].
    pub const ALL: [Base; 8] = [
        Base::Data,
        Base::Edge,
        Base::Alias,
        Base::Code,
        Base::Leaves,
        Base::Tables,
        Base::Pool,
        Base::Other,
    ];

    /// Where it points, from the region's start.
    pub fn offset(self, random: &mut Random, ours: bool) -> u64 {
        const CLINT: u64 = 0x200_4000;
        let page = (DATA + 1 + random.below(DATA_PAGES - 2)) * PAGE;
        let above = random.of(&[ALIAS, ALIAS, SUPERPAGE, HIGH]);
        match self {
            Base::Data => page + 0x800,
            Base::Edge => page + random.of(&[0, 0xff8, 0xffc, 0xff9]),
            Base::Alias => above + page + 0x100 * random.below(16),
            Base::Code => 0,
            Base::Leaves => random.of(&LEAVES) * PAGE + 0x80,
            Base::Tables if random.one_in(2) => random.of(&ROOTS) * PAGE + 0x210,
            Base::Tables if random.one_in(3) => {
                let uppers = random.of(&UPPERS);
                random.of(&uppers) * PAGE + 0x200
            }
            Base::Tables => random.of(&MIDDLES) * PAGE + 0x200,
            Base::Pool => POOL * PAGE + POOL_PTES,
            Base::Other if ours && random.one_in(3) => CLINT.wrapping_sub(RAM),
            Base::Other => page + 8 * random.below(512),
        }
    }
}

/// A word of a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Word {
    /// As it is.
    Raw(u32),
    /// A branch or jump to a unit.
    To(Inst, usize),
    /// A `jalr` to a unit, by a register that holds the address of the word so many before.
    Via(Inst, usize, usize),
    /// A store to the first word of a unit, by the base that points at code.
    Patch(Inst, usize),
}

/// A stream in the making.
pub struct Stream<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) kind: Kind,
    pub(crate) timer: bool,
    bases: &'a [u8],
    pub(crate) offsets: &'a [u64],
    pub(crate) units: Vec<Vec<Word>>,
    /// Units that may be replaced without consequences.
    pub(crate) simple: Vec<bool>,
    /// Where the loop started that the present unit is in.
    body: Option<(usize, u64)>,
    aim: usize,
}

impl<'a> Stream<'a> {
    /// Nothing yet.
    pub fn new(random: &'a mut Random, case: &'a Case, offsets: &'a [u64]) -> Stream<'a> {
        let aim = random.of(&[12, 40, 150, 350]);
        let (kind, timer) = (case.kind, case.timer.is_some());
        let (units, simple, bases) = (Vec::new(), Vec::new(), &case.bases);
        Stream { random, kind, timer, bases, offsets, units, simple, body: None, aim }
    }

    pub(crate) fn ours(&self) -> bool {
        self.kind == Kind::Ours
    }

    /// The stream's place in its pages, its words, and the place of its middle.
    pub fn make(&mut self) -> (u64, Vec<u32>, u64) {
        while self.units.len() < self.aim {
            self.unit();
        }
        if self.body.is_some() {
            self.loop_end();
        }
        let length: usize = self.units.iter().map(Vec::len).sum();
        let room = CODE_PAGES * PAGE / 4 - 32;
        let start = match self.random.below(3) {
            0 => 0,
            // Across the end of the page.
            _ => (PAGE - 8 * self.random.below(length as u64 / 2 + 1).min(400)) & !3,
        };
        let start = if start / 4 + length as u64 > room { 0 } else { start };
        self.place(start)
    }

    fn place(&mut self, start: u64) -> (u64, Vec<u32>, u64) {
        let room = (CODE_PAGES * PAGE - start) as usize / 4 - 32;
        let (mut at, mut starts) = (0, Vec::new());
        let mut crossings = Vec::new();
        for unit in &self.units {
            // An instruction across the end of the page, if there is a place for it.
            if start + 4 * at as u64 == PAGE - 4 && self.random.one_in(2) {
                crossings.push(at);
                at += 2;
            }
            if at + unit.len() > room {
                break;
            }
            starts.push(at);
            at += unit.len();
        }
        let middle = start + at as u64 / 2 * 4;
        let mut words = vec![NOP; at];
        for crossing in crossings {
            words[crossing..crossing + 2].copy_from_slice(&self.straddling());
        }
        let target = |unit: usize| starts.get(unit).copied().unwrap_or(at);
        for (unit, &first) in self.units.iter().zip(&starts) {
            for (at, word) in (first..).zip(unit) {
                words[at] = match *word {
                    Word::Raw(word) => word,
                    Word::To(inst, to) => {
                        encode(&Inst { imm: 4 * (target(to) as i32 - at as i32), ..inst })
                    }
                    Word::Via(inst, to, back) => {
                        let imm = 4 * (target(to) as i32 - (at - back) as i32);
                        encode(&Inst { imm, ..inst })
                    }
                    Word::Patch(inst, to) => {
                        let imm = (start + 4 * target(to) as u64) as i64 - middle as i64;
                        let near = (-2048..2048).contains(&imm) && to < starts.len();
                        if near { encode(&Inst { imm: imm as i32, ..inst }) } else { NOP }
                    }
                };
            }
        }
        (start, words, middle)
    }

    /// Instructions that streams store somewhere.
    pub fn pool(&mut self) -> Vec<u32> {
        (0..POOL_INST_COUNT)
            .map(|_| match self.random.below(10) {
                0 if self.ours() => self.random.any() as u32,
                1 if self.ours() => encode(&i(Op::Jal, 0, 0, 4 + 4 * self.random.below(6) as i32)),
                2 => u32::from(self.half()) | u32::from(self.half()) << 16,
                3..6 if self.ours() => encode(&self.plain()),
                _ => encode(&self.arithmetic()),
            })
            .collect()
    }

    pub(crate) fn push(&mut self, unit: Vec<Word>) {
        self.units.push(unit);
        self.simple.push(false);
    }

    pub(crate) fn add(&mut self, insts: impl IntoIterator<Item = Inst>) {
        self.push(insts.into_iter().map(|inst| Word::Raw(encode(&inst))).collect());
    }

    pub(crate) fn base(&self, base: Base) -> u8 {
        self.bases[base as usize]
    }

    fn kept(&self, number: u8) -> bool {
        number >= FREE || self.bases.contains(&number)
    }

    /// A register that may be written.
    pub(crate) fn free(&mut self) -> u8 {
        loop {
            let number = self.random.below(FREE.into()) as u8;
            if number != 0 && !self.kept(number) {
                return number;
            }
        }
    }

    fn unit(&mut self) {
        if let Some((_, length)) = &mut self.body {
            *length -= 1;
            if *length == 0 {
                return self.loop_end();
            }
        }
        match self.random.below(100) {
            0..42 => self.single(),
            42..50 => self.derived(),
            50..56 => self.pair(),
            56..58 => {
                let words = self.straddling().map(Word::Raw).to_vec();
                self.push(words);
            }
            58..66 => self.branch(),
            66..69 => self.indirect(),
            69..73 if self.body.is_none() => self.loop_start(),
            73..75 => self.bulk(),
            75..79 => self.change_bits(),
            79 => self.protect(),
            80..84 => self.call(),
            84..87 => self.leave(),
            87..92 => self.edit(),
            92..96 => self.patch(),
            96..98 => self.space(),
            98 => self.reserve(),
            _ => self.wait(),
        }
    }

    // Units.

    pub(crate) fn single(&mut self) {
        if self.ours() && self.random.one_in(60) {
            let word = self.random.any() as u32;
            return self.push(vec![Word::Raw(word)]);
        }
        let simple = self.random.one_in(2);
        let inst = if simple { self.arithmetic() } else { self.plain() };
        self.add([inst]);
        *self.simple.last_mut().expect("it was just added") = simple;
    }

    /// Any instruction of the table that stands alone.
    fn plain(&mut self) -> Inst {
        let rows = Op::rows();
        loop {
            let row = self.random.of(rows);
            let bits = row.bits | self.random.any() as u32 & !row.mask;
            let Some(mut inst) = decode(bits) else { continue };
            if row.operands.contains(&Operand::Rd) && self.kept(inst.rd) {
                inst.rd = self.free();
            }
            if is_made_in_units(inst.op) || !self.fits(&mut inst) {
                continue;
            }
            if accesses(inst.op) {
                self.aim_access(&mut inst);
            }
            return inst;
        }
    }

    /// Whether an instruction may be in this kind of stream; makes it so, if possible.
    fn fits(&mut self, inst: &mut Inst) -> bool {
        let cache = matches!(inst.op, Op::CboInval | Op::CboClean | Op::CboFlush | Op::CboZero);
        let reserved = inst.op.row().operands.contains(&Operand::Rm) && matches!(inst.rm(), 5 | 6);
        let pair = matches!(inst.op, Op::LrW | Op::LrD | Op::ScW | Op::ScD);
        let returns = matches!(inst.op, Op::Mret | Op::Sret);
        // QEMU has no cache-block operations, takes some of Svinval's in U-mode, and its
        // store-conditional compares values.
        let fences = matches!(inst.op, Op::SfenceWInval | Op::SfenceInvalIr);
        if !self.ours() && (cache || fences || inst.op == Op::Ctzw || reserved || pair || returns) {
            return false;
        }
        if returns && !self.random.one_in(20) {
            return false;
        }
        if inst.op.row().operands.contains(&Operand::Csr) {
            let (number, only_read) = csr(self.random, self.kind);
            inst.imm = number.into();
            if only_read {
                (inst.op, inst.rs1) = (Op::Csrrs, 0);
            }
        }
        true
    }

    /// An instruction that computes.
    fn arithmetic(&mut self) -> Inst {
        loop {
            let row = self.random.of(Op::rows());
            let integer = |operand: &Operand| {
                use Operand::*;
                matches!(operand, Rd | Rs1 | Rs2 | Imm | Shamt5 | Shamt6 | Upper)
            };
            if !row.operands.contains(&Operand::Rd) || !row.operands.iter().all(integer) {
                continue;
            }
            // QEMU 7.2 counts beyond 32.
            if row.op == Op::Ctzw && !self.ours() {
                continue;
            }
            let bits = row.bits | self.random.any() as u32 & !row.mask;
            if let Some(mut inst) = decode(bits) {
                if self.kept(inst.rd) {
                    inst.rd = self.free();
                }
                return inst;
            }
        }
    }

    /// Lets an access go where there is something.
    fn aim_access(&mut self, inst: &mut Inst) {
        let base = match self.random.below(20) {
            0 if self.ours() => Base::Code,
            1 if self.ours() => Base::Leaves,
            0..6 => Base::Alias,
            6..11 => Base::Edge,
            11..13 => Base::Other,
            _ => Base::Data,
        };
        inst.rs1 = self.base(base);
        if self.random.below(3) != 0 {
            inst.imm &= !7;
        }
    }

    /// [`ADDRESS`] = an address in a page of data, and where from the region's start.
    pub(crate) fn address(&mut self, page: u64) -> Vec<Inst> {
        let base = self.random.of(&[Base::Data, Base::Data, Base::Alias, Base::Edge]);
        let from = self.offsets[base as usize] % ALIAS % SUPERPAGE / PAGE;
        let pages = page as i32 - from as i32;
        let low = self.random.below(64) as i32 * 8 - 256;
        // With QEMU, half of a misaligned access must not be protected: see `Stream::protect`.
        let low = if page == DATA && !self.ours() { low.abs() } else { low };
        let low = if self.random.one_in(4) { low + self.random.below(8) as i32 } else { low };
        let upper = i(Op::Lui, ADDRESS, 0, pages << 12);
        vec![
            upper,
            r(Op::Add, ADDRESS, ADDRESS, self.base(base)),
            i(Op::Addi, ADDRESS, ADDRESS, low),
        ]
    }

    /// Accesses by an address that was computed, sometimes many, with other things between them.
    fn derived(&mut self) {
        let page = DATA + self.random.below(DATA_PAGES);
        let mut unit = self.address(page);
        if self.random.one_in(2) {
            unit.push(i(Op::Andi, ADDRESS, ADDRESS, -8));
        }
        let most = if self.random.one_in(3) { 10 } else { 3 };
        for _ in 0..1 + self.random.below(most) {
            match self.random.below(2 * most) {
                0 => {
                    let by = self.random.below(64) as i32 - 32;
                    unit.push(i(Op::Addi, ADDRESS, ADDRESS, by));
                }
                1..5 if most > 3 => unit.push(self.arithmetic()),
                _ => {}
            }
            unit.push(self.access());
        }
        self.add(unit);
    }

    /// An access by [`ADDRESS`].
    pub(crate) fn access(&mut self) -> Inst {
        loop {
            let mut inst = self.plain();
            if accesses(inst.op) {
                inst.rs1 = ADDRESS;
                inst.imm = if inst.op as u8 >= Op::LrW as u8 { inst.imm } else { inst.imm & 0x3f };
                return inst;
            }
        }
    }

    fn pair(&mut self) {
        let (low, high) = (self.half(), self.half());
        self.push(vec![Word::Raw(u32::from(low) | u32::from(high) << 16)]);
    }

    /// Two words with an instruction that begins in the first and ends in the second.
    fn straddling(&mut self) -> [u32; 2] {
        let inst = if self.ours() { self.plain() } else { self.arithmetic() };
        // What is skipped after a trap goes on at the next word: in the middle, here.
        let traps = |half: u16| expand(half).is_none_or(|i| accesses(i.op) || i.op == Op::Ebreak);
        let mut low = self.half();
        while !self.ours() && traps(low) {
            low = self.half();
        }
        let (word, high) = (encode(&inst), self.half());
        [u32::from(low) | word << 16, word >> 16 | u32::from(high) << 16]
    }

    /// A 16-bit encoding.
    fn half(&mut self) -> u16 {
        loop {
            let half = self.random.any() as u16;
            let Some(inst) = expand(half) else { continue };
            let jumps = is_made_in_units(inst.op);
            let written = inst.op.row().operands.contains(&Operand::Rd) && self.kept(inst.rd);
            let data = [Base::Data, Base::Edge, Base::Alias];
            let aimed = data.iter().any(|base| self.base(*base) == inst.rs1);
            let wild = accesses(inst.op) && !aimed && (!self.ours() || !self.random.one_in(8));
            if !jumps && (!written || inst.rd == 0) && !wild {
                return half;
            }
        }
    }

    fn ahead(&mut self) -> usize {
        self.units.len() + 1 + self.random.below(8) as usize
    }

    fn branch(&mut self) {
        let to = self.ahead();
        let ops = [Op::Beq, Op::Bne, Op::Blt, Op::Bge, Op::Bltu, Op::Bgeu, Op::Jal];
        let op = self.random.of(&ops);
        let inst = if op == Op::Jal {
            i(op, if self.random.one_in(2) { 0 } else { self.free() }, 0, 0)
        } else {
            s(op, self.random.below(32) as u8, self.random.below(32) as u8, 0)
        };
        self.push(vec![Word::To(inst, to)]);
    }

    fn indirect(&mut self) {
        let (to, by) = (self.ahead(), self.free());
        let rd = if self.random.one_in(2) { 0 } else { self.free() };
        let from = Word::Raw(encode(&i(Op::Auipc, by, 0, 0)));
        self.push(vec![from, Word::Via(i(Op::Jalr, rd, by, 0), to, 1)]);
    }

    fn loop_start(&mut self) {
        let times = self.random.of(&[2, 3, 10, 40]);
        self.add([i(Op::Addi, COUNT, 0, times)]);
        self.body = Some((self.units.len(), 1 + self.random.below(7)));
    }

    fn loop_end(&mut self) {
        let Some((start, _)) = self.body.take() else { return };
        let count = Word::Raw(encode(&i(Op::Addi, COUNT, COUNT, -1)));
        self.push(vec![count, Word::To(s(Op::Blt, 0, COUNT, 0), start)]);
    }

    /// A loop that fills or copies memory.
    fn bulk(&mut self) {
        let (to, from, end) = (ADDRESS, self.free(), COUNT);
        let (store, load, size) = self.random.of(&[
            (Op::Sb, Op::Lbu, 1),
            (Op::Sh, Op::Lh, 2),
            (Op::Sw, Op::Lw, 4),
            (Op::Sd, Op::Ld, 8),
        ]);
        let mut value = self.free();
        while value == from {
            value = self.free();
        }
        let apart = 8 * self.random.below(200) as i32 - 800;
        let page = DATA + 1 + self.random.below(DATA_PAGES - 3);
        let mut unit = self.address(page);
        unit.push(i(Op::Andi, to, to, -8));
        unit.push(i(Op::Addi, from, to, apart));
        let rounds = 1 + self.random.below(200) as i32;
        unit.push(i(Op::Addi, end, to, size * rounds));
        let mut body = Vec::new();
        if self.random.one_in(2) {
            body.extend([i(load, value, from, 0), i(Op::Addi, from, from, size)]);
        }
        body.extend([s(store, to, value, 0), i(Op::Addi, to, to, size)]);
        // The end is ahead of the counter, whatever happens to the accesses.
        let back = -4 * body.len() as i32;
        body.push(s(self.random.of(&[Op::Bne, Op::Bltu]), to, end, back));
        unit.extend(body);
        // Loops count with it.
        unit.push(i(Op::Addi, end, 0, 0));
        self.add(unit);
    }
}

/// Whether an instruction accesses memory by rs1.
pub fn accesses(op: Op) -> bool {
    let within = |first: Op, last: Op| (first as u8..=last as u8).contains(&(op as u8));
    within(Op::Lb, Op::Sd)
        || within(Op::LrW, Op::AmomaxuD)
        || within(Op::CboInval, Op::CboZero)
        || matches!(op, Op::Flw | Op::Fsw | Op::Fld | Op::Fsd)
}
