//! What addresses of user programs are called: by the files of the programs.
//!
//! There can be many, with debug information a hundred times their code, and a run meets few of
//! them. So a file's code is read when the first program runs, the rest when it is that program.

use std::cell::OnceCell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::{Object, ObjectKind, ObjectSection, ObjectSegment, ReadCache, ReadRef, SectionKind};

use super::quick::QuickMap;
use super::record::Place;
use crate::mem::Ram;
use crate::symbols::Symbols;

/// Largest file that symbols are read from.
const MAX_FILE: u64 = 256 << 20;
/// Most code of a program.
const MAX_CODE: u64 = 16 << 20;
/// Bytes of code by which a page is recognised.
const MIN_CODE: usize = 16;

/// A file that is not absurdly large.
pub fn read(path: &Path) -> Option<Vec<u8>> {
    let meta = std::fs::metadata(path).ok()?;
    if !meta.is_file() || meta.len() > MAX_FILE {
        return None;
    }
    std::fs::read(path).ok()
}

/// A user program.
struct Program {
    source: Source,
    code: OnceCell<Code>,
    symbols: OnceCell<Option<Symbols>>,
}

/// Where a program's file is.
enum Source {
    Path(PathBuf),
    Bytes(Vec<u8>),
}

impl Program {
    fn code(&self) -> &Code {
        self.code.get_or_init(|| {
            let code = match &self.source {
                Source::Path(path) if path.is_file() => {
                    File::open(path).ok().and_then(|file| Code::read(&ReadCache::new(file)))
                }
                Source::Path(_) => None,
                Source::Bytes(bytes) => Code::read(bytes.as_slice()),
            };
            code.unwrap_or_default()
        })
    }

    fn symbols(&self) -> Option<&Symbols> {
        let read = || match &self.source {
            Source::Path(path) => Symbols::from_elf(&read(path)?).ok(),
            Source::Bytes(bytes) => Symbols::from_elf(bytes).ok(),
        };
        self.symbols.get_or_init(read).as_ref()
    }
}

/// A program's code: addresses and bytes. Without sections everything counts as code.
#[derive(Default)]
struct Code(Vec<(u64, Vec<u8>)>);

impl Code {
    fn read<'a>(data: impl ReadRef<'a>) -> Option<Code> {
        let file = object::File::parse(data).ok()?;
        // Parts of programs have no addresses yet.
        if file.kind() == ObjectKind::Relocatable {
            return None;
        }
        let mut pieces = Vec::new();
        for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
            if section.size() <= MAX_CODE {
                pieces.push((section.address(), section.data().ok()?.to_vec()));
            }
        }
        if pieces.is_empty() {
            for segment in file.segments().filter(|segment| segment.file_range().1 <= MAX_CODE) {
                pieces.push((segment.address(), segment.data().ok()?.to_vec()));
            }
        }
        Some(Code(pieces))
    }

    /// Whether a page of memory at the page `va` holds this code: data in the same page may have
    /// changed.
    fn is_page(&self, va: u64, page: &[u8]) -> bool {
        let end = va.saturating_add(page.len() as u64);
        let mut compared = 0;
        for (start, bytes) in &self.0 {
            let (from, to) = (va.max(*start), end.min(start.saturating_add(bytes.len() as u64)));
            if from < to {
                let there = &page[(from - va) as usize..(to - va) as usize];
                if bytes[(from - start) as usize..(to - start) as usize] != *there {
                    return false;
                }
                compared += (to - from) as usize;
            }
        }
        compared >= MIN_CODE
    }
}

/// Finds the program that an address space runs by comparing memory with the files' bytes: names
/// lie (a shell's child is called like the shell until it calls exec), bytes do not.
#[derive(Default)]
pub struct Programs {
    programs: Vec<Program>,
    /// The program of a frame of text, as long as the frame holds the same bytes.
    known: QuickMap<(u64, u64), (u64, Option<usize>)>,
    /// The last answer: frame, page, what it holds, and the program.
    last: (u64, u64, u64, Option<usize>),
}

/// Answers that are remembered.
const MAX_KNOWN: usize = 1 << 14;

impl Programs {
    /// Adds a program's file; one that is no ELF file is none's.
    pub fn add_file(&mut self, path: PathBuf) {
        self.add(Source::Path(path));
    }

    /// Adds what a program's file holds.
    pub fn add_bytes(&mut self, elf: Vec<u8>) {
        if elf.starts_with(b"\x7fELF") {
            self.add(Source::Bytes(elf));
        }
    }

    fn add(&mut self, source: Source) {
        let (code, symbols) = (OnceCell::new(), OnceCell::new());
        self.programs.push(Program { source, code, symbols });
    }

    /// Which program the user address `pc` belongs to, which is at `pa` in memory.
    pub fn of(&mut self, ram: &Ram, pc: u64, pa: u64) -> Option<usize> {
        let (page_va, page_pa) = (pc & !0xfff, pa & !0xfff);
        let print = fingerprint(ram, page_pa)?;
        let (pa, va, known, index) = self.last;
        if (pa, va, known) == (page_pa, page_va, print) {
            return index;
        }
        let index = match self.known.get(&(page_pa, page_va)) {
            Some((known, index)) if *known == print => *index,
            _ => {
                let index = self.find(ram, page_va, page_pa);
                if self.known.len() < MAX_KNOWN {
                    self.known.insert((page_pa, page_va), (print, index));
                }
                index
            }
        };
        self.last = (page_pa, page_va, print, index);
        index
    }

    /// What is at an address of a program.
    pub fn place(&self, program: usize, pc: u64) -> Option<Arc<Place>> {
        Some(self.programs.get(program)?.symbols()?.place(pc))
    }

    fn find(&self, ram: &Ram, page_va: u64, page_pa: u64) -> Option<usize> {
        let page = ram.bytes(page_pa, 4096)?;
        let is_it = |program: &Program| {
            program.code().is_page(page_va, page) && program.symbols().is_some()
        };
        self.programs.iter().position(is_it)
    }
}

/// A cheap sum of a page's first and some of its other words, to notice that it changed.
fn fingerprint(ram: &Ram, page_pa: u64) -> Option<u64> {
    let page = ram.bytes(page_pa, 4096)?.as_chunks::<8>().0;
    let words = page.iter().step_by(17).map(|word| u64::from_le_bytes(*word));
    Some(words.fold(0u64, |sum, word| sum.rotate_left(7) ^ word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_known_by_its_code_alone() {
        let code = Code(vec![(0x1ff0, (1..=40).collect())]);
        let mut page = [0; 4096];
        page[..24].copy_from_slice(&(17..=40).collect::<Vec<u8>>());
        page[24] = 99;
        assert!(code.is_page(0x2000, &page));
        page[23] = 0;
        assert!(!code.is_page(0x2000, &page), "another byte of code");
        assert!(!code.is_page(0x3000, &page), "nothing to compare");
    }

    #[test]
    fn this_very_program_is_read_lazily_and_wholly() {
        let path = std::env::current_exe().expect("a test has a file");
        let code = |source| {
            let mut programs = Programs::default();
            programs.add(source);
            let Code(pieces) = programs.programs[0].code();
            pieces.iter().map(|(start, bytes)| (*start, bytes.len())).collect::<Vec<_>>()
        };
        let pieces = code(Source::Path(path.clone()));
        assert!(pieces.iter().any(|(_, len)| *len > 100_000), "{pieces:?}");
        assert_eq!(pieces, code(Source::Bytes(std::fs::read(path).expect("readable"))));
        assert_eq!(code(Source::Path(PathBuf::from("/nowhere"))), []);
    }
}
