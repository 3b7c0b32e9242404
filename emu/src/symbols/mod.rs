//! What addresses are called: functions and source lines of an ELF file.
//!
//! Functions come from the symbol table, lines from DWARF when it is there. A file without either
//! is no error: addresses then stay numbers. Names of Rust functions are demangled.

mod places;
mod structs;
mod unwind;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use addr2line::Context;
use gimli::{DebugFrame, EndianArcSlice, RunTimeEndian};
use isa::Op;
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, SymbolKind};

pub use structs::StructLayout;
pub use unwind::Step;

use crate::trace::quick::QuickMap;
use crate::trace::record::Place;

/// How DWARF sections are held.
type Reader = EndianArcSlice<RunTimeEndian>;

/// Why a file has no symbols for us.
#[derive(Debug, thiserror::Error)]
pub enum SymbolError {
    /// Not an object file.
    #[error("not an object file: {0}")]
    Object(#[from] object::Error),
    /// The debug information is broken.
    #[error("broken debug information: {0}")]
    Dwarf(#[from] gimli::Error),
}

/// A function: `start..end` and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// Name, demangled.
    pub name: String,
}

/// The symbols of one program.
pub struct Symbols {
    functions: Vec<Function>,
    /// Address and size.
    addresses: HashMap<String, (u64, u64)>,
    dwarf: Option<Arc<gimli::Dwarf<Reader>>>,
    lines: Option<Context<Reader>>,
    frames: DebugFrame<Reader>,
    steps: RefCell<QuickMap<u64, Option<Step>>>,
    /// The whole file, which the sections with debug information are parts of.
    bytes: Reader,
    /// Address, and offset and length in the file's bytes; segments may share these.
    segments: Vec<(u64, u64, u64)>,
    known: RefCell<QuickMap<u64, Arc<Place>>>,
}

/// Places that are remembered; looking one up in DWARF is slow, and few sites fault.
const MAX_KNOWN: usize = 1 << 16;

/// A name that fails to become a long one: many symbols could share a giant name, or a small one
/// that refers to itself until it is giant.
#[derive(Default)]
struct ShortName(String);

impl Write for ShortName {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.0.len() + part.len() > 1 << 12 {
            return Err(fmt::Error);
        }
        self.0.push_str(part);
        Ok(())
    }
}

impl Symbols {
    /// Reads an ELF file's symbols, lines and loaded bytes.
    pub fn from_elf(bytes: &[u8]) -> Result<Symbols, SymbolError> {
        let file = object::File::parse(bytes)?;
        let mut functions = Vec::new();
        let mut addresses = HashMap::new();
        // Labels of assembly count: they have no type and no size.
        let names = |kind| !matches!(kind, SymbolKind::Section | SymbolKind::File);
        for symbol in file.symbols().filter(|s| !s.is_undefined() && names(s.kind())) {
            let Ok(name) = symbol.name() else { continue };
            let Some(name) = demangled(name) else { continue };
            addresses.entry(name.clone()).or_insert((symbol.address(), symbol.size()));
            // Assembly labels have no type and no size, and are functions all the same.
            let function = symbol.kind() == SymbolKind::Text
                || (symbol.kind() == SymbolKind::Unknown && in_text(&file, symbol.section_index()));
            if function && !name.starts_with(['$', '.']) {
                let (start, end) =
                    (symbol.address(), symbol.address().saturating_add(symbol.size()));
                functions.push(Function { start, end, name });
            }
        }
        functions.sort_by(|a, b| (a.start, b.end).cmp(&(b.start, a.end)));
        functions.dedup_by_key(|function| function.start);
        close_gaps(&mut functions);
        let bytes = Reader::new(Arc::from(bytes), RunTimeEndian::Little);
        let dwarf = read_dwarf(&file, &bytes)?.map(Arc::new);
        let lines = dwarf.clone().map(Context::from_arc_dwarf).transpose()?;
        let segments = file
            .segments()
            .map(|segment| {
                let (offset, len) = segment.file_range();
                (segment.address(), offset, len)
            })
            .collect();
        let frames = DebugFrame::from(section(&file, &bytes, gimli::SectionId::DebugFrame)?);
        let (known, steps) = (RefCell::default(), RefCell::default());
        Ok(Symbols { functions, addresses, dwarf, lines, frames, steps, bytes, segments, known })
    }

    /// What is at `pc`: function and offset, file and line, as far as known.
    pub fn place(&self, pc: u64) -> Arc<Place> {
        if let Some(place) = self.known.borrow().get(&pc) {
            return place.clone();
        }
        let place = Arc::new(self.find_place(pc));
        let mut known = self.known.borrow_mut();
        if known.len() < MAX_KNOWN {
            known.insert(pc, place.clone());
        }
        place
    }

    /// What is at the call that returns to `back`: the line that calls is not always the one where
    /// it goes on.
    pub fn call(&self, back: u64) -> Arc<Place> {
        let bits = |bytes: &[u8]| bytes.iter().rev().fold(0, |bits, byte| bits << 8 | *byte as u32);
        let is_call = |length: &u64| {
            let bytes = self.loaded_bytes(back.wrapping_sub(*length), *length as usize);
            let inst = bytes.and_then(|bytes| isa::decode(bits(bytes)));
            inst.is_some_and(|inst| {
                matches!(inst.op, Op::Jal | Op::Jalr) && inst.rd() == 1 && inst.len() == *length
            })
        };
        self.place(back - [4, 2].into_iter().find(is_call).unwrap_or(0))
    }

