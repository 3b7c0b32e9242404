//! Shared memory and semaphores.

use abi::layout::PGSIZE;
use abi::mman::SBRK_LAZY;

use super::faults::anonymous;
use crate::mm::testing::Machine;
use crate::mm::{Access, Kill, MmError, Prot, Resolved, calls, frame};

#[test]
fn a_page_untouched_at_fork_is_one_frame_for_all() {
    let machine = Machine::new(128);
    let mut parent = machine.program().unwrap();
    let va = anonymous(&mut parent, 600, Prot::RW, true);
    let mut child = parent.fork(machine.borrowed(), 2).unwrap();
    let mut grandchild = child.fork(machine.borrowed(), 3).unwrap();
    grandchild.copyout(va + 599 * PGSIZE, b"news").unwrap();
    let mut bytes = [0; 4];
    for space in [&mut parent, &mut child] {
        space.copyin(&mut bytes, va + 599 * PGSIZE).unwrap();
        assert_eq!(&bytes, b"news");
    }
    drop(grandchild);
    parent.munmap(va, 600 * PGSIZE).unwrap();
    child.copyin(&mut bytes, va + 599 * PGSIZE).unwrap();
    assert_eq!(&bytes, b"news", "the last member still has it");
    drop((parent, child));
    machine.assert_nothing_lost();
}

#[test]
fn a_child_gets_the_page_that_its_parent_shares_later() {
    let machine = Machine::new(128);
    let mut parent = machine.program().unwrap();
    let mut child = parent.fork(machine.borrowed(), 2).unwrap();
    assert_eq!(calls::getshared(&mut child, 2, 1), 0, "nothing there yet");
    let va = calls::mapshared(&mut parent, 1);
    assert_eq!(va, 0x3f_ffff_d000);
    assert_eq!(calls::mapshared(&mut parent, 1), va);
    parent.copyout(va, b"42").unwrap();
    let there = calls::getshared(&mut child, 2, 1);
    let mut bytes = [0; 2];
    child.copyin(&mut bytes, there).unwrap();
    assert_eq!(&bytes, b"42");
    child.copyout(there, b"53").unwrap();
    assert_eq!(calls::unmapshared(&mut child), 0);
    assert_eq!(calls::unmapshared(&mut child), u64::MAX);
    assert!(child.copyin(&mut bytes, there).is_err());
    parent.copyin(&mut bytes, va).unwrap();
    assert_eq!(&bytes, b"53");
    // A second round, and a child that inherits the page.
    let mut second = parent.fork(machine.borrowed(), 3).unwrap();
    assert_eq!(calls::getshared(&mut second, 3, 1), va);
    assert_eq!(calls::unmapshared(&mut second), 0);
    assert_eq!(calls::getshared(&mut second, 3, 1), va);
    assert_eq!(calls::unmapshared(&mut parent), 0);
    assert_eq!(calls::getshared(&mut child, 2, 1), 0, "withdrawn");
    second.copyin(&mut bytes, va).unwrap();
    assert_eq!(&bytes, b"53");
    drop((parent, child, second));
    machine.assert_nothing_lost();
}

#[test]
fn a_shared_page_that_is_unmapped_is_withdrawn() {
    let machine = Machine::new(128);
    let mut parent = machine.program().unwrap();
    let mut child = parent.fork(machine.borrowed(), 2).unwrap();
    let va = calls::mapshared(&mut parent, 1);
    parent.munmap(va, PGSIZE).unwrap();
    assert_eq!(calls::getshared(&mut child, 2, 1), 0);
    assert_eq!(calls::unmapshared(&mut parent), u64::MAX);
}

#[test]
fn members_on_several_harts_join_one_frame() {
    let machine = Machine::new(512);
    for _ in 0..50 {
        let mut parent = machine.program().unwrap();
        let va = anonymous(&mut parent, 8, Prot::RW, true);
        let members: std::vec::Vec<_> =
            (0..3).map(|pid| parent.fork(machine.borrowed(), pid).unwrap()).collect();
        std::thread::scope(|scope| {
            for (index, mut member) in members.into_iter().enumerate() {
                scope.spawn(move || {
                    for page in 0..8 {
                        member.copyout(va + page * PGSIZE + index as u64, &[1]).unwrap();
                    }
                });
            }
        });
        for page in 0..8 {
            let mut bytes = [0; 3];
            parent.copyin(&mut bytes, va + page * PGSIZE).unwrap();
            assert_eq!(bytes, [1; 3]);
        }
        drop(parent);
        machine.assert_nothing_lost();
    }
}

#[test]
fn semaphores_count_and_wait() {
    let machine = Machine::new(128);
    let mut space = machine.program().unwrap();
    let sem = space.sbrk(8, SBRK_LAZY).unwrap();
    assert_eq!(calls::sem_wait(&mut space, sem, || false), u64::MAX, "no handle there");
    assert_eq!(calls::sem_init(&mut space, sem, 2), 0);
    assert_eq!(calls::sem_wait(&mut space, sem, || false), 0);
    assert_eq!(calls::sem_wait(&mut space, sem, || false), 0);
    assert_eq!(calls::sem_wait(&mut space, sem, || true), u64::MAX, "killed while waiting");
    let mut child = space.fork(machine.borrowed(), 2).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(calls::sem_wait(&mut space, sem, || false), 0));
        assert_eq!(calls::sem_post(&mut child, sem), 0);
    });
    drop(space);
    assert_eq!(calls::sem_post(&mut child, sem), 0, "lives on in the child");
    assert_eq!(calls::sem_destroy(&mut child, sem), 0);
    assert_eq!(calls::sem_destroy(&mut child, sem), u64::MAX);
    assert_eq!(calls::sem_post(&mut child, sem), u64::MAX);
}

#[test]
fn forgotten_semaphores_end_with_their_processes() {
    let machine = Machine::new(128);
    for round in 0..1000 {
        let mut space = machine.program().unwrap();
        let made = space.semaphores().create(round);
        assert!(made.is_ok(), "round {round}: {made:?}");
    }
    let mut space = machine.program().unwrap();
    let all: std::vec::Vec<_> = (0..128).map(|_| space.semaphores().create(0).unwrap()).collect();
    assert_eq!(space.semaphores().create(0), Err(MmError::OutOfMemory));
    assert_eq!(space.semaphores().create(1 << 31), Err(MmError::Invalid));
    assert!(all.iter().all(|&handle| handle > 0));
    assert_eq!(space.semaphores().post(all[5]), Ok(()));
    assert_eq!(calls::sem_init(&mut space, 0, 0), u64::MAX, "no semaphore");
    space.semaphores().destroy(all[5]).unwrap();
    assert_eq!(calls::sem_init(&mut space, 0, 0), u64::MAX, "the handle has nowhere to go");
    assert!(space.semaphores().create(0).is_ok());
}

#[test]
fn shared_memory_survives_exhaustion() {
    let machine = Machine::new(40);
    let mut space = machine.program().unwrap();
    let va = anonymous(&mut space, 1000, Prot::RW, true);
    let mut pages = 0;
    let end = loop {
        match space.fault(va + pages * PGSIZE, Access::Write) {
            Ok(resolved) => assert_eq!(resolved, Resolved::Lazy),
            Err(kill) => break kill,
        }
        pages += 1;
    };
    assert_eq!((end, frame::free_pages()), (Kill::OutOfMemory, 0));
    drop(space);
    machine.assert_nothing_lost();
}
