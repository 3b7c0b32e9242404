//! Brings kernels, firmware and other files into guest memory: ELF, flat Linux images, raw
//! bytes. Nothing in a file is believed before it is checked.
//!
//! Source: System V ABI, "Object Files" and the RISC-V ELF psABI; Linux's
//! Documentation/arch/riscv/boot-image-header.rst.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::header::{self, Header};
use goblin::elf::program_header::{PF_X, PT_LOAD, ProgramHeader};
use goblin::elf::section_header::{SHT_SYMTAB, SectionHeader};
use goblin::elf::{Symtab, header::EM_RISCV};
use thiserror::Error;

use crate::board::RAM_BASE;
use crate::dev::Dma;

/// Longest file that is loaded.
const MAX_FILE: u64 = 1 << 30;
/// Most symbols that are looked through for the few that matter.
const MAX_SYMBOLS: usize = 1 << 20;

/// Why a file cannot be loaded.
#[derive(Debug, Error)]
#[error("{}: {problem}", path.display())]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file; the text says how to mend it.
#[derive(Debug, Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is a folder or a device.
    #[error("is not a file")]
    NotFile,
    /// It has no bytes.
    #[error("is empty")]
    Empty,
    /// It is longer than anything that can be loaded.
    #[error("is too long to be loaded ({0} bytes)")]
    TooLong(u64),
    /// It is something else than a kernel.
    #[error("is neither an ELF file nor a flat Linux Image for RISC-V; give a kernel")]
    NotKernel,
    /// It is something else than a flattened device tree.
    #[error("is no device tree; dtc or -dump-dtb makes one")]
    NotTree,
    /// ELF of 32 bits.
    #[error("is a 32-bit ELF file; this machine is RV64, build the kernel for riscv64")]
    Class,
    /// ELF of the other byte order.
    #[error("is a big-endian ELF file; this machine is little-endian")]
    Endian,
    /// ELF for another architecture.
    #[error("is an ELF file for {0}, not for RISC-V; build the kernel for riscv64")]
    Machine(&'static str),
    /// ELF, but not linked.
    #[error("is an ELF file that is no linked program (type {0}); link it first")]
    Kind(u16),
    /// ELF without anything to load.
    #[error("is an ELF file with nothing to load")]
    Nothing,
    /// A header or segment goes on behind the end of the file.
    #[error("is cut off: {0} lies behind its end; copy or build it again")]
    CutOff(&'static str),
    /// A header contradicts itself.
    #[error("is a broken ELF file: {0}")]
    Broken(&'static str),
    /// A part of it is to be somewhere that is no guest memory.
    #[error(
        "wants {start:#x}-{end:#x}, but guest memory is {RAM_BASE:#x}-{ram_end:#x}; {}",
        if *.start < RAM_BASE {
            "is it a user program rather than a kernel?"
        } else {
            "give the machine more with -m"
        }
    )]
    OutsideRam {
        /// First address of the part.
        start: u64,
        /// Address behind it.
        end: u64,
        /// Address behind guest memory.
        ram_end: u64,
    },
    /// What goes to the end of memory would be where programs are.
    #[error("leaves no room below {ram_end:#x} in guest memory; give the machine more with -m")]
    NoRoom {
        /// Address behind guest memory.
        ram_end: u64,
    },
    /// Two loaded things are in the same place.
    #[error("wants {start:#x}-{end:#x}, where {other} is already")]
    Overlap {
        /// First address of the part.
        start: u64,
        /// Address behind it.
        end: u64,
        /// What is there.
        other: &'static str,
    },
}

/// Guest memory's extent: nothing is loaded outside.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Address behind the last byte.
    pub end: u64,
}

impl Extent {
    /// Of a machine with that much memory.
    pub fn of(ram_bytes: u64) -> Extent {
        Extent { end: RAM_BASE.saturating_add(ram_bytes) }
    }

    /// Fails unless `len` bytes from `start` on are guest memory.
    pub fn check(self, start: u64, len: u64) -> Result<(), Problem> {
        let end = start.saturating_add(len);
        if start >= RAM_BASE && end <= self.end && end != u64::MAX {
            Ok(())
        } else {
            Err(Problem::OutsideRam { start, end, ram_end: self.end })
        }
    }
}

/// A piece of a file and where it goes. Memory behind `bytes` up to `len` is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Physical address.
    pub pa: u64,
    /// What is there.
    pub bytes: Vec<u8>,
    /// Length in memory.
    pub len: u64,
}

/// Addresses that test programs name by symbols; physical.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestSymbols {
    /// The guest's word of the host-target interface.
    pub tohost: Option<u64>,
    /// The host's word of the host-target interface.
    pub fromhost: Option<u64>,
    /// First byte of the signature.
    pub begin_signature: Option<u64>,
    /// Byte behind the signature.
    pub end_signature: Option<u64>,
}

