//! How bytes get from and to user memory: through a buffer of the kernel.
//!
//! Copying from or to user memory may fault, and the fault may sleep, read a file, or wait for
//! memory. So it is never done while something is locked or a transaction is under way.

use abi::layout::PGSIZE;

/// User memory could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserFault;

/// The memory of the calling process.
pub trait UserMemory {
    /// Copies from user memory; all of it or an error.
    fn copyin(&mut self, buf: &mut [u8], va: u64) -> Result<(), UserFault>;
    /// Copies to user memory; all of it or an error.
    fn copyout(&mut self, va: u64, data: &[u8]) -> Result<(), UserFault>;
}

/// Bytes that are copied at once, through a buffer on the kernel's stack.
///
/// The buffers are there, and not in frames, because reading and writing must go on when memory
/// is used up.
pub const CHUNK: usize = 512;

/// Copies from user memory as much as there is: all of it, or what is before a page boundary.
pub fn copyin_some(user: &mut dyn UserMemory, buf: &mut [u8], va: u64) -> usize {
    if user.copyin(buf, va).is_ok() {
        return buf.len();
    }
    let whole = to_page_end(va, buf.len());
    if whole < buf.len() && user.copyin(&mut buf[..whole], va).is_ok() { whole } else { 0 }
}

/// Copies to user memory as much as goes: all of it, or what is before a page boundary.
pub fn copyout_some(user: &mut dyn UserMemory, va: u64, data: &[u8]) -> usize {
    if user.copyout(va, data).is_ok() {
        return data.len();
    }
    let whole = to_page_end(va, data.len());
    if whole < data.len() && user.copyout(va, &data[..whole]).is_ok() { whole } else { 0 }
}

/// How many bytes of a range that is at most a page long are in its first page.
fn to_page_end(va: u64, len: usize) -> usize {
    len.min((PGSIZE - va % PGSIZE) as usize)
}
