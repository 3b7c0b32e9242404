//! Switching between kernel threads.

use core::arch::naked_asm;
use core::mem::offset_of;

use crate::arch::Context;

/// Saves this thread in `from` and goes on with `to`; returns when something switches back.
///
/// # Safety
/// `to` was saved by this function, or made by [`Context::new`] for a thread that has a stack;
/// no other hart runs it or switches to it. Interrupts are off.
#[unsafe(naked)]
pub unsafe extern "C" fn switch(from: *mut Context, to: *const Context) {
    naked_asm!(
        "sd ra, {ra}(a0)",
        "sd sp, {sp}(a0)",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11",
        "sd s\\n, ({s} + 8 * \\n)(a0)",
        ".endr",
        "ld ra, {ra}(a1)",
        "ld sp, {sp}(a1)",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11",
        "ld s\\n, ({s} + 8 * \\n)(a1)",
        ".endr",
        "ret",
        ra = const offset_of!(Context, ra),
        sp = const offset_of!(Context, sp),
        s = const offset_of!(Context, s),
    )
}
