//! From a block of decoded instructions to machine code, in one pass.
//!
//! The code depends on where the block is in its page, but neither on the page's virtual address,
//! which is in the context, nor on privilege, address space or floating-point state: those are
//! behind the fast TLB and behind tests of the context. What is not worth machine code, and what
//! the fast path of an instruction does not cover, is executed by the interpreter, one instruction
//! at a time (see [`Stubs::rare`]).

use isa::{Inst, Op};

use super::asm::{Alu, Asm, Cond, Label, Part, Place, Reg, Width, Width::*};
use super::bulk::{Bulk, LEAST};
use super::chooser::{Chooser, Pages};
use super::floating::Operation;
use super::rounds::{Rounds, condition};
use super::site::{Site, Sites};
use super::stubs::{BUDGET, Stubs, context, dispatch, host, saved_x};
use crate::exec::code::{Block, FENCE, HINT, PAUSE};
use crate::hart::state::SINK;
use crate::mem::PAGE_SIZE;
use crate::mmu::memo::{Slot, Slots};

/// What the host's processor has beyond the base instruction set.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// Shifts by any register.
    pub bmi2: bool,
    /// Counting of leading, trailing and set bits.
    pub counts: bool,
    /// Fused multiply-add.
    pub fma: bool,
}

impl Features {
    /// Those of the processor that this runs on.
    pub fn detect() -> Features {
        Features {
            bmi2: is_x86_feature_detected!("bmi2"),
            counts: is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("popcnt"),
            fma: is_x86_feature_detected!("fma"),
        }
    }
}

/// What translation depends on besides the code.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// What the processor can do.
    pub features: Features,
    /// Where it has the guest's memory.
    pub ram: u64,
    /// An observer wants to know of fences.
    pub fences_are_told: bool,
    /// An observer wants to know of returns from traps.
    pub returns_are_told: bool,
    /// Whether an observer wants to know of a kind of hint.
    pub hears: fn(i32) -> bool,
    /// It may let the machine stop then.
    pub hints_may_stop: bool,
}

/// After so many refusals in a row a loop is not asked again for some time.
pub const MAX_REFUSED: u8 = 8;

/// Where an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// It is zero.
    Zero,
    /// In a host register or in the context.
    Place(Place),
}

/// What is done out of the way of everything else.
pub(super) enum Away {
    /// An instruction is left to the interpreter.
    Rare {
        /// The jumps that lead there.
        from: Vec<Label>,
        /// Which one.
        index: usize,
        /// Where the code goes on.
        back: u64,
    },
    /// An access, or several together, go to another page than they remember.
    Page {
        /// Jumps that are taken if the interpreter must do it.
        refused: Vec<Label>,
        /// The jump that is taken for other pages.
        other: Label,
        /// Where and what they are.
        site: Site,
        /// In rounds: what was paid for later ones.
        refund: Option<i32>,
    },
    /// Accesses that are checked together would go to another page than is remembered.
    Range {
        /// The jump that is taken then.
        other: Label,
        /// What is remembered, and where that is checked.
        site: Site,
        /// Where the accesses begin: a register and a displacement.
        base: u8,
        /// The displacement.
        low: i32,
        /// They are stores.
        store: bool,
        /// What was paid for later rounds; nothing yet if it is checked before them all.
        refund: Option<i32>,
    },
    /// A floating-point operation has to look whether it raises flags.
    Careful {
        /// The jumps that lead there.
        from: Vec<Label>,
        /// Which instruction.
        index: usize,
        /// What it computes.
        operation: Operation,
        /// Where the code goes on.
        back: u64,
    },
    /// An instruction of several rounds is left to the ordinary code.
    Ordinary {
        /// The jumps that lead there.
        from: Vec<Label>,
        /// Which one.
        index: usize,
        /// What was paid for later rounds.
        refund: i32,
    },
    /// A loop ends before the last of several rounds.
    End {
        /// The jump that is taken then.
        ends: Label,
        /// What was paid for later rounds.
        refund: i32,
    },
}