/// A program that is ready to be put into memory, as often as the machine is reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it starts.
    pub entry: u64,
    /// What it is made of.
    pub segments: Vec<Segment>,
    /// What test programs name.
    pub symbols: TestSymbols,
}

impl Program {
    /// Reads a kernel: ELF or a flat Linux image.
    pub fn open_kernel(path: &Path, ram: Extent) -> Result<Program, LoadError> {
        let open = || {
            let bytes = read_file(path)?;
            if is_elf(&bytes) { Program::from_elf(&bytes, ram) } else { flat_image(bytes, ram) }
        };
        open().map_err(|problem| LoadError { path: path.into(), problem })
    }

    /// Reads firmware: ELF, or raw bytes for the beginning of memory.
    pub fn open_firmware(path: &Path, ram: Extent) -> Result<Program, LoadError> {
        let open = || {
            let bytes = read_file(path)?;
            if is_elf(&bytes) { Program::from_elf(&bytes, ram) } else { raw(bytes, RAM_BASE, ram) }
        };
        open().map_err(|problem| LoadError { path: path.into(), problem })
    }

    /// The first address it wants, and the one behind its last.
    pub fn extent(&self) -> (u64, u64) {
        let start = self.segments.iter().map(|s| s.pa).min().unwrap_or(RAM_BASE);
        let end = self.segments.iter().map(|s| s.pa + s.len).max().unwrap_or(RAM_BASE);
        (start, end)
    }

    /// Fails if something else is where it wants to be.
    pub fn check_clear_of(&self, other: &'static str, range: (u64, u64)) -> Result<(), Problem> {
        for segment in &self.segments {
            let (start, end) = (segment.pa, segment.pa + segment.len);
            if start < range.1 && range.0 < end {
                return Err(Problem::Overlap { start, end, other });
            }
        }
        Ok(())
    }

    /// Puts it into memory, which is zero before.
    pub fn load(&self, mem: &mut dyn Dma) -> Result<(), crate::dev::NotMemory> {
        self.segments.iter().try_for_each(|s| mem.write_bytes(s.pa, &s.bytes))
    }

    /// Takes an ELF file apart.
    pub fn from_elf(bytes: &[u8], ram: Extent) -> Result<Program, Problem> {
        let header = check_header(bytes)?;
        let ctx = Ctx::new(Container::Big, Endian::Little);
        let (phoff, phnum) = (header.e_phoff as usize, usize::from(header.e_phnum));
        let headers = ProgramHeader::parse(bytes, phoff, phnum, ctx)
            .map_err(|_| Problem::CutOff("the table of segments"))?;
        let headers: Vec<_> =
            headers.into_iter().filter(|h| h.p_type == PT_LOAD && h.p_memsz > 0).collect();
        if headers.is_empty() {
            return Err(Problem::Nothing);
        }
        headers.iter().try_for_each(|h| ram.check(h.p_paddr, h.p_memsz))?;
        // Two segments with the same byte would need memory for both; no linker makes any.
        let total: u64 = headers.iter().map(|h| h.p_memsz).sum();
        if total > ram.end - RAM_BASE {
            return Err(Problem::Broken("its segments overlap"));
        }
        let segments =
            headers.iter().map(|header| segment(bytes, header)).collect::<Result<_, _>>()?;
        let executable =
            |h: &&ProgramHeader| h.p_flags & PF_X != 0 && h.vm_contains(header.e_entry);
        let entry = match headers.iter().find(executable) {
            Some(h) => header.e_entry.wrapping_sub(h.p_vaddr).wrapping_add(h.p_paddr),
            None => header.e_entry,
        };
        ram.check(entry, 2)?;
        let symbols = test_symbols(bytes, &header, ctx, &headers);
        Ok(Program { entry, segments, symbols })
    }
}

trait Contains {
    fn vm_contains(&self, va: u64) -> bool;
}

impl Contains for ProgramHeader {
    fn vm_contains(&self, va: u64) -> bool {
        va.wrapping_sub(self.p_vaddr) < self.p_memsz
    }
}

/// Reads a whole file.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(Problem::NotFile);
    }
    if meta.len() > MAX_FILE {
        return Err(Problem::TooLong(meta.len()));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_FILE).read_to_end(&mut bytes)?;
    if bytes.is_empty() { Err(Problem::Empty) } else { Ok(bytes) }
}

fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(header::ELFMAG)
}

