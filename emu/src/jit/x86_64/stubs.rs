//! The code around translated blocks: how they are entered and left, and how they call Rust.
//!
//! Guest registers that live in host registers ([`PINNED`]) are in [`Context`] whenever Rust
//! runs. `rbp` points into the context, `r14` at its present [`Space`](crate::mmu::Space), `r15` is
//! the budget; `rax` and `rdx` belong to whoever needs them.

use std::mem::offset_of;

use isa::paging::PAGE_SHIFT;

use super::access::find_page;
use super::asm::{Alu, Asm, Bit, Cond, Label, Place, Reg, Shift, Width, Width::*};
use super::site::{FEW, SOON, STRIKES, Site};
use crate::board::RAM_BASE;
use crate::exec::code::{JUMPS, Jump};
use crate::hart::state::Context;
use crate::mem::{CODE, PAGE_SIZE, TABLE};
use crate::mmu::Space;
use crate::mmu::memo::{HALF, Memo, Memos};
use crate::mmu::tables::{PATIENCE, Table};
use crate::mmu::tlb::GUARDED_ENTRIES;

/// The guest registers that live in host registers while translated code runs: those that
/// compiled code names most.
pub const PINNED: [(u8, Reg); 10] = [
    (10, Reg::Rbx),
    (11, Reg::Rsi),
    (12, Reg::Rdi),
    (13, Reg::R8),
    (14, Reg::R9),
    (15, Reg::R10),
    (2, Reg::R11),
    (8, Reg::R12),
    (9, Reg::R13),
    (1, Reg::Rcx),
];

/// Points [`BIAS`] bytes into the context.
pub const CTX: Reg = Reg::Rbp;
/// Far enough that all integer registers are within a signed byte of it: the shortest operands.
pub const BIAS: i32 = 128;
/// Points at the present space.
pub const SPACE: Reg = Reg::R14;
/// Instructions that may still be executed.
pub const BUDGET: Reg = Reg::R15;

/// Saved for the caller of translated code.
const SAVED: [Reg; 6] = [Reg::Rbp, Reg::Rbx, Reg::R12, Reg::R13, Reg::R14, Reg::R15];

/// A field of [`Context`] as an operand.
macro_rules! context {
    ($field:ident) => {
        Place::At(
            $crate::jit::x86_64::stubs::CTX,
            std::mem::offset_of!($crate::hart::state::Context, $field) as i32
                - $crate::jit::x86_64::stubs::BIAS,
        )
    };
}
pub(super) use context;

/// Where the stubs are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stubs {
    /// `extern "sysv64" fn(context, code) -> u64`: runs translated code until it leaves; returns
    /// the offset of the jump that should lead to where the hart's pc is, or zero.
    pub enter: u64,
    /// Leaves; everything but the registers and the budget is in the context. rax: what to return.
    pub leave: u64,
    /// Leaves; the pc is rdx bytes into the present page. rax: what to return.
    pub leave_at: u64,
    /// To be called: executes instruction rax of the block rdx in Rust, and returns if the
    /// block goes on.
    pub rare: u64,
    /// To be called: tells the observer that the block rdx is entered.
    pub probe: u64,
    /// To be called: tells the observer of the hint that is instruction rax of the block rdx.
    pub hint: u64,
    /// To be called: makes the virtual address in rdx a host address if the fast TLB has its page
    /// and the access, of any alignment, does not leave it; the zero flag tells. By whether it is
    /// a store, and the logarithm of the size. Clobbers rax, and rdx in any case.
    pub within_page: [[u64; 4]; 2],
    /// To be called: makes the virtual address in rdx a host address if the fast TLB has its page,
    /// and remembers that; the zero flag tells. rax: the address of the [`Site`]. By whether it is a
    /// store. Clobbers rax, and rdx in any case.
    pub remember: [u64; 2],
    /// To be called: does many rounds of the loop rdx, of which rax tells what it does.
    pub bulk: u64,
    /// To be called: makes the virtual address in rdx, of an aligned store, a host address if the
    /// store is beside code that shares the page, or to a PTE from which nothing was derived;
    /// the zero flag tells. Clobbers rax.
    pub aside: u64,
}

