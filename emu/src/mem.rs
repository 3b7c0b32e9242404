//! Guest memory: one anonymous mapping, and the only place that touches it through raw pointers.
//!
//! Everything else sees checked accessors by guest physical address, except the execution engine,
//! whose fast TLB holds host addresses and uses [`load`] and [`store`]. Each page carries flags
//! that say whether instructions were decoded from it or translations derived; writes by devices
//! to such pages are collected in a list that the machine drains, so that nothing stale is used.

use isa::paging::Pte;
use memmap2::MmapMut;

use crate::board::RAM_BASE;

/// Bytes of a page, the unit of translation and of code tracking.
pub const PAGE_SIZE: u64 = 4096;

/// A range of physical addresses that is not all guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not guest memory")]
pub struct OutOfRam;

/// Instructions were decoded from this page.
pub(crate) const CODE: u8 = 1;
/// The page waits in the list of those that a device wrote.
const TOUCHED: u8 = 2;
/// The page holds PTEs that translations were derived from.
pub(crate) const TABLE: u8 = 4;
/// The observer wants to know of stores to the page.
const WATCHED: u8 = 8;

/// Guest memory from [`RAM_BASE`] on, little-endian, zero at reset.
#[derive(Debug)]
pub struct Ram {
    size: u64,
    host: *mut u8,
    flags: Box<[u8]>,
    touched: Vec<u64>,
    /// Keeps the mapping alive; accessed only through `host`.
    _map: MmapMut,
}

/// An unsigned integer that one load or store moves.
pub trait Scalar: Copy {
    /// Bytes moved.
    const SIZE: u64;
    /// Zero-extends to 64 bits.
    fn widen(self) -> u64;
    /// The low bytes of `value`.
    fn narrow(value: u64) -> Self;
    /// Host to guest byte order and back.
    fn swap_if_big_endian(self) -> Self;
}

