//! `exec`: replaces a process's program with one from a file.
//!
//! The format is ELF64 (System V ABI, "Object Files"); of it, xv6 uses the program headers. What
//! a file must satisfy is MIT's: segments begin at page boundaries and are no larger in the file
//! than in memory.

use abi::hint::Hint;
use abi::layout::PGSIZE;
use abi::param::MAXARG;

use crate::arch;
use crate::boot;
use crate::fs::{FS, InodeGuard};
use crate::mm::{AddressSpace, Frame, Owner, Prot};
use crate::print::print_with;
use crate::proc::OwnGuard;

/// Pages of a user stack.
const STACK_PAGES: u64 = 1;
/// The strings are copied to the stack, so there is no use for more.
const ARGS_BYTES: usize = (STACK_PAGES * PGSIZE) as usize;
/// The stack pointer is a multiple of this.
const STACK_ALIGN: u64 = 16;

/// The arguments of a new program, in a page of the kernel.
pub struct Args {
    text: Frame,
    /// Where each string ends, its NUL included.
    ends: [usize; MAXARG],
    count: usize,
}

impl Args {
    /// No arguments yet; `None` if there is no memory for any.
    pub fn new() -> Option<Args> {
        Some(Args { text: Frame::junk(Owner::Kernel)?, ends: [0; MAXARG], count: 0 })
    }

    /// Adds what `fetch` puts into the room that is left; it returns the string's length without
    /// NUL, if there is a NUL behind it.
    pub fn push(&mut self, fetch: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<()> {
        // MIT's list of arguments ends with a null pointer within MAXARG entries.
        if self.count + 1 >= MAXARG {
            return None;
        }
        let start = self.end();
        let len = fetch(&mut self.text.bytes_mut()[start..ARGS_BYTES])?;
        self.ends[self.count] = start + len + 1;
        self.count += 1;
        Some(())
    }

    /// Adds a string of the kernel.
    pub fn push_str(&mut self, arg: &str) -> Option<()> {
        self.push(|room| {
            room.get_mut(..arg.len())?.copy_from_slice(arg.as_bytes());
            *room.get_mut(arg.len())? = 0;
            Some(arg.len())
        })
    }

    fn end(&self) -> usize {
        self.count.checked_sub(1).map_or(0, |last| self.ends[last])
    }

    /// The strings, with their NULs.
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let start = |i: usize| if i == 0 { 0 } else { self.ends[i - 1] };
        (0..self.count).map(move |i| &self.text.bytes()[start(i)..self.ends[i]])
    }
}

/// Bytes of the ELF header.
const HEADER: usize = 64;
/// Bytes of a program header.
const PROGRAM_HEADER: usize = 56;
const MAGIC: &[u8; 4] = b"\x7fELF";
const PT_LOAD: u32 = 1;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// What the kernel wants to know of an ELF header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Elf {
    entry: u64,
    program_headers: u64,
    count: u16,
}

/// A segment that is to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    prot: Prot,
    va: u64,
    memory: u64,
    offset: u64,
    file: u64,
}

fn word<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut word = [0; N];
    word.copy_from_slice(&bytes[at..at + N]);
    word
}

impl Elf {
    fn parse(header: &[u8; HEADER]) -> Option<Elf> {
        header.starts_with(MAGIC).then(|| Elf {
            entry: u64::from_le_bytes(word(header, 24)),
            program_headers: u64::from_le_bytes(word(header, 32)),
            count: u16::from_le_bytes(word(header, 56)),
        })
    }
}

impl Segment {
    /// `Ok(None)` for a header that is not for loading, `Err` for one that makes no sense.
    fn parse(header: &[u8; PROGRAM_HEADER]) -> Result<Option<Segment>, ExecError> {
        if u32::from_le_bytes(word(header, 0)) != PT_LOAD {
            return Ok(None);
        }
        let number = |at| u64::from_le_bytes(word(header, at));
        let segment = Segment {
            prot: prot(u32::from_le_bytes(word(header, 4))),
            offset: number(8),
            va: number(16),
            file: number(32),
            memory: number(40),
        };
        let sane = segment.file <= segment.memory
            && segment.va.checked_add(segment.memory).is_some()
            && segment.va.is_multiple_of(PGSIZE);
        if sane { Ok(Some(segment)) } else { Err(ExecError::BadFile) }
    }
}

/// What the segment's flags allow.
fn prot(flags: u32) -> Prot {
    use abi::mman::{PROT_EXEC, PROT_READ, PROT_WRITE};
    let bit = |flag, prot| if flags & flag != 0 { prot } else { 0 };
    Prot::from_bits(bit(PF_R, PROT_READ) | bit(PF_W, PROT_WRITE) | bit(PF_X, PROT_EXEC))
}