/// Where the host has what belongs to the guest.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// Memory.
    pub ram: u64,
    /// The flags of its pages.
    pub flags: u64,
    /// The lines of its pages that were decoded.
    pub lines: u64,
    /// Pointers to what is known of its pages that are page tables.
    pub tables: u64,
}

/// A guest integer register's place in the context.
pub fn saved_x(number: u8) -> Place {
    Place::At(CTX, offset_of!(Context, x) as i32 + 8 * i32::from(number) - BIAS)
}

/// Emits the stubs.
pub fn emit(asm: &mut Asm, guest: &Guest) -> Stubs {
    let leave = emit_leave(asm);
    Stubs {
        enter: emit_enter(asm),
        leave,
        leave_at: emit_leave_at(asm, leave),
        rare: emit_rare(asm, leave),
        probe: emit_call(asm, context!(probe)),
        hint: emit_call(asm, context!(hint)),
        within_page: [false, true]
            .map(|store| [1, 2, 4, 8].map(|size| emit_within_page(asm, store, size))),
        remember: [false, true].map(|store| emit_remember(asm, store)),
        bulk: emit_call(asm, context!(bulk)),
        aside: emit_aside(asm, guest),
    }
}

fn emit_enter(asm: &mut Asm) -> u64 {
    let address = asm.here();
    SAVED.into_iter().for_each(|reg| asm.push(reg));
    // The stack pointer is a multiple of 16 between instructions of translated code.
    asm.alu_imm(W64, Alu::Sub, Reg::Rsp, 8);
    asm.lea(W64, CTX, Place::At(Reg::Rdi, BIAS));
    asm.mov(W64, Reg::Rax, Reg::Rsi);
    reload(asm);
    asm.jump_place(Reg::Rax);
    address
}

fn emit_leave(asm: &mut Asm) -> u64 {
    let address = asm.here();
    spill(asm);
    epilogue(asm);
    address
}

fn epilogue(asm: &mut Asm) {
    asm.alu_imm(W64, Alu::Add, Reg::Rsp, 8);
    SAVED.into_iter().rev().for_each(|reg| asm.pop(reg));
    asm.ret();
}

fn emit_leave_at(asm: &mut Asm, leave: u64) -> u64 {
    let address = asm.here();
    asm.alu(W64, Alu::Add, Reg::Rdx, context!(page));
    asm.store(W64, context!(pc), Reg::Rdx);
    asm.jump(leave);
    address
}

fn emit_rare(asm: &mut Asm, leave: u64) -> u64 {
    let address = asm.here();
    call_rust(asm, context!(rare));
    asm.test(W32, Reg::Rax, Reg::Rax);
    let left = asm.jump_if_later(Cond::E);
    reload(asm);
    asm.alu_imm(W64, Alu::Add, Reg::Rsp, 8);
    asm.ret();

    // The hart is elsewhere: go there, unless it wants something.
    asm.bind(left);
    asm.alu_imm(W64, Alu::Add, Reg::Rsp, 16);
    asm.alu_imm(W32, Alu::Cmp, context!(wants), 0);
    let goes_on = asm.jump_if_later(Cond::E);
    asm.alu(W32, Alu::Xor, Reg::Rax, Reg::Rax);
    epilogue(asm);
    asm.bind(goes_on);
    reload(asm);
    asm.mov(W64, Reg::Rax, context!(pc));
    dispatch(asm, leave);
    address
}

/// Calls a function of Rust with all registers in the context; it finds the [`Cpu`], rdx and rax.
///
/// [`Cpu`]: crate::exec::Cpu
fn call_rust(asm: &mut Asm, function: Place) {
    asm.alu_imm(W64, Alu::Sub, Reg::Rsp, 8);
    spill(asm);
    asm.mov(W64, Reg::Rdi, context!(cpu));
    asm.mov(W64, Reg::Rsi, Reg::Rdx);
    asm.mov(W64, Reg::Rdx, Reg::Rax);
    asm.call_place(function);
}

/// A stub that is called and returns.
fn emit_call(asm: &mut Asm, function: Place) -> u64 {
    let address = asm.here();
    call_rust(asm, function);
    reload(asm);
    asm.alu_imm(W64, Alu::Add, Reg::Rsp, 8);
    asm.ret();
    address
}

