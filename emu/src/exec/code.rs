//! Decoded code: blocks of instructions by physical page, and where jumps lead.
//!
//! A block is a run of instructions in one page that is entered only at its start and left only
//! at its end, by a jump; blocks that end for another reason get a jump to the next instruction,
//! which is not counted. Destinations `x0` become [`SINK`]; targets of branches are offsets from
//! the block's start. Blocks of a page link to each other directly.
//!
//! Pages with blocks are marked in [`Ram`]; they never have an entry in the fast TLB for stores,
//! so that every store to them comes here and drops what it makes stale before the next
//! instruction. `fence.i` has nothing left to do.

use std::cell::Cell;
use std::collections::HashSet;
use std::ptr::{null, null_mut};

use isa::{Inst, Op, Operand, decode};

use crate::board::RAM_BASE;
use crate::hart::csr;
use crate::hart::state::SINK;
use crate::mem::{PAGE_SIZE, Ram};

/// Most instructions of a block; their lengths are kept in a 64-bit mask.
const MAX_BLOCK: usize = 64;
/// Places in a page where a block can start.
const STARTS: usize = PAGE_SIZE as usize / 2;
/// When this many instructions are decoded, all are dropped.
const MAX_DECODED: usize = 2 << 20;
/// Entries of the table of jump targets.
pub const JUMPS: usize = 4096;

/// Decoded form of the `pause` hint: a fence with this destination.
pub const PAUSE: u8 = 1;
/// Decoded form of `slti x0, a0, KIND`: a fence with this destination, KIND as immediate.
pub const HINT: u8 = 2;
/// Decoded form of a plain fence, which is nothing to do.
pub const FENCE: u8 = 0;

/// A block.
#[derive(Debug)]
pub struct Block {
    /// The first instruction.
    pub insts: *const Inst,
    /// Instructions, without a jump added at the end.
    pub count: u32,
    /// Length of their encodings.
    pub bytes: u32,
    /// The block at the target of the branch or jump at the end, if it was looked up before and
    /// lies in the same page.
    pub taken: Cell<*const Block>,
    /// The block that follows, likewise.
    pub next: Cell<*const Block>,
    /// Bit n: instruction n has 16 bits.
    short: u64,
    /// Physical address of the first instruction.
    pub pa: u64,
    /// An observer wants to know when the block is entered.
    pub probed: bool,
    /// How often the block was interpreted, as far as the translator wants to know.
    pub warmth: Cell<u8>,
    /// How often in a row the translator could not do many rounds of this loop at once.
    pub refused: Cell<u8>,
    /// The address of the block's translation, or zero.
    pub native: Cell<u64>,
    /// What `insts` points at.
    storage: Vec<Inst>,
}

impl Block {
    /// The warmth of blocks that are not to be translated.
    pub const NEVER: u8 = u8::MAX;

    fn new(pa: u64) -> Block {
        Block {
            insts: null(),
            count: 0,
            bytes: 0,
            taken: Cell::new(null()),
            next: Cell::new(null()),
            short: 0,
            pa,
            probed: false,
            warmth: Cell::new(0),
            refused: Cell::new(0),
            native: Cell::new(0),
            storage: Vec::new(),
        }
    }

    /// The instructions, with the jump added at the end, if there is one.
    pub fn insts(&self) -> &[Inst] {
        &self.storage
    }

    /// Bytes from the block's start to instruction `index`.
    #[inline]
    pub fn offset(&self, index: usize) -> u64 {
        if index + 1 == self.count as usize {
            return u64::from(self.bytes) - self.len(index);
        }
        let mask = if index == MAX_BLOCK { u64::MAX } else { (1 << index) - 1 };
        let before = self.short & mask;
        4 * index as u64 - 2 * u64::from(before.count_ones())
    }

    /// Length of instruction `index`.
    #[inline]
    pub fn len(&self, index: usize) -> u64 {
        4 - 2 * (self.short >> index & 1)
    }

    /// The number of the instruction that `at` points to, one of `insts`.
    #[inline]
    pub fn index(&self, at: *const Inst) -> usize {
        (at.addr() - self.insts.addr()) / size_of::<Inst>()
    }

