//! Open files: what a descriptor stands for, shared by all processes that inherited it.

use core::ops::Deref;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::fs::BSIZE;
use abi::layout::PGSIZE;
use abi::param::MAXOPBLOCKS;
use abi::stat::Stat;

use super::bounce::{CHUNK, UserMemory, copyin_some, copyout_some};
use super::device::device;
use super::pipe::PipeEnd;
use super::pool::{Shared, Slot};
use super::{FsError, InodeRef};

/// Bytes that one transaction writes, so that it fits into what the log reserves: the inode, the
/// indirect block and two blocks of slack for a write that is not aligned; each block that is
/// written may need one of the bitmap. Offsets where a write is split are MIT's.
pub const WRITE_CHUNK: usize = (MAXOPBLOCKS - 1 - 1 - 2) / 2 * BSIZE;

/// An open file.
pub struct File {
    kind: Kind,
    readable: bool,
    writable: bool,
}

pub(super) enum Kind {
    Pipe(PipeEnd),
    /// A file or directory, and where the next transfer begins. The offset is changed while the
    /// inode is locked.
    Inode(InodeRef, AtomicU32),
    /// A device file and its major number.
    Device(InodeRef, i16),
}

/// A counted reference to an open file. Dropping the last one closes the file, which may sleep:
/// nothing may be locked then, and no transaction under way.
#[derive(Clone)]
pub struct FileRef(Shared<File>);

impl FileRef {
    pub(super) fn new(file: Shared<File>) -> FileRef {
        FileRef(file)
    }

    pub(super) fn slot(&self) -> &'static Slot<File> {
        self.0.slot()
    }

    /// Gives up the reference. The same as dropping it, for those who want to see it.
    pub fn close(self) {}
}

impl Deref for FileRef {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl File {
    pub(super) fn new(kind: Kind, readable: bool, writable: bool) -> File {
        File { kind, readable, writable }
    }

    /// Whether it was opened for reading.
    pub fn readable(&self) -> bool {
        self.readable
    }

    /// Whether it was opened for writing.
    pub fn writable(&self) -> bool {
        self.writable
    }

    /// Whether it has pages that can be mapped: it is neither a pipe nor a device.
    pub fn mappable(&self) -> bool {
        matches!(self.kind, Kind::Inode(..))
    }

    /// What `fstat` tells. Pipes have nothing to tell.
    pub fn stat(&self) -> Result<Stat, FsError> {
        match &self.kind {
            Kind::Pipe(_) => Err(FsError::Invalid),
            Kind::Inode(inode, _) | Kind::Device(inode, _) => Ok(inode.lock()?.stat()),
        }
    }

    /// Reads at most `len` bytes to user memory.
    pub fn read(&self, user: &mut dyn UserMemory, va: u64, len: usize) -> Result<usize, FsError> {
        if !self.readable {
            return Err(FsError::BadDescriptor);
        }
        match &self.kind {
            Kind::Pipe(pipe) => pipe.read(user, va, len),
            Kind::Inode(inode, offset) => match len {
                ..=CHUNK => read_inode::<CHUNK>(inode, offset, user, va, len),
                _ => read_inode::<WRITE_CHUNK>(inode, offset, user, va, len),
            },
            Kind::Device(_, major) => read_device(*major, user, va, len),
        }
    }

    /// Writes `len` bytes of user memory. A file takes all of them or the call fails, although
    /// some may have been written then; a pipe or device may take fewer.
    pub fn write(&self, user: &mut dyn UserMemory, va: u64, len: usize) -> Result<usize, FsError> {
        if !self.writable {
            return Err(FsError::BadDescriptor);
        }
        match &self.kind {
            Kind::Pipe(pipe) => pipe.write(user, va, len),
            Kind::Inode(inode, offset) => match len {
                ..=CHUNK => write_inode::<CHUNK>(inode, offset, user, va, len),
                _ => write_inode::<WRITE_CHUNK>(inode, offset, user, va, len),
            },
            Kind::Device(_, major) => write_device(*major, user, va, len),
        }
    }

    /// Size in bytes; 0 if it cannot be mapped.
    pub fn size(&self) -> u64 {
        match &self.kind {
            Kind::Inode(inode, _) => inode.lock().map_or(0, |guard| guard.size.into()),
            _ => 0,
        }
    }

