//! From a seed to a case: streams of units, each of which is one instruction or a few that belong
//! together.

use isa::csr::{self, mip, mstatus};
use isa::paging::{Mode, Pte};
use isa::trap::Exception;
use isa::{Op, Priv};

use crate::case::{Case, Kind, RW, Timer};
use crate::layout::*;
use crate::random::Random;
use crate::stream::{Base, Stream};
use crate::stubs::OPEN_ENTRY;

/// The case that this seed makes for our engines. One in three might run on QEMU: such streams are
/// derailed less often, and get farther.
pub fn for_engines(seed: u64) -> Case {
    generate(seed, if seed.is_multiple_of(3) { Kind::Qemu } else { Kind::Ours })
}

/// The case of this kind that this seed makes.
pub fn generate(seed: u64, kind: Kind) -> Case {
    let mut random = Random::new(seed);
    let ours = kind == Kind::Ours;
    let harts = if ours { random.of(&[1, 1, 2, 3]) } else { 1 };
    let timer = (ours && random.one_in(3)).then(|| Timer {
        first: random.below(60),
        every: 2 + random.below(40),
        supervisor: random.one_in(2),
    });
    let bases = bases(&mut random);
    let mut case = Case {
        seed,
        kind,
        harts,
        turn: random.of(&[1, 7, 50, 333, 10_000]),
        insns: 30_000,
        hardware_ad: !ours || !random.one_in(4),
        start: random.of(&[Priv::Machine, Priv::Supervisor, Priv::Supervisor, Priv::User]),
        mstatus: status(&mut random, ours),
        fcsr: random.below(2) | random.below(6).saturating_sub(3) << 5,
        medeleg: delegation(&mut random, ours),
        mideleg: if random.one_in(2) { mip::SUPERVISOR } else { 0 },
        mie: if timer.is_some() { mip::ALL } else { 0 },
        paging: !random.one_in(5),
        mode: random.of(&[Mode::Sv39, Mode::Sv39, Mode::Sv48, Mode::Sv57]),
        vectored: [random.one_in(3), random.one_in(3)],
        timer,
        pad: if timer.is_some() { random.below(10) } else { 0 },
        rounds: if ours { u64::MAX >> 1 } else { 4 },
        streams: Vec::new(),
        x: Vec::new(),
        bases: bases.clone(),
        f: std::array::from_fn(|_| random.float()),
        insts: Vec::new(),
        ptes: ptes(&mut random, ours),
        leaves: leaves(&mut random),
        data: random.any(),
    };
    let offsets: Vec<u64> = Base::ALL.iter().map(|base| base.offset(&mut random, ours)).collect();
    for hart in 0..harts {
        let mut stream = Stream::new(&mut random, &case, &offsets);
        let (start, words, middle) = stream.make();
        let insts = stream.pool();
        case.insts = insts;
        case.streams.push((start, words));
        let mut x: [u64; 32] = std::array::from_fn(|_| random.number());
        for (register, offset) in bases.iter().zip(&offsets) {
            x[*register as usize] = *offset;
        }
        let alias = if random.one_in(3) { ALIAS } else { 0 };
        let code = (CODE + CODE_PAGES * hart as u64) * PAGE + middle;
        x[bases[Base::Code as usize] as usize] = code | alias;
        (x[COUNT as usize], x[ARG as usize]) = (0, 3);
        case.x.push(x);
    }
    case
}

/// Registers for the bases: some that the translator keeps in host registers, some not.
fn bases(random: &mut Random) -> Vec<u8> {
    let mut free: Vec<u8> = (1..FREE).collect();
    Base::ALL
        .iter()
        .map(|_| {
            // Half of them where 16-bit encodings can name them.
            let short: Vec<u8> = free.iter().copied().filter(|n| (8..16).contains(n)).collect();
            let from = if random.one_in(3) && short.len() > 3 { &short } else { &free };
            let register = random.of(from);
            free.retain(|n| *n != register);
            register
        })
        .collect()
}

