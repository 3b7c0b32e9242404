//! Calls about files. The file system does them; it gets paths that are in kernel memory.

use super::{Caller, Outcome};

impl Caller<'_> {
    pub(super) fn pipe(&mut self) -> Outcome {
        let fds = self.arg(0);
        let (files, space) = self.0.files_and_space();
        files.pipe(space, fds).ok().map(|()| 0)
    }

    pub(super) fn read(&mut self) -> Outcome {
        let (fd, to, len) = (self.int(0), self.arg(1), self.int(2));
        let (files, space) = self.0.files_and_space();
        files.read(space, fd, to, len).ok().map(|len| len as u64)
    }

    pub(super) fn write(&mut self) -> Outcome {
        let (fd, from, len) = (self.int(0), self.arg(1), self.int(2));
        let (files, space) = self.0.files_and_space();
        files.write(space, fd, from, len).ok().map(|len| len as u64)
    }

    pub(super) fn fstat(&mut self) -> Outcome {
        let (fd, to) = (self.int(0), self.arg(1));
        let stat = self.0.files.fstat(fd).ok()?;
        self.copyout(to, &stat.to_bytes())
    }

    pub(super) fn dup(&mut self) -> Outcome {
        let fd = self.int(0);
        self.0.files.dup(fd).ok().map(|fd| fd as u64)
    }

    pub(super) fn close(&mut self) -> Outcome {
        let fd = self.int(0);
        self.0.files.close(fd).ok().map(|()| 0)
    }

    pub(super) fn open(&mut self) -> Outcome {
        let (path, flags) = (self.path(0)?, self.int(1));
        self.0.files.open(&path, flags as u32).ok().map(|fd| fd as u64)
    }

    pub(super) fn chdir(&mut self) -> Outcome {
        let path = self.path(0)?;
        self.0.files.chdir(&path).ok().map(|()| 0)
    }

    pub(super) fn mkdir(&mut self) -> Outcome {
        let path = self.path(0)?;
        self.0.files.mkdir(&path).ok().map(|()| 0)
    }

    pub(super) fn mknod(&mut self) -> Outcome {
        let (path, major, minor) = (self.path(0)?, self.int(1), self.int(2));
        self.0.files.mknod(&path, major as i16, minor as i16).ok().map(|()| 0)
    }

    pub(super) fn link(&mut self) -> Outcome {
        let (old, new) = (self.path(0)?, self.path(1)?);
        self.0.files.link(&old, &new).ok().map(|()| 0)
    }

    pub(super) fn unlink(&mut self) -> Outcome {
        let path = self.path(0)?;
        self.0.files.unlink(&path).ok().map(|()| 0)
    }
}
