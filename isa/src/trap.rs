//! Traps: exceptions and interrupts with their architectural codes and names (the privileged
//! manual, "Machine Cause Register").

macro_rules! codes {
    ($(#[$meta:meta])* $kind:ident { $($(#[$doc:meta])* $id:ident $code:literal $name:literal;)* }) => {
        $(#[$meta])*
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $kind { $($(#[$doc])* $id = $code,)* }

        impl $kind {
            /// All of them, by code.
            pub const ALL: &[$kind] = &[$($kind::$id),*];

            /// The one with this code.
            pub const fn from_code(code: u64) -> Option<$kind> {
                match code {
                    $($code => Some($kind::$id),)*
                    _ => None,
                }
            }

            /// The architectural code.
            #[inline]
            pub const fn code(self) -> u64 {
                self as u64
            }

            /// This one's bit in the delegation, pending and enable registers.
            #[inline]
            pub const fn bit(self) -> u64 {
                1 << self as u8
            }

            /// In words.
            pub const fn name(self) -> &'static str {
                match self { $($kind::$id => $name,)* }
            }
        }
    };
}

codes! {
    /// Synchronous traps.
    Exception {
        /// The pc is not aligned; cannot happen with 16-bit encodings.
        InstMisaligned 0 "instruction address misaligned";
        /// Fetch from where no memory is, or PMP forbids it.
        InstAccess 1 "instruction access fault";
        /// Not an instruction, or not in this mode.
        IllegalInst 2 "illegal instruction";
        /// `ebreak`.
        Breakpoint 3 "breakpoint";
        /// A load that has to be aligned and is not.
        LoadMisaligned 4 "load address misaligned";
        /// Load from where no memory is, or PMP forbids it.
        LoadAccess 5 "load access fault";
        /// A store or atomic that has to be aligned and is not.
        StoreMisaligned 6 "store/AMO address misaligned";
        /// Store or atomic to where no memory is, or PMP forbids it.
        StoreAccess 7 "store/AMO access fault";
        /// `ecall` in U-mode.
        EcallU 8 "environment call from U-mode";
        /// `ecall` in S-mode.
        EcallS 9 "environment call from S-mode";
        /// `ecall` in M-mode.
        EcallM 11 "environment call from M-mode";
        /// Translation of a fetch failed.
        InstPageFault 12 "instruction page fault";
        /// Translation of a load failed.
        LoadPageFault 13 "load page fault";
        /// Translation of a store or atomic failed.
        StorePageFault 15 "store/AMO page fault";
    }
}

codes! {
    /// Interrupts.
    Interrupt {
        /// Another hart asked S-mode.
        SupervisorSoftware 1 "supervisor software interrupt";
        /// Another hart asked M-mode.
        MachineSoftware 3 "machine software interrupt";
        /// S-mode's timer.
        SupervisorTimer 5 "supervisor timer interrupt";
        /// M-mode's timer.
        MachineTimer 7 "machine timer interrupt";
        /// A device, for S-mode.
        SupervisorExternal 9 "supervisor external interrupt";
        /// A device, for M-mode.
        MachineExternal 11 "machine external interrupt";
    }
}

impl Interrupt {
    /// All of them, most urgent first: external, software, timer; machine before supervisor.
    pub const BY_PRIORITY: [Interrupt; 6] = [
        Interrupt::MachineExternal,
        Interrupt::MachineSoftware,
        Interrupt::MachineTimer,
        Interrupt::SupervisorExternal,
        Interrupt::SupervisorSoftware,
        Interrupt::SupervisorTimer,
    ];
}

impl Exception {
    /// The exceptions that `medeleg` can delegate: all but `ecall` from M-mode.
    pub const DELEGABLE: u64 = {
        let mut mask = 0;
        let mut i = 0;
        while i < Exception::ALL.len() {
            mask |= Exception::ALL[i].bit();
            i += 1;
        }
        mask & !Exception::EcallM.bit()
    };
}

/// Why a trap was taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// By the instruction itself.
    Exception(Exception),
    /// By something else.
    Interrupt(Interrupt),
}

impl Cause {
    /// Top bit of `mcause` and `scause`.
    pub const INTERRUPT_BIT: u64 = 1 << 63;

    /// As in `mcause` and `scause`.
    #[inline]
    pub const fn bits(self) -> u64 {
        match self {
            Cause::Exception(e) => e.code(),
            Cause::Interrupt(i) => Cause::INTERRUPT_BIT | i.code(),
        }
    }

    /// The cause that `mcause` or `scause` holds, if it is a known one.
    pub const fn from_bits(bits: u64) -> Option<Cause> {
        if bits & Cause::INTERRUPT_BIT == 0 {
            match Exception::from_code(bits) {
                Some(e) => Some(Cause::Exception(e)),
                None => None,
            }
        } else {
            match Interrupt::from_code(bits & !Cause::INTERRUPT_BIT) {
                Some(i) => Some(Cause::Interrupt(i)),
                None => None,
            }
        }
    }

    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Exception(e) => e.name(),
            Cause::Interrupt(i) => i.name(),
        }
    }
}
