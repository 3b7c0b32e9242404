//! The fault function's answers, one by one, and copying through it.

use abi::layout::{MAXVA, PGSIZE, TRAMPOLINE, TRAPFRAME};
use abi::mman::SBRK_LAZY;

use crate::mm::file::FileHandle;
use crate::mm::mmap::Mapping;
use crate::mm::testing::{DEFAULT_POLICY, Machine, TestFile};
use crate::mm::{Access, AddressSpace, Kill, Policy, Prot, Resolved, frame, set_policy};

const TEXT: u64 = 0;
const DATA: u64 = PGSIZE;
const GUARD: u64 = 3 * PGSIZE;
const STACK: u64 = 4 * PGSIZE;

pub fn anonymous(space: &mut AddressSpace, pages: u64, prot: Prot, shared: bool) -> u64 {
    let bytes = pages * PGSIZE;
    space.mmap(Mapping { hint: 0, bytes, prot, shared, file: None }).unwrap()
}

fn map_file(space: &mut AddressSpace, file: &'static TestFile, prot: Prot, shared: bool) -> u64 {
    let file = Some((FileHandle::new(file), 0));
    space.mmap(Mapping { hint: 0, bytes: 2 * PGSIZE, prot, shared, file }).unwrap()
}

#[test]
fn resolved_faults_have_names() {
    let machine = Machine::new(128);
    let mut space = machine.program().unwrap();
    let heap = space.sbrk(PGSIZE as i64, SBRK_LAZY).unwrap();
    let shared = anonymous(&mut space, 1, Prot::RW, true);
    let file = map_file(&mut space, TestFile::open(b"file", false), Prot::R, true);
    let copy = map_file(&mut space, TestFile::open(b"file", false), Prot::RW, false);
    assert_eq!(space.fault(heap, Access::Read), Ok(Resolved::Lazy));
    assert_eq!(space.fault(heap, Access::Write), Ok(Resolved::Spurious));
    let mut child = space.fork(machine.borrowed(), 2).unwrap();
    assert_eq!(child.fault(heap, Access::Write), Ok(Resolved::CowCopy));
    assert_eq!(space.fault(heap, Access::Write), Ok(Resolved::CowLast));
    assert_eq!(child.fault(shared, Access::Write), Ok(Resolved::Lazy));
    assert_eq!(space.fault(shared, Access::Read), Ok(Resolved::SharedJoin));
    assert_eq!(space.fault(file, Access::Read), Ok(Resolved::FileFill));
    assert_eq!(child.fault(file, Access::Read), Ok(Resolved::SharedJoin));
    assert_eq!(child.fault(copy, Access::Write), Ok(Resolved::FileFill));
    drop((space, child));
    machine.assert_nothing_lost();
}

#[test]
fn killing_faults_have_names() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    let end = space.size();
    let mapped = anonymous(&mut space, 2, Prot::R, false);
    let hidden = anonymous(&mut space, 1, Prot::from_bits(0), false);
    assert_eq!(space.fault(TEXT, Access::Write), Err(Kill::Protection));
    assert_eq!(space.fault(mapped, Access::Write), Err(Kill::Protection));
    assert_eq!(space.fault(hidden, Access::Read), Err(Kill::Protection));
    assert_eq!(space.fault(DATA, Access::Execute), Err(Kill::ExecNx));
    assert_eq!(space.fault(STACK, Access::Execute), Err(Kill::ExecNx));
    for access in [Access::Read, Access::Write, Access::Execute] {
        assert_eq!(space.fault(GUARD + 8, access), Err(Kill::Guard));
        assert_eq!(space.fault(end, access), Err(Kill::BeyondBreak));
        assert_eq!(space.fault(TRAPFRAME, access), Err(Kill::Protection));
        assert_eq!(space.fault(TRAMPOLINE, access), Err(Kill::Protection));
        for absurd in [MAXVA, 0x80_0000_0000, u64::MAX - PGSIZE, u64::MAX] {
            assert_eq!(space.fault(absurd, access), Err(Kill::Unmapped));
        }
    }
    space.munmap(mapped, PGSIZE).unwrap();
    assert_eq!(space.fault(mapped, Access::Read), Err(Kill::Unmapped));
    frame::fail_allocation(1);
    assert_eq!(space.fault(mapped + PGSIZE, Access::Read), Err(Kill::OutOfMemory));
    assert_eq!(space.fault(mapped + PGSIZE, Access::Read), Ok(Resolved::Lazy));
}

