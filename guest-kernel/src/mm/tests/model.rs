//! What processes must see, said as simply as possible: bytes by address, and nothing about
//! frames, tables or faults.

use std::collections::BTreeMap;
use std::vec::Vec;

use abi::layout::{PGSIZE, TRAPFRAME};

use crate::mm::testing::TestFile;

/// Memory whose bytes start as zeros or as a file's.
#[derive(Clone, Copy)]
pub struct Origin {
    pub file: Option<&'static TestFile>,
    pub id: u64,
}

/// The byte that a test file has at an offset.
pub fn file_byte(offset: u64) -> u8 {
    (offset % 241) as u8 + 1
}

impl Origin {
    fn initial(&self, offset: u64) -> u8 {
        let inside = self.file.is_some_and(|file| offset < file.bytes.lock().unwrap().len() as u64);
        if inside { file_byte(offset) } else { 0 }
    }
}

/// A promised page.
#[derive(Clone, Copy)]
pub struct Page {
    /// Which `mmap` or `sbrk` promised it.
    pub region: u64,
    pub readable: bool,
    pub writable: bool,
    /// Whether `munmap` may take it.
    pub mapping: bool,
    pub shared: bool,
    pub origin: Origin,
    /// Offset in the origin.
    pub offset: u64,
}

#[derive(Clone, Default)]
pub struct Process {
    pub pages: BTreeMap<u64, Page>,
    /// Bytes written to private pages.
    pub written: BTreeMap<u64, u8>,
    pub brk: u64,
    pub shared_page: Option<u64>,
}

#[derive(Default)]
pub struct World {
    /// Bytes written to shared origins.
    pub shared: BTreeMap<(u64, u64), u8>,
    next_id: u64,
    pub files: Vec<Origin>,
}

pub fn down(va: u64) -> u64 {
    va / PGSIZE * PGSIZE
}

pub fn up(va: u64) -> u64 {
    down(va + PGSIZE - 1)
}

impl World {
    pub fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub fn zeros(&mut self) -> Origin {
        Origin { file: None, id: self.id() }
    }

    pub fn read(&self, process: &Process, va: u64) -> Option<u8> {
        let page = process.pages.get(&down(va)).filter(|page| page.readable)?;
        let offset = page.offset + va % PGSIZE;
        let written = match page.shared {
            true => self.shared.get(&(page.origin.id, offset)),
            false => process.written.get(&va),
        };
        Some(written.copied().unwrap_or_else(|| page.origin.initial(offset)))
    }

    pub fn write(&mut self, process: &mut Process, va: u64, byte: u8) -> bool {
        let Some(page) = process.pages.get(&down(va)).filter(|page| page.writable) else {
            return false;
        };
        match page.shared {
            true => self.shared.insert((page.origin.id, page.offset + va % PGSIZE), byte),
            false => process.written.insert(va, byte),
        };
        true
    }

    /// A process as `Machine::program` makes it.
    pub fn program(&mut self) -> Process {
        let mut process = Process::default();
        for (index, (readable, writable)) in
            [(true, false), (true, true), (true, true), (false, false), (true, true)]
                .into_iter()
                .enumerate()
        {
            let (region, origin) = (self.id(), self.zeros());
            let (mapping, shared) = (false, false);
            let page = Page { region, readable, writable, mapping, shared, origin, offset: 0 };
            process.pages.insert(index as u64 * PGSIZE, page);
        }
        process.brk = 5 * PGSIZE;
        process
    }

    /// The memory that a fork leaves: bytes are the same, later writes are not.
    pub fn fork(&self, parent: &Process) -> Process {
        parent.clone()
    }
}

impl Process {
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        self.pages.range(start..end).next().is_none()
    }

    pub fn promise(&mut self, start: u64, end: u64, page: Page) {
        for (index, va) in (start..end).step_by(PGSIZE as usize).enumerate() {
            let offset = page.offset + index as u64 * PGSIZE;
            self.pages.insert(va, Page { offset, ..page });
        }
    }

    pub fn forget(&mut self, start: u64, end: u64) {
        self.pages.retain(|va, _| !(start..end).contains(va));
        self.written.retain(|va, _| !(start..end).contains(va));
    }

    /// Where a mapping of `bytes` bytes must go without a hint.
    pub fn highest(&self, bytes: u64) -> Option<u64> {
        let floor = up(self.brk);
        let mut start = TRAPFRAME.checked_sub(bytes)?;
        while start >= floor {
            match self.pages.range(start..start + bytes).next() {
                None => return Some(start),
                Some((taken, _)) => start = taken.checked_sub(bytes)?,
            }
        }
        None
    }
}