fn emit_within_page(asm: &mut Asm, store: bool, size: i32) -> u64 {
    let address = asm.here();
    let failed = find_page(asm, store, 1, size - 1);
    asm.alu(W32, Alu::Cmp, Reg::Rax, Reg::Rax);
    asm.ret();
    failed.into_iter().for_each(|label| asm.bind(label));
    asm.alu_imm(W32, Alu::Or, Reg::Rax, 1);
    asm.ret();
    address
}

/// Lets the site that rsi points at remember no more if it misses too often; rdi is the address.
/// Clobbers rax and rcx.
fn count_miss(asm: &mut Asm) {
    let field = |offset: usize| Place::At(Reg::Rsi, offset as i32);
    let missed = field(offset_of!(Site, missed));
    let strikes = field(offset_of!(Site, strikes));
    let (pages, count) = (field(offset_of!(Site, pages)), field(offset_of!(Site, count)));
    asm.push(Reg::Rdx);
    asm.mov(W32, Reg::Rax, missed);
    asm.store(W32, missed, BUDGET);
    asm.alu(W32, Alu::Sub, Reg::Rax, BUDGET);
    asm.mov(W64, Reg::Rcx, Reg::Rdi);
    asm.shift_imm(W64, Shift::Shr, Reg::Rcx, PAGE_SHIFT as u8);
    asm.mov(W64, Reg::Rdx, pages);
    asm.bit(Bit::Set, Reg::Rdx, Reg::Rcx);
    let again = asm.jump_if_later(Cond::B);
    asm.store(W64, pages, Reg::Rdx);
    asm.alu_imm(W32, Alu::Add, count, 1);
    asm.alu_imm(W32, Alu::Cmp, count, FEW);
    let few = asm.jump_if_later(Cond::Be);
    asm.store_imm(W64, pages, 0);
    asm.store_imm(W32, count, 0);
    asm.bind(few);
    asm.alu_imm(W32, Alu::Cmp, Reg::Rax, SOON);
    let soon = asm.jump_if_later(Cond::B);
    let late = asm.jump_later();
    asm.bind(again);
    asm.alu(W32, Alu::Cmp, Reg::Rax, field(offset_of!(Site, lately)));
    let lately = asm.jump_if_later(Cond::B);
    asm.bind(late);
    asm.store_imm(W32, strikes, 0);
    let calm = asm.jump_later();
    [soon, lately].into_iter().for_each(|label| asm.bind(label));
    asm.alu_imm(W32, Alu::Add, strikes, 1);
    asm.alu_imm(W32, Alu::Cmp, strikes, STRIKES);
    let bearable = asm.jump_if_later(Cond::B);
    asm.store_imm(W32, strikes, 0);
    // Four registers were pushed before, and the return address: with these, a multiple of 16.
    let saved = [Reg::Rcx, Reg::Rsi, Reg::Rdi, Reg::R8, Reg::R9, Reg::R10, Reg::R11];
    saved.into_iter().for_each(|reg| asm.push(reg));
    asm.mov(W64, Reg::Rdi, context!(cpu));
    asm.call_place(context!(go_direct));
    saved.into_iter().rev().for_each(|reg| asm.pop(reg));
    [calm, bearable].into_iter().for_each(|label| asm.bind(label));
    asm.pop(Reg::Rdx);
}