/// A block in translation.
pub(super) struct Emit<'a> {
    pub(super) asm: Asm,
    pub(super) features: Features,
    /// Where the host has the guest's memory.
    pub(super) ram: u64,
    pub(super) stubs: &'a Stubs,
    slots: &'a mut Slots,
    /// Where its accesses go that hardly change.
    pages: Pages,
    pub(super) sites: &'a mut Sites,
    pub(super) block: &'a Block,
    /// The block's start in its page.
    start: i32,
    /// Where the buffer begins.
    origin: u64,
    /// The instruction in translation.
    pub(super) index: usize,
    pub(super) away: Vec<Away>,
    /// What comes in front of the block's ordinary code is in translation.
    pub(super) in_rounds: Option<Rounds>,
    /// What was paid for later rounds.
    pub(super) refund: i32,
    /// Memos that accesses rely on which do not check them.
    pub(super) shared: Vec<Slot>,
    /// By instruction: the memo of accesses that do.
    pub(super) own: Vec<Option<Slot>>,
    /// Where the ordinary code begins, and each instruction in it.
    pub(super) ordinary: u64,
    places: Vec<u64>,
    /// Jumps within the page, with the target's place in it: to be linked when they are taken.
    pub(super) links: Vec<(Label, i32)>,
    /// Branches that leave the page, with the target counted from its start.
    far: Vec<(Label, i32)>,
    /// An earlier instruction of the block made sure that floating point is on.
    pub(super) float_on: bool,
    /// An earlier instruction of the block marked the floating-point state as dirty.
    pub(super) float_dirty: bool,
    /// An earlier instruction made sure that rounding is to nearest. That, and the next, helps only
    /// in several rounds, which are left for good where it does not hold.
    pub(super) nearest: bool,
    /// An earlier instruction made sure that NX has accrued.
    pub(super) inexact: bool,
    /// An earlier instruction of the block made sure that this is not U-mode.
    pub(super) privileged: bool,
    /// An observer wants to know of fences.
    pub(super) fences_are_told: bool,
    pub(super) returns_are_told: bool,
    hears: fn(i32) -> bool,
    hints_may_stop: bool,
}

