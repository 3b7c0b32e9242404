//! Pipes: a ring of bytes with a reading and a writing end.

use abi::param::PIPESIZE;

use super::FsError;
use super::bounce::{CHUNK, UserMemory, copyin_some, copyout_some};
use super::pool::Shared;
use crate::proc::{killed, sleep_unless_killed, wakeup};
use crate::sync::{SpinGuard, SpinLock};

/// A pipe. It goes when both its ends are dropped.
pub struct Pipe {
    ring: SpinLock<Ring>,
}

struct Ring {
    data: [u8; PIPESIZE],
    /// Bytes read and written since the pipe was made.
    read: usize,
    written: usize,
    reader_open: bool,
    writer_open: bool,
}

/// One end of a pipe; dropping it closes it.
pub struct PipeEnd {
    pipe: Shared<Pipe>,
    writing: bool,
}

/// Both ends, the reading one first, of the pipe that this becomes.
pub fn ends(pipe: Shared<Pipe>) -> (PipeEnd, PipeEnd) {
    let reader = PipeEnd { pipe: pipe.clone(), writing: false };
    (reader, PipeEnd { pipe, writing: true })
}

impl Pipe {
    /// An empty pipe.
    pub const fn new() -> Pipe {
        let ring =
            Ring { data: [0; PIPESIZE], read: 0, written: 0, reader_open: true, writer_open: true };
        Pipe { ring: SpinLock::new("pipe", ring) }
    }

    /// What readers wait for: bytes, or the end.
    fn bytes_came(&self) -> usize {
        (&raw const self.ring).addr()
    }

    /// What writers wait for: room, or that the reader goes.
    fn room_came(&self) -> usize {
        self.bytes_came() + 1
    }

    /// Puts all of the bytes into the ring, waiting for room.
    fn push(&self, mut data: &[u8]) -> Result<(), FsError> {
        let mut ring = self.ring.lock();
        while !data.is_empty() {
            if !ring.reader_open || killed() {
                return Err(FsError::Broken);
            }
            let n = ring.put(data);
            data = &data[n..];
            if n == 0 {
                wakeup(self.bytes_came());
                ring = sleep_unless_killed(self.room_came(), ring);
            }
        }
        wakeup(self.bytes_came());
        Ok(())
    }

    /// Waits until there are bytes, or no more will come.
    fn wait(&self) -> Result<SpinGuard<'_, Ring>, FsError> {
        let mut ring = self.ring.lock();
        while ring.read == ring.written && ring.writer_open {
            if killed() {
                return Err(FsError::Broken);
            }
            ring = sleep_unless_killed(self.bytes_came(), ring);
        }
        Ok(ring)
    }
}

impl Ring {
    fn put(&mut self, data: &[u8]) -> usize {
        let n = data.len().min(PIPESIZE - (self.written - self.read));
        for &byte in &data[..n] {
            self.data[self.written % PIPESIZE] = byte;
            self.written += 1;
        }
        n
    }

    fn take(&mut self, buf: &mut [u8]) -> usize {
        let n = buf.len().min(self.written - self.read);
        for byte in &mut buf[..n] {
            *byte = self.data[self.read % PIPESIZE];
            self.read += 1;
        }
        n
    }
}

impl PipeEnd {
    /// Writes `len` bytes of user memory, waiting for readers to make room. Returns how many
    /// there were before one that could not be read.
    pub fn write(&self, user: &mut dyn UserMemory, va: u64, len: usize) -> Result<usize, FsError> {
        let mut done = 0;
        while done < len {
            let mut chunk = [0; CHUNK];
            let want = CHUNK.min(len - done);
            let got = copyin_some(user, &mut chunk[..want], va.wrapping_add(done as u64));
            self.pipe.push(&chunk[..got])?;
            done += got;
            if got < want {
                break;
            }
        }
        Ok(done)
    }

    /// Reads at most `len` bytes to user memory: what there is, after waiting for the first one.
    pub fn read(&self, user: &mut dyn UserMemory, va: u64, len: usize) -> Result<usize, FsError> {
        let mut done = 0;
        let mut ring = self.pipe.wait()?;
        loop {
            let mut chunk = [0; CHUNK];
            let want = CHUNK.min(len - done);
            let got = ring.take(&mut chunk[..want]);
            wakeup(self.pipe.room_came());
            drop(ring);
            let taken = copyout_some(user, va.wrapping_add(done as u64), &chunk[..got]);
            done += taken;
            if got < CHUNK || taken < got || done == len {
                return Ok(done);
            }
            ring = self.pipe.ring.lock();
        }
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut ring = self.pipe.ring.lock();
        if self.writing {
            ring.writer_open = false;
            wakeup(self.pipe.bytes_came());
        } else {
            ring.reader_open = false;
            wakeup(self.pipe.room_came());
        }
    }
}
