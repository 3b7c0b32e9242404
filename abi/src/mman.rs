//! Protection and flags of `mmap(2)`, and the request type of `sbrk(2)`.

/// Pages may be read.
pub const PROT_READ: u32 = 1;
/// Pages may be written.
pub const PROT_WRITE: u32 = 2;
/// Pages may be executed.
pub const PROT_EXEC: u32 = 4;

/// Writes are seen by every member of the mapping, and reach the file.
pub const MAP_SHARED: u32 = 0x01;
/// Writes stay in this process.
pub const MAP_PRIVATE: u32 = 0x02;
/// No file: pages start zeroed.
pub const MAP_ANONYMOUS: u32 = 0x20;

/// `sbrk(n, SBRK_EAGER)`: every page is mapped before the call returns (unless the kernel
/// was booted with `sbrk=lazy`). Any type other than [`SBRK_LAZY`] means this.
pub const SBRK_EAGER: u32 = 1;
/// `sbrk(n, SBRK_LAZY)`: pages are promised and mapped on their first fault.
pub const SBRK_LAZY: u32 = 2;

/// RSW bit 0 of a PTE: the frame is copy-on-write.
pub const PTE_RSW_COW: u64 = 1 << 8;
/// RSW bit 1 of a PTE: the frame belongs to a shared object.
pub const PTE_RSW_SHARED: u64 = 1 << 9;
/// In an *invalid* PTE (V = 0): the page is promised but absent.
pub const PTE_PROMISED: u64 = 1 << 8;