    /// Adds an instruction; returns whether it must be the last.
    fn push(&mut self, inst: Inst) -> bool {
        let offset = self.bytes;
        self.short |= u64::from(inst.len() == 2) << self.count;
        self.bytes += inst.len() as u32;
        self.count += 1;
        let (lowered, last) = lower(inst, offset as i32);
        self.storage.push(lowered);
        last
    }

    /// Ends the block with a jump to what follows it, unless its last instruction jumps.
    fn finish(&mut self, ended: bool) {
        if !ended {
            let onward = Inst { rd: SINK, imm: self.bytes as i32, ..Inst::new(Op::Jal) };
            self.storage.push(onward);
        }
        self.insts = self.storage.as_ptr();
    }
}

/// The form in which the block loop wants an instruction that is `offset` bytes into its block,
/// and whether it ends the block.
fn lower(inst: Inst, offset: i32) -> (Inst, bool) {
    let mut lowered = Inst { rs2: inst.rs2 & !Inst::COMPRESSED, ..inst };
    let ends = match inst.op {
        Op::Beq | Op::Bne | Op::Blt | Op::Bge | Op::Bltu | Op::Bgeu | Op::Jal => {
            lowered.imm += offset;
            true
        }
        // The offset has at most eight bits, and `auipc` no sources.
        Op::Auipc => {
            lowered.rs1 = offset as u8;
            false
        }
        Op::Slti if inst.rd == 0 && inst.rs1 == 10 => {
            return (Inst { rd: HINT, imm: inst.imm, ..Inst::new(Op::Fence) }, false);
        }
        Op::Fence => {
            let rd = if inst.is_pause() { PAUSE } else { FENCE };
            return (Inst { rd, ..Inst::new(Op::Fence) }, rd == PAUSE);
        }
        Op::Jalr | Op::FenceI | Op::Ecall | Op::Ebreak | Op::Sret | Op::Mret | Op::Wfi => true,
        Op::SfenceVma | Op::SinvalVma | Op::SfenceWInval | Op::SfenceInvalIr => true,
        Op::Csrrw | Op::Csrrs | Op::Csrrc | Op::Csrrwi | Op::Csrrsi | Op::Csrrci => {
            !csr::is_quiet(&inst)
        }
        _ => false,
    };
    if inst.rd == 0 && inst.op.row().operands.contains(&Operand::Rd) {
        lowered.rd = SINK;
    }
    (lowered, ends)
}

/// The blocks of a physical page.
struct Page {
    /// For every place where a block starts, its number in `blocks` plus one.
    starts: Box<[u16; STARTS]>,
    blocks: Vec<*mut Block>,
}

impl Drop for Page {
    fn drop(&mut self) {
        for &block in &self.blocks {
            // SAFETY: the pointer came from `Box::into_raw` and is dropped only here. Nobody uses
            // it any more: see `Code::collect`.
            drop(unsafe { Box::from_raw(block) });
        }
    }
}

/// What is found at a physical address.
pub enum Found {
    /// A block.
    Block(*const Block),
    /// The bits of an illegal instruction.
    Illegal,
    /// The first half of an instruction that continues in the next page.
    Crossing,
}

/// The decoded code of the whole machine.
pub struct Code {
    pages: Vec<Option<Box<Page>>>,
    /// For every page one bit for every 64 bytes: some of them were decoded.
    lines: Box<[u64]>,
    /// Pages that were dropped since the last [`Code::collect`].
    #[expect(clippy::vec_box, reason = "pages move between the lists as they are")]
    dropped: Vec<Box<Page>>,
    /// Changes when blocks are dropped: the harts' jumps have to follow.
    pub epoch: u64,
    decoded: usize,
    /// Where observers look: blocks start there.
    probes: HashSet<u64>,
}

impl Code {
    /// No code yet, for that much memory.
    pub fn new(ram: &Ram) -> Code {
        let pages = (ram.size() / PAGE_SIZE) as usize;
        Code {
            pages: (0..pages).map(|_| None).collect(),
            lines: vec![0; pages].into_boxed_slice(),
            dropped: Vec::new(),
            epoch: 0,
            decoded: 0,
            probes: HashSet::new(),
        }
    }

