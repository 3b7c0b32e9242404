//! The system calls about files: a process's descriptors and current directory, and what the
//! calls do with them. Arguments were fetched before: paths are in kernel memory, without NUL.

use abi::fcntl::{O_CREATE, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};
use abi::param::NOFILE;
use abi::stat::{Stat, T_DEVICE, T_DIR, T_FILE};
use core::sync::atomic::AtomicU32;

use super::bounce::UserMemory;
use super::device::is_major;
use super::dir::Name;
use super::file::{File, Kind};
use super::pipe::{self, Pipe};
use super::{FileRef, Fs, FsError, InodeRef, Op, OpInode};

/// A process's open files and current directory.
///
/// Dropping it, like [`close_all`](ProcFiles::close_all), may sleep: nothing may be locked.
pub struct ProcFiles {
    fs: &'static Fs,
    open: [Option<FileRef>; NOFILE],
    cwd: Option<InodeRef>,
}

/// What a new inode is to be.
#[derive(Clone, Copy)]
struct NewInode {
    kind: i16,
    major: i16,
    minor: i16,
}

impl ProcFiles {
    /// No files, and no directory: for a process that is not in use.
    pub const fn new(fs: &'static Fs) -> ProcFiles {
        ProcFiles { fs, open: [const { None }; NOFILE], cwd: None }
    }

    /// No files, in the root directory: for the first process.
    pub fn at_root(fs: &'static Fs) -> ProcFiles {
        ProcFiles { cwd: Some(fs.root()), ..ProcFiles::new(fs) }
    }

    /// What a child inherits: the same open files, offsets included, and the same directory.
    pub fn fork(&self) -> ProcFiles {
        ProcFiles { fs: self.fs, open: self.open.clone(), cwd: self.cwd.clone() }
    }

    /// Closes all files and leaves the directory.
    pub fn close_all(&mut self) {
        for file in &mut self.open {
            drop(file.take());
        }
        drop(self.cwd.take());
    }

    /// The file that a descriptor stands for.
    pub fn get(&self, fd: i32) -> Result<&FileRef, FsError> {
        let slot = usize::try_from(fd).ok().and_then(|fd| self.open.get(fd));
        slot.and_then(Option::as_ref).ok_or(FsError::BadDescriptor)
    }

