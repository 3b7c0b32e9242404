//! Where everything is: a case occupies a region of memory of its own.

/// Where memory begins.
pub const RAM: u64 = 0x8000_0000;
/// Size of a page.
pub const PAGE: u64 = 4096;
/// Pages of a region.
pub const PAGES: u64 = 36;
/// Size of a region; where it starts is aligned to [`SUPERPAGE`].
pub const REGION: u64 = PAGES * PAGE;
/// Most harts of a case.
pub const HARTS: usize = 3;

// Pages of a region.

/// Trap handlers, entries and exit.
pub const HANDLERS: u64 = 0;
/// What those work on: see the offsets below.
pub const CONTROL: u64 = 1;
/// The roots of two address spaces.
pub const ROOTS: [u64; 2] = [2, 3];
/// The tables of the middle level: of the identity, of aliases in the first space, in the second.
pub const MIDDLES: [u64; 3] = [4, 6, 8];
/// The tables of leaves, likewise.
pub const LEAVES: [u64; 3] = [5, 7, 9];
/// The harts' streams, two pages each.
pub const CODE: u64 = 10;
/// Pages of each stream.
pub const CODE_PAGES: u64 = 2;
/// Data, eight pages.
pub const DATA: u64 = 16;
/// How many.
pub const DATA_PAGES: u64 = 8;
/// The first page behind data; nobody's up to [`TRAPS`].
pub const SPARE: u64 = DATA + DATA_PAGES;
/// The first traps but for calls: cause, place and value of each, from the list's end downwards.
pub const TRAPS: u64 = 29;
/// Bytes of a trap in that list.
pub const TRAP_SIZE: u64 = 32;
/// Instructions and PTEs that streams store somewhere.
pub const POOL: u64 = 30;
/// What the handler repairs: addresses and values, ended by a zero.
pub const HEAL: u64 = 31;
/// What is above the roots of Sv39: the roots of Sv48, and those of Sv57, of both address spaces.
pub const UPPERS: [[u64; 2]; 2] = [[32, 33], [34, 35]];

/// Set in the virtual addresses of aliases: U-mode executes there.
pub const ALIAS: u64 = 1 << 37;
/// From the identity to another alias of everything, where addresses have more than 39 bits.
pub const HIGH: u64 = 1 << 39;
/// From the identity to the superpage of the same memory.
pub const SUPERPAGE: u64 = 2 << 20;

// Places in the first page.

/// The handler of S-mode; that of M-mode is at the start.
pub const SUPERVISOR: u64 = 0x400;
/// Where the first hart starts, and how much room each has.
pub const ENTRY: u64 = 0x600;
/// Likewise.
pub const ENTRY_SIZE: u64 = 0x280;
/// Where a stream ends.
pub const EXIT: u64 = 0xd80;
/// Where traps to M-mode lead: a jump to the handler for every cause that a vector may tell.
pub const VECTORS: u64 = 0xf00;
/// Likewise to S-mode.
pub const SUPERVISOR_VECTORS: u64 = 0xf80;
/// How many jumps.
pub const VECTOR_COUNT: u64 = 16;

// Places in the control page.

/// Integer registers, for each hart.
pub const X: u64 = 0;
/// Floating-point registers.
pub const F: u64 = 0x300;
/// Where each hart goes when it is lost.
pub const END: u64 = 0x400;
/// Where the next trap is written down: the end of the list at first.
pub const TRAP: u64 = 0x440;
/// Where the exit leads.
pub const NEXT: u64 = 0x428;
/// Registers at the exit.
pub const DUMP: u64 = 0x500;

// Places in the pool.

/// Instructions, in words.
pub const POOL_INSTS: u64 = 0;
/// How many.
pub const POOL_INST_COUNT: u64 = 64;
/// Values for `satp`: both address spaces, none, the first again with another number and in two
/// other modes.
pub const POOL_SATPS: u64 = 0x200;
/// PTEs, of all levels from the leaves on.
pub const POOL_PTES: u64 = 0x400;
/// How many, for each of four levels.
pub const POOL_PTE_COUNT: u64 = 32;

// Registers that streams do not write, besides the bases.

/// The handlers' own, not to be relied on by anybody else.
pub const TMP: u8 = 24;
/// An address, derived from a base.
pub const ADDRESS: u8 = 25;
/// Rounds of the present loop.
pub const COUNT: u8 = 26;
/// Rounds of the stream.
pub const ROUNDS: u8 = 27;
/// What an `ecall` asks for: see [`crate::stubs`].
pub const ARG: u8 = 28;
/// The handlers' own.
pub const H1: u8 = 29;
/// The handlers' own: the control page.
pub const CTL: u8 = 30;
/// The handlers' own.
pub const H0: u8 = 31;
/// Bases are below this register.
pub const FREE: u8 = 24;
