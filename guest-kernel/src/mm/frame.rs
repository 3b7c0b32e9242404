//! The ledger of physical memory: every frame, how many owners it has, and who took it.
//!
//! A [`Frame`] is one *reference* to a frame, as a value. Cloning the reference with
//! [`Frame::share`] counts up, dropping it counts down, and the last drop puts the frame back on
//! the free list. There is no explicit `free` anywhere in the kernel, so what owns a frame cannot
//! forget to return it, and cannot return it twice.
//!
//! As in MIT's kernel, freed frames are filled with [`JUNK_FREED`] and allocated ones with
//! [`JUNK_ALLOCATED`], to expose uses of dangling or uninitialised memory.

use core::num::NonZeroU64;
use core::ptr::NonNull;

use abi::hint::Hint;
pub use abi::hint::Owner;
use abi::layout::PGSIZE;

use crate::arch;
use crate::sync::SpinLock;

/// [`PGSIZE`] for lengths of slices.
pub const PAGE: usize = PGSIZE as usize;
/// What freed frames are filled with.
pub const JUNK_FREED: u8 = 1;
/// What allocated frames are filled with.
pub const JUNK_ALLOCATED: u8 = 5;

/// Calls `each` with the index of every word of a frame.
///
/// Most of what a fault costs is filling a frame, and filling it again when it is freed. The
/// library's `memset` and `memcpy` go word by word; this is unrolled, which halves the cost.
/// (Callers access words as volatile, or the compiler would see through it and call them.)
#[inline(always)]
fn for_each_word(mut each: impl FnMut(usize)) {
    const UNROLLED: usize = 16;
    for start in (0..PAGE / size_of::<u64>()).step_by(UNROLLED) {
        for index in start..start + UNROLLED {
            each(index);
        }
    }
}

/// One line of the ledger.
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    /// References to the frame; 0 when it is free.
    refs: u16,
    /// An [`Owner`] as a number, from the last allocation.
    owner: u16,
}

/// A free frame's first bytes: the free list runs through the frames themselves.
struct FreeFrame {
    next: Option<NonNull<FreeFrame>>,
}

/// All frames of the machine. The entries lie in front of the frames they describe.
#[repr(C)]
struct Ledger {
    /// The entry of the frame at `base`; the others follow.
    entries: *mut Entry,
    /// Physical address of the first frame.
    base: u64,
    /// One beyond the last frame.
    end: u64,
    /// Frames in `base..fresh` were never handed out, and are on no list.
    fresh: u64,
    /// Frames that were handed out and came back.
    returned: Option<NonNull<FreeFrame>>,
    /// Number of free frames.
    free: usize,
    /// The allocation that fails, counted down to 0; 0 when none shall.
    fail_in: u64,
}

// SAFETY: the pointers lead to memory that only the ledger uses, whichever hart holds its lock.
unsafe impl Send for Ledger {}

static LEDGER: SpinLock<Ledger> = SpinLock::new(
    "ledger",
    Ledger {
        entries: core::ptr::null_mut(),
        base: 0,
        end: 0,
        fresh: 0,
        returned: None,
        free: 0,
        fail_in: 0,
    },
);

/// Hands the physical memory in `start..end` over to the ledger.
///
/// # Safety
/// The memory is mapped at its physical address, nobody uses it, and nobody ever will but
/// through the [`Frame`]s that the ledger hands out.
pub unsafe fn init(start: u64, end: u64) {
    let mut ledger = LEDGER.lock();
    let start = start.next_multiple_of(PGSIZE);
    let end = end - end % PGSIZE;
    let entry_bytes = (end - start) / PGSIZE * size_of::<Entry>() as u64;
    let base = start + entry_bytes.next_multiple_of(PGSIZE);
    let frames = ((end - base) / PGSIZE) as usize;
    ledger.entries = core::ptr::with_exposed_provenance_mut(start as usize);
    // SAFETY: `start..base` is ours and holds an entry for every frame.
    unsafe { ledger.entries.write_bytes(0, frames) };
    (ledger.base, ledger.end, ledger.fresh) = (base, end, end);
    (ledger.returned, ledger.free, ledger.fail_in) = (None, frames, 0);
}

/// Number of free frames.
pub fn free_pages() -> usize {
    LEDGER.lock().free
}

/// Makes the `n`-th allocation from now fail, once; 0 takes it back.
pub fn fail_allocation(n: u64) {
    LEDGER.lock().fail_in = n;
}

impl Ledger {
    fn entry(&mut self, pa: u64) -> &mut Entry {
        assert!(pa >= self.base && pa < self.end && pa.is_multiple_of(PGSIZE), "frame {pa:#x}");
        // SAFETY: there is an entry for every frame in `base..end`.
        unsafe { &mut *self.entries.add(((pa - self.base) / PGSIZE) as usize) }
    }

    fn take(&mut self, owner: Owner) -> Option<Frame> {
        if self.fail_in > 0 {
            self.fail_in -= 1;
            if self.fail_in == 0 {
                return None;
            }
        }
        let pa = if let Some(frame) = self.returned {
            // SAFETY: free frames belong to the ledger, and this one was linked by `put`.
            self.returned = unsafe { frame.read().next };
            frame.addr().get() as u64
        } else if self.fresh > self.base {
            self.fresh -= PGSIZE;
            self.fresh
        } else {
            return None;
        };
        *self.entry(pa) = Entry { refs: 1, owner: owner as u16 };
        self.free -= 1;
        arch::hint(Hint::FrameAllocated, pa, self.free as u64, owner as u64);
        Some(Frame { pa: NonZeroU64::new(pa).expect("memory does not start at 0") })
    }