fn check_header(bytes: &[u8]) -> Result<Header, Problem> {
    if bytes.len() < header::header64::SIZEOF_EHDR {
        return Err(Problem::CutOff("the ELF header"));
    }
    match bytes[header::EI_CLASS] {
        header::ELFCLASS64 => {}
        header::ELFCLASS32 => return Err(Problem::Class),
        _ => return Err(Problem::Broken("its class is neither 32 nor 64 bits")),
    }
    match bytes[header::EI_DATA] {
        header::ELFDATA2LSB => {}
        header::ELFDATA2MSB => return Err(Problem::Endian),
        _ => return Err(Problem::Broken("its byte order is unknown")),
    }
    let mut fixed = [0; header::header64::SIZEOF_EHDR];
    fixed.copy_from_slice(&bytes[..header::header64::SIZEOF_EHDR]);
    let header: Header = (*header::header64::Header::from_bytes(&fixed)).into();
    if header.e_machine != EM_RISCV {
        return Err(Problem::Machine(header::machine_to_str(header.e_machine)));
    }
    if header.e_type != header::ET_EXEC && header.e_type != header::ET_DYN {
        return Err(Problem::Kind(header.e_type));
    }
    let entry_len = goblin::elf::program_header::program_header64::SIZEOF_PHDR;
    if header.e_phnum > 0 && usize::from(header.e_phentsize) != entry_len {
        return Err(Problem::Broken("its segment headers have an odd length"));
    }
    let table = u64::from(header.e_phnum) * entry_len as u64;
    if header.e_phoff.saturating_add(table) > bytes.len() as u64 {
        return Err(Problem::CutOff("the table of segments"));
    }
    Ok(header)
}

fn segment(bytes: &[u8], header: &ProgramHeader) -> Result<Segment, Problem> {
    if header.p_filesz > header.p_memsz {
        return Err(Problem::Broken("a segment is longer in the file than in memory"));
    }
    let end = header.p_offset.checked_add(header.p_filesz).filter(|e| *e <= bytes.len() as u64);
    let end = end.ok_or(Problem::CutOff("a segment"))?;
    let content = bytes[header.p_offset as usize..end as usize].to_vec();
    Ok(Segment { pa: header.p_paddr, bytes: content, len: header.p_memsz })
}

/// Looks for the few symbols that matter. A file without a sound table has none of them.
fn test_symbols(
    bytes: &[u8],
    header: &Header,
    ctx: Ctx,
    segments: &[ProgramHeader],
) -> TestSymbols {
    let mut symbols = TestSymbols::default();
    let (shoff, shnum) = (header.e_shoff as usize, usize::from(header.e_shnum));
    let entry_len = goblin::elf::section_header::section_header64::SIZEOF_SHDR;
    let fits = |at: u64, len: u64| at.saturating_add(len) <= bytes.len() as u64;
    let table = shnum as u64 * entry_len as u64;
    if shnum == 0 || usize::from(header.e_shentsize) != entry_len || !fits(header.e_shoff, table) {
        return symbols;
    }
    let Ok(sections) = SectionHeader::parse(bytes, shoff, shnum, ctx) else { return symbols };
    let Some(table) = sections.iter().find(|s| s.sh_type == SHT_SYMTAB) else { return symbols };
    let Some(names) = sections.get(table.sh_link as usize) else { return symbols };
    let fits = |s: &SectionHeader| fits(s.sh_offset, s.sh_size);
    if !fits(table) || !fits(names) {
        return symbols;
    }
    let count = (table.sh_size as usize / goblin::elf::sym::sym64::SIZEOF_SYM).min(MAX_SYMBOLS);
    let Ok(table) = Symtab::parse(bytes, table.sh_offset as usize, count, ctx) else {
        return symbols;
    };
    let from = names.sh_offset as usize;
    let names = &bytes[from..from + names.sh_size as usize];
    let name_at = |at: usize| names.get(at..).and_then(|rest| rest.split(|b| *b == 0).next());
    let physical = |va: u64| {
        let home = segments.iter().find(|segment| segment.vm_contains(va));
        home.map_or(va, |s| va.wrapping_sub(s.p_vaddr).wrapping_add(s.p_paddr))
    };
    for symbol in table.iter() {
        let place = match name_at(symbol.st_name) {
            Some(b"tohost") => &mut symbols.tohost,
            Some(b"fromhost") => &mut symbols.fromhost,
            Some(b"begin_signature") => &mut symbols.begin_signature,
            Some(b"end_signature") => &mut symbols.end_signature,
            _ => continue,
        };
        *place = Some(physical(symbol.st_value));
    }
    symbols
}

