//! Random operations of several processes, on the memory system and on the model.

use std::vec;
use std::vec::Vec;

use abi::layout::{PGSIZE, TRAPFRAME};
use abi::mman::{PROT_READ, PROT_WRITE, SBRK_EAGER, SBRK_LAZY};
use proptest::prelude::*;

use super::model::{Origin, Page, Process, World, down, file_byte, up};
use super::recount::assert_ledger_agrees;
use crate::mm::file::FileHandle;
use crate::mm::mmap::Mapping;
use crate::mm::testing::{DEFAULT_POLICY, Machine, TestFile};
use crate::mm::{AddressSpace, Kill, MmError, Policy, Prot, frame, set_policy};

#[derive(Clone, Copy, Debug)]
enum Step {
    Sbrk { bytes: i64, lazy: bool },
    Write { pick: u16, offset: u16, byte: u8 },
    Read { pick: u16, offset: u16 },
    Fork,
    Exit,
    Mmap { pages: u64, shared: bool, prot: u32, hint: u64 },
    MapFile { bytes: u64, shared: bool },
    Munmap { pick: u16, pages: u64 },
    Msync { pick: u16 },
    MmapBrk { pages: u64, above: u64 },
    Mapshared,
    Getshared,
    Unmapshared,
    Policy { cow_fork: bool, lazy_sbrk: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let pick = any::<u16>;
    prop_oneof![
        2 => (-20_000..20_000_i64, any::<bool>()).prop_map(|(bytes, lazy)| Step::Sbrk { bytes, lazy }),
        12 => (pick(), pick(), any::<u8>())
            .prop_map(|(pick, offset, byte)| Step::Write { pick, offset, byte }),
        8 => (pick(), pick()).prop_map(|(pick, offset)| Step::Read { pick, offset }),
        2 => Just(Step::Fork),
        1 => Just(Step::Exit),
        3 => (1..6_u64, any::<bool>(), 0..8_u32, 0..40_u64)
            .prop_map(|(pages, shared, prot, hint)| Step::Mmap { pages, shared, prot, hint: hint << 12 }),
        2 => (1..10_000_u64, any::<bool>()).prop_map(|(bytes, shared)| Step::MapFile { bytes, shared }),
        3 => (pick(), 1..4_u64).prop_map(|(pick, pages)| Step::Munmap { pick, pages }),
        1 => pick().prop_map(|pick| Step::Msync { pick }),
        1 => (1..4_u64, 0..10_u64).prop_map(|(pages, above)| Step::MmapBrk { pages, above }),
        1 => Just(Step::Mapshared),
        1 => Just(Step::Getshared),
        1 => Just(Step::Unmapshared),
        1 => any::<(bool, bool)>()
            .prop_map(|(cow_fork, lazy_sbrk)| Step::Policy { cow_fork, lazy_sbrk }),
    ]
}

/// A process, as it is and as it should be.
struct Pair {
    pid: i32,
    parent: i32,
    real: AddressSpace,
    model: Process,
}

struct Run {
    machine: Machine,
    world: World,
    pairs: Vec<Pair>,
    next_pid: i32,
    /// Whether memory may run out at any time.
    starved: bool,
}

impl Run {
    fn new(starved: bool) -> Run {
        let machine = Machine::new(3000);
        let mut world = World::default();
        let (real, model) = (machine.program().unwrap(), world.program());
        let pairs = vec![Pair { pid: 1, parent: 0, real, model }];
        Run { machine, world, pairs, next_pid: 1, starved }
    }

    /// Whether a call went through. If it should have, it did, unless memory ran out.
    fn went<T>(&self, expected: bool, result: &Result<T, MmError>) -> bool {
        match result {
            Ok(_) => assert!(expected, "succeeded, which it should not"),
            Err(MmError::OutOfMemory) => assert!(self.starved, "out of memory"),
            Err(MmError::Invalid) => assert!(!expected, "failed, which it should not"),
        }
        result.is_ok()
    }

