//! A disk image: a raw file that is read and written in place, or left alone while what the
//! guest writes goes to memory.
//!
//! A file whose length is no multiple of the sector size reads as if zeroes followed, and grows
//! when they are written to, as on QEMU.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

/// Bytes in a sector.
pub const SECTOR: u64 = 512;
/// Bytes in a unit of what is kept in memory.
const BLOCK: u64 = 4096;

/// How an image is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The guest's writes change the file.
    #[default]
    ReadWrite,
    /// The guest sees a disk that cannot be written.
    ReadOnly,
    /// The guest's writes last until the end of the run.
    Snapshot,
}

/// Why an image cannot be used; the text says how to mend it.
#[derive(Debug, Error)]
pub enum DiskError {
    /// The file is not there or may not be opened.
    #[error("cannot open disk image {}: {error}", path.display())]
    Open {
        /// The image.
        path: PathBuf,
        /// What the host said.
        error: io::Error,
    },
    /// The path names something else than a file.
    #[error("disk image {} is not a file", path.display())]
    NotFile {
        /// The image.
        path: PathBuf,
    },
    /// There is nothing in the file.
    #[error("disk image {} is empty; make the image again", path.display())]
    Empty {
        /// The image.
        path: PathBuf,
    },
    /// Another machine has the image.
    #[error(
        "disk image {} is in use by another emu; end that one, or use -snapshot for both",
        path.display()
    )]
    InUse {
        /// The image.
        path: PathBuf,
    },
    /// An xv6 file system that is longer than the file.
    #[error(
        "disk image {} is cut off: its file system needs {needs} bytes, the file has {len}; make \
         the image again",
        path.display()
    )]
    CutOff {
        /// The image.
        path: PathBuf,
        /// The file system's length.
        needs: u64,
        /// The file's length.
        len: u64,
    },
}

/// An open image.
#[derive(Debug)]
pub struct Disk {
    file: File,
    sectors: u64,
    mode: Mode,
    /// Snapshot: blocks that the guest wrote to.
    written: HashMap<u64, Box<[u8; BLOCK as usize]>>,
}

impl Disk {
    /// Opens an image, and locks it against machines that would disturb this one.
    pub fn open(path: &Path, mode: Mode) -> Result<Disk, DiskError> {
        let failed = |error| DiskError::Open { path: path.into(), error };
        let file = OpenOptions::new()
            .read(true)
            .write(mode == Mode::ReadWrite)
            .open(path)
            .map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(DiskError::NotFile { path: path.into() });
        }
        if meta.len() == 0 {
            return Err(DiskError::Empty { path: path.into() });
        }
        let lock = match mode {
            Mode::ReadWrite => FlockOperation::NonBlockingLockExclusive,
            Mode::ReadOnly | Mode::Snapshot => FlockOperation::NonBlockingLockShared,
        };
        if flock(&file, lock) == Err(rustix::io::Errno::WOULDBLOCK) {
            return Err(DiskError::InUse { path: path.into() });
        }
        let sectors = meta.len().div_ceil(SECTOR);
        let disk = Disk { file, sectors, mode, written: HashMap::new() };
        match disk.file_system_bytes() {
            Some(needs) if needs > meta.len() => {
                Err(DiskError::CutOff { path: path.into(), needs, len: meta.len() })
            }
            _ => Ok(disk),
        }
    }

    /// Length in sectors.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Whether the guest may not write.
    pub fn read_only(&self) -> bool {
        self.mode == Mode::ReadOnly
    }

    /// Fills `out` from byte `at` on.
    pub fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_file(at, out)?;
        if self.mode == Mode::Snapshot {
            for (block, from, to, range) in blocks(at, out.len()) {
                if let Some(data) = self.written.get(&block) {
                    out[range].copy_from_slice(&data[from..to]);
                }
            }
        }
        Ok(())
    }

    /// Writes `data` at byte `at`.
    pub fn write(&mut self, at: u64, data: &[u8]) -> io::Result<()> {
        match self.mode {
            Mode::ReadOnly => Err(ErrorKind::PermissionDenied.into()),
            Mode::ReadWrite => self.file.write_all_at(data, at),
            Mode::Snapshot => {
                for (block, from, to, range) in blocks(at, data.len()) {
                    if !self.written.contains_key(&block) {
                        let mut old = Box::new([0; BLOCK as usize]);
                        self.read_file(block * BLOCK, &mut *old)?;
                        self.written.insert(block, old);
                    }
                    if let Some(kept) = self.written.get_mut(&block) {
                        kept[from..to].copy_from_slice(&data[range]);
                    }
                }
                Ok(())
            }
        }
    }

    /// Makes what was written durable.
    pub fn flush(&self) -> io::Result<()> {
        if self.mode == Mode::ReadWrite { self.file.sync_data() } else { Ok(()) }
    }

    /// Reads the file; behind its end there are zeroes.
    fn read_file(&self, mut at: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            match self.file.read_at(out, at) {
                Ok(0) => {
                    out.fill(0);
                    return Ok(());
                }
                Ok(n) => {
                    at += n as u64;
                    out = &mut out[n..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The length an xv6 file system says it has, if there is one: block 1 begins with a magic
    /// number and the number of blocks.
    fn file_system_bytes(&self) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read_file(abi::fs::BSIZE as u64, &mut bytes).ok()?;
        let [m0, m1, m2, m3, s0, s1, s2, s3] = bytes;
        let magic = u32::from_le_bytes([m0, m1, m2, m3]);
        let size = u32::from_le_bytes([s0, s1, s2, s3]);
        (magic == abi::fs::FSMAGIC).then(|| u64::from(size) * abi::fs::BSIZE as u64)
    }
}

/// The blocks that `len` bytes from `at` on touch: number, from and to within the block, and the
/// bytes' place among the `len`.
fn blocks(
    at: u64,
    len: usize,
) -> impl Iterator<Item = (u64, usize, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let from = ((at + done as u64) % BLOCK) as usize;
        let n = (BLOCK as usize - from).min(len - done);
        let piece = ((at + done as u64) / BLOCK, from, from + n, done..done + n);
        done += n;
        (n > 0).then_some(piece)
    })
}

