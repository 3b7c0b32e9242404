//! System calls: from the user's registers to the function that does it, and back.
//!
//! The number is in a7, arguments are in a0 to a5, the result goes to a0. Numbers and names are
//! [`abi::syscall`]'s. These functions only decode: what a call does is in the part of the kernel
//! that it is about.

mod file;
mod memory;
mod process;

use abi::hint::Hint;
use abi::layout::PGSIZE;
use abi::param::MAXPATH;
use abi::syscall::Syscall;

use crate::proc::OwnGuard;
use crate::{arch, println};

/// How the calling process goes on.
pub enum Next {
    /// Behind the call.
    Return,
    /// Not at all.
    Exit(i32),
}

/// A call fails with this, unless its row in the table says something else.
const FAILED: u64 = u64::MAX;

/// What a call returns; `None` is [`FAILED`].
type Outcome = Option<u64>;

/// The calling process, as its system calls see it.
struct Caller<'a>(&'a mut OwnGuard);

impl Caller<'_> {
    /// An argument register.
    fn arg(&mut self, n: usize) -> u64 {
        *self.0.registers().arg(n)
    }

    /// An argument of C type `int`.
    fn int(&mut self, n: usize) -> i32 {
        self.arg(n) as i32
    }

    /// The string that an argument points to, without NUL.
    fn path(&mut self, n: usize) -> Option<Path> {
        let va = self.arg(n);
        let mut path = Path { bytes: [0; MAXPATH], len: 0 };
        path.len = self.0.space().copyinstr(&mut path.bytes, va).ok()??;
        Some(path)
    }

    fn copyout(&mut self, va: u64, bytes: &[u8]) -> Outcome {
        self.0.space().copyout(va, bytes).ok().map(|()| 0)
    }
}

/// A path from user memory.
struct Path {
    bytes: [u8; MAXPATH],
    len: usize,
}

impl core::ops::Deref for Path {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Serves the system call that the registers describe.
pub fn system_call(own: &mut OwnGuard) -> Next {
    let mut caller = Caller(own);
    let number = *caller.0.registers().arg(7);
    let proc = caller.0.proc();
    let pid = proc.pid();
    arch::hint(Hint::SyscallEntered, number, pid as u64, 0);
    #[cfg(feature = "mutants")]
    crate::mm::mutants::call_begins();
    let result = match Syscall::from_number(number) {
        Some(Syscall::Exit) => return Next::Exit(caller.int(0)),
        Some(call) => {
            let result = dispatch(call, &mut caller);
            if number < 64 && caller.0.trace_mask >> number & 1 != 0 {
                println!("{pid}: syscall {} -> {}", call.name(), result as i64);
            }
            result
        }
        None => {
            let name = proc.state.lock().name;
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            println!("{pid} {}: unknown sys call {}", name.escape_ascii(), number as i32);
            FAILED
        }
    };
    arch::hint(Hint::SyscallReturned, number, pid as u64, result);
    proc.note_space(caller.0.space());
    *caller.0.registers().arg(0) = result;
    Next::Return
}

fn dispatch(call: Syscall, caller: &mut Caller<'_>) -> u64 {
    let outcome = match call {
        Syscall::Fork => caller.fork(),
        Syscall::Exit => unreachable!("exit has no result"),
        Syscall::Wait => caller.wait(),
        Syscall::Pipe => caller.pipe(),
        Syscall::Read => caller.read(),
        Syscall::Kill => caller.kill(),
        Syscall::Exec => caller.exec(),
        Syscall::Fstat => caller.fstat(),
        Syscall::Chdir => caller.chdir(),
        Syscall::Dup => caller.dup(),
        Syscall::Getpid => Some(caller.0.proc().pid() as u64),
        Syscall::Sbrk => caller.sbrk(),
        Syscall::Pause => caller.pause(),
        Syscall::Uptime => Some(crate::trap::ticks().into()),
        Syscall::Open => caller.open(),
        Syscall::Write => caller.write(),
        Syscall::Mknod => caller.mknod(),
        Syscall::Unlink => caller.unlink(),
        Syscall::Link => caller.link(),
        Syscall::Mkdir => caller.mkdir(),
        Syscall::Close => caller.close(),
        Syscall::Trace => caller.trace(),
        Syscall::Mmap => caller.mmap(),
        Syscall::Munmap => caller.munmap(),
        Syscall::Pgpte => caller.pgpte(),
        Syscall::Kpgtbl => caller.kpgtbl(),
        Syscall::Sysinfo => caller.sysinfo(),
        Syscall::Pgaccess => caller.pgaccess(),
        Syscall::Getprocs => caller.getprocs(),
        Syscall::Freepmem => Some(crate::mm::frame::free_pages() as u64 * PGSIZE),
        Syscall::Numvp => Some(caller.0.space().numvp()),
        Syscall::Numpp => Some(caller.0.space().numpp()),
        Syscall::Getptsize => Some(caller.0.space().ptsize()),
        Syscall::MmapBrk => caller.mmap_brk(),
        Syscall::Mapshared => caller.mapshared(),
        Syscall::Getshared => caller.getshared(),
        Syscall::Unmapshared => caller.unmapshared(),
        Syscall::Getnumfreepages => Some(crate::mm::frame::free_pages() as u64),
        Syscall::Kmalloc => caller.kmalloc(),
        Syscall::Kmfree => caller.kmfree(),
        Syscall::Msync => caller.msync(),
        Syscall::SemInit => caller.sem_init(),
        Syscall::SemDestroy => caller.sem_destroy(),
        Syscall::SemWait => caller.sem_wait(),
        Syscall::SemPost => caller.sem_post(),
        Syscall::Regions => caller.regions(),
        Syscall::Poweroff => crate::boot::poweroff(caller.int(0)),
    };
    outcome.unwrap_or(FAILED)
}