fn status(random: &mut Random, ours: bool) -> u64 {
    let on = if ours && random.one_in(10) { random.below(3) << 13 } else { mstatus::FS };
    let sum = if random.one_in(6) { 0 } else { mstatus::SUM };
    let mxr = if random.one_in(3) { mstatus::MXR } else { 0 };
    // Interrupts are enabled by the return that enters the stream.
    let enabled = if random.one_in(4) { 0 } else { mstatus::MPIE | mstatus::SIE | mstatus::SPIE };
    on | sum | mxr | enabled
}

/// Fetches that fail, and calls from S-mode, are M-mode's; calls from U-mode where they may repeat.
fn delegation(random: &mut Random, ours: bool) -> u64 {
    let (fetch, page) = (Exception::InstAccess, Exception::InstPageFault);
    let mut kept = fetch.bit() | page.bit() | Exception::EcallS.bit();
    if !ours || !random.one_in(4) {
        kept |= Exception::EcallU.bit();
    }
    let all = if random.one_in(2) { 0 } else { Exception::DELEGABLE & !kept & random.any() };
    // Loads and stores alike: see `stubs::as_store`.
    let loads = all & loads();
    if ours { all } else { all & !(self::loads() << 2) | loads << 2 }
}

/// What loads may raise; the same of stores is two bits up.
fn loads() -> u64 {
    use Exception::{LoadAccess, LoadMisaligned, LoadPageFault};
    LoadMisaligned.bit() | LoadAccess.bit() | LoadPageFault.bit()
}

/// Page number and flags of a PTE.
fn pte(page: u64, flags: u64) -> u64 {
    page << Pte::PPN_SHIFT | flags
}

/// The PTEs of the pool, level by level.
fn ptes(random: &mut Random, ours: bool) -> Vec<u64> {
    let mut list: Vec<u64> = (0..POOL_PTE_COUNT).map(|_| leaf(random, ours)).collect();
    list.extend((0..POOL_PTE_COUNT).map(|_| match random.below(8) {
        0 => 0,
        1 => pte(0, RW | Pte::U | Pte::X),
        2 => pte(0, RW & !random.of(&[Pte::W, Pte::D, Pte::A, Pte::V]) | Pte::X),
        3 => pte(DATA, RW | Pte::U),
        4 => pte(random.of(&LEAVES), Pte::V | Pte::A),
        _ => pte(random.of(&LEAVES), Pte::V),
    }));
    list.extend((0..POOL_PTE_COUNT).map(|_| match random.below(6) {
        0 => 0,
        1 => pte(0, RW | Pte::U),
        2 => pte(0, RW | Pte::X),
        _ => pte(random.of(&MIDDLES), Pte::V),
    }));
    list.extend((0..POOL_PTE_COUNT).map(|_| match random.below(6) {
        0 => 0,
        1 => pte(0, RW | Pte::U),
        2 => pte(random.of(&UPPERS[0]), Pte::V),
        _ => pte(random.of(&ROOTS), Pte::V),
    }));
    list
}

fn leaf(random: &mut Random, ours: bool) -> u64 {
    let page = match random.below(8) {
        0 if ours => CODE + random.below(DATA - CODE),
        1 if ours => random.below(PAGES),
        2 => SPARE + random.below(4),
        _ => DATA + random.below(DATA_PAGES),
    };
    let user = if random.one_in(4) { 0 } else { Pte::U };
    let exec = if random.one_in(3) { Pte::X } else { 0 };
    let usual = RW | user | exec;
    let flags = match random.below(10) {
        0 => usual & !Pte::V,
        1 => usual & !Pte::D,
        2 => usual & !(Pte::A | Pte::D),
        3 => usual & !Pte::W,
        4 => usual & !Pte::R,
        5 => usual & !(Pte::R | Pte::W) | Pte::X,
        6 if ours => usual ^ 1 << random.below(10) ^ 1 << (54 + random.below(10)),
        7 => random.below(1 << 10),
        _ => usual,
    };
    // QEMU sets A for an atomic operation that may load but not store.
    let accessed = !ours && flags & Pte::W == 0;
    pte(page, flags | if accessed { Pte::A } else { 0 })
}

