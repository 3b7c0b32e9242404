//! Mappings: placement, dialects, splitting, files.

use abi::layout::{PGSIZE, TRAPFRAME};
use abi::mman::*;

use super::faults::anonymous;
use crate::mm::file::FileHandle;
use crate::mm::mmap::Mapping;
use crate::mm::testing::{Machine, TestFile};
use crate::mm::{Access, AddressSpace, Kill, MmError, Prot, frame};

const FAILED: u64 = u64::MAX;
const RW: u64 = (PROT_READ | PROT_WRITE) as u64;
const TOP: u64 = 0x3f_ffff_d000;

/// `mmap(2)` with a descriptor table of two: 3 is `file`, others do not exist.
fn mmap(space: &mut AddressSpace, args: [u64; 6], file: Option<&'static TestFile>) -> u64 {
    let open_file = |fd| file.filter(|_| fd == 3).map(|file| FileHandle::new(file));
    let mapping = Mapping::decode(&args, open_file).ok_or(MmError::Invalid);
    mapping.and_then(|mapping| space.mmap(mapping)).unwrap_or(FAILED)
}

#[test]
fn placement_is_top_down_and_uses_holes_again() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    assert_eq!(TOP, TRAPFRAME - PGSIZE);
    assert_eq!(anonymous(&mut space, 1, Prot::RW, false), TOP);
    assert_eq!(anonymous(&mut space, 3, Prot::RW, false), TOP - 3 * PGSIZE);
    assert_eq!(anonymous(&mut space, 1, Prot::RW, false), TOP - 4 * PGSIZE);
    space.munmap(TOP - 3 * PGSIZE, 3 * PGSIZE).unwrap();
    assert_eq!(anonymous(&mut space, 1, Prot::RW, false), TOP - PGSIZE);
    assert_eq!(anonymous(&mut space, 3, Prot::RW, false), TOP - 7 * PGSIZE);
    assert_eq!(anonymous(&mut space, 2, Prot::RW, false), TOP - 3 * PGSIZE);
}

#[test]
fn hints_are_taken_when_they_are_free() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    let anon = [RW, (MAP_PRIVATE | MAP_ANONYMOUS) as u64, FAILED, 0];
    let at = |hint, bytes| [hint, bytes, anon[0], anon[1], anon[2], anon[3]];
    assert_eq!(mmap(&mut space, at(0x10_0001, 10), None), 0x10_1000);
    assert_eq!(mmap(&mut space, at(0x10_0001, 10), None), TOP, "taken");
    assert_eq!(mmap(&mut space, at(0x1000, 10), None), TOP - PGSIZE, "in the image");
    assert_eq!(mmap(&mut space, at(FAILED, 10), None), TOP - 2 * PGSIZE, "nonsense");
    assert_eq!(mmap(&mut space, at(0, 0), None), FAILED);
    assert_eq!(mmap(&mut space, at(0, FAILED), None), FAILED);
    assert_eq!(mmap(&mut space, at(0, TRAPFRAME), None), FAILED, "no room");
}

#[test]
fn the_dialects_of_flags() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    let before = frame::free_pages();
    let file = TestFile::open(b"0123", false);
    // The kmalloc lab: flags 0, descriptor -1, any protection.
    let va = mmap(&mut space, [0x4000, 10, 0, 0, FAILED, 0], None);
    space.copyout(va, b"hello").unwrap();
    let writable_shared = [0, 4, RW, MAP_SHARED as u64, 3, 0];
    assert_eq!(mmap(&mut space, writable_shared, Some(file)), FAILED, "read-only descriptor");
    let both = (MAP_SHARED | MAP_PRIVATE) as u64;
    assert_eq!(mmap(&mut space, [0, 4, RW, both, 3, 0], Some(file)), FAILED);
    assert_eq!(mmap(&mut space, [0, 4, RW, 0, 3, 0], Some(file)), FAILED);
    assert_eq!(mmap(&mut space, [0, 4, RW, MAP_PRIVATE as u64, 4, 0], Some(file)), FAILED);
    assert_eq!(mmap(&mut space, [0, 4, RW, MAP_PRIVATE as u64, 3, 1], Some(file)), FAILED);
    assert_eq!(*file.refs.lock().unwrap(), 0, "failed calls leave no reference");
    let private = mmap(&mut space, [0, 4, RW, MAP_PRIVATE as u64, 3, 0], Some(file));
    space.copyout(private, b"x").unwrap();
    space.munmap(private, 4).unwrap();
    space.munmap(va, 10).unwrap();
    assert_eq!(*file.bytes.lock().unwrap(), b"0123");
    assert_eq!((*file.refs.lock().unwrap(), frame::free_pages()), (0, before));
}

