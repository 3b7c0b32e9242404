//! Stores to the pages that an observer watches are told, whatever kind of store it is and however
//! it is executed; others are not.

mod bare;

use bare::{BASE, Bare};
use emu::events::{Events, View, Wishes};
use emu::jit::Engine;
use emu::machine::{MachineConfig, Stop};
use emu::mem::PAGE_SIZE;
use emu::mmu::Access;
use isa::asm::{i, r, s};
use isa::{Inst, Op, csr};

/// The page in question.
const PAGE: u64 = BASE + 0x8000;
/// The hints by which the program says whether it is to be watched.
const ON: i32 = 1;
const OFF: i32 = 2;

/// What was told: where the instruction is, the address, the length and the word there.
type Told = (u64, u64, u64, u64);

/// Watches the page when the program says so. `EVERY`: is shown every access as well.
#[derive(Default)]
struct Log<const EVERY: bool> {
    on: bool,
    wishes: Wishes,
    told: Vec<Told>,
    accessed: Vec<u64>,
}

impl<const EVERY: bool> Events for Log<EVERY> {
    const INSNS: bool = EVERY;
    const ACCESSES: bool = EVERY;
    const STORES: bool = true;

    fn take_wishes(&mut self) -> Wishes {
        std::mem::take(&mut self.wishes)
    }

    fn hinted(&mut self, _view: &View, _pc: u64, kind: i32) {
        self.on = kind == ON;
        self.wishes.pages.push((PAGE, self.on));
    }

    fn stored(&mut self, view: &View, va: u64, pa: u64, length: u64) {
        assert_eq!((va, pa & !(PAGE_SIZE - 1)), (pa, PAGE));
        let word = view.ram().read(pa & !7).expect("memory");
        self.told.push((view.hart.at, va, length, word));
    }

    fn accessed(&mut self, _view: &View, va: u64, pa: u64, access: Access) {
        if self.on && access == Access::Store && pa & !(PAGE_SIZE - 1) == PAGE {
            self.accessed.push(va);
        }
    }
}

/// Stores of all kinds to the page at x8 and the end of the one before, x9 times; returns to x1.
fn routine() -> Vec<Inst> {
    let fill = [s(Op::Sd, 14, 10, 0), i(Op::Addi, 14, 14, 8), s(Op::Bne, 14, 15, -8)];
    let mut code = vec![
        s(Op::Sd, 8, 10, 0),
        s(Op::Sw, 8, 10, 8),
        s(Op::Sh, 8, 10, 12),
        s(Op::Sb, 8, 10, 14),
        // Neighbours.
        s(Op::Sd, 8, 10, 16),
        s(Op::Sd, 8, 9, 24),
        s(Op::Sd, 8, 0, 32),
        // Misaligned, in the page and across its beginning.
        s(Op::Sd, 8, 10, 41),
        s(Op::Sd, 8, 10, -4),
        s(Op::Fsd, 8, 1, 64),
        s(Op::Fsw, 8, 1, 72),
        r(Op::AmoaddD, 11, 12, 10),
        r(Op::AmoswapW, 11, 12, 10),
        r(Op::AmoxorD, 11, 12, 10),
        r(Op::AmomaxD, 11, 12, 10),
        r(Op::LrD, 11, 12, 0),
        r(Op::ScD, 11, 12, 10),
        r(Op::CboZero, 0, 13, 0),
        i(Op::Addi, 14, 8, -256),
        i(Op::Addi, 15, 8, 256),
    ];
    code.extend(fill);
    code.extend([i(Op::Addi, 10, 10, 7), i(Op::Addi, 9, 9, -1)]);
    code.push(s(Op::Bne, 9, 0, -4 * code.len() as i32));
    code.push(i(Op::Jalr, 0, 1, 0));
    code
}

