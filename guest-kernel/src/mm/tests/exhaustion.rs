//! One long scenario, again and again, with the first allocation failing, then the second, and
//! so on to the last.

use abi::layout::PGSIZE;
use abi::mman::{SBRK_EAGER, SBRK_LAZY};

use crate::mm::file::FileHandle;
use crate::mm::mmap::Mapping;
use crate::mm::testing::{DEFAULT_POLICY, Machine, TestFile};
use crate::mm::{Policy, Prot, frame, set_policy};

/// Everything that takes memory. `None` as soon as something fails.
fn scenario(machine: &Machine, file: &'static TestFile) -> Option<()> {
    let mut space = machine.program()?;
    let heap = space.sbrk(700 << 12, SBRK_LAZY).ok()?;
    space.copyout(heap + 600 * PGSIZE, &[1; 5000]).ok()?;
    space.sbrk(4 << 12, SBRK_EAGER).ok()?;
    for shared in [false, true] {
        for backed in [false, true] {
            let handle = backed.then(|| (FileHandle::new(file), 0));
            let bytes = 600 * PGSIZE;
            let mapping = Mapping { hint: 0, bytes, prot: Prot::RW, shared, file: handle };
            let va = space.mmap(mapping).ok()?;
            space.copyout(va + 599 * PGSIZE - 5, b"0123456789").ok()?;
            space.munmap(va + PGSIZE, PGSIZE).ok()?;
        }
    }
    for _ in 0..100 {
        space.mmap(Mapping { hint: 0, bytes: 1, prot: Prot::R, shared: false, file: None }).ok()?;
    }
    space.mmap_brk(PGSIZE as i64, 0).ok()?;
    space.mapshared(1).ok()?;
    let mut child = space.fork(machine.borrowed(), 2)?;
    child.copyout(heap + 600 * PGSIZE, &[2; 5000]).ok()?;
    let shared = child.getshared(2, 1).ok()?;
    child.copyout(shared, b"x").ok()?;
    let grandchild = child.fork(machine.borrowed(), 3)?;
    drop(child);
    drop(grandchild);
    [4096, 4000, 16, 4000].into_iter().all(|bytes| space.kmalloc(bytes) != 0).then_some(())
}

#[test]
fn no_failing_allocation_loses_memory() {
    for (cow_fork, lazy_sbrk) in [(true, true), (false, false)] {
        let machine = Machine::new(3000);
        set_policy(Policy { cow_fork, lazy_sbrk, ..DEFAULT_POLICY });
        let file = TestFile::open(&[3; 10_000], true);
        for n in 1.. {
            frame::fail_allocation(n);
            let done = scenario(&machine, file);
            machine.assert_nothing_lost();
            assert_eq!(*file.refs.lock().unwrap(), 0);
            if done.is_some() {
                assert!(n > 50, "only {n} allocations");
                break;
            }
        }
    }
}