    /// Fills a page with the file's bytes from an offset, and zeros behind the file's end.
    /// Returns how many bytes were the file's.
    pub fn read_page_at(
        &self,
        offset: u64,
        page: &mut [u8; PGSIZE as usize],
    ) -> Result<usize, FsError> {
        let Kind::Inode(inode, _) = &self.kind else { return Err(FsError::NoDevice) };
        let got = match u32::try_from(offset) {
            Ok(offset) => inode.lock()?.read(offset, page)?,
            Err(_) => 0,
        };
        page[got..].fill(0);
        Ok(got)
    }

    /// Writes a mapped page's bytes back at an offset; what is behind the file's end is left out.
    pub fn write_back(&self, offset: u64, data: &[u8]) -> Result<(), FsError> {
        let Kind::Inode(inode, _) = &self.kind else { return Err(FsError::NoDevice) };
        // A file is smaller than 4 GiB.
        let Ok(offset) = u32::try_from(offset) else { return Ok(()) };
        for (i, chunk) in data.chunks(WRITE_CHUNK).enumerate() {
            let Some(at) = offset.checked_add((i * WRITE_CHUNK) as u32) else { return Ok(()) };
            let op = inode.fs().begin_op();
            let mut guard = inode.lock()?;
            let len = chunk.len().min(guard.size.saturating_sub(at) as usize);
            if len == 0 {
                return Ok(());
            }
            if guard.write(&op, at, &chunk[..len])? < len {
                return Err(FsError::NoSpace);
            }
        }
        Ok(())
    }
}

// The transfers are functions of their own, not inlined, so that only the buffer that is used is
// on the stack, which is small.

#[inline(never)]
fn read_inode<const BUFFER: usize>(
    inode: &InodeRef,
    offset: &AtomicU32,
    user: &mut dyn UserMemory,
    va: u64,
    len: usize,
) -> Result<usize, FsError> {
    let mut buffer = [0; BUFFER];
    let mut done = 0;
    while done < len {
        let chunk = &mut buffer[..BUFFER.min(len - done)];
        let guard = inode.lock()?;
        let from = offset.load(Ordering::Relaxed);
        let got = guard.read(from, chunk)?;
        let to = from + got as u32;
        offset.store(to, Ordering::Relaxed);
        drop(guard);
        if got > 0 && user.copyout(va.wrapping_add(done as u64), &chunk[..got]).is_err() {
            // The failed call read nothing, unless somebody else has gone on from there.
            let start = from - done as u32;
            let _ = offset.compare_exchange(to, start, Ordering::Relaxed, Ordering::Relaxed);
            return Err(FsError::Fault);
        }
        done += got;
        if got < chunk.len() {
            break;
        }
    }
    Ok(done)
}

#[inline(never)]
fn write_inode<const BUFFER: usize>(
    inode: &InodeRef,
    offset: &AtomicU32,
    user: &mut dyn UserMemory,
    va: u64,
    len: usize,
) -> Result<usize, FsError> {
    let mut buffer = [0; BUFFER];
    let mut done = 0;
    while done < len {
        let chunk = &mut buffer[..BUFFER.min(len - done)];
        // What can be read is written, although the call fails then.
        let got = copyin_some(user, chunk, va.wrapping_add(done as u64));
        let op = inode.fs().begin_op();
        let mut guard = inode.lock()?;
        let at = offset.load(Ordering::Relaxed);
        let written = guard.write(&op, at, &chunk[..got])?;
        offset.store(at + written as u32, Ordering::Relaxed);
        if written < chunk.len() {
            return Err(if written < got { FsError::NoSpace } else { FsError::Fault });
        }
        done += written;
    }
    Ok(done)
}

#[inline(never)]
fn read_device(
    major: i16,
    user: &mut dyn UserMemory,
    va: u64,
    len: usize,
) -> Result<usize, FsError> {
    let device = device(major)?;
    if len == 0 {
        return Ok(0);
    }
    let mut buffer = [0; CHUNK];
    let got = device.read(&mut buffer[..CHUNK.min(len)])?;
    Ok(copyout_some(user, va, &buffer[..got]))
}

#[inline(never)]
fn write_device(
    major: i16,
    user: &mut dyn UserMemory,
    va: u64,
    len: usize,
) -> Result<usize, FsError> {
    let device = device(major)?;
    let mut buffer = [0; CHUNK];
    let mut done = 0;
    while done < len {
        let want = CHUNK.min(len - done);
        let got = copyin_some(user, &mut buffer[..want], va.wrapping_add(done as u64));
        let taken = device.write(&buffer[..got])?;
        done += taken;
        if taken < want {
            break;
        }
    }
    Ok(done)
}
