//! The system calls as they are: numbers from `abi::syscall`, registers in, `a0` out.
//!
//! A call takes its number in a7 and its arguments in a0–a5; the kernel preserves every register
//! but a0. Calls that only read user memory are safe whatever pointer they get: the kernel checks
//! it. Calls that write user memory, or take it away, are not.

use core::arch::asm;
use core::ffi::c_char;

use abi::stat::{ProcInfo, RegionInfo, Stat, SysInfo};
use abi::syscall::Syscall;

/// Enters the kernel with this call's number and arguments.
///
/// # Safety
///
/// Memory that the call writes or unmaps must not be in use as anything else.
#[inline(always)]
pub unsafe fn syscall(number: u64, args: [usize; 6]) -> isize {
    let result;
    // SAFETY: the kernel gives every register but a0 back; memory is the caller's promise.
    unsafe {
        asm!(
            "ecall",
            in("a7") number,
            inlateout("a0") args[0] => result,
            in("a1") args[1],
            in("a2") args[2],
            in("a3") args[3],
            in("a4") args[4],
            in("a5") args[5],
            options(nostack),
        );
    }
    result
}

/// Collects up to six arguments for [`syscall`].
macro_rules! call {
    ($call:ident $(, $arg:expr)*) => {{
        let given = [$($arg as usize),*];
        let mut args = [0usize; 6];
        args[..given.len()].copy_from_slice(&given);
        // SAFETY: a safe stub's call writes no user memory; an unsafe stub passes the duty on.
        unsafe { syscall(Syscall::$call.number(), args) }
    }};
}

macro_rules! stubs {
    (safe { $($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $call:ident: $doc:literal;)* }
     unsafe { $($uname:ident($($uarg:ident: $uty:ty),*) -> $uret:ty = $ucall:ident: $udoc:literal;)* }
    ) => {
        $(
            #[doc = $doc]
            #[inline]
            pub fn $name($($arg: $ty),*) -> $ret {
                call!($call $(, $arg)*) as $ret
            }
        )*
        $(
            #[doc = $udoc]
            ///
            /// # Safety
            ///
            /// What the call writes or takes away must not be in use as anything else.
            #[inline]
            pub unsafe fn $uname($($uarg: $uty),*) -> $uret {
                call!($ucall $(, $uarg)*) as $uret
            }
        )*
    };
}

stubs! {
    safe {
        write(fd: i32, buf: *const u8, n: usize) -> i32 = Write: "Bytes written, or -1.";
        kill(pid: i32) -> i32 = Kill: "Ends a process.";
        exec(path: *const c_char, argv: *const *const c_char) -> i32 = Exec:
            "Becomes another program; returns only to say -1.";
        chdir(path: *const c_char) -> i32 = Chdir: "Changes the current directory.";
        dup(fd: i32) -> i32 = Dup: "A second descriptor for the same open file.";
        getpid() -> i32 = Getpid: "The caller's process id.";
        pause(ticks: i32) -> i32 = Pause: "Sleeps for so many clock ticks.";
        uptime() -> i32 = Uptime: "Clock ticks since boot.";
        open(path: *const c_char, flags: u32) -> i32 = Open: "A descriptor, or -1.";
        mknod(path: *const c_char, major: u16, minor: u16) -> i32 = Mknod: "Makes a device node.";
        unlink(path: *const c_char) -> i32 = Unlink: "Removes a name.";
        link(old: *const c_char, new: *const c_char) -> i32 = Link: "Gives a file one more name.";
        mkdir(path: *const c_char) -> i32 = Mkdir: "Makes a directory.";
        close(fd: i32) -> i32 = Close: "Gives a descriptor back.";
        fork() -> i32 = Fork: "The child's pid; 0 in the child; -1 when there is no room.";
        trace(mask: u64) -> i32 = Trace: "Prints the calls whose bits are set, children's too.";
        pgpte(va: usize) -> u64 = Pgpte: "The leaf PTE of an address, 0 if there is none.";
        kpgtbl() -> i32 = Kpgtbl: "Prints the caller's page table.";
        freepmem() -> u64 = Freepmem: "Free physical memory in bytes.";
        numvp() -> i32 = Numvp: "Pages promised to this process.";
        numpp() -> i32 = Numpp: "Pages this process has.";
        getptsize() -> i32 = Getptsize: "Pages of this process's page table.";
        mmap_brk(bytes: i32, start: usize) -> usize = MmapBrk:
            "Anonymous memory at the break, or at `start`; 0 on error.";
        mapshared() -> usize = Mapshared: "A page to share with children; 0 on error.";
        getshared() -> usize = Getshared: "The parent's shared page; 0 on error.";
        getnumfreepages() -> i32 = Getnumfreepages: "Free physical pages.";
        kmalloc(n: i32) -> usize = Kmalloc: "An address from the kernel's small-object allocator.";
        kmfree(address: usize) -> i32 = Kmfree: "Gives it back; -1 when it was not allocated.";
        msync(address: usize, length: usize) -> i32 = Msync: "Writes dirty pages back.";
        poweroff(code: i32) -> i32 = Poweroff: "Ends the machine.";
        mmap(address: usize, length: usize, prot: u32, flags: u32, fd: i32, offset: usize) -> isize
            = Mmap: "Maps memory; the address, or -1.";
    }
    unsafe {
        wait(status: *mut i32) -> i32 = Wait: "The pid of a child that ended, -1 without children.";
        pipe(fds: *mut i32) -> i32 = Pipe: "Makes a pipe: fds[0] reads, fds[1] writes.";
        read(fd: i32, buf: *mut u8, n: usize) -> i32 = Read: "Bytes read, 0 at the end, or -1.";
        fstat(fd: i32, stat: *mut Stat) -> i32 = Fstat: "What is known about an open file.";
        sbrk(n: isize, kind: u32) -> isize = Sbrk: "Moves the break; the old one, or -1.";
        munmap(address: usize, length: usize) -> i32 = Munmap: "Takes a mapping away.";
        sysinfo(info: *mut SysInfo) -> i32 = Sysinfo: "Free memory and processes.";
        pgaccess(base: usize, n: i32, mask: *mut u64) -> i32 = Pgaccess:
            "Which pages were accessed since the last call.";
        getprocs(buf: *mut ProcInfo, max: i32) -> i32 = Getprocs: "The process table.";
        unmapshared() -> i32 = Unmapshared: "Drops the shared page.";
        sem_init(sem: *mut i32, pshared: i32, value: i32) -> i32 = SemInit: "Makes a semaphore.";
        sem_destroy(sem: *mut i32) -> i32 = SemDestroy: "Gives a semaphore back.";
        sem_wait(sem: *mut i32) -> i32 = SemWait: "Takes one, waiting while there is none.";
        sem_post(sem: *mut i32) -> i32 = SemPost: "Adds one.";
        regions(buf: *mut RegionInfo, max: i32) -> i32 = Regions: "The region list.";
    }
}

/// Ends the process with this status.
pub fn exit(status: i32) -> ! {
    loop {
        call!(Exit, status);
    }
}