fn emit_remember(asm: &mut Asm, store: bool) -> u64 {
    const SHIFT: u8 = size_of::<Memo>().trailing_zeros() as u8;
    const { assert!(size_of::<Memo>() == 1 << SHIFT) };
    let memos = |offset: usize| (offset_of!(Space, memos) + offset) as i32;
    let memo = |offset: usize| {
        Place::Indexed(SPACE, Reg::Rsi, 0, memos(offset_of!(Memos, memos) + offset))
    };
    let pages = Place::At(SPACE, memos(offset_of!(Memos, pages)));
    let count = Place::At(SPACE, memos(offset_of!(Memos, count)));
    let site = |offset: usize| Place::At(Reg::Rsi, offset as i32);
    let address = asm.here();
    let saved = [Reg::Rcx, Reg::Rsi, Reg::Rdi];
    saved.into_iter().for_each(|reg| asm.push(reg));
    asm.mov(W64, Reg::Rsi, Reg::Rax);
    asm.mov(W64, Reg::Rdi, Reg::Rdx);
    let mut failed = find_page(asm, store, 1, 0);
    // rdx is the host address, rdi the virtual one. The place in the page is that of both.
    asm.mov(W32, Reg::Rax, Reg::Rdi);
    asm.alu_imm(W32, Alu::And, Reg::Rax, PAGE_SIZE as i32 - 1);
    asm.alu(W32, Alu::Cmp, Reg::Rax, site(offset_of!(Site, limit)));
    failed.push(asm.jump_if_later(Cond::Ae));
    count_miss(asm);
    asm.mov(W32, Reg::Rcx, site(offset_of!(Site, limit)));
    asm.mov(W32, Reg::Rsi, site(offset_of!(Site, slot)));
    asm.mov(W32, Reg::Rax, Reg::Rsi);
    asm.shift_imm(W32, Shift::Shl, Reg::Rsi, SHIFT);
    asm.alu_imm(W64, Alu::Cmp, memo(offset_of!(Memo, limit)), 0);
    let in_use = asm.jump_if_later(Cond::Ne);
    asm.store(W64, memo(offset_of!(Memo, limit)), Reg::Rcx);
    asm.mov(W64, Reg::Rcx, count);
    let used = Place::Indexed(SPACE, Reg::Rcx, 1, memos(offset_of!(Memos, used)));
    asm.store16(used, Reg::Rax);
    asm.alu_imm(W64, Alu::Add, count, 1);
    asm.bind(in_use);
    asm.mov(W64, Reg::Rcx, Reg::Rdi);
    asm.alu_imm(W64, Alu::And, Reg::Rcx, -(PAGE_SIZE as i32));
    asm.store(W64, memo(offset_of!(Memo, page)), Reg::Rcx);
    asm.shift_imm(W64, Shift::Shr, Reg::Rcx, PAGE_SHIFT as u8);
    asm.mov(W64, Reg::Rax, pages);
    asm.bit(Bit::Set, Reg::Rax, Reg::Rcx);
    asm.store(W64, pages, Reg::Rax);
    asm.mov(W64, Reg::Rax, Reg::Rdx);
    asm.alu(W64, Alu::Sub, Reg::Rax, Reg::Rdi);
    asm.store(W64, memo(offset_of!(Memo, addend)), Reg::Rax);
    if store {
        let stored = memos(offset_of!(Memos, stored)) - (size_of::<u32>() * HALF) as i32;
        asm.mov(W64, Reg::Rax, Reg::Rdx);
        asm.shift_imm(W64, Shift::Shr, Reg::Rax, PAGE_SHIFT as u8);
        asm.shift_imm(W32, Shift::Shr, Reg::Rsi, SHIFT - 2);
        asm.store(W32, Place::Indexed(SPACE, Reg::Rsi, 0, stored), Reg::Rax);
    }
    asm.mov_imm(Reg::Rax, 0);
    let found = asm.jump_later();
    failed.into_iter().for_each(|label| asm.bind(label));
    asm.mov_imm(Reg::Rax, 1);
    asm.bind(found);
    asm.test(W32, Reg::Rax, Reg::Rax);
    saved.into_iter().rev().for_each(|reg| asm.pop(reg));
    asm.ret();
    address
}

