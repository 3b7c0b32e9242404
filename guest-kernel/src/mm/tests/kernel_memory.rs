//! The ledger, the page-backed vector, and the small-object allocator.

use std::vec::Vec;

use proptest::prelude::*;

use crate::mm::frame::{self, Frame, JUNK_ALLOCATED, JUNK_FREED, Owner, PAGE};
use crate::mm::kmalloc::{Arc, kmalloc, kmfree};
use crate::mm::pagevec::PageVec;
use crate::mm::testing::{DEFAULT_POLICY, Machine};
use crate::mm::{Policy, set_policy};

#[test]
fn frames_are_counted_and_filled_with_junk() {
    let machine = Machine::new(16);
    let frame = Frame::junk(Owner::Kernel).unwrap();
    assert_eq!(frame.bytes(), &[JUNK_ALLOCATED; PAGE]);
    assert_eq!(frame::free_pages(), machine.free - 1);
    let again = frame.share();
    assert_eq!((frame.refs(), again.pa()), (2, frame.pa()));
    let pointer = frame.as_ptr();
    drop(frame);
    assert!(again.is_last());
    drop(again);
    // SAFETY: free memory of this test's machine; its first bytes link the free list.
    let freed = unsafe { core::slice::from_raw_parts(pointer.add(8), PAGE - 8) };
    assert!(freed.iter().all(|&byte| byte == JUNK_FREED));
    assert_eq!(Frame::zeroed(Owner::User).unwrap().bytes(), &[0; PAGE]);
    machine.assert_nothing_lost();
}

#[test]
fn every_frame_can_be_had_once() {
    let machine = Machine::new(16);
    for _ in 0..2 {
        let mut frames: Vec<_> = core::iter::from_fn(|| Frame::junk(Owner::User)).collect();
        assert_eq!((frames.len(), frame::free_pages()), (machine.free, 0));
        frames.sort_by_key(Frame::pa);
        frames.dedup_by_key(|frame| frame.pa());
        assert_eq!(frames.len(), machine.free);
    }
    machine.assert_nothing_lost();
}

#[test]
fn a_chosen_allocation_fails_once() {
    let _machine = Machine::new(16);
    frame::fail_allocation(3);
    let results: Vec<_> = (0..5).map(|_| Frame::junk(Owner::User).is_some()).collect();
    assert_eq!(results, [true, true, false, true, true]);
}

proptest! {
    #[test]
    fn vectors_agree_with_the_standard_one(steps in prop::collection::vec(any::<(u8, u16)>(), 0..400)) {
        let machine = Machine::new(64);
        let (mut ours, mut theirs) = (PageVec::new(), Vec::new());
        for (step, at) in steps {
            // Elements of 500 bytes: eight in a page.
            let at = usize::from(at) % (theirs.len() + 1);
            if step % 3 == 0 && at < theirs.len() {
                prop_assert_eq!(ours.remove(at), theirs.remove(at));
            } else {
                ours.insert(at, [step; 500]).unwrap();
                theirs.insert(at, [step; 500]);
            }
            prop_assert!(ours.iter().eq(theirs.iter()));
            prop_assert_eq!(machine.free - frame::free_pages(), theirs.len().div_ceil(8));
        }
        let middle = theirs.len() / 2;
        prop_assert_eq!(ours.get(middle), theirs.get(middle));
        drop(ours);
        machine.assert_nothing_lost();
    }

    #[test]
    fn objects_do_not_overlap_and_pages_go_back(steps in prop::collection::vec((1..4097_usize, any::<u16>()), 0..200)) {
        let machine = Machine::new(512);
        let mut objects: Vec<(*mut u8, usize, u8)> = Vec::new();
        let check = |(pointer, bytes, tag): &(*mut u8, usize, u8)| {
            // SAFETY: an object in use.
            let contents = unsafe { core::slice::from_raw_parts(*pointer, *bytes) };
            assert!(contents.iter().all(|byte| byte == tag));
        };
        for (index, (bytes, choice)) in steps.into_iter().enumerate() {
            if choice % 2 == 0 && !objects.is_empty() {
                let object = objects.swap_remove(usize::from(choice) % objects.len());
                check(&object);
                // SAFETY: an object in use, forgotten by the test.
                unsafe { kmfree(core::ptr::NonNull::new(object.0).unwrap()) };
            } else {
                let pointer = kmalloc(bytes).unwrap().as_ptr();
                assert_eq!(pointer.addr() % 16, 0);
                // SAFETY: an object of this size.
                unsafe { pointer.write_bytes(index as u8, bytes) };
                objects.push((pointer, bytes, index as u8));
            }
        }
        for object in &objects {
            check(object);
        }
        for (pointer, ..) in objects {
            // SAFETY: as above.
            unsafe { kmfree(core::ptr::NonNull::new(pointer).unwrap()) };
        }
        machine.assert_nothing_lost();
    }
}

#[test]
#[should_panic(expected = "kmalloc: 4097 bytes")]
fn oversized_objects_panic() {
    let _machine = Machine::new(16);
    let _ = kmalloc(4097);
}

#[test]
fn the_system_call_hides_the_panic_and_knows_its_objects() {
    let machine = Machine::new(64);
    let mut space = machine.program().unwrap();
    let before = frame::free_pages();
    for _ in 0..500 {
        let object = space.kmalloc(2000);
        assert_ne!(object, 0);
        assert!(space.kmfree(object));
        assert!(!space.kmfree(object), "double");
    }
    assert_eq!(frame::free_pages(), before);
    assert_eq!((space.kmalloc(0), space.kmalloc(4097), space.kmalloc(u64::MAX)), (0, 0, 0));
    let whole = space.kmalloc(4096);
    let small = space.kmalloc(1);
    assert!(whole != 0 && small != 0);
    for wild in [0, whole + 16, small + 16, small - 16, 0x8000_0000, u64::MAX] {
        assert!(!space.kmfree(wild), "wild");
    }
    drop(space);
    machine.assert_nothing_lost();
}

#[test]
#[should_panic(expected = "kmalloc: 5000 bytes")]
fn the_panic_can_be_asked_for() {
    let machine = Machine::new(64);
    set_policy(Policy { kmalloc_panic: true, ..DEFAULT_POLICY });
    machine.program().unwrap().kmalloc(5000);
}

#[test]
fn counted_objects_are_dropped_once() {
    let machine = Machine::new(16);
    let frame = Arc::new(Frame::zeroed(Owner::Kernel).unwrap()).unwrap();
    let again = frame.clone();
    assert!(frame.same(&again));
    drop(frame);
    assert_eq!(again.refs(), 1);
    drop(again);
    machine.assert_nothing_lost();
}
