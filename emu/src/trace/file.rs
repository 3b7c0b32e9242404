//! A file that only ever holds whole lines, however the run ends.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;

/// Bytes that are gathered before they are written.
const GATHER: usize = 256 << 10;

/// A buffered file that is written in whole lines. When the disk is full, what was written of a
/// line is taken back.
#[derive(Debug)]
pub struct LineFile {
    file: File,
    buffer: Vec<u8>,
    failed: bool,
}

impl LineFile {
    /// Makes a file, or empties it.
    pub fn create(path: &Path) -> io::Result<LineFile> {
        Ok(LineFile { file: File::create(path)?, buffer: Vec::new(), failed: false })
    }

    /// Writes the first `len` bytes of the buffer, which end a line.
    fn drain(&mut self, len: usize) -> io::Result<()> {
        let mut done = 0;
        let result = loop {
            match self.file.write(&self.buffer[done..len]) {
                _ if done == len => break Ok(()),
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if result.is_err() {
            self.failed = true;
            let whole = last_line_end(&self.buffer[..done]);
            if let Ok(end) = self.file.stream_position() {
                // A pipe or a device cannot take anything back; then the reader must cope.
                let _ = self.file.set_len(end - (done - whole) as u64);
            }
        }
        self.buffer.drain(..len);
        result
    }
}

/// The number of bytes up to the last end of a line.
fn last_line_end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

impl Write for LineFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= GATHER {
            self.drain(last_line_end(&self.buffer))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain(self.buffer.len())
    }
}

impl Drop for LineFile {
    /// What is still held back is written after an early end as well.
    fn drop(&mut self) {
        if !self.failed {
            let _ = self.drain(self.buffer.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_fails_and_a_file_gets_everything() {
        let mut full = LineFile::create(Path::new("/dev/full")).expect("exists on Linux");
        full.write_all(b"a line\n").expect("gathered");
        assert_eq!(full.flush().map_err(|e| e.kind()), Err(io::ErrorKind::StorageFull));
        let path = std::env::temp_dir().join(format!("emu-lines-{}", std::process::id()));
        let mut file = LineFile::create(&path).expect("temporary file");
        let line = [b'x'; 99];
        for _ in 0..20_000 {
            file.write_all(&line).and_then(|()| file.write_all(b"\n")).expect("room");
        }
        let early = std::fs::read(&path).expect("readable");
        assert!(!early.is_empty() && early.len().is_multiple_of(100), "{}", early.len());
        drop(file);
        assert_eq!(std::fs::read(&path).expect("readable").len(), 2_000_000);
        let _ = std::fs::remove_file(&path);
    }
}
