//! A machine for tests on the host: one at a time has the ledger.

use std::alloc::{Layout, alloc, dealloc};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use super::aspace::AddressSpace;
use super::file::FileBacking;
use super::frame::{self, Frame, Owner, PAGE};
use super::{Policy, Prot, set_policy};

static ONE_MACHINE: Mutex<()> = Mutex::new(());

/// The policy of a plain boot.
pub const DEFAULT_POLICY: Policy = Policy { lazy_sbrk: true, cow_fork: true, kmalloc_panic: false };

/// Physical memory under the ledger, with a trampoline page and a trap frame.
pub struct Machine {
    memory: *mut u8,
    layout: Layout,
    /// A page for all trap frames and trampolines, which address spaces only borrow.
    borrowed: Option<Frame>,
    /// Free pages at the start.
    pub free: usize,
    _only: MutexGuard<'static, ()>,
}

impl Machine {
    /// A machine with about `frames` frames. Other tests with a machine wait.
    pub fn new(frames: usize) -> Machine {
        let only = ONE_MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        let layout = Layout::from_size_align((frames + 8) * PAGE, PAGE).unwrap();
        // SAFETY: the layout has a size.
        let memory = unsafe { alloc(layout) };
        let start = memory.expose_provenance() as u64;
        // SAFETY: the memory was just allocated, and lives as long as the machine.
        unsafe { frame::init(start, start + layout.size() as u64) };
        set_policy(DEFAULT_POLICY);
        let borrowed = Frame::zeroed(Owner::Kernel);
        Machine { memory, layout, borrowed, free: frame::free_pages(), _only: only }
    }

    /// Physical address of a page to borrow.
    pub fn borrowed(&self) -> u64 {
        self.borrowed.as_ref().unwrap().pa()
    }

    /// An address space with a page of text, two pages of data, guard and stack.
    pub fn program(&self) -> Option<AddressSpace> {
        let mut space = AddressSpace::new(self.borrowed(), self.borrowed())?;
        space.load_segment(0, 100, Prot::RX).ok()?;
        space.load_segment(PAGE as u64, PAGE as u64 + 5, Prot::RW).ok()?;
        space.setup_stack(1).ok()?;
        Some(space)
    }

    /// Fails unless all memory came back.
    pub fn assert_nothing_lost(&self) {
        frame::fail_allocation(0);
        assert_eq!(frame::free_pages(), self.free, "free pages");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.borrowed = None;
        set_policy(DEFAULT_POLICY);
        // SAFETY: nobody uses the memory beyond the machine.
        unsafe { dealloc(self.memory, self.layout) };
    }
}

/// A file in memory that counts its references.
pub struct TestFile {
    /// Contents.
    pub bytes: Mutex<Vec<u8>>,
    /// References by mappings.
    pub refs: Mutex<usize>,
    /// Opened for writing as well.
    pub writable: bool,
}

impl TestFile {
    /// An open file; tests leak it.
    pub fn open(bytes: &[u8], writable: bool) -> &'static TestFile {
        std::boxed::Box::leak(std::boxed::Box::new(TestFile {
            bytes: Mutex::new(bytes.to_vec()),
            refs: Mutex::new(0),
            writable,
        }))
    }
}

impl FileBacking for TestFile {
    fn readable(&self) -> bool {
        true
    }

    fn writable(&self) -> bool {
        self.writable
    }

    fn retain(&self) {
        *self.refs.lock().unwrap() += 1;
    }

    fn release(&self) {
        *self.refs.lock().unwrap() -= 1;
    }

    fn size(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn read_page(&self, offset: u64, page: &mut [u8]) -> usize {
        let bytes = self.bytes.lock().unwrap();
        let rest = bytes.get(offset as usize..).unwrap_or(&[]);
        let count = rest.len().min(page.len());
        page[..count].copy_from_slice(&rest[..count]);
        count
    }

    fn write_back(&self, offset: u64, from: &[u8]) -> bool {
        let mut bytes = self.bytes.lock().unwrap();
        bytes[offset as usize..offset as usize + from.len()].copy_from_slice(from);
        true
    }
}