/// Leaves that are unusual from the start.
fn leaves(random: &mut Random) -> Vec<(usize, u64, u64)> {
    (0..random.below(8))
        .map(|_| {
            let page = DATA + random.below(SPARE - DATA + 2);
            (random.below(3) as usize, page, leaf(random, false))
        })
        .collect()
}

/// CSRs that any instruction may access, in any way; those that would break the bed are only read.
pub fn csr(random: &mut Random, kind: Kind) -> (u16, bool) {
    const PLAIN: [u16; 12] = [
        csr::FFLAGS,
        csr::FRM,
        csr::FCSR,
        csr::SSCRATCH,
        csr::MSCRATCH,
        csr::SSCRATCH,
        csr::MSCRATCH,
        csr::SCAUSE,
        csr::MCAUSE,
        csr::FFLAGS,
        csr::SSTATUS,
        csr::MHARTID,
    ];
    const OURS: [u16; 14] = [
        csr::SEPC,
        csr::MEPC,
        csr::STVAL,
        csr::MTVAL,
        csr::SIE,
        csr::SIP,
        csr::MIP,
        csr::INSTRET,
        csr::TIME,
        csr::CYCLE,
        csr::MCYCLE,
        csr::MINSTRET,
        csr::MCOUNTINHIBIT,
        csr::SENVCFG,
    ];
    const READ: [u16; 14] = [
        csr::SSTATUS,
        csr::MSTATUS,
        csr::STVEC,
        csr::MTVEC,
        csr::SATP,
        csr::MEDELEG,
        csr::MIDELEG,
        csr::MIE,
        csr::MENVCFG,
        csr::MCOUNTEREN,
        csr::STIMECMP,
        csr::PMPCFG0,
        csr::MISA,
        0x5c0,
    ];
    match (kind, random.below(3)) {
        (Kind::Qemu, _) | (_, 0) => {
            let number = random.of(&PLAIN);
            // QEMU lets a read-only register be written, if no bits would change.
            let read = [csr::SSTATUS, csr::MHARTID].contains(&number);
            (number, kind == Kind::Qemu && read)
        }
        (_, 1) => (random.of(&OURS), false),
        _ => (random.of(&READ), !random.one_in(12)),
    }
}

/// A register and bits of it to change, and whether it is S-mode's.
pub fn bits(random: &mut Random, kind: Kind) -> (u16, u64) {
    if kind == Kind::Qemu {
        return (csr::SSTATUS, random.of(&[mstatus::SUM, mstatus::MXR, mstatus::SPP]));
    }
    match random.below(10) {
        8 => (random.of(&[csr::MTVEC, csr::STVEC]), random.of(&[1, 2, 3])),
        // No entry is locked: the handlers would be shut out, too.
        9 => (csr::PMPCFG0, 1 << (8 * random.below(OPEN_ENTRY.into()) + random.below(5))),
        0..3 => {
            let bits = [mstatus::SUM, mstatus::MXR, mstatus::SPP, mstatus::SIE, mstatus::FS];
            (csr::SSTATUS, random.of(&bits) | random.of(&bits))
        }
        3..6 => {
            let bits = [mstatus::MPRV, mstatus::MPP, mstatus::TVM, mstatus::TSR, mstatus::MIE];
            (csr::MSTATUS, random.of(&bits) | random.of(&[0, 0, mstatus::TW, mstatus::SUM]))
        }
        6 => (random.of(&[csr::MIE, csr::MIP, csr::SIP, csr::SIE]), 1 << random.below(12)),
        _ => (csr::MENVCFG, 1 << random.of(&[4u64, 5, 6, 7, 61, 62, 63])),
    }
}

/// What of the table's operations is not made as single instructions.
pub fn is_made_in_units(op: Op) -> bool {
    matches!(
        op,
        Op::Jal
            | Op::Jalr
            | Op::Beq
            | Op::Bne
            | Op::Blt
            | Op::Bge
            | Op::Bltu
            | Op::Bgeu
            | Op::Ecall
            | Op::Wfi
    )
}