/// A flat Linux image: the header says how far behind the beginning of memory it goes.
fn flat_image(bytes: Vec<u8>, ram: Extent) -> Result<Program, Problem> {
    const HEADER: usize = 64;
    let word = |at: usize| -> Option<u64> {
        Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
    };
    let magic = bytes.get(0x38..0x3c);
    if bytes.len() < HEADER || magic != Some(b"RSC\x05") {
        return Err(Problem::NotKernel);
    }
    let (offset, size) = (word(8).unwrap_or(0), word(16).unwrap_or(0));
    let mut program = raw(bytes, RAM_BASE.saturating_add(offset), ram)?;
    if let [segment] = &mut program.segments[..] {
        segment.len = segment.len.max(size);
        ram.check(segment.pa, segment.len)?;
    }
    Ok(program)
}

fn raw(bytes: Vec<u8>, pa: u64, ram: Extent) -> Result<Program, Problem> {
    let len = bytes.len() as u64;
    ram.check(pa, len)?;
    let segments = vec![Segment { pa, bytes, len }];
    Ok(Program { entry: pa, segments, symbols: TestSymbols::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAM: Extent = Extent { end: RAM_BASE + (1 << 20) };

    /// The smallest kernel: one segment of eight bytes at 0x80001000, linked at 0xffff0000.
    pub fn elf() -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"\x7fELF\x02\x01\x01");
        put(16, &2u16.to_le_bytes());
        put(18, &EM_RISCV.to_le_bytes());
        put(24, &0xffff_0004u64.to_le_bytes());
        put(32, &64u64.to_le_bytes());
        put(54, &56u16.to_le_bytes());
        put(56, &1u16.to_le_bytes());
        put(64, &PT_LOAD.to_le_bytes());
        put(68, &PF_X.to_le_bytes());
        put(72, &120u64.to_le_bytes());
        put(80, &0xffff_0000u64.to_le_bytes());
        put(88, &0x8000_1000u64.to_le_bytes());
        put(96, &8u64.to_le_bytes());
        put(104, &16u64.to_le_bytes());
        file.extend(*b"\x13\0\0\0\x6f\0\0\0");
        file
    }

    #[test]
    fn a_kernel_is_taken_apart() {
        let program = Program::from_elf(&elf(), RAM).expect("a kernel");
        assert_eq!(program.entry, 0x8000_1004, "entries are moved with their segment");
        assert_eq!(program.extent(), (0x8000_1000, 0x8000_1010));
        assert_eq!(program.segments[0].bytes, b"\x13\0\0\0\x6f\0\0\0");
        assert!(program.check_clear_of("x", (0x8000_1010, 0x8000_2000)).is_ok());
        assert!(program.check_clear_of("x", (0x8000_100f, 0x8000_2000)).is_err());
    }

    fn problem(change: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut file = elf();
        change(&mut file);
        Program::from_elf(&file, RAM).expect_err("a broken file").to_string()
    }

    #[test]
    fn broken_files_are_told_apart() {
        let starts = |text: String, start: &str| assert!(text.starts_with(start), "{text}");
        starts(problem(|f| f[4] = 1), "is a 32-bit ELF file");
        starts(problem(|f| f[5] = 2), "is a big-endian ELF file");
        starts(problem(|f| f[18] = 62), "is an ELF file for X86_64");
        starts(problem(|f| f[16] = 1), "is an ELF file that is no linked program");
        starts(problem(|f| f.truncate(50)), "is cut off: the ELF header");
        starts(problem(|f| f.truncate(100)), "is cut off: the table of segments");
        starts(problem(|f| f.truncate(124)), "is cut off: a segment");
        starts(problem(|f| f[56] = 255), "is cut off: the table of segments");
        starts(problem(|f| f[64] = 9), "is an ELF file with nothing to load");
        starts(problem(|f| f[96] = 17), "is a broken ELF file");
        starts(problem(|f| f[91] = 0), "wants 0x1000-0x1010");
        starts(problem(|f| f[90] = 0x20), "wants 0x80201000");
        starts(problem(|f| f[111] = 0xff), "wants 0x80001000");
        starts(problem(|f| f[27] = 0), "wants 0xff0004");
    }

    #[test]
    fn flat_images_have_a_header() {
        let mut image = vec![0; 4096];
        assert!(matches!(flat_image(image.clone(), RAM), Err(Problem::NotKernel)));
        image[0x38..0x3c].copy_from_slice(b"RSC\x05");
        image[9] = 0x10;
        image[17] = 0x20;
        let program = flat_image(image.clone(), RAM).expect("an image");
        assert_eq!((program.entry, program.extent().1), (RAM_BASE + 0x1000, RAM_BASE + 0x3000));
        image[23] = 0xff;
        assert!(matches!(flat_image(image, RAM), Err(Problem::OutsideRam { .. })));
    }
}
