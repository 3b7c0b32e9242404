//! Flags of `open(2)`.

/// Open for reading only.
pub const O_RDONLY: u32 = 0x000;
/// Open for writing only.
pub const O_WRONLY: u32 = 0x001;
/// Open for reading and writing.
pub const O_RDWR: u32 = 0x002;
/// Create the file if it does not exist.
pub const O_CREATE: u32 = 0x200;
/// Cut the file to length 0.
pub const O_TRUNC: u32 = 0x400;