macro_rules! scalar {
    ($($ty:ty)*) => {$(
        impl Scalar for $ty {
            const SIZE: u64 = size_of::<$ty>() as u64;
            #[inline(always)]
            fn widen(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn narrow(value: u64) -> Self {
                value as $ty
            }
            #[inline(always)]
            fn swap_if_big_endian(self) -> Self {
                self.to_le()
            }
        }
    )*};
}
scalar!(u8 u16 u32 u64);

/// Loads from a host address inside guest RAM.
///
/// # Safety
/// `host..host + T::SIZE` lies inside the mapping of a live [`Ram`], as every address does that
/// was computed from a matching fast TLB entry: entries are filled only with pages of RAM.
#[inline(always)]
pub unsafe fn load<T: Scalar>(host: u64) -> T {
    let pointer = std::ptr::with_exposed_provenance::<T>(host as usize);
    // SAFETY: in bounds by this function's contract; alignment is not assumed, and any bytes are
    // a valid integer. Guest memory is never borrowed while a hart executes.
    unsafe { pointer.read_unaligned() }.swap_if_big_endian()
}

/// Stores to a host address inside guest RAM.
///
/// # Safety
/// As for [`load`].
#[inline(always)]
pub unsafe fn store<T: Scalar>(host: u64, value: T) {
    let pointer = std::ptr::with_exposed_provenance_mut::<T>(host as usize);
    // SAFETY: as in `load`.
    unsafe { pointer.write_unaligned(value.swap_if_big_endian()) }
}

/// Stores `length / size` copies of the low `size` bytes of `value`, one behind the other.
///
/// # Safety
/// As for [`load`], for the whole range.
pub unsafe fn fill(host: u64, value: u64, size: u64, length: u64) {
    let pointer = std::ptr::with_exposed_provenance_mut::<u8>(host as usize);
    if size == 1 || value == 0 {
        // SAFETY: in bounds by this function's contract.
        return unsafe { pointer.write_bytes(value as u8, length as usize) };
    }
    let bytes = value.to_le_bytes();
    for at in (0..length as usize).step_by(size as usize) {
        // SAFETY: as above; `size` is at most 8 and divides `length`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), pointer.add(at), size as usize) };
    }
}

/// Copies `length` bytes.
///
/// # Safety
/// As for [`load`], for both ranges, which do not overlap.
pub unsafe fn copy(from: u64, to: u64, length: u64) {
    let from = std::ptr::with_exposed_provenance::<u8>(from as usize);
    let to = std::ptr::with_exposed_provenance_mut::<u8>(to as usize);
    // SAFETY: by this function's contract.
    unsafe { std::ptr::copy_nonoverlapping(from, to, length as usize) };
}

impl Ram {
    /// `size` bytes of zeroes; a multiple of the page size, and no more than physical addresses
    /// (56 bits) allow.
    pub fn new(size: u64) -> std::io::Result<Ram> {
        if size == 0 || !size.is_multiple_of(PAGE_SIZE) || size > (1 << 56) - RAM_BASE {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        let length = usize::try_from(size).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        let mut map = MmapMut::map_anon(length)?;
        // Fewer page faults and TLB misses of the host; it works without.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let host = map.as_mut_ptr();
        host.expose_provenance();
        let flags = vec![0; length / PAGE_SIZE as usize].into_boxed_slice();
        Ok(Ram { size, host, flags, touched: Vec::new(), _map: map })
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether `length` bytes at `pa` are all memory.
    #[inline]
    pub fn contains(&self, pa: u64, length: u64) -> bool {
        let offset = pa.wrapping_sub(RAM_BASE);
        offset < self.size && length <= self.size - offset
    }

    #[inline]
    fn check(&self, pa: u64, length: u64) -> Result<usize, OutOfRam> {
        if self.contains(pa, length) { Ok((pa - RAM_BASE) as usize) } else { Err(OutOfRam) }
    }

    /// The guest physical address that the host's address `host`, inside memory, stands for.
    #[inline]
    pub(crate) fn guest_address(&self, host: u64) -> u64 {
        host - self.host.addr() as u64 + RAM_BASE
    }

    /// The host address of guest physical address `pa`, which must be memory.
    #[inline]
    pub(crate) fn host_address(&self, pa: u64) -> Option<u64> {
        let offset = self.check(pa, 1).ok()?;
        Some(self.host.addr() as u64 + offset as u64)
    }

    /// Where the flags of pages are: for translated code, which reads them.
    pub(crate) fn flags_address(&self) -> u64 {
        self.flags.as_ptr().expose_provenance() as u64
    }

    /// Reads one integer; it may be misaligned.
    #[inline]
    pub fn read<T: Scalar>(&self, pa: u64) -> Result<T, OutOfRam> {
        let offset = self.check(pa, T::SIZE)?;
        // SAFETY: `check` proved `offset..offset + SIZE` to be inside the mapping.
        Ok(unsafe { load(self.host.addr() as u64 + offset as u64) })
    }

    /// Writes one integer; it may be misaligned. Not for pages with decoded code or page tables:
    /// see [`Ram::is_plain`].
    #[inline]
    pub fn write<T: Scalar>(&mut self, pa: u64, value: T) -> Result<(), OutOfRam> {
        let offset = self.check(pa, T::SIZE)?;
        // SAFETY: `check` proved `offset..offset + SIZE` to be inside the mapping.
        unsafe { store(self.host.addr() as u64 + offset as u64, value) };
        Ok(())
    }

    /// Copies memory out, all or nothing: for devices and for looking.
    pub fn dma_read(&self, pa: u64, bytes: &mut [u8]) -> Result<(), OutOfRam> {
        let offset = self.check(pa, bytes.len() as u64)?;
        // SAFETY: the source is inside the mapping; `bytes` is a Rust slice and so cannot overlap
        // it, because guest memory is borrowed only by `bytes()`, under `&self`.
        unsafe {
            std::ptr::copy_nonoverlapping(self.host.add(offset), bytes.as_mut_ptr(), bytes.len());
        }
        Ok(())
    }

    /// Copies into memory, all or nothing: for devices and loaders. Special pages are remembered.
    pub fn dma_write(&mut self, pa: u64, bytes: &[u8]) -> Result<(), OutOfRam> {
        let offset = self.check(pa, bytes.len() as u64)?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.touch(offset, bytes.len(), CODE | TABLE);
        self.copy(offset, bytes);
        Ok(())
    }

    /// Sets bits of a PTE; what was derived from it still holds.
    pub(crate) fn update_pte(&mut self, pa: u64, pte: Pte) -> Result<(), OutOfRam> {
        let offset = self.check(pa, 8)?;
        self.touch(offset, 8, CODE);
        self.copy(offset, &pte.0.to_le_bytes());
        Ok(())
    }

    /// Copies into memory; the caller looks after what is special about the page.
    pub(crate) fn put(&mut self, pa: u64, bytes: &[u8]) -> Result<(), OutOfRam> {
        let offset = self.check(pa, bytes.len() as u64)?;
        self.copy(offset, bytes);
        Ok(())
    }

    fn copy(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset as u64 + bytes.len() as u64 <= self.size);
        // SAFETY: the destination is inside the mapping, and `&mut self` excludes every borrow.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.host.add(offset), bytes.len());
        }
    }

    /// Writes `length` copies of `byte`, all or nothing. Special pages are remembered.
    pub fn fill(&mut self, pa: u64, length: u64, byte: u8) -> Result<(), OutOfRam> {
        let offset = self.check(pa, length)?;
        if length == 0 {
            return Ok(());
        }
        self.touch(offset, length as usize, CODE | TABLE);
        // SAFETY: `check` proved the range to be inside the mapping; `&mut self` is exclusive.
        unsafe { self.host.add(offset).write_bytes(byte, length as usize) };
        Ok(())
    }

    /// Memory as a slice, for readers that look while no hart runs.
    pub fn bytes(&self, pa: u64, length: u64) -> Option<&[u8]> {
        let offset = self.check(pa, length).ok()?;
        // SAFETY: in bounds; `&self` keeps harts and devices, which need `&mut`, from writing.
        Some(unsafe { std::slice::from_raw_parts(self.host.add(offset), length as usize) })
    }

    /// Puts pages in `offset..offset + length` (not empty) that have one of the flags `special`
    /// on the list of touched ones.
    fn touch(&mut self, offset: usize, length: usize, special: u8) {
        let page = PAGE_SIZE as usize;
        for index in offset / page..=(offset + length - 1) / page {
            if self.flags[index] & special != 0 && self.flags[index] & TOUCHED == 0 {
                self.flags[index] |= TOUCHED;
                self.touched.push(RAM_BASE + index as u64 * PAGE_SIZE);
            }
        }
    }

    fn flags(&self, pa: u64) -> u8 {
        let index = (pa.wrapping_sub(RAM_BASE) / PAGE_SIZE) as usize;
        self.flags.get(index).copied().unwrap_or(0)
    }

    fn set_flag(&mut self, pa: u64, flag: u8, set: bool) {
        let index = (pa.wrapping_sub(RAM_BASE) / PAGE_SIZE) as usize;
        if let Some(flags) = self.flags.get_mut(index) {
            *flags = if set { *flags | flag } else { *flags & !flag };
        }
    }

    /// Whether instructions were decoded from the page of `pa`.
    #[inline]
    pub(crate) fn is_code(&self, pa: u64) -> bool {
        self.flags(pa) & CODE != 0
    }

    /// Whether translations were derived from the page of `pa`.
    #[inline]
    pub(crate) fn is_table(&self, pa: u64) -> bool {
        self.flags(pa) & TABLE != 0
    }

    /// Whether the observer wants to know of stores to the page of `pa`.
    #[inline]
    pub(crate) fn is_watched(&self, pa: u64) -> bool {
        self.flags(pa) & WATCHED != 0
    }

    /// Whether none of these is the case: the page may be stored to without further ado.
    #[inline]
    pub(crate) fn is_plain(&self, pa: u64) -> bool {
        self.flags(pa) & (CODE | TABLE | WATCHED) == 0
    }

    /// Marks the page of `pa` as one whose stores are told, or not.
    pub(crate) fn set_watched(&mut self, pa: u64, watched: bool) {
        self.set_flag(pa, WATCHED, watched);
    }

    /// Marks the page of `pa`, which must be memory, as holding decoded code, or not.
    pub(crate) fn set_code(&mut self, pa: u64, code: bool) {
        self.set_flag(pa, CODE, code);
    }

    /// Marks the page of `pa`, which must be memory, as holding PTEs in use, or not.
    pub(crate) fn set_table(&mut self, pa: u64, table: bool) {
        self.set_flag(pa, TABLE, table);
    }

    /// The special pages that devices wrote since the last call, by physical address.
    pub(crate) fn take_touched(&mut self) -> Vec<u64> {
        let pages = std::mem::take(&mut self.touched);
        for pa in &pages {
            self.flags[((pa - RAM_BASE) / PAGE_SIZE) as usize] &= !TOUCHED;
        }
        pages
    }

    /// Whether [`Ram::take_touched`] has something to return.
    #[inline]
    pub(crate) fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }
}

