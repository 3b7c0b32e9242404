//! Files, directories and pipes.

use core::ffi::CStr;

use abi::fcntl::O_RDONLY;
pub use abi::stat::{Stat, T_DEVICE, T_DIR, T_FILE};

use crate::sys;
pub use crate::sys::{close, dup};

/// Opens a file; a descriptor, or -1.
pub fn open(path: &CStr, flags: u32) -> i32 {
    sys::open(path.as_ptr(), flags)
}

/// Removes a name; 0 or -1.
pub fn unlink(path: &CStr) -> i32 {
    sys::unlink(path.as_ptr())
}

/// Gives a file one more name; 0 or -1.
pub fn link(old: &CStr, new: &CStr) -> i32 {
    sys::link(old.as_ptr(), new.as_ptr())
}

/// Makes a directory; 0 or -1.
pub fn mkdir(path: &CStr) -> i32 {
    sys::mkdir(path.as_ptr())
}

/// Makes a device node; 0 or -1.
pub fn mknod(path: &CStr, major: u16, minor: u16) -> i32 {
    sys::mknod(path.as_ptr(), major, minor)
}

/// Changes the current directory; 0 or -1.
pub fn chdir(path: &CStr) -> i32 {
    sys::chdir(path.as_ptr())
}

/// What is known about an open file.
pub fn fstat(fd: i32) -> Option<Stat> {
    let mut stat = Stat::default();
    // SAFETY: `stat` is ours and as large as the kernel's structure.
    let result = unsafe { sys::fstat(fd, &mut stat) };
    (result == 0).then_some(stat)
}

/// What is known about a file with this name.
pub fn stat(path: &CStr) -> Option<Stat> {
    let fd = open(path, O_RDONLY);
    if fd < 0 {
        return None;
    }
    let stat = fstat(fd);
    close(fd);
    stat
}

/// The two ends of a pipe.
#[derive(Clone, Copy)]
pub struct Pipe {
    /// The descriptor to read from.
    pub reader: i32,
    /// The descriptor to write to.
    pub writer: i32,
}

impl Pipe {
    /// Closes both ends.
    pub fn close(self) {
        close(self.reader);
        close(self.writer);
    }
}

/// Makes a pipe.
pub fn pipe() -> Option<Pipe> {
    let mut fds = [-1; 2];
    // SAFETY: the array has room for the two descriptors.
    let result = unsafe { sys::pipe(fds.as_mut_ptr()) };
    (result == 0).then_some(Pipe { reader: fds[0], writer: fds[1] })
}