    fn apply(&mut self, who: usize, step: Step) {
        let who = who % self.pairs.len();
        match step {
            Step::Sbrk { bytes, lazy } => self.sbrk(who, bytes, lazy),
            Step::Write { pick, offset, byte } => self.write(who, pick, offset, byte),
            Step::Read { pick, offset } => self.read(who, pick, offset),
            Step::Fork => self.fork(who),
            Step::Exit if self.pairs.len() > 1 => drop(self.pairs.remove(who)),
            Step::Exit => {}
            Step::Mmap { pages, shared, prot, hint } => self.mmap(who, pages, shared, prot, hint),
            Step::MapFile { bytes, shared } => self.map_file(who, bytes, shared),
            Step::Munmap { pick, pages } => self.munmap(who, pick, pages),
            Step::Msync { pick } => {
                let va = self.address(who, pick, 0);
                let result = self.pairs[who].real.msync(down(va), 1);
                let expected = self.pairs[who].model.pages.contains_key(&down(va));
                self.went(expected, &result);
            }
            Step::MmapBrk { pages, above } => self.mmap_brk(who, pages, above),
            Step::Mapshared => self.mapshared(who),
            Step::Getshared => self.getshared(who),
            Step::Unmapshared => self.unmapshared(who),
            Step::Policy { cow_fork, lazy_sbrk } => {
                set_policy(Policy { cow_fork, lazy_sbrk, ..DEFAULT_POLICY });
            }
        }
    }

    /// An address in or near a promised page.
    fn address(&self, who: usize, pick: u16, offset: u16) -> u64 {
        let pages = &self.pairs[who].model.pages;
        let Some((va, _)) = pages.iter().nth(usize::from(pick) % pages.len().max(1)) else {
            return u64::from(offset);
        };
        // Now and then a neighbour.
        let shift = match offset % 16 {
            0 => PGSIZE,
            1 => PGSIZE.wrapping_neg(),
            _ => 0,
        };
        va.wrapping_add(shift).wrapping_add(u64::from(offset) % PGSIZE)
    }

    fn sbrk(&mut self, who: usize, bytes: i64, lazy: bool) {
        let pair = &mut self.pairs[who];
        let old = pair.model.brk;
        let kind = if lazy { SBRK_LAZY } else { SBRK_EAGER };
        let result = pair.real.sbrk(bytes, kind);
        if let Ok(value) = result {
            assert_eq!(value, old);
        }
        let new = old as i64 + bytes;
        let (old_page, new_page) = (up(old), up(new.max(0) as u64));
        if bytes <= 0 {
            assert!(result.is_ok(), "shrinking needs no memory");
            if new >= 0 {
                pair.model.forget(new_page, old_page);
                pair.model.brk = new as u64;
            }
            return;
        }
        let expected = new_page <= TRAPFRAME && pair.model.is_free(old_page, new_page);
        if self.went(expected, &result) {
            let page = private(&mut self.world, false);
            let model = &mut self.pairs[who].model;
            model.promise(old_page, new_page, page);
            model.brk = new as u64;
        }
    }

    fn write(&mut self, who: usize, pick: u16, offset: u16, byte: u8) {
        let va = self.address(who, pick, offset);
        let pair = &mut self.pairs[who];
        match pair.real.copyout(va, &[byte]) {
            Err(Kill::OutOfMemory) => assert!(self.starved, "out of memory"),
            result => {
                let expected = self.world.write(&mut pair.model, va, byte);
                assert_eq!(result.is_ok(), expected, "write to {va:#x}: {result:?}");
            }
        }
    }

    fn read(&mut self, who: usize, pick: u16, offset: u16) {
        let va = self.address(who, pick, offset);
        let pair = &mut self.pairs[who];
        let mut byte = [0];
        match pair.real.copyin(&mut byte, va) {
            Err(Kill::OutOfMemory) => assert!(self.starved, "out of memory"),
            result => {
                let expected = self.world.read(&pair.model, va);
                assert_eq!(result.ok().map(|()| byte[0]), expected, "read of {va:#x}");
            }
        }
    }

