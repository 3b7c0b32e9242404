//! The permission matrix: every combination of mode, MPRV, SUM, MXR, PTE bits, access and A/D
//! scheme, against a model that states the rules as a list of complaints.

mod bare;

use bare::{BASE, Bare, HANDLER};
use isa::asm::{i, r, s};
use isa::paging::{Mode, Pte};
use isa::{Op, Priv, csr};

const TARGET: u64 = BASE + 0x2000;
const TARGET_VA: u64 = 0x40_2000;
const CODE: u64 = BASE + 0x3000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Fetch,
    Load,
    Store,
    Amo,
    Lr,
    Flush,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    mode: Priv,
    /// Mode in MPP while MPRV is set.
    mprv: Option<Priv>,
    sum: bool,
    mxr: bool,
    adue: bool,
    bits: u64,
    kind: Kind,
}

#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    /// Done; the PTE's low byte afterwards.
    Done(u64),
    /// Page fault with that cause; the PTE is as it was.
    Fault(u64),
}

/// What should happen, told independently of how the emulator does it.
fn expected(c: Case) -> Outcome {
    let acts_as = match c.kind {
        Kind::Fetch => c.mode,
        _ => c.mprv.unwrap_or(c.mode),
    };
    if acts_as == Priv::Machine {
        return Outcome::Done(c.bits);
    }
    let [v, r, w, x, u, _g, a, d] = std::array::from_fn(|n| c.bits >> n & 1 == 1);
    let writes = matches!(c.kind, Kind::Store | Kind::Amo);
    let loadable = r || x && c.mxr;
    let complaints = [
        !v,
        w && !r,
        !r && !w && !x,
        acts_as == Priv::User && !u,
        acts_as == Priv::Supervisor && u && (c.kind == Kind::Fetch || !c.sum),
        c.kind == Kind::Fetch && !x,
        matches!(c.kind, Kind::Load | Kind::Lr) && !loadable,
        writes && !w,
        // A cache block may be flushed if it may be read or written; W implies R here.
        c.kind == Kind::Flush && !loadable,
        !a && !c.adue,
        writes && !d && !c.adue,
    ];
    if complaints.contains(&true) {
        return Outcome::Fault(match c.kind {
            Kind::Fetch => 12,
            Kind::Load | Kind::Lr => 13,
            _ => 15,
        });
    }
    Outcome::Done(c.bits | 0x40 | if writes { 0x80 } else { 0 })
}

struct Bed {
    bare: Bare,
    pte: u64,
}

impl Bed {
    fn new() -> Bed {
        let mut bare = Bare::one();
        bare.translate(Mode::Sv39, BASE + 0x10000);
        let mut tables = BASE + 0x11000;
        let all = Pte::V | Pte::R | Pte::X | Pte::A | Pte::D;
        // The code is where it is for M-mode, too, but S- and U-mode need different mappings.
        bare.map(CODE, CODE, all, &mut tables);
        bare.map(0x40_3000, CODE, all | Pte::U, &mut tables);
        let pte = bare.map(TARGET_VA, TARGET, 0, &mut tables);
        let code = [
            i(Op::Ld, 6, 5, 0),
            s(Op::Sd, 5, 6, 0),
            r(Op::AmoaddD, 6, 5, 0),
            r(Op::LrD, 6, 5, 0),
            i(Op::CboFlush, 0, 5, 0),
        ];
        bare.code(CODE, &code);
        bare.code(TARGET, &[i(Op::Addi, 0, 0, 0)]);
        Bed { bare, pte }
    }

    fn outcome(&mut self, c: Case) -> Outcome {
        let bare = &mut self.bare;
        let pte = Pte::new(isa::paging::Ppn(TARGET >> 12), c.bits);
        bare.put(self.pte, pte.0);
        let flag = |set, mask| if set { mask } else { 0 };
        use csr::mstatus::{MPP_SHIFT, MPRV, MXR, SUM};
        let mpp = (c.mprv.unwrap_or(Priv::User) as u64) << MPP_SHIFT;
        let status = flag(c.mprv.is_some(), MPRV) | flag(c.sum, SUM) | flag(c.mxr, MXR) | mpp;
        bare.set_csr(csr::MSTATUS, status);
        let envcfg = csr::envcfg::CBCFE;
        bare.set_csr(csr::MENVCFG, flag(c.adue, csr::envcfg::ADUE) | envcfg);
        bare.set_csr(csr::SENVCFG, envcfg);
        bare.set_privilege(c.mode);
        let bare_target = c.kind != Kind::Fetch && c.mprv.unwrap_or(c.mode) == Priv::Machine;
        bare.set_x(5, if bare_target { TARGET } else { TARGET_VA });
        let code = if c.mode == Priv::User { 0x40_3000 } else { CODE };
        let pc = match c.kind {
            Kind::Fetch if c.mode == Priv::Machine => TARGET,
            Kind::Fetch => TARGET_VA,
            Kind::Load => code,
            Kind::Store => code + 4,
            Kind::Amo => code + 8,
            Kind::Lr => code + 12,
            Kind::Flush => code + 16,
        };
        bare.set_pc(pc);
        match bare.step() {
            None => {
                assert_eq!(bare.pc(), pc + 4, "{c:?}");
                Outcome::Done(bare.get(self.pte) & 0xff)
            }
            Some((cause, value)) => {
                assert_eq!((value, bare.csr(csr::MEPC)), (TARGET_VA, pc), "{c:?}");
                assert_eq!(bare.get(self.pte), pte.0, "{c:?}");
                Outcome::Fault(cause)
            }
        }
    }
}

#[test]
fn every_row_agrees_with_the_model() {
    let mut bed = Bed::new();
    assert_eq!(bed.bare.csr(csr::MTVEC), HANDLER);
    let modes = [
        (Priv::User, None),
        (Priv::Supervisor, None),
        (Priv::Machine, None),
        (Priv::Machine, Some(Priv::User)),
        (Priv::Machine, Some(Priv::Supervisor)),
        (Priv::Machine, Some(Priv::Machine)),
    ];
    let kinds = [Kind::Fetch, Kind::Load, Kind::Store, Kind::Amo, Kind::Lr, Kind::Flush];
    let mut rows = 0;
    for (mode, mprv) in modes {
        for flags in 0..8u32 {
            for bits in 0..256 {
                for kind in kinds {
                    // Without R, W and X an entry of the last level is no leaf at all; A, D and U
                    // are reserved then, which the model's third complaint covers.
                    let [sum, mxr, adue] = std::array::from_fn(|n| flags >> n & 1 == 1);
                    let case = Case { mode, mprv, sum, mxr, adue, bits, kind };
                    assert_eq!(bed.outcome(case), expected(case), "{case:?}");
                    rows += 1;
                }
            }
        }
    }
    assert_eq!(rows, 6 * 8 * 256 * 6);
}
