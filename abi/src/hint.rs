//! Guest-to-host trace hints: the custom HINT `slti x0, a0, KIND`, payload in a0–a2.
//!
//! The ISA manual designates all SLTI code points with rd = x0 for custom use: they are no-ops
//! on every machine that does not know them. A hint never changes what the guest sees; the trace
//! is right without it and says more with it.

/// Kinds of hints: the immediate of `slti x0, a0, KIND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Hint {
    /// The hart runs another process: a0 pid, a1 kernel address of its name (16 bytes), a2 satp.
    ProcSwitched = 1,
    /// A process was made: a0 parent's pid, a1 child's pid.
    Forked = 2,
    /// A process loaded a program: a0 pid, a1 kernel address of the name (16 bytes), a2 entry.
    Execed = 3,
    /// A process ended: a0 pid, a1 status.
    Exited = 4,
    /// A frame left the free list: a0 physical address, a1 free pages left, a2 [`Owner`].
    FrameAllocated = 5,
    /// A frame went back to the free list: a0 physical address, a1 free pages left.
    FrameFreed = 6,
    /// A frame's reference count changed: a0 physical address, a1 old count, a2 new count.
    FrameRefs = 7,
    /// A page fault was classified: a0 virtual address, a1 [`FaultClass`], a2 physical address.
    FaultClassified = 8,
    /// A system call begins: a0 number, a1 pid.
    SyscallEntered = 9,
    /// A system call ends: a0 number, a1 pid, a2 result.
    SyscallReturned = 10,
    /// A program asks for a mark in the trace: a0, a1, a2 are its own.
    Mark = 11,
    /// The kernel begins to handle a page fault, its own walk's or a trap's: a0 virtual address,
    /// a1 access (0 read, 1 write, 2 execute), a2 satp.
    FaultBegan = 12,
}

impl Hint {
    /// The hint with this immediate, if it is one of ours.
    pub const fn from_imm(imm: i32) -> Option<Hint> {
        Some(match imm {
            1 => Hint::ProcSwitched,
            2 => Hint::Forked,
            3 => Hint::Execed,
            4 => Hint::Exited,
            5 => Hint::FrameAllocated,
            6 => Hint::FrameFreed,
            7 => Hint::FrameRefs,
            8 => Hint::FaultClassified,
            9 => Hint::SyscallEntered,
            10 => Hint::SyscallReturned,
            11 => Hint::Mark,
            12 => Hint::FaultBegan,
            _ => return None,
        })
    }
}

/// What a frame was allocated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Owner {
    /// The kernel itself: stacks, pipes, the kernel's page table.
    Kernel = 1,
    /// A page-table page of a process.
    PageTable = 2,
    /// A page that user mode can reach.
    User = 3,
    /// A trap frame.
    TrapFrame = 4,
    /// A shared object's page.
    Shared = 5,
    /// The small-object allocator.
    Kmalloc = 6,
}

/// How the in-tree kernel classifies a page fault. The first six are resolved, the others kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum FaultClass {
    /// Promised, never mapped: a zeroed page was mapped.
    Lazy = 1,
    /// Copy-on-write: the frame was copied.
    CowCopy = 2,
    /// Copy-on-write, last user: the page was made writable.
    CowLast = 3,
    /// Another member of the shared object already had the frame.
    SharedJoin = 4,
    /// Filled from a file.
    FileFill = 5,
    /// The table already allowed the access.
    Spurious = 6,
    /// The region forbids this access.
    Protection = 16,
    /// The guard page below the stack.
    Guard = 17,
    /// Beyond the break.
    BeyondBreak = 18,
    /// Execution of a page that is not executable.
    ExecNx = 19,
    /// No region there.
    Unmapped = 20,
    /// No frame was free.
    OutOfMemory = 21,
}