#[test]
fn munmap_takes_any_range_inside_one_region() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    let before = frame::free_pages();
    let va = anonymous(&mut space, 5, Prot::RW, false);
    let next = anonymous(&mut space, 1, Prot::RW, false);
    assert_eq!(next + PGSIZE, va);
    space.copyout(va, &[7; 5 << 12]).unwrap();
    assert_eq!(space.munmap(next, 2 * PGSIZE), Err(MmError::Invalid), "two regions");
    assert_eq!(space.munmap(va + 1, PGSIZE), Err(MmError::Invalid), "not a page boundary");
    assert_eq!(space.munmap(va, 0), Err(MmError::Invalid));
    assert_eq!(space.munmap(va, 6 * PGSIZE), Err(MmError::Invalid), "too long");
    assert_eq!(space.munmap(0, PGSIZE), Err(MmError::Invalid), "the image is no mapping");
    space.munmap(va + 2 * PGSIZE, 100).unwrap();
    assert_eq!(space.copyin(&mut [0], va + 2 * PGSIZE), Err(Kill::Unmapped));
    let mut byte = [0];
    space.copyin(&mut byte, va + 3 * PGSIZE).unwrap();
    assert_eq!(byte, [7]);
    assert_eq!(space.munmap(va, 5 * PGSIZE), Err(MmError::Invalid), "there is a hole");
    space.munmap(va, 2 * PGSIZE).unwrap();
    space.munmap(va + 4 * PGSIZE, PGSIZE).unwrap();
    space.munmap(va + 3 * PGSIZE, PGSIZE).unwrap();
    space.munmap(next, PGSIZE).unwrap();
    assert_eq!(space.munmap(next, PGSIZE), Err(MmError::Invalid));
    assert_eq!((frame::free_pages(), space.numvp()), (before, 5));
}

#[test]
fn hundreds_of_regions_work() {
    let machine = Machine::new(256);
    let mut space = machine.program().unwrap();
    let va = anonymous(&mut space, 1201, Prot::RW, false);
    for index in 0..600 {
        space.munmap(va + (2 * index + 1) * PGSIZE, PGSIZE).unwrap();
    }
    assert_eq!(space.numvp(), 5 + 601);
    let mut child = space.fork(machine.borrowed(), 2).unwrap();
    for index in 0..100 {
        child.copyout(va + 2 * index * PGSIZE, b"x").unwrap();
        let hole = child.copyout(va + (2 * index + 1) * PGSIZE, b"x");
        assert_eq!(hole, Err(Kill::Unmapped));
    }
    for index in 0..601 {
        space.munmap(va + 2 * index * PGSIZE, PGSIZE).unwrap();
    }
    drop((space, child));
    machine.assert_nothing_lost();
}

