//! Open files as memory mappings and system calls' buffers see them: the file system's side of
//! the interface to `mm`.

use abi::layout::PGSIZE;

use super::bounce::{UserFault, UserMemory};
use super::pool::Slot;
use super::{File, FileRef};
use crate::mm::AddressSpace;
use crate::mm::file::{FileBacking, FileHandle};

impl FileRef {
    /// A mapping's reference to the file, if it has pages: if it is neither a pipe nor a device.
    pub fn backing(&self) -> Option<FileHandle> {
        self.mappable().then(|| FileHandle::new(self.slot()))
    }
}

/// The file in a slot to which a [`FileHandle`] counts a reference.
fn file(slot: &Slot<File>) -> &File {
    // SAFETY: a handle counts a reference from its start to its end, and only handles and
    // `FileRef::backing` use a slot as a `FileBacking`; the latter has a reference of its own.
    unsafe { slot.object() }
}

impl FileBacking for Slot<File> {
    fn readable(&self) -> bool {
        file(self).readable()
    }

    fn writable(&self) -> bool {
        file(self).writable()
    }

    fn retain(&self) {
        // SAFETY: as in `file`.
        unsafe { Slot::retain(self) };
    }

    fn release(&self) {
        // SAFETY: a handle calls this when it ends, once for its `retain`.
        unsafe { Slot::release(self) };
    }

    fn size(&self) -> u64 {
        file(self).size()
    }

    fn read_page(&self, offset: u64, page: &mut [u8]) -> usize {
        let page: Result<&mut [u8; PGSIZE as usize], _> = page.try_into();
        // What cannot be read stays as it is: zero.
        page.map_or(0, |page| file(self).read_page_at(offset, page).unwrap_or(0))
    }

    fn write_back(&self, offset: u64, bytes: &[u8]) -> bool {
        file(self).write_back(offset, bytes).is_ok()
    }
}

impl UserMemory for AddressSpace {
    fn copyin(&mut self, buf: &mut [u8], va: u64) -> Result<(), UserFault> {
        AddressSpace::copyin(self, buf, va).map_err(|_| UserFault)
    }

    fn copyout(&mut self, va: u64, data: &[u8]) -> Result<(), UserFault> {
        AddressSpace::copyout(self, va, data).map_err(|_| UserFault)
    }
}
