//! Sections with interrupts off that nest: it takes as many `pop_off` as there were `push_off`.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use crate::arch;

/// A hart's nesting. Only that hart touches it, with interrupts off: hence `Relaxed`.
struct Nesting {
    depth: AtomicUsize,
    /// Whether interrupts were on before the outermost `push_off`.
    enabled_before: AtomicBool,
}

static HARTS: [Nesting; arch::MAX_HARTS] =
    [const { Nesting { depth: AtomicUsize::new(0), enabled_before: AtomicBool::new(false) } };
        arch::MAX_HARTS];

fn mine() -> &'static Nesting {
    &HARTS[arch::hart_id()]
}

/// Turns interrupts off, until the [`pop_off`] that belongs to this call.
pub fn push_off() {
    let enabled = arch::interrupts_enabled();
    arch::interrupts_off();
    let hart = mine();
    let depth = hart.depth.load(Relaxed);
    if depth == 0 {
        hart.enabled_before.store(enabled, Relaxed);
    }
    hart.depth.store(depth + 1, Relaxed);
}

/// Undoes one [`push_off`]; the outermost one turns interrupts on again if they were on.
pub fn pop_off() {
    let hart = mine();
    assert!(!arch::interrupts_enabled(), "pop_off: interruptible");
    let depth = hart.depth.load(Relaxed);
    assert!(depth >= 1, "pop_off: nothing to undo");
    hart.depth.store(depth - 1, Relaxed);
    if depth == 1 && hart.enabled_before.load(Relaxed) {
        arch::interrupts_on();
    }
}

/// How many [`push_off`] are open on this hart. Interrupts must be off.
pub fn depth() -> usize {
    mine().depth.load(Relaxed)
}

/// What the outermost [`pop_off`] will restore. It belongs to the running kernel thread, not to
/// the hart: a context switch saves it and puts it back. Interrupts must be off.
pub fn saved_enable() -> bool {
    mine().enabled_before.load(Relaxed)
}

/// Puts back what [`saved_enable`] returned, after a context switch. Interrupts must be off.
pub fn set_saved_enable(enabled: bool) {
    mine().enabled_before.store(enabled, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_pop_restores_what_was() {
        arch::interrupts_on();
        push_off();
        push_off();
        assert_eq!(depth(), 2);
        pop_off();
        assert!(!arch::interrupts_enabled());
        pop_off();
        assert!(arch::interrupts_enabled());

        arch::interrupts_off();
        push_off();
        pop_off();
        assert!(!arch::interrupts_enabled());
        arch::interrupts_on();
    }

    #[test]
    #[should_panic(expected = "nothing to undo")]
    fn pop_without_push_is_a_bug() {
        arch::interrupts_off();
        pop_off();
    }
}