#[test]
fn shared_file_pages_are_written_back_clipped() {
    let machine = Machine::new(64);
    let file = TestFile::open(&[b'a'; 5000], true);
    let mut space = machine.program().unwrap();
    let va = mmap(&mut space, [0, 8192, RW, MAP_SHARED as u64, 3, 0], Some(file));
    let mut bytes = [1; 8192];
    space.copyin(&mut bytes, va).unwrap();
    assert_eq!(&bytes[4990..5010], b"aaaaaaaaaa\0\0\0\0\0\0\0\0\0\0");
    space.copyout(va + 10, b"one").unwrap();
    assert_eq!(file.bytes.lock().unwrap()[10], b'a', "not before msync");
    space.msync(va, 8192).unwrap();
    assert_eq!(&file.bytes.lock().unwrap()[10..13], b"one");
    file.bytes.lock().unwrap()[10] = b'-';
    space.msync(va, 8192).unwrap();
    assert_eq!(file.bytes.lock().unwrap()[10], b'-', "a clean page is not written");
    space.copyout(va + 4996, b"across the end").unwrap();
    space.munmap(va + PGSIZE, PGSIZE).unwrap();
    assert_eq!(&file.bytes.lock().unwrap()[4994..], b"aaacro");
    assert_eq!(space.msync(va, 8192), Err(MmError::Invalid));
    space.copyout(va, b"end").unwrap();
    drop(space);
    assert_eq!(&file.bytes.lock().unwrap()[..3], b"end", "written at exit");
    assert_eq!((file.bytes.lock().unwrap().len(), *file.refs.lock().unwrap()), (5000, 0));
    machine.assert_nothing_lost();
}

#[test]
fn members_of_a_shared_file_mapping_share_its_pages() {
    let machine = Machine::new(64);
    let file = TestFile::open(b"parent", true);
    let mut space = machine.program().unwrap();
    let va = mmap(&mut space, [0, 6, RW, MAP_SHARED as u64, 3, 0], Some(file));
    let mut child = space.fork(machine.borrowed(), 2).unwrap();
    child.copyout(va, b"child!").unwrap();
    let mut bytes = [0; 6];
    space.copyin(&mut bytes, va).unwrap();
    assert_eq!(&bytes, b"child!");
    drop(space);
    assert_eq!(*file.bytes.lock().unwrap(), b"parent", "the dirty page is the child's");
    drop(child);
    assert_eq!(*file.bytes.lock().unwrap(), b"child!");
}

#[test]
fn mmap_brk_has_its_own_rules() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    const PAGE: i64 = PGSIZE as i64;
    let size = space.size();
    for bytes in [-1234, 1234, 0, -4096] {
        assert_eq!(space.mmap_brk(bytes, 0), Err(MmError::Invalid));
    }
    assert_eq!(space.mmap_brk(PAGE, 0), Ok(size));
    assert_eq!((space.numvp(), space.numpp(), space.size()), (6, 5, size + PGSIZE));
    space.copyout(size, b"x").unwrap();
    assert_eq!((space.numvp(), space.numpp()), (6, 6));
    assert_eq!(space.mmap_brk(PAGE, size), Err(MmError::Invalid), "below the break");
    assert_eq!(space.mmap_brk(PAGE, size + 8 * PGSIZE + 1), Err(MmError::Invalid), "unaligned");
    let above = size + 8 * PGSIZE;
    assert_eq!(space.mmap_brk(2 * PAGE, above), Ok(above));
    assert_eq!(space.mmap_brk(PAGE, above + PGSIZE), Err(MmError::Invalid), "taken");
    assert_eq!(space.mmap_brk(PAGE, TRAPFRAME), Err(MmError::Invalid));
    assert_eq!((space.numvp(), space.numpp(), space.size()), (8, 6, size + PGSIZE));
    // An odd break is rounded up.
    space.sbrk(10, SBRK_LAZY).unwrap();
    assert_eq!(space.mmap_brk(PAGE, 0), Ok(size + 2 * PGSIZE));
    assert_eq!(space.fault(size + 3 * PGSIZE, Access::Read), Err(Kill::BeyondBreak));
    let break_now = space.size() as i64;
    space.sbrk(-(break_now - size as i64), SBRK_LAZY).unwrap();
    assert_eq!((space.numvp(), space.numpp()), (7, 5));
}
