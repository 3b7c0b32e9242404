//! Memory for translated code: one view that is written and one that is executed.
//!
//! No page is ever both writable and executable. The two views are mappings of the same memory
//! file; x86 keeps instruction fetches coherent with stores through another mapping, because its
//! caches go by physical address.

use memmap2::{Mmap, MmapMut, MmapOptions};

use super::asm::{Asm, Part};

/// Bytes for translated code.
const SIZE: usize = 32 << 20;
/// Where its parts begin and end.
const PARTS: [(usize, usize); 2] = [(0, 12 << 20), (12 << 20, SIZE)];
/// When less than this of a part is left, the buffer counts as full.
const RESERVE: usize = 64 << 10;

/// The code buffer: its parts are filled from their starts, and emptied as a whole.
#[derive(Debug)]
pub struct Buffer {
    writable: MmapMut,
    executable: Mmap,
    /// Where what comes next will lie, by part.
    used: [usize; 2],
}

impl Buffer {
    /// An empty buffer. Hosts may forbid executable memory of a process's own making.
    pub fn new() -> std::io::Result<Buffer> {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let file = std::fs::File::from(rustix::fs::memfd_create("translated code", flags)?);
        file.set_len(SIZE as u64)?;
        // SAFETY: nobody else has the file, so that it changes only through the writable view,
        // whose contents are not borrowed while translated code runs.
        let (writable, executable) = unsafe {
            let options = MmapOptions::new();
            (options.map_mut(&file)?, options.map_exec(&file)?)
        };
        Ok(Buffer { writable, executable, used: PARTS.map(|(start, _)| start) })
    }

    /// The addresses at which the next code will be executed, by part.
    pub fn next(&self) -> [u64; 2] {
        self.used.map(|used| self.start() + used as u64)
    }

    /// The same, and where the buffer begins.
    pub fn place(&self) -> ([u64; 2], u64) {
        (self.next(), self.start())
    }

    fn start(&self) -> u64 {
        self.executable.as_ptr() as u64
    }

    /// Where the code of `address` is in the buffer, a number that is not zero for any jump.
    pub fn offset(&self, address: u64) -> u32 {
        (address - self.start()) as u32
    }

    /// Adds code that was made to be executed at [`Buffer::next`].
    pub fn add(&mut self, asm: &Asm) {
        for part in [Part::Hot, Part::Cold] {
            let (code, used) = (asm.part(part), &mut self.used[part as usize]);
            self.writable[*used..*used + code.len()].copy_from_slice(code);
            *used += code.len().next_multiple_of(16);
        }
    }

    /// Makes the jump whose distance is at `offset` lead to `target`.
    pub fn patch(&mut self, offset: u32, target: u64) {
        let at = offset as usize;
        let from = self.start() + at as u64 + 4;
        let distance = target.wrapping_sub(from) as i32;
        self.writable[at..at + 4].copy_from_slice(&distance.to_le_bytes());
    }

    /// Puts a jump to `target` at the address `at`; returns what was there, unless it was a jump.
    pub fn put_jump(&mut self, at: u64, target: u64) -> Option<[u8; 5]> {
        const JUMP: u8 = 0xe9;
        let offset = self.offset(at) as usize;
        let mut old = [0; 5];
        old.copy_from_slice(&self.writable[offset..offset + 5]);
        self.writable[offset] = JUMP;
        self.patch(offset as u32 + 1, target);
        (old[0] != JUMP).then_some(old)
    }

    /// Writes code at the address `at`.
    pub fn write(&mut self, at: u64, code: &[u8]) {
        let offset = self.offset(at) as usize;
        self.writable[offset..offset + code.len()].copy_from_slice(code);
    }

    /// Whether there may be too little room for another block.
    pub fn full(&self) -> bool {
        self.used.iter().zip(PARTS).any(|(used, (_, end))| used + RESERVE > end)
    }

    /// How far its parts are used.
    pub fn used(&self) -> [usize; 2] {
        self.used
    }

    /// Forgets what was added since [`Buffer::used`] was this.
    pub fn truncate(&mut self, used: [usize; 2]) {
        self.used = used;
    }
}
