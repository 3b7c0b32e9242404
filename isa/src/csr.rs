//! Control and status registers: numbers, names, fields, and what the number itself tells
//! (the privileged manual, "CSR Listing", and each register's section).

use core::fmt;

use crate::Priv;

macro_rules! csrs {
    ($($(#[$doc:meta])* $id:ident $number:literal $name:literal;)*) => {
        $($(#[$doc])* pub const $id: u16 = $number;)*

        /// Numbers and names of the registers that stand alone, by number.
        const NAMED: &[(u16, &str)] = &[$(($number, $name)),*];
    };
}

csrs! {
    /// Accrued floating-point exceptions.
    FFLAGS 0x001 "fflags";
    /// Dynamic rounding mode.
    FRM 0x002 "frm";
    /// `frm` and `fflags` together.
    FCSR 0x003 "fcsr";
    /// Supervisor's view of `mstatus`.
    SSTATUS 0x100 "sstatus";
    /// Supervisor's view of `mie`.
    SIE 0x104 "sie";
    /// Supervisor's trap vector.
    STVEC 0x105 "stvec";
    /// Counters that U-mode may read.
    SCOUNTEREN 0x106 "scounteren";
    /// What the environment of U-mode allows.
    SENVCFG 0x10a "senvcfg";
    /// For the supervisor's own use.
    SSCRATCH 0x140 "sscratch";
    /// Where the trap to S-mode happened.
    SEPC 0x141 "sepc";
    /// Why the trap to S-mode happened.
    SCAUSE 0x142 "scause";
    /// The faulting address or instruction of the trap to S-mode.
    STVAL 0x143 "stval";
    /// Supervisor's view of `mip`.
    SIP 0x144 "sip";
    /// Supervisor's timer compare (Sstc).
    STIMECMP 0x14d "stimecmp";
    /// Address translation: mode, ASID, root of the page table.
    SATP 0x180 "satp";
    /// Machine status.
    MSTATUS 0x300 "mstatus";
    /// Extensions and width.
    MISA 0x301 "misa";
    /// Exceptions that S-mode handles.
    MEDELEG 0x302 "medeleg";
    /// Interrupts that S-mode handles.
    MIDELEG 0x303 "mideleg";
    /// Interrupts enabled.
    MIE 0x304 "mie";
    /// Machine's trap vector.
    MTVEC 0x305 "mtvec";
    /// Counters that S-mode may read.
    MCOUNTEREN 0x306 "mcounteren";
    /// What the environment of lower modes allows.
    MENVCFG 0x30a "menvcfg";
    /// Counters that stand still.
    MCOUNTINHIBIT 0x320 "mcountinhibit";
    /// For the machine mode's own use.
    MSCRATCH 0x340 "mscratch";
    /// Where the trap to M-mode happened.
    MEPC 0x341 "mepc";
    /// Why the trap to M-mode happened.
    MCAUSE 0x342 "mcause";
    /// The faulting address or instruction of the trap to M-mode.
    MTVAL 0x343 "mtval";
    /// Interrupts pending.
    MIP 0x344 "mip";
    /// Cycles, writable.
    MCYCLE 0xb00 "mcycle";
    /// Retired instructions, writable.
    MINSTRET 0xb02 "minstret";
    /// Cycles.
    CYCLE 0xc00 "cycle";
    /// Ticks of the timer.
    TIME 0xc01 "time";
    /// Retired instructions.
    INSTRET 0xc02 "instret";
    /// Vendor.
    MVENDORID 0xf11 "mvendorid";
    /// Microarchitecture.
    MARCHID 0xf12 "marchid";
    /// Implementation.
    MIMPID 0xf13 "mimpid";
    /// Number of this hart.
    MHARTID 0xf14 "mhartid";
    /// Address of a configuration structure, or zero.
    MCONFIGPTR 0xf15 "mconfigptr";
}

/// First of the PMP configuration registers; RV64 has only the even ones.
pub const PMPCFG0: u16 = 0x3a0;
/// First of the 64 PMP address registers.
pub const PMPADDR0: u16 = 0x3b0;
/// Event selector of the first hardware performance counter.
pub const MHPMEVENT3: u16 = 0x323;
/// First hardware performance counter, writable.
pub const MHPMCOUNTER3: u16 = 0xb03;
/// First hardware performance counter.
pub const HPMCOUNTER3: u16 = 0xc03;
/// Hardware performance counters 3 to 31.
pub const HPM_COUNTERS: u16 = 29;

/// Rows of registers: first number, how many, stem of the name, number of the first.
const ROWS: &[(u16, u16, &str, u16)] = &[
    (MHPMEVENT3, HPM_COUNTERS, "mhpmevent", 3),
    (PMPCFG0, 16, "pmpcfg", 0),
    (PMPADDR0, 64, "pmpaddr", 0),
    (MHPMCOUNTER3, HPM_COUNTERS, "mhpmcounter", 3),
    (HPMCOUNTER3, HPM_COUNTERS, "hpmcounter", 3),
];

/// The name of a CSR; displays as the assembler spells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name {
    stem: &'static str,
    index: Option<u16>,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            None => f.write_str(self.stem),
            Some(index) => write!(f, "{}{index}", self.stem),
        }
    }
}

/// The name of this register, if it is in the list above (not: if a hart has it).
pub fn name(csr: u16) -> Option<Name> {
    if let Ok(at) = NAMED.binary_search_by_key(&csr, |&(number, _)| number) {
        return Some(Name { stem: NAMED[at].1, index: None });
    }
    let &(first, _, stem, index) = ROWS.iter().find(|r| (r.0..r.0 + r.1).contains(&csr))?;
    Some(Name { stem, index: Some(csr - first + index) })
}

/// The lowest mode that may access this register, from bits 9:8 of its number. The hypervisor's
/// and the reserved registers (2) count as machine mode's: nobody has them.
#[inline]
pub const fn min_priv(csr: u16) -> Priv {
    match csr >> 8 & 3 {
        0 => Priv::User,
        1 => Priv::Supervisor,
        _ => Priv::Machine,
    }
}

/// Whether writes to this register are illegal, from bits 11:10 of its number.
#[inline]
pub const fn is_read_only(csr: u16) -> bool {
    csr >> 10 & 3 == 3
}

/// Fields of `fcsr`.
pub mod fcsr {
    /// Inexact.
    pub const NX: u64 = 1;
    /// Underflow.
    pub const UF: u64 = 1 << 1;
    /// Overflow.
    pub const OF: u64 = 1 << 2;
    /// Division by zero.
    pub const DZ: u64 = 1 << 3;
    /// Invalid operation.
    pub const NV: u64 = 1 << 4;
    /// All flags: `fflags`.
    pub const FFLAGS: u64 = 0x1f;
    /// Where `frm` starts.
    pub const FRM_SHIFT: u32 = 5;
    /// All that is implemented.
    pub const MASK: u64 = 0xff;
}

/// Fields of `mstatus` and `sstatus`.
pub mod mstatus {
    /// Interrupts enabled in S-mode.
    pub const SIE: u64 = 1 << 1;
    /// Interrupts enabled in M-mode.
    pub const MIE: u64 = 1 << 3;
    /// `SIE` before the trap.
    pub const SPIE: u64 = 1 << 5;
    /// Big-endian data in U-mode; zero here.
    pub const UBE: u64 = 1 << 6;
    /// `MIE` before the trap.
    pub const MPIE: u64 = 1 << 7;
    /// Mode before the trap to S-mode: U or S.
    pub const SPP: u64 = 1 << 8;
    /// Bit number of [`SPP`].
    pub const SPP_SHIFT: u32 = 8;
    /// Vector state; zero here.
    pub const VS: u64 = 3 << 9;
    /// Mode before the trap to M-mode.
    pub const MPP: u64 = 3 << 11;
    /// Where [`MPP`] starts.
    pub const MPP_SHIFT: u32 = 11;
    /// Floating-point state: off, initial, clean, dirty.
    pub const FS: u64 = 3 << 13;
    /// [`FS`]: instructions and registers are illegal.
    pub const FS_OFF: u64 = 0;
    /// [`FS`]: initial values.
    pub const FS_INITIAL: u64 = 1 << 13;
    /// [`FS`]: unchanged since last saved.
    pub const FS_CLEAN: u64 = 2 << 13;
    /// [`FS`]: changed.
    pub const FS_DIRTY: u64 = 3 << 13;
    /// State of other user extensions; zero here.
    pub const XS: u64 = 3 << 15;
    /// Loads and stores act as in the mode of [`MPP`].
    pub const MPRV: u64 = 1 << 17;
    /// S-mode may access user pages.
    pub const SUM: u64 = 1 << 18;
    /// Loads may read executable pages.
    pub const MXR: u64 = 1 << 19;
    /// Trap `satp`, `sfence.vma` and `sinval.vma` in S-mode.
    pub const TVM: u64 = 1 << 20;
    /// Trap `wfi` below M-mode.
    pub const TW: u64 = 1 << 21;
    /// Trap `sret` in S-mode.
    pub const TSR: u64 = 1 << 22;
    /// Width of U-mode: 64 bits.
    pub const UXL_64: u64 = 2 << 32;
    /// Width of U-mode.
    pub const UXL: u64 = 3 << 32;
    /// Width of S-mode: 64 bits.
    pub const SXL_64: u64 = 2 << 34;
    /// Width of S-mode.
    pub const SXL: u64 = 3 << 34;
    /// Some of FS, VS and XS is dirty.
    pub const SD: u64 = 1 << 63;
    /// The fields that software may change.
    pub const WRITABLE: u64 =
        SIE | MIE | SPIE | MPIE | SPP | MPP | FS | MPRV | SUM | MXR | TVM | TW | TSR;
    /// The fields that `sstatus` shows.
    pub const SSTATUS: u64 = SIE | SPIE | UBE | SPP | VS | FS | XS | SUM | MXR | UXL | SD;
}

/// Bits of `mip` and `mie`, and of `sip`, `sie` and `mideleg`.
pub mod mip {
    /// Supervisor software interrupt.
    pub const SSIP: u64 = 1 << 1;
    /// Machine software interrupt.
    pub const MSIP: u64 = 1 << 3;
    /// Supervisor timer interrupt.
    pub const STIP: u64 = 1 << 5;
    /// Machine timer interrupt.
    pub const MTIP: u64 = 1 << 7;
    /// Supervisor external interrupt.
    pub const SEIP: u64 = 1 << 9;
    /// Machine external interrupt.
    pub const MEIP: u64 = 1 << 11;
    /// The supervisor's three, which can be delegated.
    pub const SUPERVISOR: u64 = SSIP | STIP | SEIP;
    /// The machine's three.
    pub const MACHINE: u64 = MSIP | MTIP | MEIP;
    /// All six.
    pub const ALL: u64 = SUPERVISOR | MACHINE;
}

/// Fields of `menvcfg`, and of `senvcfg`, which has the first four.
pub mod envcfg {
    /// Fences of I/O imply fences of memory.
    pub const FIOM: u64 = 1;
    /// `cbo.inval`: 0 illegal, 1 acts as flush, 3 invalidates.
    pub const CBIE: u64 = 3 << 4;
    /// Where [`CBIE`] starts.
    pub const CBIE_SHIFT: u32 = 4;
    /// `cbo.clean` and `cbo.flush` are legal.
    pub const CBCFE: u64 = 1 << 6;
    /// `cbo.zero` is legal.
    pub const CBZE: u64 = 1 << 7;
    /// Hardware updates A and D (Svadu).
    pub const ADUE: u64 = 1 << 61;
    /// Memory types in leaf PTEs (Svpbmt).
    pub const PBMTE: u64 = 1 << 62;
    /// `stimecmp` exists (Sstc).
    pub const STCE: u64 = 1 << 63;
    /// What `senvcfg` implements.
    pub const SENVCFG: u64 = FIOM | CBIE | CBCFE | CBZE;
    /// What `menvcfg` implements.
    pub const MENVCFG: u64 = SENVCFG | ADUE | PBMTE | STCE;
}

/// Bits of `mcounteren`, `scounteren` and `mcountinhibit`; bits 3 to 31 are the others.
pub mod counter {
    /// `cycle`.
    pub const CY: u64 = 1;
    /// `time`; not in `mcountinhibit`.
    pub const TM: u64 = 1 << 1;
    /// `instret`.
    pub const IR: u64 = 1 << 2;
    /// What `mcounteren` and `scounteren` implement.
    pub const ENABLE: u64 = 0xffff_ffff;
    /// What `mcountinhibit` implements.
    pub const INHIBIT: u64 = ENABLE & !TM;
}

/// Fields of `mtvec` and `stvec`.
pub mod tvec {
    /// Mode field: 0 direct, 1 vectored.
    pub const MODE: u64 = 3;
    /// All traps go to the base.
    pub const DIRECT: u64 = 0;
    /// Interrupts go to base + 4 × cause.
    pub const VECTORED: u64 = 1;
}

/// Fields of one byte of `pmpcfg*`.
pub mod pmpcfg {
    /// Readable.
    pub const R: u8 = 1;
    /// Writable.
    pub const W: u8 = 1 << 1;
    /// Executable.
    pub const X: u8 = 1 << 2;
    /// Address matching.
    pub const A: u8 = 3 << 3;
    /// [`A`]: the entry is off.
    pub const OFF: u8 = 0;
    /// [`A`]: top of range, from the previous entry's address.
    pub const TOR: u8 = 1 << 3;
    /// [`A`]: four bytes.
    pub const NA4: u8 = 2 << 3;
    /// [`A`]: a naturally aligned power of two.
    pub const NAPOT: u8 = 3 << 3;
    /// Locked until reset, and binding M-mode too.
    pub const L: u8 = 1 << 7;
    /// What is implemented of a byte; the rest reads zero.
    pub const MASK: u8 = R | W | X | A | L;
    /// Address bits of a `pmpaddr` register: bits 55:2 of the address.
    pub const ADDR_MASK: u64 = (1 << 54) - 1;
}
