//! Shared objects: memory that belongs to no single process.
//!
//! The object owns its frames, and every member process maps them on its own fault. A page that
//! nobody had touched when a process forked is still one frame for all members, because they ask
//! the object and not each other. The last member's reference takes the frames with it.

use abi::layout::PGSIZE;

use super::file::FileHandle;
use super::frame::{Frame, Owner};
use super::kmalloc::Arc;
use super::pagetable::PageTable;
use crate::sync::SpinLock;

/// A reference to a shared object.
pub type SharedRef = Arc<SharedObject>;

/// Pages that several address spaces map.
pub struct SharedObject {
    /// A page table that no `satp` points to: a sparse array from page number to frame.
    pages: SpinLock<PageTable>,
    /// Where pages come from and go to, with the offset of the object's first byte in it.
    file: Option<(FileHandle, u64)>,
}

/// Where a page of a shared object came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A member already had it.
    Present,
    /// It was made of zeros.
    Zeroed,
    /// It was read from the file.
    Filled,
}

impl SharedObject {
    /// An object of `bytes` bytes, made of zeros or of a file's contents from an offset on.
    /// `None` when memory is used up.
    pub fn create(bytes: u64, file: Option<(FileHandle, u64)>) -> Option<SharedRef> {
        let pages = SpinLock::new("shared object", PageTable::array(bytes.div_ceil(PGSIZE))?);
        Arc::new(SharedObject { pages, file })
    }

    /// The file behind the object and the offset of the object's first byte in it.
    pub fn file(&self) -> Option<(&FileHandle, u64)> {
        self.file.as_ref().map(|(file, offset)| (file, *offset))
    }

    /// The frame of the page at `offset`, which is made if no member has touched it yet.
    /// `None` when memory is used up. May sleep if there is a file.
    pub fn page(&self, offset: u64) -> Option<(Frame, Source)> {
        if let Some(frame) = self.pages.lock().frame(offset) {
            return Some((frame.share(), Source::Present));
        }
        // The file is read without the lock, so another member may be first: then its frame is
        // the one, and ours is dropped.
        let mut fresh = Frame::zeroed(Owner::Shared)?;
        let mut source = Source::Zeroed;
        if let Some((file, start)) = &self.file {
            file.read_page(start + offset, fresh.bytes_mut());
            source = Source::Filled;
        }
        let mut pages = self.pages.lock();
        if let Some(frame) = pages.frame(offset) {
            return Some((frame.share(), Source::Present));
        }
        let mapped = fresh.share();
        pages.map(offset, fresh, 0)?;
        Some((mapped, source))
    }

    /// Calls `see` with every frame that the object refers to, its own tables included.
    #[cfg(test)]
    pub fn visit_references(&self, see: impl FnMut(u64)) {
        self.pages.lock().visit_references(see);
    }
}