    fn fork(&mut self, who: usize) {
        if self.pairs.len() >= 6 {
            return;
        }
        self.next_pid += 1;
        let (pid, parent) = (self.next_pid, self.pairs[who].pid);
        let trapframe = self.machine.borrowed();
        let Some(real) = self.pairs[who].real.fork(trapframe, pid) else {
            return assert!(self.starved, "out of memory");
        };
        let model = self.world.fork(&self.pairs[who].model);
        self.pairs.push(Pair { pid, parent, real, model });
    }

    fn mmap(&mut self, who: usize, pages: u64, shared: bool, prot: u32, hint: u64) {
        let bytes = pages * PGSIZE;
        let prot = Prot::from_bits(prot);
        let pair = &mut self.pairs[who];
        let result = pair.real.mmap(Mapping { hint, bytes, prot, shared, file: None });
        let at_hint = hint >= up(pair.model.brk) && pair.model.is_free(hint, hint + bytes);
        let place = if at_hint && hint > 0 { Some(hint) } else { pair.model.highest(bytes) };
        if self.went(place.is_some(), &result) {
            let start = result.unwrap();
            assert_eq!(Some(start), place);
            let mut page = private(&mut self.world, true);
            page.readable = prot.bits() & (PROT_READ | PROT_WRITE) != 0;
            page.writable = prot.bits() & PROT_WRITE != 0;
            page.shared = shared;
            self.pairs[who].model.promise(start, start + bytes, page);
        }
    }

    fn map_file(&mut self, who: usize, bytes: u64, shared: bool) {
        // The mapping is longer or shorter than the file.
        let size = bytes * 3 % 10_007;
        let contents: Vec<u8> = (0..size).map(file_byte).collect();
        let file = TestFile::open(&contents, true);
        let handle = Some((FileHandle::new(file), 0));
        let mapping = Mapping { hint: 0, bytes, prot: Prot::RW, shared, file: handle };
        let result = self.pairs[who].real.mmap(mapping);
        let place = self.pairs[who].model.highest(up(bytes));
        if self.went(place.is_some(), &result) {
            assert_eq!(result.ok(), place);
            let origin = Origin { file: Some(file), id: self.world.id() };
            self.world.files.push(origin);
            let page = Page { shared, origin, ..private(&mut self.world, true) };
            let start = result.unwrap();
            self.pairs[who].model.promise(start, start + up(bytes), page);
        } else {
            assert_eq!(*file.refs.lock().unwrap(), 0);
        }
    }

    fn munmap(&mut self, who: usize, pick: u16, pages: u64) {
        let start = down(self.address(who, pick, 2));
        let end = start + pages * PGSIZE;
        let Pair { real, model, .. } = &mut self.pairs[who];
        let region = model.pages.get(&start).map(|page| page.region);
        let expected = (start..end).step_by(PGSIZE as usize).all(|va| {
            model.pages.get(&va).is_some_and(|page| page.mapping && Some(page.region) == region)
        });
        let result = real.munmap(start, pages * PGSIZE - 5);
        if self.went(expected, &result) {
            let model = &mut self.pairs[who].model;
            model.forget(start, end);
            if model.shared_page.is_some_and(|page| (start..end).contains(&page)) {
                model.shared_page = None;
            }
        }
    }

    fn mmap_brk(&mut self, who: usize, pages: u64, above: u64) {
        let Pair { real, model, .. } = &mut self.pairs[who];
        let floor = up(model.brk);
        let start = if above == 0 { floor } else { floor + (above - 1) * PGSIZE };
        let end = start + pages * PGSIZE;
        // An empty process has its break at 0: then even the second form means "at the break".
        let at_break = above == 0 || start == 0;
        let argument = if above == 0 { 0 } else { start };
        let result = real.mmap_brk((pages * PGSIZE) as i64, argument);
        let expected = end <= TRAPFRAME && model.is_free(start, end);
        if self.went(expected, &result) {
            assert_eq!(result, Ok(start));
            let page = private(&mut self.world, true);
            let model = &mut self.pairs[who].model;
            model.promise(start, end, page);
            if at_break {
                model.brk = end;
            }
        }
    }