    /// The function that holds `pc`.
    pub fn function(&self, pc: u64) -> Option<&Function> {
        let after = self.functions.partition_point(|function| function.start <= pc);
        self.functions.get(after.checked_sub(1)?).filter(|function| pc < function.end)
    }

    /// The function with this name.
    pub fn function_named(&self, name: &str) -> Option<&Function> {
        let start = self.address(name)?;
        self.function(start).filter(|function| function.start == start)
    }

    /// The address of a symbol, function or data.
    pub fn address(&self, name: &str) -> Option<u64> {
        self.addresses.get(name).map(|(address, _)| *address)
    }

    /// The first address of a symbol and the one behind it.
    pub fn extent(&self, name: &str) -> Option<(u64, u64)> {
        let (address, size) = self.addresses.get(name)?;
        Some((*address, address.saturating_add(*size)))
    }

    /// The layout of a C structure, from the debug information.
    pub fn structure(&self, name: &str) -> Option<StructLayout> {
        structs::find(self.dwarf.as_deref()?, name).ok().flatten()
    }

    /// The bytes that a loader puts at `va..va + len`, as far as the file holds them.
    pub fn loaded_bytes(&self, va: u64, len: usize) -> Option<&[u8]> {
        self.segments.iter().find_map(|&(start, offset, held)| {
            let into = va.checked_sub(start)?;
            let end = into.checked_add(len as u64).filter(|end| *end <= held)?;
            let (from, to) = (offset.checked_add(into)?, offset.checked_add(end)?);
            self.bytes.bytes().get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
        })
    }
}

/// A symbol's name as in the source, unless it is absurdly long.
fn demangled(name: &str) -> Option<String> {
    let mut demangled = ShortName::default();
    write!(demangled, "{:#}", rustc_demangle::demangle(name)).ok()?;
    Some(demangled.0)
}

fn in_text(file: &object::File, section: Option<object::SectionIndex>) -> bool {
    section
        .and_then(|index| file.section_by_index(index).ok())
        .is_some_and(|section| section.kind() == object::SectionKind::Text)
}

/// Symbols without a size reach to the next one (at most a page).
fn close_gaps(functions: &mut [Function]) {
    let nexts: Vec<u64> = functions.iter().skip(1).map(|function| function.start).collect();
    for (i, function) in functions.iter_mut().enumerate() {
        if function.end <= function.start {
            let page_end = function.start.saturating_add(4096);
            function.end = nexts.get(i).copied().unwrap_or(page_end).min(page_end);
        }
    }
}

/// `bytes`: the file's.
fn read_dwarf(
    file: &object::File,
    bytes: &Reader,
) -> Result<Option<gimli::Dwarf<Reader>>, SymbolError> {
    if file.section_by_name(".debug_info").is_none() {
        return Ok(None);
    }
    Ok(Some(gimli::Dwarf::load(|id| section(file, bytes, id))?))
}

/// A section of debug information, empty if there is none.
fn section(
    file: &object::File,
    bytes: &Reader,
    id: gimli::SectionId,
) -> Result<Reader, SymbolError> {
    let Some(section) = file.section_by_name(id.name()) else { return Ok(bytes.range(0..0)) };
    match section.uncompressed_data()? {
        Cow::Borrowed([]) => Ok(bytes.range(0..0)),
        Cow::Borrowed(data) => {
            let (start, _) = section.file_range().unwrap_or_default();
            let start = start as usize;
            Ok(bytes.range(start..start + data.len()))
        }
        Cow::Owned(data) => Ok(Reader::new(Arc::from(data), RunTimeEndian::Little)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This very program: it has symbols, and line tables unless it was stripped.
    fn own_symbols() -> Symbols {
        let path = std::env::current_exe().expect("a test has a file");
        Symbols::from_elf(&std::fs::read(path).expect("readable")).expect("an object file")
    }

    #[inline(never)]
    fn a_function_of_this_test(x: u64) -> u64 {
        std::hint::black_box(x) + 1
    }

    #[test]
    fn a_functions_own_address_has_its_name_and_file() {
        let symbols = own_symbols();
        assert_eq!(a_function_of_this_test(1), 2);
        let name = "emu::symbols::tests::a_function_of_this_test";
        let function = symbols.function_named(name).expect("in the symbol table");
        let place = symbols.place(function.start);
        assert_eq!((place.function.as_deref(), place.offset), (Some(name), Some(0)));
        let file = place.file.as_deref().expect("line tables");
        assert!(file.ends_with("emu/src/symbols/mod.rs"), "{file}");
        let own_bytes = symbols.loaded_bytes(function.start, 4).expect("loaded");
        assert_eq!(own_bytes.len(), 4);
    }

    #[test]
    fn addresses_outside_everything_stay_numbers() {
        let place = own_symbols().place(u64::MAX);
        assert_eq!(*place, Place { pc: u64::MAX, ..Place::default() });
    }

    #[test]
    fn broken_files_are_errors() {
        assert!(Symbols::from_elf(b"").is_err());
        assert!(Symbols::from_elf(b"\x7fELF\x02\x01\x01").is_err());
    }
}
