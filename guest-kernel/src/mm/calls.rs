//! The memory calls as the labs know them: how their arguments are read and their results told.
//!
//! The labs disagree about errors: most calls return -1, some return 0. That difference ends
//! here; below there is one engine. Arguments are the registers as the program left them.

use abi::layout::PGSIZE;
use abi::stat::RegionInfo;

use super::file::FileHandle;
use super::mmap::Mapping;
use super::{AddressSpace, MmError, frame};

/// What most calls return when they fail.
const FAILED: u64 = u64::MAX;

/// For calls that return -1 when they fail.
fn or_minus_one(result: Result<u64, MmError>) -> u64 {
    result.unwrap_or(FAILED)
}

/// For calls that return 0 when they fail.
fn or_zero(result: Result<u64, MmError>) -> u64 {
    result.unwrap_or(0)
}

/// For calls that return 0, or -1 when they fail.
fn zero_or_minus_one<E>(result: Result<(), E>) -> u64 {
    result.map_or(FAILED, |()| 0)
}

/// 12 `sbrk(n, type)`.
pub fn sbrk(space: &mut AddressSpace, bytes: u64, kind: u64) -> u64 {
    or_minus_one(space.sbrk(bytes as i64, kind as u32))
}

/// 27 `mmap(addr, len, prot, flags, fd, off)`; `open_file` looks a descriptor up.
pub fn mmap(
    space: &mut AddressSpace,
    args: &[u64; 6],
    open_file: impl FnOnce(i32) -> Option<FileHandle>,
) -> u64 {
    let mapping = Mapping::decode(args, open_file).ok_or(MmError::Invalid);
    or_minus_one(mapping.and_then(|mapping| space.mmap(mapping)))
}

/// 28 `munmap(addr, len)`.
pub fn munmap(space: &mut AddressSpace, va: u64, bytes: u64) -> u64 {
    zero_or_minus_one(space.munmap(va, bytes))
}

/// 36 `pgaccess(base, n, *mask)`. The mask is an `int` for up to 32 pages, else a `u64`.
pub fn pgaccess(space: &mut AddressSpace, base: u64, count: u64, to: u64) -> u64 {
    let Some(mask) = space.pgaccess(base, count) else { return FAILED };
    let bytes = if count <= 32 { 4 } else { 8 };
    zero_or_minus_one(space.copyout(to, &mask.to_le_bytes()[..bytes]))
}

/// 41 `freepmem()`: free memory in bytes.
pub fn freepmem() -> u64 {
    getnumfreepages() * PGSIZE
}

/// 45 `mmap_brk(bytes, start)`; 0 when it fails.
pub fn mmap_brk(space: &mut AddressSpace, bytes: u64, start: u64) -> u64 {
    or_zero(space.mmap_brk(bytes as i64, start))
}

/// 46 `mapshared()` of process `pid`; 0 when it fails.
pub fn mapshared(space: &mut AddressSpace, pid: i32) -> u64 {
    or_zero(space.mapshared(pid))
}

/// 47 `getshared()` of process `pid`, whose parent is `parent`; 0 when it fails.
pub fn getshared(space: &mut AddressSpace, pid: i32, parent: i32) -> u64 {
    or_zero(space.getshared(pid, parent))
}

/// 48 `unmapshared()`.
pub fn unmapshared(space: &mut AddressSpace) -> u64 {
    zero_or_minus_one(space.unmapshared())
}

/// 49 `getnumfreepages()`.
pub fn getnumfreepages() -> u64 {
    frame::free_pages() as u64
}

/// 51 `kmfree(p)`.
pub fn kmfree(space: &mut AddressSpace, address: u64) -> u64 {
    if space.kmfree(address) { 0 } else { FAILED }
}

/// 52 `msync(addr, len)`.
pub fn msync(space: &mut AddressSpace, va: u64, bytes: u64) -> u64 {
    zero_or_minus_one(space.msync(va, bytes))
}

/// 53 `sem_init(*sem, pshared, value)`: puts a handle at `sem`. It is good in every process that
/// descends from this one, whatever `pshared` says.
pub fn sem_init(space: &mut AddressSpace, sem: u64, value: u64) -> u64 {
    let Ok(handle) = space.semaphores().create(value as u32) else { return FAILED };
    let told = space.copyout(sem, &handle.to_le_bytes());
    if told.is_err() {
        // Nobody knows the handle, so the semaphore ends here.
        let _ = space.semaphores().destroy(handle);
    }
    zero_or_minus_one(told)
}

/// The handle that `sem_init` put at `sem`.
fn handle(space: &mut AddressSpace, sem: u64) -> Result<i32, MmError> {
    let mut bytes = [0; 4];
    space.copyin(&mut bytes, sem).map_err(|_| MmError::Invalid)?;
    Ok(i32::from_le_bytes(bytes))
}

/// 54 `sem_destroy(*sem)`.
pub fn sem_destroy(space: &mut AddressSpace, sem: u64) -> u64 {
    let handle = handle(space, sem);
    zero_or_minus_one(handle.and_then(|handle| space.semaphores().destroy(handle)))
}

/// 55 `sem_wait(*sem)`; fails when `killed` says that the process must end.
pub fn sem_wait(space: &mut AddressSpace, sem: u64, killed: impl Fn() -> bool) -> u64 {
    let handle = handle(space, sem);
    zero_or_minus_one(handle.and_then(|handle| space.semaphores().wait(handle, killed)))
}

/// 56 `sem_post(*sem)`.
pub fn sem_post(space: &mut AddressSpace, sem: u64) -> u64 {
    let handle = handle(space, sem);
    zero_or_minus_one(handle.and_then(|handle| space.semaphores().post(handle)))
}

/// 60 `regions(buf, max)`: the first `max` regions as [`RegionInfo`]; returns how many.
pub fn regions(space: &mut AddressSpace, buffer: u64, max: u64) -> u64 {
    let mut count = 0;
    let max = u64::try_from(max as i32).unwrap_or(0);
    while count < max
        && let Some(info) = space.region_info(count as usize)
    {
        let to = buffer.wrapping_add(count * size_of::<RegionInfo>() as u64);
        if space.copyout(to, &region_bytes(&info)).is_err() {
            return FAILED;
        }
        count += 1;
    }
    count
}

fn region_bytes(info: &RegionInfo) -> [u8; size_of::<RegionInfo>()] {
    let mut bytes = [0; size_of::<RegionInfo>()];
    bytes[0..8].copy_from_slice(&info.start.to_le_bytes());
    bytes[8..16].copy_from_slice(&info.end.to_le_bytes());
    bytes[16..20].copy_from_slice(&info.kind.to_le_bytes());
    bytes[20..24].copy_from_slice(&info.prot.to_le_bytes());
    bytes[24..32].copy_from_slice(&info.present.to_le_bytes());
    bytes
}