// SAFETY: the pointer belongs to the mapping that the value owns; nothing else aliases it, so
// that moving the value to another thread moves the only access to it.
unsafe impl Send for Ram {}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = RAM_BASE;

    #[test]
    fn accesses_outside_are_refused_whole() {
        let mut ram = Ram::new(2 * PAGE_SIZE).unwrap();
        assert_eq!(ram.read::<u8>(BASE - 1), Err(OutOfRam));
        assert_eq!(ram.write::<u64>(BASE + 2 * PAGE_SIZE - 7, 1), Err(OutOfRam));
        assert_eq!(ram.read::<u8>(u64::MAX), Err(OutOfRam));
        assert_eq!(ram.dma_write(BASE + 2 * PAGE_SIZE - 4, &[0xff; 8]), Err(OutOfRam));
        assert_eq!(ram.read::<u32>(BASE + 2 * PAGE_SIZE - 4), Ok(0));
        assert!(ram.dma_read(u64::MAX - 2, &mut [0; 8]).is_err());
        assert!(ram.fill(BASE, 2 * PAGE_SIZE + 1, 1).is_err());
        assert!(ram.bytes(BASE + PAGE_SIZE, PAGE_SIZE + 1).is_none());
        assert!(!ram.contains(BASE + 2 * PAGE_SIZE, 0));
    }

    #[test]
    fn integers_are_little_endian() {
        let mut ram = Ram::new(PAGE_SIZE).unwrap();
        ram.write::<u64>(BASE + 3, 0x1122_3344_5566_7788).unwrap();
        assert_eq!(ram.read::<u8>(BASE + 3), Ok(0x88));
        assert_eq!(ram.read::<u16>(BASE + 4), Ok(0x6677));
        assert_eq!(ram.bytes(BASE + 10, 1), Some(&[0x11][..]));
    }

    #[test]
    fn device_writes_to_code_are_listed_once() {
        let mut ram = Ram::new(4 * PAGE_SIZE).unwrap();
        ram.set_code(BASE + PAGE_SIZE, true);
        ram.dma_write(BASE, &[1; 64]).unwrap();
        assert!(!ram.has_touched());
        ram.dma_write(BASE + PAGE_SIZE - 1, &[1; 3]).unwrap();
        ram.fill(BASE + PAGE_SIZE, 8, 0).unwrap();
        assert_eq!(ram.take_touched(), [BASE + PAGE_SIZE]);
        ram.dma_write(BASE, &[0; 4 * PAGE_SIZE as usize]).unwrap();
        assert_eq!(ram.take_touched(), [BASE + PAGE_SIZE]);
    }
}
