//! Which function and line an address belongs to, where functions were inlined into others.
//!
//! An instruction can be of several functions at once: the one in the symbol table, one that was
//! inlined into it, one that was inlined into that. What a reader looks for is the innermost that
//! is in the program's own files, not in those of the language's library.

use std::sync::Arc;

use abi::layout::TRAMPOLINE;
use addr2line::{Context, Frame};

use super::{Reader, Symbols, demangled};
use crate::trace::record::Place;

/// Parts of paths that tell files of libraries: of the toolchain, as built, and of dependencies.
/// The in-tree kernel's hints stand for what hints, system calls for what calls.
const LIBRARIES: [&str; 5] = [
    "/rustc/",
    "/rustlib/src/",
    "cargo/registry/",
    "guest-kernel/src/arch/riscv/hint.rs",
    "guest-user/src/sys.rs",
];

impl Symbols {
    pub(super) fn find_place(&self, pc: u64) -> Place {
        if let Some(place) = self.in_trampoline(pc) {
            return Place { pc, ..place };
        }
        let function = self.function(pc);
        let mut place = Place {
            pc,
            function: function.map(|function| function.name.clone()),
            offset: function.map(|function| pc - function.start),
            ..Place::default()
        };
        // Only for addresses of the file: addr2line overflows at the end of the address space.
        let inside = pc < u64::MAX && self.loaded_bytes(pc, 1).is_some();
        if let Some(lines) = self.lines.as_ref().filter(|_| inside) {
            add_line(&mut place, lines, function.map_or(pc, |function| function.start));
        }
        place
    }

    /// The page that kernels map at the end of every address space: it is part of their file.
    fn in_trampoline(&self, pc: u64) -> Option<Place> {
        let offset = pc.checked_sub(TRAMPOLINE).filter(|offset| *offset < 4096)?;
        let start = self.address("trampoline").filter(|start| *start != TRAMPOLINE)?;
        Some(self.find_place(start.checked_add(offset)?))
    }
}

/// Adds file and line to a place of which the symbol table's function is known, which begins at
/// `start`; and if they belong to another one, that one's name.
fn add_line(place: &mut Place, lines: &Context<Reader>, start: u64) {
    /// Bytes of code that the compiler says nothing of, as it does where it merged some.
    const GAP: u64 = 64;
    let Some(own) = innermost(lines, place.pc) else { return };
    let before = || {
        let near = (1..=GAP / 2).map_while(|n| place.pc.checked_sub(2 * n));
        let mut near = near.take_while(|pc| *pc >= start).filter_map(|pc| innermost(lines, pc));
        near.find_map(|found| found.location.filter(|_| found.name == own.name))
    };
    let location = own.location.or_else(before);
    if let Some(name) = own.name.filter(|_| own.inlined) {
        place.inlined_into = place.function.replace(name);
    }
    let Some((file, line)) = location else { return };
    place.line = Some(line);
    let unit = lines.find_dwarf_and_unit(place.pc).skip_all_loads();
    let dir = unit.and_then(|unit| unit.comp_dir.clone());
    let dir = dir.as_ref().and_then(|dir| std::str::from_utf8(dir.bytes()).ok());
    // Where the tree was is the builder's affair; where in the tree the file is, the reader's.
    let below = dir.and_then(|dir| Some((dir, file.strip_prefix(dir)?.strip_prefix('/')?)));
    let (dir, file) = below.map_or((None, file.as_str()), |(dir, file)| (Some(dir), file));
    (place.dir, place.file) = (dir.map(Arc::from), Some(file.to_owned()));
}

/// A function that an address belongs to.
struct Found {
    name: Option<String>,
    /// Into another one.
    inlined: bool,
    /// File and line.
    location: Option<(String, u32)>,
}

/// The innermost function that is not a library's, or else the outermost one.
fn innermost(lines: &Context<Reader>, pc: u64) -> Option<Found> {
    // A file can nest functions without end.
    const DEEPEST: usize = 64;
    let mut frames = lines.find_frames(pc).skip_all_loads().ok()?;
    let mut own: Option<(usize, Frame<Reader>)> = None;
    let mut depth = 0;
    while let Ok(Some(frame)) = frames.next() {
        if own.as_ref().is_none_or(|(_, frame)| is_library(frame)) {
            own = Some((depth, frame));
        }
        depth += 1;
        if depth == DEEPEST {
            return None;
        }
    }
    let (at, frame) = own?;
    let name = frame.function.as_ref().and_then(|name| name.raw_name().ok());
    // A file without a line may be that of any function that was inlined there.
    let location = frame.location.and_then(|location| location.file.zip(location.line));
    Some(Found {
        name: name.and_then(|name| demangled(&name)),
        inlined: at + 1 < depth,
        location: location.map(|(file, line)| (file.to_owned(), line)),
    })
}

fn is_library(frame: &Frame<Reader>) -> bool {
    let file = frame.location.as_ref().and_then(|location| location.file);
    file.is_none_or(|file| LIBRARIES.iter().any(|part| file.contains(part)))
}