fn emit_aside(asm: &mut Asm, guest: &Guest) -> u64 {
    const ENTRY_SHIFT: u8 = 4;
    const { assert!(size_of::<[u64; 2]>() == 1 << ENTRY_SHIFT) };
    let address = asm.here();
    let saved = [Reg::Rcx, Reg::Rsi, Reg::Rdi];
    saved.into_iter().for_each(|reg| asm.push(reg));
    let mut failed = Vec::new();
    // The page is in the table of those that have to be looked at.
    asm.mov(W64, Reg::Rax, Reg::Rdx);
    asm.alu_imm(W64, Alu::And, Reg::Rax, -(PAGE_SIZE as i32));
    asm.mov(W32, Reg::Rsi, Reg::Rax);
    asm.shift_imm(W32, Shift::Shr, Reg::Rsi, 12 - ENTRY_SHIFT);
    asm.alu_imm(W32, Alu::And, Reg::Rsi, ((GUARDED_ENTRIES - 1) << ENTRY_SHIFT) as i32);
    let entry = offset_of!(Space, guarded) as i32;
    asm.alu(W64, Alu::Cmp, Reg::Rax, Place::Indexed(SPACE, Reg::Rsi, 0, entry));
    failed.push(asm.jump_if_later(Cond::Ne));
    asm.mov(W64, Reg::Rsi, Place::Indexed(SPACE, Reg::Rsi, 0, entry + 8));
    asm.mov_imm(Reg::Rax, RAM_BASE);
    asm.alu(W64, Alu::Sub, Reg::Rsi, Reg::Rax);
    asm.mov(W64, Reg::Rcx, Reg::Rsi);
    asm.shift_imm(W64, Shift::Shr, Reg::Rcx, 12);
    asm.mov_imm(Reg::Rdi, guest.flags);
    asm.movzx8(Reg::Rax, Place::Indexed(Reg::Rdi, Reg::Rcx, 0, 0));
    asm.alu_imm(W32, Alu::Cmp, Reg::Rax, i32::from(CODE));
    let no_code = asm.jump_if_later(Cond::Ne);
    // It holds code and nothing else that matters, and no code near the address.
    asm.mov_imm(Reg::Rdi, guest.lines);
    asm.mov(W64, Reg::Rax, Place::Indexed(Reg::Rdi, Reg::Rcx, 3, 0));
    asm.mov(W32, Reg::Rcx, Reg::Rdx);
    asm.shift_imm(W32, Shift::Shr, Reg::Rcx, 6);
    asm.bit(Bit::Test, Reg::Rax, Reg::Rcx);
    failed.push(asm.jump_if_later(Cond::B));
    let beside_code = asm.jump_later();
    asm.bind(no_code);
    asm.alu_imm(W32, Alu::Cmp, Reg::Rax, i32::from(TABLE));
    failed.push(asm.jump_if_later(Cond::Ne));
    dead_pte(asm, guest, &mut failed);
    asm.bind(beside_code);
    asm.alu_imm(W32, Alu::And, Reg::Rdx, PAGE_SIZE as i32 - 1);
    asm.alu(W64, Alu::Add, Reg::Rdx, Reg::Rsi);
    asm.mov_imm(Reg::Rax, guest.ram);
    asm.alu(W64, Alu::Add, Reg::Rdx, Reg::Rax);
    asm.alu(W32, Alu::Cmp, Reg::Rax, Reg::Rax);
    let found = asm.jump_later();
    failed.into_iter().for_each(|label| asm.bind(label));
    asm.alu_imm(W32, Alu::Or, Reg::Rax, 1);
    asm.bind(found);
    saved.into_iter().rev().for_each(|reg| asm.pop(reg));
    asm.ret();
    address
}

/// Counts a store to page table rcx at the virtual address in rdx as [`Tables`] does, unless
/// something was derived from that PTE, or stores to the table were too many. Clobbers rax, rcx
/// and rdi.
///
/// [`Tables`]: crate::mmu::Tables
fn dead_pte(asm: &mut Asm, guest: &Guest, failed: &mut Vec<Label>) {
    let stores = Place::At(Reg::Rdi, offset_of!(Table, stores) as i32);
    asm.mov_imm(Reg::Rdi, guest.tables);
    asm.mov(W64, Reg::Rdi, Place::Indexed(Reg::Rdi, Reg::Rcx, 3, 0));
    asm.test(W64, Reg::Rdi, Reg::Rdi);
    failed.push(asm.jump_if_later(Cond::E));
    asm.mov(W32, Reg::Rcx, Reg::Rdx);
    asm.alu_imm(W32, Alu::And, Reg::Rcx, PAGE_SIZE as i32 - 1);
    asm.shift_imm(W32, Shift::Shr, Reg::Rcx, 3);
    asm.mov(W32, Reg::Rax, Reg::Rcx);
    asm.shift_imm(W32, Shift::Shr, Reg::Rax, 6);
    let live = Place::Indexed(Reg::Rdi, Reg::Rax, 3, offset_of!(Table, live) as i32);
    asm.mov(W64, Reg::Rax, live);
    asm.bit(Bit::Test, Reg::Rax, Reg::Rcx);
    failed.push(asm.jump_if_later(Cond::B));
    asm.movzx8(Reg::Rax, stores);
    asm.alu_imm(W32, Alu::Add, Reg::Rax, 1);
    asm.alu_imm(W32, Alu::Cmp, Reg::Rax, PATIENCE.into());
    failed.push(asm.jump_if_later(Cond::Ae));
    asm.store8(stores, Reg::Rax);
}