    /// Records a shared page that `result` says was mapped.
    fn map_shared(&mut self, who: usize, result: Result<u64, MmError>, origin: Option<Origin>) {
        let model = &self.pairs[who].model;
        let had = model.shared_page;
        let place = had.or(origin.and_then(|_| model.highest(PGSIZE)));
        if self.went(place.is_some(), &result) {
            assert_eq!(result.ok(), place);
            if had.is_none() {
                let (start, origin) = (place.unwrap(), origin.unwrap());
                let page = Page { shared: true, origin, ..private(&mut self.world, true) };
                let model = &mut self.pairs[who].model;
                model.promise(start, start + PGSIZE, page);
                model.shared_page = Some(start);
            }
        }
    }

    fn mapshared(&mut self, who: usize) {
        let pid = self.pairs[who].pid;
        let result = self.pairs[who].real.mapshared(pid);
        let origin = self.world.zeros();
        self.map_shared(who, result, Some(origin));
    }

    fn getshared(&mut self, who: usize) {
        let Pair { pid, parent, .. } = self.pairs[who];
        let result = self.pairs[who].real.getshared(pid, parent);
        let theirs = self.pairs.iter().find(|pair| pair.pid == parent);
        let origin = theirs.and_then(|pair| {
            let va = pair.model.shared_page?;
            Some(pair.model.pages[&va].origin)
        });
        self.map_shared(who, result, origin);
    }

    fn unmapshared(&mut self, who: usize) {
        let result = self.pairs[who].real.unmapshared();
        let page = self.pairs[who].model.shared_page.take();
        assert_eq!(result.is_ok(), page.is_some());
        if let Some(page) = page {
            self.pairs[who].model.forget(page, page + PGSIZE);
        }
    }

    fn check(&mut self) {
        for pair in &mut self.pairs {
            assert_eq!(pair.real.numvp(), pair.model.pages.len() as u64);
            assert_eq!(pair.real.size(), pair.model.brk);
        }
        let spaces: Vec<_> = self.pairs.iter().map(|pair| &pair.real).collect();
        assert_ledger_agrees(&spaces);
    }

    fn finish(mut self) {
        frame::fail_allocation(0);
        self.starved = false;
        for who in 0..self.pairs.len() {
            for pick in 0..self.pairs[who].model.pages.len() {
                self.read(who, pick as u16, 100);
            }
        }
        self.pairs.clear();
        self.machine.assert_nothing_lost();
        for Origin { file, id } in self.world.files {
            let file = file.unwrap();
            assert_eq!(*file.refs.lock().unwrap(), 0);
            for (offset, byte) in file.bytes.lock().unwrap().iter().enumerate() {
                let offset = offset as u64;
                let expected = self.world.shared.get(&(id, offset)).copied();
                assert_eq!(*byte, expected.unwrap_or(file_byte(offset)), "file at {offset}");
            }
        }
    }
}

/// A private page that a new region promises.
fn private(world: &mut World, mapping: bool) -> Page {
    let (region, origin) = (world.id(), world.zeros());
    Page { region, readable: true, writable: true, mapping, shared: false, origin, offset: 0 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn processes_see_what_the_model_sees(
        steps in prop::collection::vec((any::<u8>(), step()), 1..150),
    ) {
        let mut run = Run::new(false);
        for (who, step) in steps {
            run.apply(usize::from(who), step);
            run.check();
        }
        run.finish();
    }

    #[test]
    fn failing_allocations_change_nothing(
        steps in prop::collection::vec((any::<u8>(), step(), 0..12_u64), 1..150),
    ) {
        let mut run = Run::new(true);
        for (who, step, fail) in steps {
            frame::fail_allocation(fail);
            run.apply(usize::from(who), step);
            run.check();
        }
        run.finish();
    }
}