/// Why a program cannot be run. The process goes on with the one that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecError {
    /// There is no such file, or it cannot be read.
    NoFile,
    /// The file is not an ELF file that the kernel can load.
    BadFile,
    /// The arguments do not fit onto the stack.
    ArgsTooLong,
    /// Memory is used up.
    OutOfMemory,
}

impl From<crate::fs::FsError> for ExecError {
    fn from(_: crate::fs::FsError) -> ExecError {
        ExecError::NoFile
    }
}

impl From<crate::mm::MmError> for ExecError {
    fn from(error: crate::mm::MmError) -> ExecError {
        match error {
            crate::mm::MmError::Invalid => ExecError::BadFile,
            crate::mm::MmError::OutOfMemory => ExecError::OutOfMemory,
        }
    }
}

/// `exec(path, argv)`: returns the number of arguments, the new program's first argument. The
/// path is without its NUL.
pub fn exec(own: &mut OwnGuard, path: &[u8], args: &Args) -> Result<u64, ExecError> {
    let mut space = own.new_space().ok_or(ExecError::OutOfMemory)?;
    let entry = load(own, &mut space, path)?;
    let top = space.setup_stack(STACK_PAGES)?;
    let sp = push_args(&mut space, top, args)?;

    // Nothing can fail from here on.
    let proc = own.proc();
    let registers = own.registers();
    registers.epc = entry;
    *registers.sp() = sp;
    *registers.arg(1) = sp;
    proc.note_space(&space);
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let (pid, name) = proc.set_name(name);
    drop(own.replace_space(space));
    arch::fence_i();
    arch::hint(Hint::Execed, pid as u64, name, entry);
    if pid == 1 && boot::args().vmprint_exec1 {
        print_with(|out| own.space().vmprint(out));
    }
    Ok(args.count as u64)
}

/// Loads the segments of the file; returns where the program begins.
fn load(own: &OwnGuard, space: &mut AddressSpace, path: &[u8]) -> Result<u64, ExecError> {
    let op = FS.begin_op();
    let inode = own.files.lookup(&op, path)?;
    let file = inode.lock()?;
    let elf = Elf::parse(&read_exactly(&file, 0)?).ok_or(ExecError::BadFile)?;
    for i in 0..u64::from(elf.count) {
        let at = elf.program_headers.checked_add(i * PROGRAM_HEADER as u64);
        let header = read_exactly(&file, at.ok_or(ExecError::BadFile)?)?;
        if let Some(segment) = Segment::parse(&header)? {
            space.load_segment(segment.va, segment.memory, segment.prot)?;
            load_bytes(space, &file, &segment)?;
        }
    }
    Ok(elf.entry)
}

fn read_exactly<const N: usize>(file: &InodeGuard<'_>, at: u64) -> Result<[u8; N], ExecError> {
    let mut buf = [0; N];
    let at = u32::try_from(at).map_err(|_| ExecError::BadFile)?;
    if file.read(at, &mut buf)? != N {
        return Err(ExecError::BadFile);
    }
    Ok(buf)
}

fn load_bytes(
    space: &mut AddressSpace,
    file: &InodeGuard<'_>,
    segment: &Segment,
) -> Result<(), ExecError> {
    let mut buf = [0; abi::fs::BSIZE];
    let end = segment.offset.checked_add(segment.file).ok_or(ExecError::BadFile)?;
    if end > u64::from(file.size) {
        return Err(ExecError::BadFile);
    }
    let mut done = 0;
    while done < segment.file {
        // Up to the end of the block, so that each block is looked up once.
        let at = segment.offset + done;
        let len = (buf.len() as u64 - at % buf.len() as u64).min(segment.file - done) as usize;
        if file.read(at as u32, &mut buf[..len])? != len {
            return Err(ExecError::BadFile);
        }
        space.write_image(segment.va + done, &buf[..len])?;
        done += len as u64;
    }
    Ok(())
}

