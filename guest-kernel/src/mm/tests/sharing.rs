//! Shared memory and semaphores.

use abi::layout::PGSIZE;

use super::faults::anonymous;
use crate::mm::testing::Machine;
use crate::mm::{Access, Kill, MmError, Prot, Resolved, frame};

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
    assert_eq!(child.getshared(2, 1), Err(MmError::Invalid), "nothing there yet");
    let va = parent.mapshared(1).unwrap();
    assert_eq!(va, 0x3f_ffff_d000);
    assert_eq!(parent.mapshared(1), Ok(va));
    parent.copyout(va, b"42").unwrap();
    let there = child.getshared(2, 1).unwrap();
    let mut bytes = [0; 2];
    child.copyin(&mut bytes, there).unwrap();
    assert_eq!(&bytes, b"42");
    child.copyout(there, b"53").unwrap();
    assert_eq!(child.unmapshared(), Ok(()));
    assert_eq!(child.unmapshared(), Err(MmError::Invalid));
    assert!(child.copyin(&mut bytes, there).is_err());
    parent.copyin(&mut bytes, va).unwrap();
    assert_eq!(&bytes, b"53");
    // A second round, and a child that inherits the page.
    let mut second = parent.fork(machine.borrowed(), 3).unwrap();
    assert_eq!(second.getshared(3, 1), Ok(va));
    assert_eq!(second.unmapshared(), Ok(()));
    assert_eq!(second.getshared(3, 1), Ok(va));
    assert_eq!(parent.unmapshared(), Ok(()));
    assert_eq!(child.getshared(2, 1), Err(MmError::Invalid), "withdrawn");
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
    let va = parent.mapshared(1).unwrap();
    parent.munmap(va, PGSIZE).unwrap();
    assert_eq!(child.getshared(2, 1), Err(MmError::Invalid));
    assert_eq!(parent.unmapshared(), Err(MmError::Invalid));
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
    let never = || false;
    for nonsense in [0, -1, 1, i32::MIN, i32::MAX] {
        assert_eq!(space.semaphores().wait(nonsense, never), Err(MmError::Invalid));
        assert_eq!(space.semaphores().post(nonsense), Err(MmError::Invalid));
    }
    let sem = space.semaphores().create(2).unwrap();
    assert_eq!(space.semaphores().wait(sem, never), Ok(()));
    assert_eq!(space.semaphores().wait(sem, never), Ok(()));
    let killed = || true;
    assert_eq!(space.semaphores().wait(sem, killed), Err(MmError::Invalid));
    let mut child = space.fork(machine.borrowed(), 2).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(space.semaphores().wait(sem, never), Ok(())));
        assert_eq!(child.semaphores().post(sem), Ok(()));
    });
    drop(space);
    assert_eq!(child.semaphores().post(sem), Ok(()), "lives on in the child");
    assert_eq!(child.semaphores().destroy(sem), Ok(()));
    assert_eq!(child.semaphores().destroy(sem), Err(MmError::Invalid));
    assert_eq!(child.semaphores().post(sem), Err(MmError::Invalid));
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
    space.semaphores().destroy(all[5]).unwrap();
    assert!(space.semaphores().create(0).is_ok_and(|again| again != all[5]));
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