impl<'a> Emit<'a> {
    /// Nothing of a block's code yet; its parts will lie at `base`, in the buffer that begins at
    /// `origin`.
    pub(super) fn new(
        block: &'a Block,
        stubs: &'a Stubs,
        (slots, sites): (&'a mut Slots, &'a mut Sites),
        host: &Host,
        (base, origin): ([u64; 2], u64),
    ) -> Emit<'a> {
        Emit {
            asm: Asm::new(base),
            features: host.features,
            ram: host.ram,
            stubs,
            slots,
            pages: Pages::new(),
            sites,
            block,
            start: (block.pa % PAGE_SIZE) as i32,
            origin,
            index: 0,
            away: Vec::new(),
            in_rounds: None,
            refund: 0,
            shared: Vec::new(),
            own: Vec::new(),
            ordinary: 0,
            places: Vec::new(),
            links: Vec::new(),
            far: Vec::new(),
            float_on: false,
            float_dirty: false,
            nearest: false,
            inexact: false,
            privileged: false,
            fences_are_told: host.fences_are_told,
            returns_are_told: host.returns_are_told,
            hears: host.hears,
            hints_may_stop: host.hints_may_stop,
        }
    }

    /// Chooses memos for the block's accesses.
    pub(super) fn chooser(&mut self) -> Chooser<'_> {
        Chooser { slots: self.slots, pages: &self.pages, pa: self.block.pa }
    }

    /// The whole block. `pages`: where its accesses go that hardly change.
    pub(super) fn block(&mut self, bulk: Option<&Bulk>, pages: Pages) {
        self.pages = pages;
        let count = self.block.count as i32;
        let looped = match bulk {
            Some(bulk) => {
                self.many_rounds(bulk);
                true
            }
            None => !self.block.probed && self.rounds(),
        };
        let poor = self.pay(count);
        if !looped && self.once() {
            self.asm.switch(Part::Cold);
        }
        let insts = self.block.insts();
        while self.index < insts.len() {
            self.places.resize(self.index + 1, self.asm.here());
            let done = self.together(&insts[self.index..]);
            if done == 0 {
                self.inst(&insts[self.index]);
            }
            self.index += done.max(1);
        }
        // A block ends with an instruction that leaves it.
        self.asm.ud2();
        self.asm.switch(Part::Cold);
        self.out_of_the_way();
        for (label, refund) in poor {
            self.asm.bind(label);
            if refund {
                self.asm.alu_imm(W64, Alu::Add, BUDGET, count);
            }
            self.leave_at(0, self.start);
        }
    }

    /// Emits what `insts` begin with, as far as it can be done together; returns how many
    /// instructions that is, none if the first is not about computation and memory alone.
    pub(super) fn together(&mut self, insts: &[Inst]) -> usize {
        let mut done = self.accesses(insts);
        if done == 0 {
            done = self.extension(insts);
        }
        if done == 0 {
            done = usize::from(self.integer(&insts[0]) || self.float(&insts[0]));
        }
        done
    }

    /// Takes the block's price from the budget. Returns jumps that are taken if it is too much,
    /// and whether it was taken nevertheless.
    fn pay(&mut self, count: i32) -> Vec<(Label, bool)> {
        let mut poor = Vec::new();
        if self.block.probed {
            self.asm.alu_imm(W64, Alu::Cmp, BUDGET, count);
            poor.push((self.asm.jump_if_later(Cond::L), false));
            self.asm.mov_imm(Reg::Rdx, self.block_address());
            self.asm.call(self.stubs.probe);
        }
        self.asm.alu_imm(W64, Alu::Sub, BUDGET, count);
        poor.push((self.asm.jump_if_later(Cond::L), true));
        poor
    }

    /// Does all rounds of a loop but the last, if there are many.
    fn many_rounds(&mut self, bulk: &Bulk) {
        let (mut from, mut to) = (bulk.tested, bulk.end);
        if bulk.step < 0 {
            (from, to) = (to, from);
        }
        self.load_x(W64, Reg::Rax, to);
        if let Source::Place(from) = self.source(from) {
            self.asm.alu(W64, Alu::Sub, Reg::Rax, from);
        }
        let many = bulk.step.unsigned_abs() as i32 * LEAST as i32;
        self.asm.alu_imm(W64, Alu::Cmp, Reg::Rax, many);
        let few = self.asm.jump_if_later(Cond::B);
        let refused = std::ptr::from_ref(&self.block.refused).expose_provenance() as u64;
        self.asm.mov_imm(Reg::Rdx, refused);
        self.asm.movzx8(Reg::Rax, Place::At(Reg::Rdx, 0));
        self.asm.alu_imm(W32, Alu::Cmp, Reg::Rax, MAX_REFUSED.into());
        let asks = self.asm.jump_if_later(Cond::B);
        // Later it may be possible again: the count comes to zero at some time.
        self.asm.alu_imm(W32, Alu::Add, Reg::Rax, 1);
        self.asm.store8(Place::At(Reg::Rdx, 0), Reg::Rax);
        let refuses = self.asm.jump_later();
        self.asm.bind(asks);
        self.asm.mov_imm(Reg::Rax, std::ptr::from_ref(bulk).expose_provenance() as u64);
        self.asm.mov_imm(Reg::Rdx, self.block_address());
        self.asm.call(self.stubs.bulk);
        self.asm.bind(few);
        self.asm.bind(refuses);
    }

    fn block_address(&self) -> u64 {
        std::ptr::from_ref(self.block).expose_provenance() as u64
    }

    /// Leaves translated code; the pc is `target` bytes into the page.
    fn leave_at(&mut self, link: u32, target: i32) {
        self.asm.mov_imm(Reg::Rax, link.into());
        self.asm.mov_imm(Reg::Rdx, target as u64);
        self.asm.jump(self.stubs.leave_at);
    }

    fn out_of_the_way(&mut self) {
        for away in std::mem::take(&mut self.away) {
            match away {
                Away::Rare { from, index, back } => {
                    from.into_iter().for_each(|label| self.asm.bind(label));
                    self.call_rare(index);
                    self.asm.jump(back);
                }
                Away::Page { refused, other, site, refund } => {
                    self.other_page(refused, other, site, refund);
                }
                Away::Range { other, site, base, low, store, refund } => {
                    self.other_range(other, site, (base, low), store, refund);
                }
                Away::Careful { from, index, operation, back } => {
                    from.into_iter().for_each(|label| self.asm.bind(label));
                    self.careful(index, operation, back);
                }
                Away::Ordinary { from, index, refund } => {
                    from.into_iter().for_each(|label| self.asm.bind(label));
                    self.go_on_ordinarily(index, refund);
                }
                Away::End { ends, refund } => {
                    self.asm.bind(ends);
                    self.pay_back(refund);
                    self.go_behind();
                }
            }
        }
        for (label, target) in std::mem::take(&mut self.links) {
            self.asm.bind(label);
            self.leave_at((self.asm.address(label) - self.origin) as u32, target);
        }
        for (label, target) in std::mem::take(&mut self.far) {
            self.asm.bind(label);
            self.leave_page(target);
        }
    }

    /// Goes to an instruction in the ordinary code.
    pub(super) fn go_on_ordinarily(&mut self, index: usize, refund: i32) {
        self.pay_back(refund);
        self.asm.jump(self.places[index]);
    }

    fn pay_back(&mut self, refund: i32) {
        if refund != 0 {
            self.asm.alu_imm(W64, Alu::Add, BUDGET, refund);
        }
    }

    /// Goes to what is behind the block.
    pub(super) fn go_behind(&mut self) {
        self.go(self.start + self.block.bytes as i32);
    }

    pub(super) fn call_rare(&mut self, index: usize) {
        self.call(self.stubs.rare, index);
    }

    /// Calls a stub that finds an instruction's number in rax and the block in rdx.
    fn call(&mut self, stub: u64, index: usize) {
        self.asm.mov_imm(Reg::Rax, index as u64);
        self.asm.mov_imm(Reg::Rdx, self.block_address());
        self.asm.call(stub);
    }

    /// The instruction is the interpreter's if one of the jumps is taken.
    pub(super) fn otherwise_rare(&mut self, from: Vec<Label>) {
        let (index, back, refund) = (self.index, self.asm.here(), self.refund);
        self.away.push(match self.in_rounds {
            Some(_) => Away::Ordinary { from, index, refund },
            None => Away::Rare { from, index, back },
        });
    }

    /// Emits accesses that cannot be done by what is remembered, and not together.
    pub(super) fn one_by_one(&mut self, start: usize, count: usize) {
        for index in start..start + count {
            self.index = index;
            let inst = &self.block.insts()[index];
            let misaligned = if count > 1 { self.within_page(inst) } else { None };
            let beside = self.store_aside(inst);
            self.call_rare(index);
            misaligned.into_iter().chain(beside).for_each(|label| self.asm.bind(label));
        }
    }

    pub(super) fn inst(&mut self, inst: &Inst) {
        if self.atomic(inst) {
            return;
        }
        if self.fence(inst) {
            // The page itself may have become another one.
            self.leave_page(self.start + self.block.bytes as i32);
            return;
        }
        if self.csr_access(inst) {
            if self.index + 1 == self.block.insts().len() {
                self.go(self.start + self.block.bytes as i32);
            }
            return;
        }
        match inst.op {
            Op::Sret if !self.returns_are_told => self.return_from_supervisor(),
            Op::Jal => {
                self.link(inst.rd);
                self.go(self.start + inst.imm);
            }
            Op::Jalr => self.jump_register(inst),
            Op::Fence if inst.rd == FENCE => {}
            Op::Fence if inst.rd == PAUSE => self.pause(),
            Op::Fence if inst.rd == HINT && !(self.hears)(inst.imm) => {}
            Op::Fence if inst.rd == HINT && !self.hints_may_stop => {
                self.call(self.stubs.hint, self.index);
            }
            op => match condition(op) {
                Some(taken) => self.branch(inst, taken),
                None => self.call_rare(self.index),
            },
        }
    }

    // Operands.

    /// Where guest register `number` is.
    pub(super) fn source(&self, number: u8) -> Source {
        match host(number) {
            _ if number == 0 => Source::Zero,
            Some(reg) => Source::Place(reg.into()),
            None => Source::Place(saved_x(number)),
        }
    }

    /// Guest register `number`, moved to `to`.
    pub(super) fn load_x(&mut self, w: Width, to: Reg, number: u8) {
        match self.source(number) {
            Source::Zero => self.asm.mov_imm(to, 0),
            Source::Place(place) => self.asm.mov(w, to, place),
        }
    }

    /// Guest register `number` in its own host register, or moved to `otherwise`.
    pub(super) fn x_in_reg(&mut self, number: u8, otherwise: Reg) -> Reg {
        host(number).unwrap_or_else(|| {
            self.load_x(W64, otherwise, number);
            otherwise
        })
    }

    /// Where to compute guest register `number`.
    pub(super) fn target(&self, number: u8) -> Reg {
        host(number).unwrap_or(Reg::Rax)
    }

    /// Guest register `number` was computed in its [`Emit::target`] or in another register.
    pub(super) fn put_x(&mut self, number: u8, from: Reg) {
        match host(number) {
            Some(reg) => self.asm.mov(W64, reg, from),
            None if number == SINK => {}
            None => self.asm.store(W64, saved_x(number), from),
        }
    }

    // Control flow.

    /// Bytes from the start of the page to the instruction in translation.
    pub(super) fn place_in_page(&self) -> i32 {
        self.start + self.block.offset(self.index) as i32
    }

    /// The address behind the block, to a register.
    fn link(&mut self, rd: u8) {
        if rd == SINK {
            return;
        }
        let behind = self.start + self.block.bytes as i32;
        let to = self.target(rd);
        self.asm.mov(W64, to, context!(page));
        self.asm.alu_imm(W64, Alu::Add, to, behind);
        self.put_x(rd, to);
    }

    fn in_page(target: i32) -> bool {
        (0..PAGE_SIZE as i32).contains(&target)
    }

    /// Goes to `target`, counted from the start of the page.
    fn go(&mut self, target: i32) {
        if Emit::in_page(target) {
            let label = self.asm.jump_later();
            self.links.push((label, target));
        } else {
            self.leave_page(target);
        }
    }

    fn leave_page(&mut self, target: i32) {
        self.asm.mov(W64, Reg::Rax, context!(page));
        self.asm.alu_imm(W64, Alu::Add, Reg::Rax, target);
        dispatch(&mut self.asm, self.stubs.leave);
    }

    fn jump_register(&mut self, inst: &Inst) {
        self.load_x(W64, Reg::Rax, inst.rs1);
        if inst.imm != 0 {
            self.asm.alu_imm(W64, Alu::Add, Reg::Rax, inst.imm);
        }
        self.asm.alu_imm(W64, Alu::And, Reg::Rax, -2);
        if inst.rd != SINK {
            // The target is in rax, where registers without a host register are computed.
            let behind = self.start + self.block.bytes as i32;
            let to = host(inst.rd).unwrap_or(Reg::Rdx);
            self.asm.mov(W64, to, context!(page));
            self.asm.alu_imm(W64, Alu::Add, to, behind);
            self.put_x(inst.rd, to);
        }
        dispatch(&mut self.asm, self.stubs.leave);
    }

    fn branch(&mut self, inst: &Inst, cond: Cond) {
        self.compare(inst.rs1, inst.rs2);
        let taken = self.start + inst.imm;
        let label = self.asm.jump_if_later(cond);
        let jumps = if Emit::in_page(taken) { &mut self.links } else { &mut self.far };
        jumps.push((label, taken));
        self.go_behind();
    }

    /// Compares two guest registers.
    pub(super) fn compare(&mut self, a: u8, b: u8) {
        let (left, right) = (self.source(a), self.source(b));
        match (left, right) {
            (Source::Place(left), Source::Zero) => self.asm.alu_imm(W64, Alu::Cmp, left, 0),
            (Source::Place(Place::Reg(_)), Source::Place(right)) => {
                let left = self.x_in_reg(a, Reg::Rax);
                self.asm.alu(W64, Alu::Cmp, left, right);
            }
            (_, Source::Place(right)) => {
                self.load_x(W64, Reg::Rax, a);
                self.asm.alu(W64, Alu::Cmp, Reg::Rax, right);
            }
            (Source::Zero, Source::Zero) => self.asm.alu(W32, Alu::Cmp, Reg::Rax, Reg::Rax),
        }
    }
}
