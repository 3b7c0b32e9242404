//! Calls about memory. The address space does them; the labs' dialects differ in how arguments
//! are read and what failure looks like, and that is all here.

use abi::stat::RegionInfo;

use super::{Caller, Outcome};
use crate::mm::MmError;
use crate::mm::mmap::Mapping;
use crate::print::print_with;
use crate::proc;

/// The labs of S3 return 0 where others return -1.
fn or_zero(result: Result<u64, MmError>) -> Outcome {
    Some(result.unwrap_or(0))
}

impl Caller<'_> {
    pub(super) fn sbrk(&mut self) -> Outcome {
        let (bytes, kind) = (self.arg(0) as i64, self.arg(1) as u32);
        self.0.space().sbrk(bytes, kind).ok()
    }

    pub(super) fn mmap(&mut self) -> Outcome {
        let args = core::array::from_fn(|n| self.arg(n));
        let (files, space) = self.0.files_and_space();
        let open_file = |fd| files.get(fd).ok()?.backing();
        space.mmap(Mapping::decode(&args, open_file)?).ok()
    }

    pub(super) fn munmap(&mut self) -> Outcome {
        let (va, bytes) = (self.arg(0), self.arg(1));
        self.0.space().munmap(va, bytes).ok().map(|()| 0)
    }

    pub(super) fn msync(&mut self) -> Outcome {
        let (va, bytes) = (self.arg(0), self.arg(1));
        self.0.space().msync(va, bytes).ok().map(|()| 0)
    }

    pub(super) fn mmap_brk(&mut self) -> Outcome {
        // C programs pass an `int`, sign-extended in its register.
        let (bytes, start) = (self.arg(0) as i64, self.arg(1));
        or_zero(self.0.space().mmap_brk(bytes, start))
    }

    pub(super) fn mapshared(&mut self) -> Outcome {
        let pid = self.0.proc().pid();
        or_zero(self.0.space().mapshared(pid))
    }

    pub(super) fn getshared(&mut self) -> Outcome {
        let me = self.0.proc();
        or_zero(self.0.space().getshared(me.pid(), proc::parent_pid(me)))
    }

    pub(super) fn unmapshared(&mut self) -> Outcome {
        self.0.space().unmapshared().ok().map(|()| 0)
    }

    pub(super) fn pgpte(&mut self) -> Outcome {
        let va = self.arg(0);
        Some(self.0.space().pgpte(va))
    }

    pub(super) fn kpgtbl(&mut self) -> Outcome {
        let space = self.0.space();
        print_with(|out| space.vmprint(out));
        Some(0)
    }

    pub(super) fn pgaccess(&mut self) -> Outcome {
        let (base, count, to) = (self.arg(0), self.int(1), self.arg(2));
        let mask = self.0.space().pgaccess(base, u64::try_from(count).ok()?)?;
        // The lab's programs have an `int` for the mask, and ask for 32 pages at most.
        let bytes = if count <= 32 { 4 } else { 8 };
        self.copyout(to, &mask.to_le_bytes()[..bytes])
    }

    pub(super) fn kmalloc(&mut self) -> Outcome {
        let bytes = self.arg(0);
        Some(self.0.space().kmalloc(bytes))
    }

    pub(super) fn kmfree(&mut self) -> Outcome {
        let address = self.arg(0);
        self.0.space().kmfree(address).then_some(0)
    }

    /// The semaphore's handle lies in the caller's memory.
    pub(super) fn sem_init(&mut self) -> Outcome {
        let (to, value) = (self.arg(0), self.int(2));
        let handle = self.0.space().semaphores().create(u32::try_from(value).ok()?).ok()?;
        let stored = self.copyout(to, &handle.to_le_bytes());
        if stored.is_none() {
            let _ = self.0.space().semaphores().destroy(handle);
        }
        stored
    }

    fn semaphore(&mut self) -> Option<i32> {
        let from = self.arg(0);
        let mut handle = [0; 4];
        self.0.space().copyin(&mut handle, from).ok()?;
        Some(i32::from_le_bytes(handle))
    }

    pub(super) fn sem_destroy(&mut self) -> Outcome {
        let handle = self.semaphore()?;
        self.0.space().semaphores().destroy(handle).ok().map(|()| 0)
    }

    pub(super) fn sem_wait(&mut self) -> Outcome {
        let handle = self.semaphore()?;
        self.0.space().semaphores().wait(handle, proc::killed).ok().map(|()| 0)
    }

    pub(super) fn sem_post(&mut self) -> Outcome {
        let handle = self.semaphore()?;
        self.0.space().semaphores().post(handle).ok().map(|()| 0)
    }

    pub(super) fn regions(&mut self) -> Outcome {
        let (to, max) = (self.arg(0), u64::try_from(self.int(1)).ok()?);
        let mut count = 0;
        while count < max
            && let Some(info) = self.0.space().region_info(count as usize)
        {
            let row = to.wrapping_add(count * RegionInfo::BYTES as u64);
            self.copyout(row, &info.to_bytes())?;
            count += 1;
        }
        Some(count)
    }
}
