//! The break, program loading, and the counting calls.

use abi::layout::{MAXVA, PGSIZE, TRAMPOLINE, TRAPFRAME};
use abi::mman::{PTE_PROMISED, SBRK_EAGER, SBRK_LAZY};
use abi::stat::RegionKind;

use crate::mm::testing::{DEFAULT_POLICY, Machine};
use crate::mm::{Access, Kill, MmError, Policy, Resolved, frame, set_policy};

const GIB: i64 = 1 << 30;

#[test]
fn a_program_has_what_the_counting_calls_say() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    // Text, two pages of data, guard, stack; the table has a root and two levels twice.
    assert_eq!((space.numvp(), space.numpp(), space.ptsize()), (5, 5, 5));
    assert_eq!(space.size(), 5 * PGSIZE);
    let before = frame::free_pages();
    assert_eq!(space.sbrk(3 * PGSIZE as i64, SBRK_LAZY), Ok(5 * PGSIZE));
    assert_eq!((space.numvp(), space.numpp(), frame::free_pages()), (8, 5, before));
    space.copyout(6 * PGSIZE, b"x").unwrap();
    assert_eq!((space.numvp(), space.numpp(), frame::free_pages()), (8, 6, before - 1));
    drop(space);
    machine.assert_nothing_lost();
}

#[test]
fn the_region_list_tells_the_kinds() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    space.sbrk(100, SBRK_LAZY).unwrap();
    let rows: std::vec::Vec<_> = (0..).map_while(|i| space.region_info(i)).collect();
    let kinds: std::vec::Vec<_> = rows.iter().map(|row| row.kind).collect();
    let expected = [
        RegionKind::Image,
        RegionKind::Image,
        RegionKind::Guard,
        RegionKind::Stack,
        RegionKind::Heap,
    ];
    assert_eq!(kinds, expected.map(|kind| kind as u32));
    assert_eq!(rows[4].end, 5 * PGSIZE + 100, "the heap ends at the break");
    assert_eq!((rows[1].present, rows[4].present), (2, 0));
}

#[test]
fn shrinking_frees_at_once_and_regrown_pages_are_zero() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    let before = frame::free_pages();
    let page = space.sbrk(2 * PGSIZE as i64, SBRK_LAZY).unwrap();
    space.copyout(page + PGSIZE, b"dirty").unwrap();
    space.sbrk(-(PGSIZE as i64), SBRK_LAZY).unwrap();
    assert_eq!(frame::free_pages(), before);
    space.sbrk(PGSIZE as i64, SBRK_LAZY).unwrap();
    let mut bytes = [1; 5];
    space.copyin(&mut bytes, page + PGSIZE).unwrap();
    assert_eq!(bytes, [0; 5]);
}

#[test]
fn shrinking_below_zero_is_a_no_op_and_to_zero_is_legal() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    let size = space.size();
    assert_eq!(space.sbrk(-(size as i64) - 1, SBRK_LAZY), Ok(size));
    assert_eq!(space.sbrk(i64::MIN, SBRK_LAZY), Ok(size));
    assert_eq!(space.size(), size);
    assert_eq!(space.sbrk(-(size as i64), SBRK_LAZY), Ok(size));
    assert_eq!((space.size(), space.numvp(), space.numpp()), (0, 0, 0));
    assert_eq!(space.fault(0, Access::Execute), Err(Kill::BeyondBreak));
    assert_eq!(space.sbrk(10, SBRK_EAGER), Ok(0));
    assert_eq!(space.fault(0, Access::Write), Ok(Resolved::Lazy));
}

#[test]
fn breaks_inside_the_image_keep_its_first_page() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    let size = space.size() as i64;
    space.sbrk(-(size - 3500), SBRK_LAZY).unwrap();
    assert_eq!((space.size(), space.numpp()), (3500, 1));
    space.sbrk(PGSIZE as i64, SBRK_LAZY).unwrap();
    space.copyout(PGSIZE + 1, b"heap").unwrap();
    assert_eq!(space.copyout(10, b"text"), Err(Kill::Protection));
}

#[test]
fn a_byte_at_a_time_takes_a_page_at_a_time() {
    let machine = Machine::new(64);
    for kind in [SBRK_LAZY, SBRK_EAGER] {
        set_policy(Policy { lazy_sbrk: false, ..DEFAULT_POLICY });
        let mut space = machine.program().unwrap();
        let start = space.size();
        for byte in 0..5000 {
            assert_eq!(space.sbrk(1, kind), Ok(start + byte));
            space.copyout(start + byte, &[1]).unwrap();
        }
        assert_eq!(space.numvp(), 7);
        assert_eq!(space.numpp(), 7);
    }
    machine.assert_nothing_lost();
}