    fn put(&mut self, pa: u64) {
        let frame: *mut FreeFrame = core::ptr::with_exposed_provenance_mut(pa as usize);
        let frame = NonNull::new(frame).expect("memory does not start at 0");
        // SAFETY: the frame's last reference is gone, so it belongs to the ledger.
        unsafe { frame.write(FreeFrame { next: self.returned }) };
        self.returned = Some(frame);
        self.free += 1;
        arch::hint(Hint::FrameFreed, pa, self.free as u64, 0);
    }

    /// Adds `change` to the reference count of a frame that has references; returns the new one.
    fn count(&mut self, pa: u64, change: i16) -> u16 {
        let entry = self.entry(pa);
        let old = entry.refs;
        assert!(old > 0, "kfree");
        entry.refs = old.checked_add_signed(change).expect("a frame has few owners");
        let new = entry.refs;
        arch::hint(Hint::FrameRefs, pa, u64::from(old), u64::from(new));
        new
    }
}

/// A reference to a frame of physical memory.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pa: NonZeroU64,
}

impl Frame {
    /// A frame full of [`JUNK_ALLOCATED`], unless memory is used up.
    pub fn junk(owner: Owner) -> Option<Frame> {
        let frame = LEDGER.lock().take(owner)?;
        frame.fill(JUNK_ALLOCATED);
        Some(frame)
    }

    /// A frame of zeros, unless memory is used up.
    pub fn zeroed(owner: Owner) -> Option<Frame> {
        let frame = LEDGER.lock().take(owner)?;
        frame.fill(0);
        Some(frame)
    }

    /// A new frame with the contents of this one, unless memory is used up.
    pub fn duplicate(&self, owner: Owner) -> Option<Frame> {
        let copy = LEDGER.lock().take(owner)?;
        let (from, to): (*const u64, *mut u64) = (self.as_ptr().cast(), copy.as_ptr().cast());
        // SAFETY: both are whole frames, and they differ since `self` was not free.
        for_each_word(|i| unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) });
        Some(copy)
    }

    /// Another reference to the same frame.
    pub fn share(&self) -> Frame {
        LEDGER.lock().count(self.pa(), 1);
        Frame { pa: self.pa }
    }

    /// Whether this is the only reference to the frame.
    ///
    /// If so, it stays so until this reference is shared: nobody else has one to share.
    pub fn is_last(&self) -> bool {
        self.refs() == 1
    }

    /// The number of references to the frame; others may change it at any time, unless it is 1.
    pub fn refs(&self) -> usize {
        usize::from(LEDGER.lock().entry(self.pa()).refs)
    }

    /// The frame's physical address.
    pub fn pa(&self) -> u64 {
        self.pa.get()
    }

    /// The frame's first byte, as the kernel sees it.
    pub fn as_ptr(&self) -> *mut u8 {
        pointer(self.pa())
    }

    /// The frame's bytes. Other references may exist: only their owners' agreement (nobody
    /// writes a copy-on-write frame) makes the contents stable.
    pub fn bytes(&self) -> &[u8; PAGE] {
        // SAFETY: the frame is not free as long as this reference exists.
        unsafe { &*self.as_ptr().cast() }
    }

    /// The bytes of a frame, for filling it.
    pub fn bytes_mut(&mut self) -> &mut [u8; PAGE] {
        // SAFETY: as in `bytes`; this reference is borrowed mutably.
        unsafe { &mut *self.as_ptr().cast() }
    }

    fn fill(&self, byte: u8) {
        let (words, word): (*mut u64, _) = (self.as_ptr().cast(), u64::from_ne_bytes([byte; 8]));
        // SAFETY: a whole frame that is not free.
        for_each_word(|i| unsafe { words.add(i).write_volatile(word) });
    }

    /// Gives the reference up without counting down: for storing it in a page-table entry.
    pub fn into_raw(self) -> u64 {
        let pa = self.pa();
        core::mem::forget(self);
        pa
    }

    /// The reference that [`Frame::into_raw`] gave up.
    ///
    /// # Safety
    /// `pa` comes from `into_raw`, which is not undone twice.
    pub unsafe fn from_raw(pa: u64) -> Frame {
        Frame { pa: NonZeroU64::new(pa).expect("memory does not start at 0") }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // The junk is filled in without the lock: between the two sections, the frame has no
        // reference and is on no list, so nobody can reach it.
        if LEDGER.lock().count(self.pa(), -1) == 0 {
            self.fill(JUNK_FREED);
            LEDGER.lock().put(self.pa());
        }
    }
}

/// Frees a frame whoever still refers to it.
#[cfg(feature = "mutants")]
pub(super) fn mutated_free(pa: u64) {
    LEDGER.lock().entry(pa).refs = 0;
    // SAFETY: none; the frame may be in use, and that is the mistake.
    unsafe { pointer(pa).write_bytes(JUNK_FREED, PAGE) };
    LEDGER.lock().put(pa);
}

/// Where the kernel sees the byte at a physical address: memory is mapped one to one.
pub fn pointer(pa: u64) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(pa as usize)
}
