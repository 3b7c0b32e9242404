//! The block loop: the frequent instructions, and how blocks follow each other.
//!
//! Inside a block nothing is counted or checked: the pc is that of the block's start, the budget
//! was paid on entry, operands have their final form, and register numbers need no bounds. A load
//! or store compares one tag of the fast TLB. See [`super::code`] for what blocks look like.

#![allow(clippy::redundant_closure_call, reason = "closures are the macros' parameters")]

use std::cell::Cell;
use std::ptr::null;

use isa::Op;
use isa::csr::mstatus;

use super::code::{Block, FENCE};
use super::{Cpu, System, bits, float, muldiv};
use crate::events::{Events, View};
use crate::float::box_f32;
use crate::hart::{Hart, Wants};
use crate::mem::{self, Scalar};
use crate::mmu::tlb;

/// Executes until the budget is used up or the hart wants something else; its pc, budget and all
/// else are up to date then.
pub fn run<E: Events>(hart: &mut Hart, sys: &mut System, events: &mut E) {
    if sys.native.is_some() && !E::INSNS && !E::ACCESSES {
        run_blocks::<E, true>(hart, sys, events);
    } else {
        run_blocks::<E, false>(hart, sys, events);
    }
}

/// `NATIVE`: blocks that are translated, or ought to be, are executed that way.
fn run_blocks<E: Events, const NATIVE: bool>(hart: &mut Hart, sys: &mut System, events: &mut E) {
    let mut pc = hart.ctx.pc;
    // The jump of translated code to link to the block that is entered next, if not zero.
    let mut native_link = 0;
    // The link to set to the block that is entered next.
    let mut link: *const Cell<*const Block> = null();

    macro_rules! cpu {
        () => {
            Cpu { hart: &mut *hart, sys: &mut *sys, events: &mut *events }
        };
    }

    'enter: loop {
        if hart.ctx.budget <= 0 || hart.ctx.wants != Wants::default() {
            hart.ctx.pc = pc;
            return;
        }
        let jump = hart.jumps.at(pc);
        let known = jump.va == pc && jump.generation == hart.ctx.space.generation;
        // SAFETY: blocks live until the end of the turn.
        let known = known && hart.ctx.budget >= i64::from(unsafe { &*jump.block }.count);
        let entered = if known { Some(jump.block) } else { cpu!().enter(pc) };
        let Some(mut block) = entered else {
            pc = hart.ctx.pc;
            link = null();
            native_link = 0;
            continue 'enter;
        };
        if !link.is_null() {
            if !hart.scratch.is(block) && sys.points.breakpoints.is_empty() {
                // SAFETY: a link is a field of a block, and blocks live until the end of the turn.
                unsafe { &*link }.set(block);
            }
            link = null();
        }
        'block: loop {
            // SAFETY: blocks live until the end of the turn, or, the hart's own scratch block, until
            // `enter` is called again.
            let this = unsafe { &*block };
            if hart.ctx.budget < i64::from(this.count) {
                // `enter` finds the part that can be paid for.
                continue 'enter;
            }
            if NATIVE {
                let linked = std::mem::take(&mut native_link);
                if let Some(jump) = cpu!().run_native(this, pc, linked) {
                    native_link = jump;
                    pc = hart.ctx.pc;
                    link = null();
                    continue 'enter;
                }
            }
            if E::PROBES && this.probed {
                cpu!().probe(pc);
                if E::STORES && hart.ctx.budget <= 0 {
                    continue 'enter;
                }
            }
            hart.ctx.budget -= i64::from(this.count);
            let mut at = this.insts;

            macro_rules! goto {
                ($target:expr) => {{
                    pc = $target;
                    let jump = hart.jumps.at(pc);
                    if jump.va == pc && jump.generation == hart.ctx.space.generation {
                        block = jump.block;
                        continue 'block;
                    }
                    continue 'enter;
                }};
            }
            // A jump whose distance is known, through the link of its own.
            macro_rules! follow {
                ($link:ident, $distance:expr) => {{
                    let target = pc.wrapping_add($distance);
                    let next = this.$link.get();
                    if !next.is_null() {
                        pc = target;
                        block = next;
                        continue 'block;
                    }
                    if (target ^ pc) >> 12 == 0 {
                        pc = target;
                        link = &this.$link;
                        continue 'enter;
                    }
                    goto!(target)
                }};
            }

            loop {
                // SAFETY: every block ends with an instruction that leaves this loop, so that `at`
                // stays inside the block.
                let i = unsafe { &*at };
                if E::INSNS && this.index(at) < this.count as usize {
                    let index = this.index(at);
                    hart.ctx.pending = i64::from(this.count) - index as i64;
                    let view = View { hart, sys };
                    events.inst_executed(&view, pc.wrapping_add(this.offset(index)), i);
                    hart.ctx.pending = 0;
                }
                // SAFETY: as above; one past the end is not dereferenced.
                at = unsafe { at.add(1) };

                macro_rules! x {
                    ($reg:ident) => {
                        hart.ctx.x[i.$reg as usize]
                    };
                }
                macro_rules! imm {
                    () => {
                        i.imm as i64 as u64
                    };
                }
                macro_rules! rr {
                    ($f:expr) => {{
                        let f: fn(u64, u64) -> u64 = $f;
                        x!(rd) = f(x!(rs1), x!(rs2))
                    }};
                }
                macro_rules! ri {
                    ($f:expr) => {{
                        let f: fn(u64, u64) -> u64 = $f;
                        x!(rd) = f(x!(rs1), imm!())
                    }};
                }
                macro_rules! r {
                    ($f:expr) => {{
                        let f: fn(u64) -> u64 = $f;
                        x!(rd) = f(x!(rs1))
                    }};
                }
                macro_rules! rare {
                    () => {{
                        // SAFETY: `at` was advanced past this instruction.
                        let index = this.index(at) - 1;
                        if !cpu!().rare(this, index, pc) {
                            pc = hart.ctx.pc;
                            continue 'enter;
                        }
                    }};
                }
                macro_rules! load {
                    ($ty:ty, $f:expr) => {
                        load!($ty, true, |value| {
                            let f: fn($ty) -> u64 = $f;
                            x!(rd) = f(value)
                        })
                    };
                    ($ty:ty, $legal:expr, |$value:ident| $put:expr) => {{
                        let va = x!(rs1).wrapping_add(imm!());
                        let entry = &hart.ctx.space.read[tlb::index(va)];
                        if let Some(host) = entry.host(va, <$ty>::SIZE)
                            && $legal
                        {
                            // SAFETY: the entry matches, so that the address lies in guest RAM.
                            let $value = unsafe { mem::load::<$ty>(host) };
                            $put;
                        } else {
                            rare!();
                        }
                    }};
                }
                macro_rules! store {
                    ($ty:ty) => {
                        store!($ty, true, x!(rs2))
                    };
                    ($ty:ty, $legal:expr, $value:expr) => {{
                        let va = x!(rs1).wrapping_add(imm!());
                        let entry = &hart.ctx.space.write[tlb::index(va)];
                        if let Some(host) = entry.host(va, <$ty>::SIZE)
                            && $legal
                        {
                            let value = $value as $ty;
                            // SAFETY: the entry matches, so that the address lies in guest RAM.
                            unsafe { mem::store(host, value) };
                        } else {
                            rare!();
                        }
                    }};
                }
                macro_rules! float {
                    () => {
                        hart.ctx.mstatus & mstatus::FS != 0
                    };
                }
                macro_rules! branch {
                    ($f:expr) => {{
                        let f: fn(u64, u64) -> bool = $f;
                        if f(x!(rs1), x!(rs2)) {
                            follow!(taken, imm!())
                        }
                        follow!(next, u64::from(this.bytes))
                    }};
                }

                // SAFETY: there are no other operations; the compiler forgets that on the way.
                unsafe { std::hint::assert_unchecked((i.op as usize) < Op::COUNT) };
                match i.op {
                    Op::Lui => x!(rd) = imm!(),
                    Op::Auipc => {
                        x!(rd) = pc.wrapping_add(u64::from(i.rs1)).wrapping_add(imm!());
                    }
                    Op::Jal => {
                        x!(rd) = pc.wrapping_add(u64::from(this.bytes));
                        follow!(taken, imm!())
                    }
                    Op::Jalr => {
                        let target = x!(rs1).wrapping_add(imm!()) & !1;
                        x!(rd) = pc.wrapping_add(u64::from(this.bytes));
                        goto!(target)
                    }
                    Op::Beq => branch!(|a, b| a == b),
                    Op::Bne => branch!(|a, b| a != b),
                    Op::Blt => branch!(|a, b| (a as i64) < b as i64),
                    Op::Bge => branch!(|a, b| a as i64 >= b as i64),
                    Op::Bltu => branch!(|a, b| a < b),
                    Op::Bgeu => branch!(|a, b| a >= b),
                    Op::Lb => load!(u8, |v| v as i8 as u64),
                    Op::Lh => load!(u16, |v| v as i16 as u64),
                    Op::Lw => load!(u32, |v| v as i32 as u64),
                    Op::Ld => load!(u64, |v| v),
                    Op::Lbu => load!(u8, |v| v as u64),
                    Op::Lhu => load!(u16, |v| v as u64),
                    Op::Lwu => load!(u32, |v| v as u64),
                    Op::Sb => store!(u8),
                    Op::Sh => store!(u16),
                    Op::Sw => store!(u32),
                    Op::Sd => store!(u64),
                    Op::Addi => ri!(|a, b| a.wrapping_add(b)),
                    Op::Slti => ri!(|a, b| ((a as i64) < b as i64) as u64),
                    Op::Sltiu => ri!(|a, b| (a < b) as u64),
                    Op::Xori => ri!(|a, b| a ^ b),
                    Op::Ori => ri!(|a, b| a | b),
                    Op::Andi => ri!(|a, b| a & b),
                    Op::Slli => ri!(|a, b| a << (b & 63)),
                    Op::Srli => ri!(|a, b| a >> (b & 63)),
                    Op::Srai => ri!(|a, b| (a as i64 >> (b & 63)) as u64),
                    Op::Addiw => ri!(|a, b| a.wrapping_add(b) as i32 as u64),
                    Op::Slliw => ri!(|a, b| ((a as i32) << (b & 31)) as u64),
                    Op::Srliw => ri!(|a, b| (a as u32 >> (b & 31)) as i32 as u64),
                    Op::Sraiw => ri!(|a, b| (a as i32 >> (b & 31)) as u64),
                    Op::Add => rr!(|a, b| a.wrapping_add(b)),
                    Op::Sub => rr!(|a, b| a.wrapping_sub(b)),
                    Op::Sll => rr!(|a, b| a << (b & 63)),
                    Op::Slt => rr!(|a, b| ((a as i64) < b as i64) as u64),
                    Op::Sltu => rr!(|a, b| (a < b) as u64),
                    Op::Xor => rr!(|a, b| a ^ b),
                    Op::Srl => rr!(|a, b| a >> (b & 63)),
                    Op::Sra => rr!(|a, b| (a as i64 >> (b & 63)) as u64),
                    Op::Or => rr!(|a, b| a | b),
                    Op::And => rr!(|a, b| a & b),
                    Op::Addw => rr!(|a, b| a.wrapping_add(b) as i32 as u64),
                    Op::Subw => rr!(|a, b| a.wrapping_sub(b) as i32 as u64),
                    Op::Sllw => rr!(|a, b| ((a as i32) << (b & 31)) as u64),
                    Op::Srlw => rr!(|a, b| (a as u32 >> (b & 31)) as i32 as u64),
                    Op::Sraw => rr!(|a, b| (a as i32 >> (b & 31)) as u64),

                    Op::Mul => rr!(|a, b| a.wrapping_mul(b)),
                    Op::Mulw => rr!(|a, b| a.wrapping_mul(b) as i32 as u64),
                    Op::Mulh => rr!(muldiv::mulh),
                    Op::Mulhsu => rr!(muldiv::mulhsu),
                    Op::Mulhu => rr!(muldiv::mulhu),
                    Op::Div => rr!(muldiv::div),
                    Op::Divu => rr!(muldiv::divu),
                    Op::Rem => rr!(muldiv::rem),
                    Op::Remu => rr!(muldiv::remu),
                    Op::Divw => rr!(muldiv::divw),
                    Op::Divuw => rr!(muldiv::divuw),
                    Op::Remw => rr!(muldiv::remw),
                    Op::Remuw => rr!(muldiv::remuw),

                    Op::AddUw => rr!(|a, b| u64::from(a as u32).wrapping_add(b)),
                    Op::Sh1add => rr!(|a, b| (a << 1).wrapping_add(b)),
                    Op::Sh2add => rr!(|a, b| (a << 2).wrapping_add(b)),
                    Op::Sh3add => rr!(|a, b| (a << 3).wrapping_add(b)),
                    Op::Sh1addUw => rr!(|a, b| (u64::from(a as u32) << 1).wrapping_add(b)),
                    Op::Sh2addUw => rr!(|a, b| (u64::from(a as u32) << 2).wrapping_add(b)),
                    Op::Sh3addUw => rr!(|a, b| (u64::from(a as u32) << 3).wrapping_add(b)),
                    Op::SlliUw => ri!(|a, b| u64::from(a as u32) << (b & 63)),
                    Op::Andn => rr!(|a, b| a & !b),
                    Op::Orn => rr!(|a, b| a | !b),
                    Op::Xnor => rr!(|a, b| !(a ^ b)),
                    Op::Max => rr!(|a, b| (a as i64).max(b as i64) as u64),
                    Op::Maxu => rr!(|a, b| a.max(b)),
                    Op::Min => rr!(|a, b| (a as i64).min(b as i64) as u64),
                    Op::Minu => rr!(|a, b| a.min(b)),
                    Op::Rol => rr!(|a, b| a.rotate_left(b as u32 & 63)),
                    Op::Ror => rr!(|a, b| a.rotate_right(b as u32 & 63)),
                    Op::Rolw => rr!(|a, b| (a as u32).rotate_left(b as u32 & 31) as i32 as u64),
                    Op::Rorw => rr!(|a, b| (a as u32).rotate_right(b as u32 & 31) as i32 as u64),
                    Op::Rori => ri!(|a, b| a.rotate_right(b as u32 & 63)),
                    Op::Roriw => ri!(|a, b| (a as u32).rotate_right(b as u32 & 31) as i32 as u64),
                    Op::Clz => r!(|a| u64::from(a.leading_zeros())),
                    Op::Ctz => r!(|a| u64::from(a.trailing_zeros())),
                    Op::Cpop => r!(|a| u64::from(a.count_ones())),
                    Op::Clzw => r!(|a| u64::from((a as u32).leading_zeros())),
                    Op::Ctzw => r!(|a| u64::from((a as u32).trailing_zeros())),
                    Op::Cpopw => r!(|a| u64::from((a as u32).count_ones())),
                    Op::SextB => r!(|a| a as i8 as u64),
                    Op::SextH => r!(|a| a as i16 as u64),
                    Op::ZextH => r!(|a| a as u16 as u64),
                    Op::OrcB => r!(bits::orc_b),
                    Op::Rev8 => r!(|a| a.swap_bytes()),
                    Op::Clmul => rr!(bits::clmul),
                    Op::Clmulh => rr!(bits::clmulh),
                    Op::Clmulr => rr!(bits::clmulr),
                    Op::Bclr => rr!(|a, b| a & !(1 << (b & 63))),
                    Op::Bclri => ri!(|a, b| a & !(1 << (b & 63))),
                    Op::Bext => rr!(|a, b| a >> (b & 63) & 1),
                    Op::Bexti => ri!(|a, b| a >> (b & 63) & 1),
                    Op::Binv => rr!(|a, b| a ^ 1 << (b & 63)),
                    Op::Binvi => ri!(|a, b| a ^ 1 << (b & 63)),
                    Op::Bset => rr!(|a, b| a | 1 << (b & 63)),
                    Op::Bseti => ri!(|a, b| a | 1 << (b & 63)),

                    Op::Flw => load!(u32, float!(), |v| hart.set_f(i.rd(), box_f32(v))),
                    Op::Fld => load!(u64, float!(), |v| hart.set_f(i.rd(), v)),
                    Op::Fsw => store!(u32, float!(), hart.ctx.f[i.rs2()]),
                    Op::Fsd => store!(u64, float!(), hart.ctx.f[i.rs2()]),

                    Op::Fence if i.rd == FENCE => {}
                    _ if float::arithmetic(hart, i) => {}
                    _ => rare!(),
                }
            }
        }
    }
}