    /// The inode that a path leads to. The path is without its NUL.
    pub fn lookup<'o>(&self, op: &'o Op, path: &[u8]) -> Result<OpInode<'o>, FsError> {
        self.fs.lookup(op, self.cwd()?, path)
    }

    fn cwd(&self) -> Result<&InodeRef, FsError> {
        self.cwd.as_ref().ok_or(FsError::NotFound)
    }

    /// The lowest descriptor that stands for nothing.
    fn free_fd(&self) -> Result<usize, FsError> {
        self.open.iter().position(Option::is_none).ok_or(FsError::TableFull)
    }

    /// `dup(fd)`: the new descriptor.
    pub fn dup(&mut self, fd: i32) -> Result<usize, FsError> {
        let file = self.get(fd)?.clone();
        let new = self.free_fd()?;
        self.open[new] = Some(file);
        Ok(new)
    }

    /// `read(fd, va, n)`: how many bytes there were.
    pub fn read(
        &self,
        user: &mut dyn UserMemory,
        fd: i32,
        va: u64,
        n: i32,
    ) -> Result<usize, FsError> {
        let len = usize::try_from(n).map_err(|_| FsError::Invalid)?;
        self.get(fd)?.read(user, va, len)
    }

    /// `write(fd, va, n)`: how many bytes were taken.
    pub fn write(
        &self,
        user: &mut dyn UserMemory,
        fd: i32,
        va: u64,
        n: i32,
    ) -> Result<usize, FsError> {
        let len = usize::try_from(n).map_err(|_| FsError::Invalid)?;
        self.get(fd)?.write(user, va, len)
    }

    /// `close(fd)`.
    pub fn close(&mut self, fd: i32) -> Result<(), FsError> {
        self.get(fd)?;
        drop(self.open[fd as usize].take());
        Ok(())
    }

    /// `fstat(fd)`.
    pub fn fstat(&self, fd: i32) -> Result<Stat, FsError> {
        self.get(fd)?.stat()
    }

    /// `link(old, new)`: gives the file `old` another name.
    pub fn link(&self, old: &[u8], new: &[u8]) -> Result<(), FsError> {
        let op = self.fs.begin_op();
        let inode = self.lookup(&op, old)?;
        let mut guard = inode.lock()?;
        if guard.kind == T_DIR {
            return Err(FsError::IsDirectory);
        }
        // Counted before the name is there, so that nobody frees the inode in between.
        guard.nlink = guard.nlink.checked_add(1).ok_or(FsError::TooManyLinks)?;
        guard.update(&op);
        drop(guard);
        let result = self.add_link(&op, new, &inode);
        if result.is_err() {
            let mut guard = inode.lock()?;
            guard.nlink -= 1;
            guard.update(&op);
        }
        result
    }

    fn add_link(&self, op: &Op, path: &[u8], inode: &OpInode<'_>) -> Result<(), FsError> {
        let (directory, name) = self.fs.lookup_parent(op, self.cwd()?, path)?;
        let mut guard = directory.lock()?;
        if guard.kind != T_DIR {
            return Err(FsError::NotDirectory);
        }
        if guard.nlink == 0 {
            return Err(FsError::NotFound);
        }
        guard.add_entry(op, &name, inode.inum())
    }

    /// `unlink(path)`: takes a name away. Directories must be empty.
    pub fn unlink(&self, path: &[u8]) -> Result<(), FsError> {
        let op = self.fs.begin_op();
        let (directory, name) = self.fs.lookup_parent(&op, self.cwd()?, path)?;
        let _two_inodes = self.fs.pairing.lock();
        let mut parent = directory.lock()?;
        if parent.kind != T_DIR {
            return Err(FsError::NotDirectory);
        }
        if name == Name::DOT || name == Name::DOT_DOT {
            return Err(FsError::Invalid);
        }
        let (inum, at) = parent.find(&name)?.ok_or(FsError::NotFound)?;
        if inum == directory.inum() {
            return Err(FsError::Corrupt);
        }
        let inode = self.fs.inode_in(&op, inum)?;
        let mut child = inode.lock()?;
        if child.nlink < 1 {
            return Err(FsError::Corrupt);
        }
        if child.kind == T_DIR && !child.is_empty()? {
            return Err(FsError::NotEmpty);
        }
        parent.remove_entry(&op, at)?;
        if child.kind == T_DIR && parent.nlink > 1 {
            parent.nlink -= 1;
            parent.update(&op);
        }
        drop(parent);
        child.nlink -= 1;
        child.update(&op);
        Ok(())
    }

    /// `open(path, flags)`: the new descriptor.
    pub fn open(&mut self, path: &[u8], flags: u32) -> Result<usize, FsError> {
        let fd = self.free_fd()?;
        let vacancy = self.fs.files.reserve().ok_or(FsError::TableFull)?;
        let kind = self.open_inode(path, flags)?;
        let readable = flags & O_WRONLY == 0;
        let writable = flags & (O_WRONLY | O_RDWR) != 0;
        let file = vacancy.fill(File::new(kind, readable, writable));
        self.open[fd] = Some(FileRef::new(file));
        Ok(fd)
    }

    fn open_inode(&self, path: &[u8], flags: u32) -> Result<Kind, FsError> {
        let op = self.fs.begin_op();
        let inode = if flags & O_CREATE != 0 {
            self.create(&op, path, NewInode { kind: T_FILE, major: 0, minor: 0 })?
        } else {
            self.lookup(&op, path)?
        };
        let mut guard = inode.lock()?;
        if guard.kind == T_DIR && flags != O_RDONLY {
            return Err(FsError::IsDirectory);
        }
        if guard.kind == T_DEVICE {
            let major = guard.major;
            drop(guard);
            return is_major(major)
                .then(|| Kind::Device(inode.keep(), major))
                .ok_or(FsError::NoDevice);
        }
        if flags & O_TRUNC != 0 && guard.kind == T_FILE {
            guard.truncate(&op);
        }
        drop(guard);
        Ok(Kind::Inode(inode.keep(), AtomicU32::new(0)))
    }

    /// `mkdir(path)`.
    pub fn mkdir(&self, path: &[u8]) -> Result<(), FsError> {
        let op = self.fs.begin_op();
        self.create(&op, path, NewInode { kind: T_DIR, major: 0, minor: 0 }).map(drop)
    }

    /// `mknod(path, major, minor)`.
    pub fn mknod(&self, path: &[u8], major: i16, minor: i16) -> Result<(), FsError> {
        let op = self.fs.begin_op();
        self.create(&op, path, NewInode { kind: T_DEVICE, major, minor }).map(drop)
    }

    /// A new inode with this path; or the one that is there, if it is a file or device and a file
    /// was asked for.
    fn create<'o>(&self, op: &'o Op, path: &[u8], new: NewInode) -> Result<OpInode<'o>, FsError> {
        let (directory, name) = self.fs.lookup_parent(op, self.cwd()?, path)?;
        let _two_inodes = self.fs.pairing.lock();
        let mut parent = directory.lock()?;
        if parent.kind != T_DIR {
            return Err(FsError::NotDirectory);
        }
        if parent.nlink == 0 {
            return Err(FsError::NotFound);
        }
        if let Some((inum, _)) = parent.find(&name)? {
            drop(parent);
            let inode = self.fs.inode_in(op, inum)?;
            let usable = new.kind == T_FILE && inode.lock()?.kind != T_DIR;
            return if usable { Ok(inode) } else { Err(FsError::Exists) };
        }
        let links = parent.nlink;
        if new.kind == T_DIR && links == i16::MAX {
            return Err(FsError::TooManyLinks);
        }
        let inode = self.fs.alloc_inode(op, new.kind)?;
        let mut guard = inode.lock()?;
        guard.major = new.major;
        guard.minor = new.minor;
        guard.nlink = 1;
        guard.update(op);
        // Entries for the directory and its parent count no links of the directory itself.
        let mut result = Ok(());
        if new.kind == T_DIR {
            result = guard
                .add_entry(op, &Name::DOT, inode.inum())
                .and_then(|()| guard.add_entry(op, &Name::DOT_DOT, directory.inum()));
        }
        result = result.and_then(|()| parent.add_entry(op, &name, inode.inum()));
        if let Err(error) = result {
            // Without a name, it is freed with the reference to it.
            guard.nlink = 0;
            guard.update(op);
            return Err(error);
        }
        if new.kind == T_DIR {
            parent.nlink = links + 1;
            parent.update(op);
        }
        drop(guard);
        Ok(inode)
    }

    /// `chdir(path)`.
    pub fn chdir(&mut self, path: &[u8]) -> Result<(), FsError> {
        let op = self.fs.begin_op();
        let inode = self.lookup(&op, path)?;
        if inode.lock()?.kind != T_DIR {
            return Err(FsError::NotDirectory);
        }
        let new = inode.keep();
        drop(op);
        self.cwd = Some(new);
        Ok(())
    }

    /// `pipe()`: descriptors of the reading and the writing end.
    pub fn pipe(&mut self, user: &mut dyn UserMemory, va: u64) -> Result<(), FsError> {
        let [reader, writer] = [self.fs.files.reserve(), self.fs.files.reserve()];
        let (reader, writer) =
            (reader.ok_or(FsError::TableFull)?, writer.ok_or(FsError::TableFull)?);
        let pipe = self.fs.pipes.reserve().ok_or(FsError::TableFull)?.fill(Pipe::new());
        let (read_end, write_end) = pipe::ends(pipe);
        let reader = FileRef::new(reader.fill(File::new(Kind::Pipe(read_end), true, false)));
        let writer = FileRef::new(writer.fill(File::new(Kind::Pipe(write_end), false, true)));

        let mut free = (0..NOFILE).filter(|&fd| self.open[fd].is_none());
        let (Some(fd0), Some(fd1)) = (free.next(), free.next()) else {
            return Err(FsError::TableFull);
        };
        let mut fds = [0; 8];
        fds[..4].copy_from_slice(&(fd0 as u32).to_le_bytes());
        fds[4..].copy_from_slice(&(fd1 as u32).to_le_bytes());
        user.copyout(va, &fds).map_err(|_| FsError::Fault)?;
        self.open[fd0] = Some(reader);
        self.open[fd1] = Some(writer);
        Ok(())
    }
}
