//! The one table of system calls: numbers, names, and how the user-side stubs are called.

macro_rules! syscalls {
    ($($num:literal $variant:ident $name:literal: $doc:literal;)*) => {
        /// A system call; the number goes into a7.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Syscall {
            $(#[doc = $doc] $variant = $num,)*
        }

        /// Every system call, in the order of numbers.
        pub const ALL: &[Syscall] = &[$(Syscall::$variant),*];

        impl Syscall {
            /// The call with this number.
            pub const fn from_number(number: u64) -> Option<Syscall> {
                match number {
                    $($num => Some(Syscall::$variant),)*
                    _ => None,
                }
            }

            /// The call's name, as `trace(2)` prints it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Syscall::$variant => $name,)*
                }
            }

            /// The call's number.
            pub const fn number(self) -> u64 {
                self as u64
            }
        }
    };
}

syscalls! {
    1 Fork "fork": "`fork() -> pid`: 0 in the child, -1 on error.";
    2 Exit "exit": "`exit(status) -> !`.";
    3 Wait "wait": "`wait(*status) -> pid` of an ended child, -1 without children.";
    4 Pipe "pipe": "`pipe(*fds) -> 0`: fds[0] reads, fds[1] writes.";
    5 Read "read": "`read(fd, buf, n) -> bytes`, 0 at the end.";
    6 Kill "kill": "`kill(pid) -> 0`.";
    7 Exec "exec": "`exec(path, argv) -> argc` in the new program, -1 on error.";
    8 Fstat "fstat": "`fstat(fd, *stat) -> 0`.";
    9 Chdir "chdir": "`chdir(path) -> 0`.";
    10 Dup "dup": "`dup(fd) -> fd`.";
    11 Getpid "getpid": "`getpid() -> pid`.";
    12 Sbrk "sbrk": "`sbrk(n, type) -> old break`.";
    13 Pause "pause": "`pause(ticks) -> 0`.";
    14 Uptime "uptime": "`uptime() -> ticks` since boot.";
    15 Open "open": "`open(path, flags) -> fd`.";
    16 Write "write": "`write(fd, buf, n) -> bytes`.";
    17 Mknod "mknod": "`mknod(path, major, minor) -> 0`.";
    18 Unlink "unlink": "`unlink(path) -> 0`.";
    19 Link "link": "`link(old, new) -> 0`.";
    20 Mkdir "mkdir": "`mkdir(path) -> 0`.";
    21 Close "close": "`close(fd) -> 0`.";
    22 Trace "trace": "`trace(mask) -> 0`: prints the masked calls of this process and its children.";
    27 Mmap "mmap": "`mmap(addr, len, prot, flags, fd, off) -> va`, -1 on error.";
    28 Munmap "munmap": "`munmap(addr, len) -> 0`.";
    33 Pgpte "pgpte": "`pgpte(va) -> PTE`, 0 if there is none.";
    34 Kpgtbl "kpgtbl": "`kpgtbl() -> 0`: prints the caller's page table.";
    35 Sysinfo "sysinfo": "`sysinfo(*info) -> 0`.";
    36 Pgaccess "pgaccess": "`pgaccess(base, n, *mask) -> 0`: returns and clears accessed bits.";
    40 Getprocs "getprocs": "`getprocs(buf, max) -> count`.";
    41 Freepmem "freepmem": "`freepmem() -> bytes`.";
    42 Numvp "numvp": "`numvp() -> pages` of virtual memory.";
    43 Numpp "numpp": "`numpp() -> pages` of physical memory.";
    44 Getptsize "getptsize": "`getptsize() -> pages` of this process's page table.";
    45 MmapBrk "mmap_brk": "`mmap_brk(bytes, start) -> va`, 0 on error.";
    46 Mapshared "mapshared": "`mapshared() -> va` of a shared page, 0 on error.";
    47 Getshared "getshared": "`getshared() -> va` of the parent's shared page, 0 on error.";
    48 Unmapshared "unmapshared": "`unmapshared() -> 0`.";
    49 Getnumfreepages "getnumfreepages": "`getnumfreepages() -> pages`.";
    50 Kmalloc "kmalloc": "`kmalloc(n) -> kernel address`, 0 on error.";
    51 Kmfree "kmfree": "`kmfree(p) -> 0`.";
    52 Msync "msync": "`msync(addr, len) -> 0`: writes dirty pages of a shared file mapping back.";
    53 SemInit "sem_init": "`sem_init(*sem, pshared, value) -> 0`.";
    54 SemDestroy "sem_destroy": "`sem_destroy(*sem) -> 0`.";
    55 SemWait "sem_wait": "`sem_wait(*sem) -> 0`.";
    56 SemPost "sem_post": "`sem_post(*sem) -> 0`.";
    60 Regions "regions": "`regions(buf, max) -> count`.";
    61 Poweroff "poweroff": "`poweroff(code)`: ends the machine with this exit status.";
}
