//! What a process has for itself: memory, files, registers.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

use super::table::Proc;
use crate::arch::{self, TrapFrame};
use crate::fs::{FS, ProcFiles};
use crate::mm::{AddressSpace, Frame, Owner};

/// What a process has for itself.
pub struct Own {
    // In this order: the address space refers to the trap frame's page.
    space: Option<AddressSpace>,
    trap_frame: Option<Frame>,
    /// Open files and current directory.
    pub files: ProcFiles,
    /// Which system calls `trace(2)` prints, by number.
    pub trace_mask: u64,
}

impl Own {
    const EMPTY: Own =
        Own { space: None, trap_frame: None, files: ProcFiles::new(&FS), trace_mask: 0 };

    /// Gets a trap frame, and an address space around it that `make` makes.
    pub(super) fn set_up(&mut self, make: impl FnOnce(u64) -> Option<AddressSpace>) -> Option<()> {
        let frame = Frame::zeroed(Owner::TrapFrame)?;
        self.space = Some(make(frame.pa())?);
        self.trap_frame = Some(frame);
        Some(())
    }

    /// An address space with nothing in it, for this process's next program.
    pub fn new_space(&self) -> Option<AddressSpace> {
        let frame = self.trap_frame.as_ref().expect("a living process has a trap frame");
        AddressSpace::new(frame.pa(), arch::trampoline_pa())
    }

    /// Replaces the address space and returns the old one.
    pub fn replace_space(&mut self, space: AddressSpace) -> Option<AddressSpace> {
        self.space.replace(space)
    }

    /// The user's registers.
    pub fn registers(&mut self) -> &mut TrapFrame {
        let frame = self.trap_frame.as_mut().expect("a living process has a trap frame");
        // SAFETY: the frame is this process's, borrowed mutably, zeroed when it was made, and
        // any bytes are a `TrapFrame`.
        unsafe { &mut *frame.as_ptr().cast() }
    }

    /// The memory that user mode sees.
    pub fn space(&mut self) -> &mut AddressSpace {
        self.space.as_mut().expect("a living process has an address space")
    }

    /// Files and memory at once, for transfers between them.
    pub fn files_and_space(&mut self) -> (&mut ProcFiles, &mut AddressSpace) {
        let space = self.space.as_mut().expect("a living process has an address space");
        (&mut self.files, space)
    }

    /// Gives everything back. May sleep.
    pub(super) fn release(&mut self) {
        // Memory first: who learns from a closed pipe that this process ended finds it free.
        self.space = None;
        self.files.close_all();
        self.trap_frame = None;
        self.trace_mask = 0;
    }
}

/// The place for an [`Own`]. It is a lock that nobody waits for, because by design only one
/// thread is ever interested; should two be, that is a kernel bug and panics.
pub struct OwnCell {
    taken: AtomicBool,
    own: UnsafeCell<Own>,
}

// SAFETY: `taken` keeps accesses apart, and what is inside may move between threads: it refers
// to memory and files that are shared behind locks.
unsafe impl Sync for OwnCell {}

impl OwnCell {
    pub(super) const fn new() -> OwnCell {
        OwnCell { taken: AtomicBool::new(false), own: UnsafeCell::new(Own::EMPTY) }
    }
}

/// Access to what a process has for itself.
pub struct OwnGuard {
    proc: &'static Proc,
}

impl Proc {
    /// What the process has for itself. The caller is its thread, or its parent while it has no
    /// thread that could run.
    pub fn own(&'static self) -> OwnGuard {
        let taken = self.own.taken.swap(true, Ordering::Acquire);
        assert!(!taken, "two threads in one process");
        OwnGuard { proc: self }
    }
}

impl OwnGuard {
    /// The process.
    pub fn proc(&self) -> &'static Proc {
        self.proc
    }
}

impl Deref for OwnGuard {
    type Target = Own;

    fn deref(&self) -> &Own {
        // SAFETY: the guard exists, so it is the only one.
        unsafe { &*self.proc.own.own.get() }
    }
}

impl DerefMut for OwnGuard {
    fn deref_mut(&mut self) -> &mut Own {
        // SAFETY: the guard exists, so it is the only one, and it is borrowed mutably.
        unsafe { &mut *self.proc.own.own.get() }
    }
}

impl Drop for OwnGuard {
    fn drop(&mut self) {
        self.proc.own.taken.store(false, Ordering::Release);
    }
}
