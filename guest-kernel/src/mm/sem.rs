//! Semaphores that processes name by handles in their own memory.
//!
//! A semaphore lives as long as a process can name it: the one that made it, its children, and
//! whoever used the handle. So nothing is left behind when `sem_destroy` is forgotten. The sets
//! of processes are bit masks, one bit for every address space that ever used a semaphore.

use abi::param::NPROC;

use super::MmError;
use crate::proc::{sleep_unless_killed, wakeup};
use crate::sync::SpinLock;

/// Semaphores in the system.
const SEMAPHORES: usize = 128;
/// Largest value of a semaphore.
const VALUE_MAX: u32 = i32::MAX as u32;

/// Address spaces that use semaphores, one bit each. During `exec` a process has two address
/// spaces; the new one has used no semaphore yet.
type Members = u64;
const _: () = assert!(NPROC <= Members::BITS as usize);

#[derive(Clone, Copy)]
struct Semaphore {
    /// Who may name the semaphore; the slot is free when nobody does.
    members: Members,
    /// Distinguishes the slot's successive semaphores, so that old handles are invalid.
    generation: u32,
    value: u32,
}

struct Table {
    semaphores: [Semaphore; SEMAPHORES],
    /// Bits in use.
    members: Members,
}

static TABLE: SpinLock<Table> = SpinLock::new(
    "semaphores",
    Table {
        semaphores: [Semaphore { members: 0, generation: 0, value: 0 }; SEMAPHORES],
        members: 0,
    },
);

/// The channel that waiters of the semaphore in slot `index` sleep on.
fn channel(index: usize) -> usize {
    (&raw const TABLE).addr() + 1 + index
}

impl Table {
    /// The handle of the semaphore in slot `index`; never 0 or negative.
    fn handle(&self, index: usize) -> i32 {
        let generation = self.semaphores[index].generation & 0x3f_ffff;
        (generation << 8 | (index as u32 + 1)) as i32
    }

    /// The slot of a semaphore that exists.
    fn find(&self, handle: i32) -> Option<usize> {
        let index = (handle as usize & 0xff).checked_sub(1)?;
        let exists = self.semaphores.get(index)?.members != 0;
        (exists && self.handle(index) == handle).then_some(index)
    }
}

/// The semaphores that an address space may name.
#[derive(Default)]
pub struct SemSet {
    /// The address space's bit, once it has used a semaphore.
    member: Option<Members>,
}

impl SemSet {
    /// This address space's bit; it gets one if it has none.
    fn member(&mut self, table: &mut Table) -> Option<Members> {
        if self.member.is_none() {
            let free = !table.members;
            let bit = free & free.wrapping_neg();
            table.members |= bit;
            self.member = Some(bit).filter(|&bit| bit != 0);
        }
        self.member
    }

    /// Makes a semaphore and returns its handle.
    pub fn create(&mut self, value: u32) -> Result<i32, MmError> {
        if value > VALUE_MAX {
            return Err(MmError::Invalid);
        }
        let mut table = TABLE.lock();
        let members = self.member(&mut table).ok_or(MmError::OutOfMemory)?;
        let free = table.semaphores.iter().position(|semaphore| semaphore.members == 0);
        let index = free.ok_or(MmError::OutOfMemory)?;
        let generation = table.semaphores[index].generation.wrapping_add(1);
        table.semaphores[index] = Semaphore { members, generation, value };
        Ok(table.handle(index))
    }

    /// Ends a semaphore; whoever waits for it gets an error.
    pub fn destroy(&mut self, handle: i32) -> Result<(), MmError> {
        let mut table = TABLE.lock();
        let index = table.find(handle).ok_or(MmError::Invalid)?;
        table.semaphores[index].members = 0;
        wakeup(channel(index));
        Ok(())
    }

    /// Waits until the value is above 0 and takes one from it. Fails if the semaphore ends, or
    /// when `killed` says so.
    pub fn wait(&mut self, handle: i32, killed: impl Fn() -> bool) -> Result<(), MmError> {
        let mut table = TABLE.lock();
        let member = self.member(&mut table).ok_or(MmError::OutOfMemory)?;
        loop {
            let index = table.find(handle).ok_or(MmError::Invalid)?;
            let semaphore = &mut table.semaphores[index];
            semaphore.members |= member;
            if semaphore.value > 0 {
                semaphore.value -= 1;
                return Ok(());
            }
            if killed() {
                return Err(MmError::Invalid);
            }
            table = sleep_unless_killed(channel(index), table);
        }
    }

    /// Adds one to the value and wakes whoever waits.
    pub fn post(&mut self, handle: i32) -> Result<(), MmError> {
        let mut table = TABLE.lock();
        let index = table.find(handle).ok_or(MmError::Invalid)?;
        let semaphore = &mut table.semaphores[index];
        if semaphore.value == VALUE_MAX {
            return Err(MmError::Invalid);
        }
        semaphore.value += 1;
        wakeup(channel(index));
        Ok(())
    }
}

impl Clone for SemSet {
    /// The set of a child: it may name what its parent may name.
    fn clone(&self) -> SemSet {
        let mut child = SemSet::default();
        if let Some(parent) = self.member {
            let mut table = TABLE.lock();
            if let Some(bit) = child.member(&mut table) {
                let named = table.semaphores.iter_mut().filter(|s| s.members & parent != 0);
                named.for_each(|semaphore| semaphore.members |= bit);
            }
        }
        child
    }
}

impl Drop for SemSet {
    fn drop(&mut self) {
        if let Some(bit) = self.member {
            let mut table = TABLE.lock();
            table.semaphores.iter_mut().for_each(|semaphore| semaphore.members &= !bit);
            table.members &= !bit;
        }
    }
}