/// Brings the context up to date; changes no register.
fn spill(asm: &mut Asm) {
    for (guest, host) in PINNED {
        asm.store(W64, saved_x(guest), host);
    }
    asm.store(W64, context!(budget), BUDGET);
}

/// Brings the registers up to date; changes no others.
fn reload(asm: &mut Asm) {
    for (guest, host) in PINNED {
        asm.mov(W64, host, saved_x(guest));
    }
    asm.mov(W64, BUDGET, context!(budget));
    asm.mov(W64, SPACE, context!(space));
}

/// Goes to the virtual address in rax: by the table of jumps, or else leaves.
pub fn dispatch(asm: &mut Asm, leave: u64) {
    const SHIFT: u8 = size_of::<Jump>().trailing_zeros() as u8;
    const { assert!(size_of::<Jump>() == 1 << SHIFT) };
    let field = |offset: usize| Place::At(Reg::Rdx, offset as i32);
    asm.mov(W32, Reg::Rdx, Reg::Rax);
    // Bit 0 of addresses is zero, so that shifting by one less makes an index of bit 1 and up.
    asm.shift_imm(W32, Shift::Shl, Reg::Rdx, SHIFT - 1);
    asm.alu_imm(W32, Alu::And, Reg::Rdx, ((JUMPS - 1) << SHIFT) as i32);
    asm.alu(W64, Alu::Add, Reg::Rdx, context!(jumps));
    asm.alu(W64, Alu::Cmp, Reg::Rax, field(offset_of!(Jump, va)));
    let other = asm.jump_if_later(Cond::Ne);
    asm.alu_imm(W64, Alu::And, Reg::Rax, -(PAGE_SIZE as i32));
    asm.store(W64, context!(page), Reg::Rax);
    asm.mov(W64, Reg::Rax, Place::At(SPACE, offset_of!(Space, generation) as i32));
    asm.alu(W64, Alu::Cmp, Reg::Rax, field(offset_of!(Jump, generation)));
    let stale = asm.jump_if_later(Cond::Ne);
    asm.jump_place(field(offset_of!(Jump, code)));
    asm.bind(stale);
    asm.mov(W64, Reg::Rax, field(offset_of!(Jump, va)));
    asm.bind(other);
    asm.store(W64, context!(pc), Reg::Rax);
    asm.alu(W32, Alu::Xor, Reg::Rax, Reg::Rax);
    asm.jump(leave);
}

/// The place in [`Jump::code`] of blocks that are not translated: leaves, for the pc that is in
/// the entry rdx points at.
pub fn emit_untranslated(asm: &mut Asm, leave: u64) -> u64 {
    let address = asm.here();
    asm.mov(W64, Reg::Rax, Place::At(Reg::Rdx, offset_of!(Jump, va) as i32));
    asm.store(W64, context!(pc), Reg::Rax);
    asm.alu(W32, Alu::Xor, Reg::Rax, Reg::Rax);
    asm.jump(leave);
    address
}

/// The host register that holds a guest register.
pub fn host(number: u8) -> Option<Reg> {
    PINNED.iter().find(|(guest, _)| *guest == number).map(|(_, host)| *host)
}

/// Operand width of a width in bytes that is 4 or 8.
pub fn width(bytes: u64) -> Width {
    if bytes == 4 { W32 } else { W64 }
}