    /// Lets blocks start at these physical addresses and say so. To be called before anything is
    /// decoded.
    pub fn set_probes(&mut self, probes: Vec<u64>) {
        self.probes = probes.into_iter().collect();
    }

    fn index(pa: u64) -> usize {
        (pa.wrapping_sub(RAM_BASE) / PAGE_SIZE) as usize
    }

    /// The block that starts at `pa`, which must be even; decodes it if need be.
    pub fn find(&mut self, ram: &mut Ram, pa: u64) -> Found {
        let start = (pa % PAGE_SIZE / 2) as usize;
        if let Some(Some(page)) = self.pages.get(Code::index(pa)) {
            let number = page.starts[start];
            if number != 0 {
                return Found::Block(page.blocks[number as usize - 1]);
            }
        }
        let block = match build(ram, pa, PAGE_SIZE - pa % PAGE_SIZE, &self.probes) {
            Ok(block) => block,
            Err(found) => return found,
        };
        self.decoded += block.storage.len();
        let slot = &mut self.pages[Code::index(pa)];
        if slot.is_none() {
            ram.set_code(pa, true);
        }
        let page = slot.get_or_insert_with(|| {
            Box::new(Page { starts: Box::new([0; STARTS]), blocks: Vec::new() })
        });
        let last = (pa % PAGE_SIZE + u64::from(block.bytes) - 1) / 64;
        self.lines[Code::index(pa)] |= u64::MAX << (pa % PAGE_SIZE / 64) & u64::MAX >> (63 - last);
        let block = Box::into_raw(block);
        page.blocks.push(block);
        page.starts[start] = page.blocks.len() as u16;
        Found::Block(block)
    }

    /// Where the lines are that were decoded: for translated code, which reads them.
    pub(crate) fn lines_address(&self) -> u64 {
        self.lines.as_ptr().expose_provenance() as u64
    }

    /// A store to `length` bytes at `pa`, all in one page with code, was made. Returns whether
    /// blocks were dropped.
    pub fn stored(&mut self, ram: &mut Ram, pa: u64, length: u64) -> bool {
        let hit = self.covers(pa, length);
        if hit {
            self.drop_page(ram, pa);
        }
        hit
    }

    /// Whether some of the `length` bytes at `pa`, all in one page, may have been decoded.
    pub fn covers(&self, pa: u64, length: u64) -> bool {
        let Some(lines) = self.lines.get(Code::index(pa)) else { return false };
        let (first, last) = (pa % PAGE_SIZE / 64, (pa % PAGE_SIZE + length - 1) / 64);
        lines & (u64::MAX << first & u64::MAX >> (63 - last)) != 0
    }

    /// Drops the blocks of the page of `pa`.
    pub fn drop_page(&mut self, ram: &mut Ram, pa: u64) {
        let slot = self.pages.get_mut(Code::index(pa));
        if let Some(page) = slot.and_then(Option::take) {
            // SAFETY: the page is alive, and so are its blocks.
            let sizes = page.blocks.iter().map(|&block| unsafe { &*block }.storage.len());
            self.decoded -= sizes.sum::<usize>();
            self.dropped.push(page);
            self.lines[Code::index(pa)] = 0;
            self.epoch += 1;
            ram.set_code(pa, false);
        }
    }

    /// Frees what was dropped, and drops everything if it has become too much. To be called while
    /// no hart executes: blocks in execution are always of the present or a later collection, and
    /// harts look at `epoch` before they use a cached pointer again.
    pub fn collect(&mut self, ram: &mut Ram) {
        if self.decoded > MAX_DECODED {
            self.drop_all(ram);
        }
        self.dropped.clear();
    }

    /// Drops all blocks.
    pub fn drop_all(&mut self, ram: &mut Ram) {
        for index in 0..self.pages.len() as u64 {
            self.drop_page(ram, RAM_BASE + index * PAGE_SIZE);
        }
        self.epoch += 1;
    }
}