#[cfg(test)]
pub(crate) mod testing {
    //! Image files that go away by themselves.

    use super::*;

    /// An open image with that content, whose file has no name any more.
    pub fn disk(name: &str, content: &[u8], mode: Mode) -> Disk {
        let path = std::env::temp_dir().join(format!("emu-{name}-{}.img", std::process::id()));
        std::fs::write(&path, content).expect("temporary folder");
        let disk = Disk::open(&path, mode).expect("image");
        std::fs::remove_file(&path).expect("temporary folder");
        disk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_lengths_are_filled_up() {
        let mut disk = testing::disk("odd", &[7; 700], Mode::ReadWrite);
        assert_eq!(disk.sectors(), 2);
        let mut sector = [1; 512];
        disk.read(512, &mut sector).expect("last sector");
        assert_eq!((sector[187], sector[188], sector[511]), (7, 0, 0));
        disk.write(512, &[9; 512]).expect("last sector");
        disk.read(512, &mut sector).expect("last sector");
        assert_eq!(sector, [9; 512]);
    }

    #[test]
    fn a_snapshot_leaves_the_file_alone() {
        let mut disk = testing::disk("snapshot", &[7; 9000], Mode::Snapshot);
        disk.write(4000, &[1; 200]).expect("in memory");
        let mut out = [0; 400];
        disk.read(3900, &mut out).expect("in the image");
        assert_eq!((out[99], out[100], out[299], out[300]), (7, 1, 1, 7));
        disk.read_file(3900, &mut out).expect("in the file");
        assert_eq!(out, [7; 400]);
    }

    #[test]
    fn a_writer_excludes_others() {
        let path = std::env::temp_dir().join(format!("emu-lock-{}.img", std::process::id()));
        std::fs::write(&path, [0; 512]).expect("temporary folder");
        let first = Disk::open(&path, Mode::Snapshot).expect("first");
        let second = Disk::open(&path, Mode::ReadOnly).expect("readers share");
        assert!(matches!(Disk::open(&path, Mode::ReadWrite), Err(DiskError::InUse { .. })));
        drop((first, second));
        let _writer = Disk::open(&path, Mode::ReadWrite).expect("alone");
        assert!(matches!(Disk::open(&path, Mode::Snapshot), Err(DiskError::InUse { .. })));
        std::fs::remove_file(&path).expect("temporary folder");
    }

    #[test]
    fn a_cut_off_file_system_is_noticed() {
        let path = std::env::temp_dir().join(format!("emu-cut-{}.img", std::process::id()));
        std::fs::write(&path, []).expect("temporary folder");
        assert!(matches!(Disk::open(&path, Mode::ReadOnly), Err(DiskError::Empty { .. })));
        let mut image = vec![0; 4096];
        image[1024..1028].copy_from_slice(&abi::fs::FSMAGIC.to_le_bytes());
        image[1028..1032].copy_from_slice(&5u32.to_le_bytes());
        std::fs::write(&path, &image).expect("temporary folder");
        let error = Disk::open(&path, Mode::ReadOnly).expect_err("cut off");
        std::fs::remove_file(&path).expect("temporary folder");
        assert!(matches!(error, DiskError::CutOff { needs: 5120, len: 4096, .. }), "{error}");
    }
}