/// Puts the strings and the array of pointers to them onto the stack; returns the stack pointer,
/// which is also `argv`.
fn push_args(space: &mut AddressSpace, top: u64, args: &Args) -> Result<u64, ExecError> {
    let bottom = top - STACK_PAGES * PGSIZE;
    let mut sp = top;
    let mut push = |bytes: &[u8]| {
        sp = sp.checked_sub(bytes.len() as u64).ok_or(ExecError::ArgsTooLong)?;
        sp -= sp % STACK_ALIGN;
        if sp < bottom {
            return Err(ExecError::ArgsTooLong);
        }
        space.copyout(sp, bytes).map_err(|_| ExecError::OutOfMemory)?;
        Ok(sp)
    };
    // Pointers are kept as the bytes that they will be; one more is null.
    let mut argv = [[0; 8]; MAXARG];
    for (pointer, arg) in argv.iter_mut().zip(args.iter()) {
        *pointer = push(arg)?.to_le_bytes();
    }
    push(argv[..args.count + 1].as_flattened())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::testing::Machine;
    use std::string::String;
    use std::vec::Vec;

    fn args(strings: &[&str]) -> Option<Args> {
        let mut args = Args::new()?;
        strings.iter().try_for_each(|arg| args.push_str(arg)).map(|()| args)
    }

    /// What the new program will find at the stack pointer.
    fn argv(space: &mut AddressSpace, sp: u64, count: u64) -> Vec<String> {
        let mut string = |i| {
            let pointer = space.read_u64(sp + 8 * i).expect("argv is on the stack");
            assert_eq!(pointer % STACK_ALIGN, 0);
            let mut buf = [0; 100];
            let len = space.copyinstr(&mut buf, pointer).expect("strings are on the stack");
            String::from_utf8_lossy(&buf[..len.expect("strings end with NUL")]).into_owned()
        };
        let strings = (0..count).map(&mut string).collect();
        assert_eq!(space.read_u64(sp + 8 * count), Ok(0));
        strings
    }

    #[test]
    fn arguments_lie_on_the_stack() {
        let machine = Machine::new(40);
        let mut space = machine.program().expect("memory is free");
        let top = space.size();
        let strings = ["/init", "", "a longer argument"];
        let args = args(&strings).expect("they fit");
        let sp = push_args(&mut space, top, &args).expect("they fit");
        assert_eq!(sp % STACK_ALIGN, 0);
        // Three strings of one, one and two units, then four pointers.
        assert_eq!(top - sp, (1 + 1 + 2 + 2) * STACK_ALIGN);
        assert_eq!(argv(&mut space, sp, 3), strings);
        drop((space, args));
        machine.assert_nothing_lost();
    }

    #[test]
    fn what_does_not_fit_on_the_stack_is_refused() {
        let machine = Machine::new(40);
        let mut space = machine.program().expect("memory is free");
        let top = space.size();
        let long = "x".repeat(100);
        // With its pointers, the text of 31 arguments of 100 bytes fits; of 124 bytes, it does not.
        let fitting = args(&[long.as_str(); 31]).expect("fits into a page");
        assert!(push_args(&mut space, top, &fitting).is_ok());
        let long = "x".repeat(124);
        let too_long = args(&[long.as_str(); 31]).expect("fits into a page");
        assert_eq!(push_args(&mut space, top, &too_long), Err(ExecError::ArgsTooLong));
        assert!(args(&[""; 31]).is_some() && args(&[""; 32]).is_none(), "MAXARG counts the null");
        assert!(args(&["x".repeat(4095).as_str()]).is_some(), "a page with its NUL");
        assert!(args(&["x".repeat(4096).as_str()]).is_none());
        drop((space, fitting, too_long));
        machine.assert_nothing_lost();
    }

    fn segment(
        change: impl FnOnce(&mut [u8; PROGRAM_HEADER]),
    ) -> Result<Option<Segment>, ExecError> {
        let mut header = [0; PROGRAM_HEADER];
        let mut number = |at: usize, n: u64| header[at..at + 8].copy_from_slice(&n.to_le_bytes());
        number(0, u64::from(PT_LOAD) | u64::from(PF_R | PF_X) << 32);
        number(8, 0x1000);
        number(16, 0x2000);
        number(32, 0x30);
        number(40, 0x40);
        change(&mut header);
        Segment::parse(&header)
    }

    #[test]
    fn a_segment_is_read() {
        let expected =
            Segment { prot: Prot::RX, va: 0x2000, memory: 0x40, offset: 0x1000, file: 0x30 };
        assert_eq!(segment(|_| {}), Ok(Some(expected)));
        assert_eq!(segment(|header| header[0] = 2), Ok(None));
    }

    #[test]
    fn segments_that_make_no_sense_are_refused() {
        assert_eq!(segment(|header| header[40] = 0x2f), Err(ExecError::BadFile), "size");
        assert_eq!(segment(|header| header[16] = 8), Err(ExecError::BadFile), "alignment");
        let wrap = segment(|header| {
            header[16..24].copy_from_slice(&(0u64.wrapping_sub(0x1000)).to_le_bytes());
            header[40..48].copy_from_slice(&0x2000u64.to_le_bytes());
        });
        assert_eq!(wrap, Err(ExecError::BadFile), "wrap");
    }

    #[test]
    fn an_elf_header_is_read() {
        let mut header = [0; HEADER];
        assert_eq!(Elf::parse(&header), None);
        header[..4].copy_from_slice(MAGIC);
        header[24] = 0x10;
        header[32] = 0x40;
        header[56] = 3;
        assert_eq!(Elf::parse(&header), Some(Elf { entry: 0x10, program_headers: 0x40, count: 3 }));
    }
}