/// Decodes up to `room` bytes, the rest of a page.
fn build(ram: &Ram, pa: u64, room: u64, probes: &HashSet<u64>) -> Result<Box<Block>, Found> {
    let mut block = Box::new(Block { probed: probes.contains(&pa), ..Block::new(pa) });
    let mut ended = false;
    let mut stop = Found::Illegal;
    while !ended && (block.count as usize) < MAX_BLOCK {
        let offset = u64::from(block.bytes);
        let probed = !probes.is_empty() && probes.contains(&(pa + offset));
        if offset == room || (offset > 0 && probed) {
            break;
        }
        let low = u32::from(ram.read::<u16>(pa + offset).map_err(|_| Found::Illegal)?);
        let mut bits = low;
        if low & 3 == 3 {
            if offset + 2 == room {
                stop = Found::Crossing;
                break;
            }
            let high = ram.read::<u16>(pa + offset + 2).map_err(|_| Found::Illegal)?;
            bits |= u32::from(high) << 16;
        }
        let Some(inst) = decode(bits) else { break };
        ended = block.push(inst);
    }
    if block.count == 0 {
        return Err(stop);
    }
    block.finish(ended);
    Ok(block)
}

/// A block that is made for one execution: the start of another, or a single instruction.
pub struct Scratch(*mut Block);

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch(Box::into_raw(Box::new(Block::new(0))))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `Box::into_raw` in `default` and is dropped only here.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

impl Scratch {
    fn reset(&mut self, pa: u64) -> &mut Block {
        // SAFETY: `self.0` is alive as long as `self` and reached only through it and by the block
        // loop, which is between blocks.
        let block = unsafe { &mut *self.0 };
        let storage = std::mem::take(&mut block.storage);
        *block = Block { storage, warmth: Cell::new(Block::NEVER), ..Block::new(pa) };
        block.storage.clear();
        block
    }

    /// The first `count` instructions of `block`, fewer than it has.
    pub fn truncated(&mut self, block: &Block, count: u32) -> *const Block {
        let scratch = self.reset(block.pa);
        scratch.storage.extend_from_slice(&block.storage[..count as usize]);
        scratch.count = count;
        scratch.probed = block.probed;
        scratch.short = block.short & ((1u64 << count) - 1);
        scratch.bytes = block.offset(count as usize) as u32;
        scratch.finish(false);
        self.0
    }

    /// A single instruction at `pa`.
    pub fn single(&mut self, inst: Inst, pa: u64) -> *const Block {
        let scratch = self.reset(pa);
        let ended = scratch.push(inst);
        scratch.finish(ended);
        self.0
    }

    /// Whether `block` is this one.
    pub fn is(&self, block: *const Block) -> bool {
        std::ptr::eq(self.0, block)
    }
}

/// Where a jump leads.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Jump {
    /// The virtual address.
    pub va: u64,
    /// The generation of the space in which this holds.
    pub generation: u64,
    /// The block there.
    pub block: *const Block,
    /// Where translated code goes on: in the block's translation, or out of it.
    pub code: u64,
}

/// Blocks by virtual address, for jumps that leave a page and indirect ones.
pub struct Jumps(Box<[Jump; JUMPS]>);

impl Default for Jumps {
    fn default() -> Jumps {
        let nowhere = Jump { va: 1, generation: 0, block: null_mut(), code: 0 };
        Jumps(Box::new([nowhere; JUMPS]))
    }
}

impl Jumps {
    /// Where the first entry is.
    pub(crate) fn address(&mut self) -> usize {
        self.0.as_mut_ptr().expose_provenance()
    }

    /// The entry that may know where `va` leads.
    #[inline(always)]
    pub fn at(&mut self, va: u64) -> &mut Jump {
        &mut self.0[(va >> 1) as usize & (JUMPS - 1)]
    }
}

// SAFETY: `Code`, `Scratch` and `Jumps` own what they point at or point into `Code`; they are
// parts of one machine and move between threads only together with it.
unsafe impl Send for Code {}
// SAFETY: as for `Code`.
unsafe impl Send for Scratch {}
// SAFETY: as for `Code`.
unsafe impl Send for Jumps {}

#[cfg(test)]
mod tests {
    use super::*;
    use isa::encode;