#[test]
fn growth_stops_at_the_trap_frame_at_regions_and_at_wrapping() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    assert_eq!(space.sbrk(i64::MAX, SBRK_LAZY), Err(MmError::Invalid));
    let room = (TRAPFRAME - space.size()) as i64;
    assert_eq!(space.sbrk(room + 1, SBRK_LAZY), Err(MmError::Invalid));
    space.sbrk(room, SBRK_LAZY).unwrap();
    assert_eq!(space.size(), TRAPFRAME);
    assert_eq!(space.sbrk(1, SBRK_LAZY), Err(MmError::Invalid));
    space.copyout(TRAPFRAME - 1, b"x").unwrap();
    assert!(space.copyout(TRAPFRAME - 1, b"xy").is_err());
    space.sbrk(-room, SBRK_LAZY).unwrap();

    let region = space.mmap_brk(PGSIZE as i64, 16 * PGSIZE).unwrap();
    let room = (region - space.size()) as i64;
    assert_eq!(space.sbrk(room + 1, SBRK_LAZY), Err(MmError::Invalid));
    assert!(space.sbrk(room, SBRK_LAZY).is_ok());
}

#[test]
fn eager_growth_that_fails_leaves_nothing() {
    let machine = Machine::new(700);
    set_policy(Policy { lazy_sbrk: false, ..DEFAULT_POLICY });
    let mut space = machine.program().unwrap();
    let (before, size) = (frame::free_pages(), space.size());
    // More than there is; and just so much that table pages do not fit.
    for pages in [1000, before] {
        assert_eq!(space.sbrk((pages as i64) << 12, SBRK_EAGER), Err(MmError::OutOfMemory));
        assert_eq!((frame::free_pages(), space.size(), space.numvp()), (before, size, 5));
    }
    assert_eq!(space.sbrk(8 << 12, SBRK_EAGER), Ok(size));
    assert_eq!(frame::free_pages(), before - 8);
}

#[test]
fn huge_promises_cost_only_what_is_mapped() {
    let machine = Machine::new(256);
    let mut space = machine.program().unwrap();
    let before = frame::free_pages();
    for _ in 0..255 {
        space.sbrk(GIB, SBRK_LAZY).unwrap();
    }
    assert_eq!(frame::free_pages(), before);
    assert_eq!(space.ptsize(), 5);
    for gib in 1..4 {
        space.copyout(gib << 36, b"x").unwrap();
    }
    let child = space.fork(machine.borrowed(), 2).unwrap();
    assert_eq!(space.numpp(), 8);
    drop(child);
    space.sbrk(-255 * GIB, SBRK_LAZY).unwrap();
    assert_eq!((space.ptsize(), frame::free_pages()), (5, before));
}

#[test]
fn promises_are_marked_where_leaf_tables_exist() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    let heap = space.sbrk(GIB, SBRK_LAZY).unwrap();
    assert_eq!(space.pgpte(heap), PTE_PROMISED, "in the table of the image");
    assert_eq!(space.pgpte(heap + (1 << 29)), 0, "no table there");
    space.copyout(heap + (1 << 29), b"x").unwrap();
    assert_eq!(space.pgpte(heap + (1 << 29) + PGSIZE), PTE_PROMISED);
    space.sbrk(-GIB, SBRK_LAZY).unwrap();
    assert_eq!(space.pgpte(heap), 0);
    assert_eq!(space.pgpte(MAXVA), 0);
    assert_ne!(space.pgpte(TRAMPOLINE), 0);
}

#[test]
fn accessed_bits_are_returned_once() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    let heap = space.sbrk(64 << 12, SBRK_LAZY).unwrap();
    space.copyout(heap + PGSIZE, b"x").unwrap();
    space.copyin(&mut [0], heap + 63 * PGSIZE).unwrap();
    assert_eq!(space.pgaccess(heap, 64), Some(1 << 63 | 2));
    assert_eq!(space.pgaccess(heap, 64), Some(0));
    assert_eq!(space.pgaccess(heap, 65), None);
    assert_eq!(space.pgaccess(TRAPFRAME - PGSIZE, 2), None);
}

#[test]
fn the_table_is_printed_as_the_lab_has_it() {
    let machine = Machine::new(64);
    let space = machine.program().unwrap();
    let mut text = std::string::String::new();
    space.vmprint(&mut text).unwrap();
    let lines: std::vec::Vec<_> = text.lines().collect();
    let root = space.satp() << 20 >> 8;
    assert_eq!(lines[0], std::format!("page table {root:#018x}"));
    assert!(lines[1].starts_with(" ..0x0000000000000000: pte 0x"), "{}", lines[1]);
    assert!(lines[2].starts_with(" .. ..0x0000000000000000: pte 0x"));
    assert!(lines[4].starts_with(" .. .. ..0x0000000000001000: pte 0x"));
    assert!(lines[8].starts_with(" ..0x0000003fc0000000: pte 0x"));
    assert!(lines[9].starts_with(" .. ..0x0000003fffe00000: pte 0x"));
    assert!(lines[10].starts_with(" .. .. ..0x0000003fffffe000: pte 0x"));
    assert!(lines[11].starts_with(" .. .. ..0x0000003ffffff000: pte 0x"));
    assert_eq!(lines.len(), 12);
}