#[test]
fn copies_reach_every_page_of_a_buffer() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    let heap = space.sbrk(4 << 12, SBRK_LAZY).unwrap();
    let bytes: std::vec::Vec<u8> = (0..3 * PGSIZE).map(|i| (i % 251) as u8).collect();
    space.copyout(heap + 100, &bytes).unwrap();
    let mut back = std::vec![0; bytes.len()];
    space.copyin(&mut back, heap + 100).unwrap();
    assert_eq!(back, bytes);
    let end = heap + (4 << 12);
    assert_eq!(space.copyout(end - 10, &[0; 11]), Err(Kill::BeyondBreak));
    assert_eq!(space.copyin(&mut [0; 2], u64::MAX), Err(Kill::Unmapped));
    assert_eq!(space.copyin(&mut [], u64::MAX), Ok(()));
    assert_eq!(space.copyout(TEXT, b"x"), Err(Kill::Protection));
    assert_eq!(space.copyin(&mut [0], GUARD), Err(Kill::Guard));
    assert_eq!(space.prefault(heap, 5 << 12, Access::Write), Err(Kill::BeyondBreak));
    assert_eq!(space.prefault(u64::MAX - 5, 100, Access::Write), Err(Kill::Unmapped));
}

#[test]
fn strings_may_cross_lazy_pages_and_must_end() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    let heap = space.sbrk(2 << 12, SBRK_LAZY).unwrap();
    let mut name = [0xff; 16];
    assert_eq!(space.copyinstr(&mut name, heap), Ok(Some(0)), "a lazy page is an empty string");
    let start = heap + PGSIZE - 3;
    space.copyout(start, b"across\0").unwrap();
    assert_eq!(space.copyinstr(&mut name, start), Ok(Some(6)));
    assert_eq!(&name[..7], b"across\0");
    assert_eq!(space.copyinstr(&mut name[..6], start), Ok(None), "no room for the NUL");
    assert_eq!(space.copyinstr(&mut name[..7], start), Ok(Some(6)));
    space.copyout(heap + 2 * PGSIZE - 3, b"off").unwrap();
    let off = space.copyinstr(&mut name, heap + 2 * PGSIZE - 3);
    assert_eq!(off, Err(Kill::BeyondBreak));
}

#[test]
fn siblings_see_their_own_writes_only() {
    let machine = Machine::new(128);
    for cow_fork in [true, false] {
        set_policy(Policy { cow_fork, ..DEFAULT_POLICY });
        let mut parent = machine.program().unwrap();
        parent.copyout(DATA, b"parent").unwrap();
        let mut child = parent.fork(machine.borrowed(), 2).unwrap();
        let mut grandchild = child.fork(machine.borrowed(), 3).unwrap();
        child.copyout(DATA, b"child!").unwrap();
        grandchild.copyout(STACK, b"grand").unwrap();
        let mut bytes = [0; 6];
        parent.copyin(&mut bytes, DATA).unwrap();
        assert_eq!(&bytes, b"parent");
        grandchild.copyin(&mut bytes, DATA).unwrap();
        assert_eq!(&bytes, b"parent");
        parent.copyin(&mut bytes, STACK).unwrap();
        assert_eq!(&bytes, &[0; 6]);
        assert_eq!(child.copyout(TEXT, b"x"), Err(Kill::Protection));
        assert_eq!(child.fault(GUARD, Access::Read), Err(Kill::Guard));
    }
    machine.assert_nothing_lost();
}

#[test]
fn fork_allocates_table_pages_only_under_cow() {
    let machine = Machine::new(128);
    let mut parent = machine.program().unwrap();
    let before = frame::free_pages();
    let child = parent.fork(machine.borrowed(), 2).unwrap();
    // Five table pages and the region list.
    assert_eq!(before - frame::free_pages(), 6);
    drop(child);
    set_policy(Policy { cow_fork: false, ..DEFAULT_POLICY });
    let child = parent.fork(machine.borrowed(), 2).unwrap();
    assert_eq!(before - frame::free_pages(), 6 + 5);
    drop(child);
    assert_eq!(frame::free_pages(), before);
}

#[test]
fn siblings_on_several_harts_lose_no_frame() {
    let machine = Machine::new(512);
    for _ in 0..50 {
        let mut parent = machine.program().unwrap();
        parent.sbrk(16 << 12, SBRK_LAZY).unwrap();
        parent.prefault(5 << 12, 16 << 12, Access::Write).unwrap();
        let trapframe = machine.borrowed();
        let children: std::vec::Vec<_> =
            (0..3).map(|pid| parent.fork(trapframe, pid).unwrap()).collect();
        std::thread::scope(|scope| {
            for (index, mut child) in children.into_iter().chain([parent]).enumerate() {
                scope.spawn(move || {
                    for page in 5..21 {
                        child.copyout(page << 12, &[index as u8 + 1]).unwrap();
                    }
                    for page in 5..21 {
                        let mut byte = [0];
                        child.copyin(&mut byte, page << 12).unwrap();
                        assert_eq!(byte[0], index as u8 + 1);
                    }
                });
            }
        });
        machine.assert_nothing_lost();
    }
}