    fn ram_with(code: &[u32]) -> Ram {
        let mut ram = Ram::new(2 * PAGE_SIZE).unwrap();
        for (n, word) in code.iter().enumerate() {
            ram.write::<u32>(RAM_BASE + 4 * n as u64, *word).unwrap();
        }
        ram
    }

    fn block_at(code: &mut Code, ram: &mut Ram, pa: u64) -> *const Block {
        match code.find(ram, pa) {
            Found::Block(block) => block,
            _ => panic!("no block at {pa:#x}"),
        }
    }

    #[test]
    fn blocks_end_with_a_jump_and_know_where_instructions_are() {
        let addi = encode(&Inst { rd: 0, rs1: 1, imm: 4, ..Inst::new(Op::Addi) });
        let beq = encode(&Inst { imm: -4, ..Inst::new(Op::Beq) });
        // c.nop twice in one word.
        let mut ram = ram_with(&[addi, 0x0001_0001, beq, 0]);
        let mut code = Code::new(&ram);
        let found = block_at(&mut code, &mut ram, RAM_BASE);
        // SAFETY: nothing was dropped.
        let block = unsafe { &*found };
        assert_eq!((block.count, block.bytes), (4, 12));
        assert_eq!((0..4).map(|n| block.offset(n)).collect::<Vec<_>>(), [0, 4, 6, 8]);
        assert_eq!(block.storage[0].rd, SINK);
        assert_eq!(block.storage[3].imm, 4);
        assert!(matches!(code.find(&mut ram, RAM_BASE + 12), Found::Illegal));
        assert_eq!(block_at(&mut code, &mut ram, RAM_BASE), found);
    }

    #[test]
    fn instructions_across_pages_are_told_apart() {
        let mut ram = ram_with(&[]);
        ram.write::<u16>(RAM_BASE + PAGE_SIZE - 4, 1).unwrap();
        ram.write::<u32>(RAM_BASE + PAGE_SIZE - 2, 0x13).unwrap();
        let mut code = Code::new(&ram);
        assert!(matches!(code.find(&mut ram, RAM_BASE + PAGE_SIZE - 2), Found::Crossing));
        let found = block_at(&mut code, &mut ram, RAM_BASE + PAGE_SIZE - 4);
        // SAFETY: nothing was dropped.
        let block = unsafe { &*found };
        assert_eq!((block.count, block.bytes, block.storage.len()), (1, 2, 2));
    }

    #[test]
    fn stores_beside_code_leave_it_alone() {
        let nop = encode(&Inst::new(Op::Addi));
        let mut ram = ram_with(&[nop, encode(&Inst::new(Op::Ecall))]);
        let mut code = Code::new(&ram);
        block_at(&mut code, &mut ram, RAM_BASE);
        assert!(ram.is_code(RAM_BASE + 100) && !ram.is_code(RAM_BASE + PAGE_SIZE));
        assert!(!code.stored(&mut ram, RAM_BASE + 64, 8));
        let epoch = code.epoch;
        assert!(code.stored(&mut ram, RAM_BASE + 60, 8));
        assert!(!ram.is_code(RAM_BASE) && code.epoch > epoch && code.decoded == 0);
        code.collect(&mut ram);
        assert!(code.dropped.is_empty());
    }

    #[test]
    fn truncated_blocks_go_on_behind_the_cut() {
        let add = encode(&Inst { rd: 3, ..Inst::new(Op::Add) });
        let mut ram = ram_with(&[add, 0x0001_0001, add, encode(&Inst::new(Op::Ecall))]);
        let mut code = Code::new(&ram);
        let whole = block_at(&mut code, &mut ram, RAM_BASE);
        let mut scratch = Scratch::default();
        // SAFETY: nothing was dropped.
        let cut = scratch.truncated(unsafe { &*whole }, 2);
        assert!(scratch.is(cut) && !scratch.is(whole));
        // SAFETY: `scratch` is alive.
        let cut = unsafe { &*cut };
        assert_eq!((cut.count, cut.bytes, cut.storage.len()), (2, 6, 3));
        assert_eq!((cut.storage[2].op, cut.storage[2].imm), (Op::Jal, 6));
    }
}
