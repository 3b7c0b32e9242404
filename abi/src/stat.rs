//! `struct stat` of `fstat(2)`, and the small structures of the introspection calls.

/// A directory.
pub const T_DIR: i16 = 1;
/// A regular file.
pub const T_FILE: i16 = 2;
/// A device node.
pub const T_DEVICE: i16 = 3;

/// What `fstat(2)` fills in (24 bytes, MIT's layout).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The file system's device number.
    pub dev: i32,
    /// Inode number.
    pub ino: u32,
    /// [`T_DIR`], [`T_FILE`] or [`T_DEVICE`].
    pub kind: i16,
    /// Number of links to the file.
    pub nlink: i16,
    /// Size of the file in bytes.
    pub size: u64,
}

impl Stat {
    /// Size in user memory.
    pub const BYTES: usize = 24;

    /// The structure as it lies in user memory.
    pub fn to_bytes(&self) -> [u8; Stat::BYTES] {
        let mut bytes = [0; Stat::BYTES];
        bytes[0..4].copy_from_slice(&self.dev.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.ino.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.kind.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.nlink.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }
}

/// What `sysinfo(2)` fills in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SysInfo {
    /// Free memory in bytes.
    pub freemem: u64,
    /// Number of processes in use.
    pub nproc: u64,
}

impl SysInfo {
    /// Size in user memory.
    pub const BYTES: usize = 16;

    /// The structure as it lies in user memory.
    pub fn to_bytes(&self) -> [u8; SysInfo::BYTES] {
        let mut bytes = [0; SysInfo::BYTES];
        bytes[0..8].copy_from_slice(&self.freemem.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.nproc.to_le_bytes());
        bytes
    }
}

/// One row of `getprocs(2)` (40 bytes).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcInfo {
    /// Process id.
    pub pid: i32,
    /// A [`ProcState`] as a number.
    pub state: i32,
    /// The break: size of image, stack and heap in bytes.
    pub size: u64,
    /// The parent's process id, 0 for the first process.
    pub ppid: i32,
    /// Name, padded with NUL.
    pub name: [u8; 16],
}

impl ProcInfo {
    /// Size in user memory.
    pub const BYTES: usize = 40;

    /// The structure as it lies in user memory.
    pub fn to_bytes(&self) -> [u8; ProcInfo::BYTES] {
        let mut bytes = [0; ProcInfo::BYTES];
        bytes[0..4].copy_from_slice(&self.pid.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.state.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.size.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.ppid.to_le_bytes());
        bytes[20..36].copy_from_slice(&self.name);
        bytes
    }
}

/// Process states as `getprocs(2)` numbers them (MIT's order).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum ProcState {
    /// The slot is free.
    Unused = 0,
    /// Being set up.
    Used = 1,
    /// Waiting on a channel.
    Sleeping = 2,
    /// Ready to run.
    Runnable = 3,
    /// On a hart.
    Running = 4,
    /// Exited, not yet waited for.
    Zombie = 5,
}

/// What kind of memory a region of an address space is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RegionKind {
    /// Loaded from the program's ELF file.
    Image = 1,
    /// The page below the stack: present, but not accessible from user mode.
    Guard = 2,
    /// The user stack.
    Stack = 3,
    /// From the end of the stack to the break.
    Heap = 4,
    /// Anonymous memory of this process alone.
    AnonPrivate = 5,
    /// Anonymous memory shared with relatives.
    AnonShared = 6,
    /// A file's pages, written copy-on-write.
    FilePrivate = 7,
    /// A file's pages, written back.
    FileShared = 8,
}

/// One row of `regions(2)` (32 bytes).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionInfo {
    /// First address, page aligned.
    pub start: u64,
    /// First address behind the region (the heap's may be odd).
    pub end: u64,
    /// A [`RegionKind`] as a number.
    pub kind: u32,
    /// `PROT_*` bits.
    pub prot: u32,
    /// Pages that are mapped now.
    pub present: u64,
}

impl RegionInfo {
    /// Size in user memory.
    pub const BYTES: usize = 32;

    /// The structure as it lies in user memory.
    pub fn to_bytes(&self) -> [u8; RegionInfo::BYTES] {
        let mut bytes = [0; RegionInfo::BYTES];
        bytes[0..8].copy_from_slice(&self.start.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.end.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.kind.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.prot.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.present.to_le_bytes());
        bytes
    }
}
