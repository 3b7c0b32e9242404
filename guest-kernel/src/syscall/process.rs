//! Calls about processes.

use abi::layout::PGSIZE;
use abi::stat::{ProcInfo, SysInfo};

use super::{Caller, Outcome};
use crate::exec::{Args, exec};
use crate::mm::frame;
use crate::{proc, trap};

impl Caller<'_> {
    pub(super) fn fork(&mut self) -> Outcome {
        proc::fork(self.0).map(|pid| pid as u64)
    }

    pub(super) fn wait(&mut self) -> Outcome {
        let status = self.arg(0);
        proc::wait(self.0, status).map(|pid| pid as u64)
    }

    pub(super) fn kill(&mut self) -> Outcome {
        proc::kill(self.int(0)).map(|()| 0)
    }

    pub(super) fn exec(&mut self) -> Outcome {
        let path = self.path(0)?;
        let argv = self.arg(1);
        let mut args = Args::new()?;
        for i in 0.. {
            let space = self.0.space();
            let arg = space.read_u64(argv.wrapping_add(8 * i)).ok()?;
            if arg == 0 {
                break;
            }
            args.push(|room| space.copyinstr(room, arg).ok()?)?;
        }
        exec(self.0, &path, &args).ok()
    }

    pub(super) fn pause(&mut self) -> Outcome {
        let ticks = u32::try_from(self.int(0)).unwrap_or(0);
        trap::pause(ticks).map(|()| 0)
    }

    pub(super) fn trace(&mut self) -> Outcome {
        self.0.trace_mask = self.arg(0);
        Some(0)
    }

    pub(super) fn sysinfo(&mut self) -> Outcome {
        let to = self.arg(0);
        let freemem = frame::free_pages() as u64 * PGSIZE;
        let info = SysInfo { freemem, nproc: proc::in_use() as u64 };
        self.copyout(to, &info.to_bytes())
    }

    pub(super) fn getprocs(&mut self) -> Outcome {
        let (to, max) = (self.arg(0), usize::try_from(self.int(1)).ok()?);
        let mut count = 0;
        for info in proc::list().take(max) {
            self.copyout(to.wrapping_add(count * ProcInfo::BYTES as u64), &info.to_bytes())?;
            count += 1;
        }
        Some(count)
    }
}
