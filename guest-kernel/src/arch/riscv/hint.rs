//! Hints to the emulator's trace: `slti x0, a0, KIND`, a no-op on every other machine.

use core::arch::asm;

use abi::hint::Hint;

/// The hint's kind is an immediate, so each kind is an instruction of its own.
macro_rules! emit {
    ($kind:expr, $a0:expr, $a1:expr, $a2:expr; $($variant:ident)*) => {
        match $kind {
            // SAFETY: SLTI with rd = x0 changes nothing; the registers are only read.
            $(Hint::$variant => unsafe {
                asm!(
                    "slti x0, a0, {kind}",
                    kind = const Hint::$variant as u16,
                    in("a0") $a0, in("a1") $a1, in("a2") $a2,
                    // Not `nomem`: the trace reads what a payload may point to.
                    options(nostack, preserves_flags, readonly)
                )
            },)*
        }
    };
}

/// Tells the emulator's trace what happened; nothing on any other machine.
#[inline(always)]
pub fn hint(kind: Hint, a0: u64, a1: u64, a2: u64) {
    emit!(kind, a0, a1, a2;
        ProcSwitched Forked Execed Exited FrameAllocated FrameFreed FrameRefs
        FaultBegan FaultClassified SyscallEntered SyscallReturned Mark);
}