/// Runs the routine watched, not watched, and watched again.
fn run<const EVERY: bool>(engine: Engine) -> (Log<EVERY>, Vec<u8>) {
    let config = MachineConfig { engine, max_insns: Some(40_000), ..MachineConfig::default() };
    let mut bare = Bare::with_events(config, Log::default());
    const ROUTINE: i32 = 0x100;
    let mut code = Vec::new();
    for kind in [ON, OFF, ON] {
        code.extend([i(Op::Slti, 0, 10, kind), i(Op::Addi, 9, 0, 40)]);
        let distance = ROUTINE - 4 * code.len() as i32;
        code.push(i(Op::Jal, 1, 0, distance));
    }
    code.push(Inst::new(Op::Jal));
    bare.code(BASE, &code);
    bare.code(BASE + ROUTINE as u64, &routine());
    bare.set_csr(csr::MSTATUS, csr::mstatus::FS_DIRTY);
    for (number, value) in [(8, PAGE), (10, 0x0123_4567), (12, PAGE + 56), (13, PAGE + 128)] {
        bare.set_x(number, value);
    }
    assert_eq!(bare.run(), Stop::MaxInsns);
    assert_eq!(bare.csr(csr::MCAUSE), 0, "no trap, but one at {:x}", bare.csr(csr::MEPC));
    let memory = bare.machine.sys.bus.ram.bytes(PAGE - PAGE_SIZE, 2 * PAGE_SIZE);
    let memory = memory.expect("memory").to_vec();
    (bare.machine.events, memory)
}

/// Wants the machine to stop where [`BASE`] is executed the tenth time.
#[derive(Default)]
struct Tenth(u32);

impl Events for Tenth {
    const PROBES: bool = true;
    const STORES: bool = true;

    fn probes(&self) -> Vec<u64> {
        vec![BASE]
    }

    fn probed(&mut self, _view: &View, _pc: u64) {
        self.0 += 1;
    }

    fn take_wishes(&mut self) -> Wishes {
        Wishes { stop: self.0 == 10, ..Wishes::default() }
    }
}

/// The machine stops in front of the block that the observer was told of, and does not tell of it
/// again when it goes on.
#[test]
fn observers_stop_in_front_of_blocks() {
    const DOWN: i32 = 2;
    for engine in [Engine::Interp, Engine::Jit, Engine::JitAtOnce] {
        let config = MachineConfig { engine, max_insns: Some(100), ..Default::default() };
        let mut bare = Bare::with_events(config, Tenth::default());
        bare.set_csr(csr::MSTATUS, csr::mstatus::FS_DIRTY);
        let add = Inst { imm: DOWN, ..r(Op::FaddS, 1, 2, 3) };
        let code = [i(Op::Addi, 5, 5, 1), add, i(Op::Addi, 6, 6, 1), i(Op::Jal, 0, 0, -12)];
        bare.code(BASE, &code);
        assert!(matches!(bare.run(), Stop::Point { hart: 0, .. }), "{engine:?}");
        assert_eq!((bare.x(5), bare.x(6), bare.machine.insns()), (9, 9, 36), "{engine:?}");
        assert_eq!(bare.run(), Stop::MaxInsns, "{engine:?}");
        assert_eq!((bare.x(5), bare.machine.events.0), (25, 25), "{engine:?}");
    }
}

#[test]
fn every_store_to_a_watched_page_is_told() {
    let (every, memory) = run::<true>(Engine::Interp);
    let told: Vec<u64> = every.told.iter().map(|(_, va, ..)| *va).collect();
    assert_eq!(told, every.accessed);
    // All stores of a round but those to the page before, in two of three calls.
    assert_eq!(told.len(), 2 * 40 * (17 + 32));
    for engine in [Engine::Interp, Engine::Jit, Engine::JitAtOnce] {
        let (log, seen) = run::<false>(engine);
        assert!(log.told == every.told, "{engine:?} tells something else");
        assert!(seen == memory, "{engine:?} leaves something else in memory");
    }
}
