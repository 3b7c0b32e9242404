//! The disk: a virtio block device on the memory-mapped transport.
//!
//! Register layout and protocol: Virtual I/O Device (VIRTIO) 1.2, sections 2.7 (split
//! virtqueues), 4.2 (MMIO) and 5.2 (block device). Each request is a chain of three descriptors:
//! what to do, the block, and a byte for the result.

use core::sync::atomic::{AtomicU64, Ordering, fence};

use abi::fs::BSIZE;
use abi::layout::{VIRTIO_SLOTS, VIRTIO_STRIDE, VIRTIO0};

use crate::arch::{mmio_read32, mmio_write32};
use crate::fs::{BlockData, BlockDevice};
use crate::proc::{sleep, wakeup};
use crate::sync::{SpinGuard, SpinLock};

/// Registers, by offset (section 4.2.2).
mod reg {
    pub const MAGIC: u64 = 0x000;
    pub const VERSION: u64 = 0x004;
    pub const DEVICE_ID: u64 = 0x008;
    pub const DRIVER_FEATURES: u64 = 0x020;
    pub const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub const QUEUE_SEL: u64 = 0x030;
    pub const QUEUE_NUM_MAX: u64 = 0x034;
    pub const QUEUE_NUM: u64 = 0x038;
    pub const QUEUE_READY: u64 = 0x044;
    pub const QUEUE_NOTIFY: u64 = 0x050;
    pub const INTERRUPT_STATUS: u64 = 0x060;
    pub const INTERRUPT_ACK: u64 = 0x064;
    pub const STATUS: u64 = 0x070;
    pub const QUEUE_DESC: u64 = 0x080;
    pub const QUEUE_DRIVER: u64 = 0x090;
    pub const QUEUE_DEVICE: u64 = 0x0a0;
    pub const CAPACITY: u64 = 0x100;
}

/// "virt", little-endian.
const MAGIC: u32 = 0x7472_6976;
/// The version of the interface that is not legacy.
const VERSION: u32 = 2;
const BLOCK_DEVICE: u32 = 2;

const STATUS_ACKNOWLEDGE: u32 = 1;
const STATUS_DRIVER: u32 = 2;
const STATUS_DRIVER_OK: u32 = 4;
const STATUS_FEATURES_OK: u32 = 8;

/// `VIRTIO_F_VERSION_1`, in the second word of features.
const FEATURE_VERSION_1: u32 = 1;

/// Requests that can be under way.
const REQUESTS: usize = 8;
const CHAIN: usize = 3;
/// Descriptors of the queue: a power of two with room for all chains.
const QUEUE: usize = (REQUESTS * CHAIN).next_power_of_two();
const SECTOR: usize = 512;

const DESC_NEXT: u16 = 1;
const DESC_DEVICE_WRITES: u16 = 2;

const REQUEST_READ: u32 = 0;
const REQUEST_WRITE: u32 = 1;
const RESULT_OK: u8 = 0;

#[repr(C)]
#[derive(Clone, Copy)]
struct Desc {
    address: u64,
    len: u32,
    flags: u16,
    next: u16,
}

#[repr(C, align(4))]
struct Avail {
    flags: u16,
    index: u16,
    ring: [u16; QUEUE],
    used_event: u16,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct UsedElement {
    id: u32,
    len: u32,
}

#[repr(C, align(4))]
struct Used {
    flags: u16,
    index: u16,
    ring: [UsedElement; QUEUE],
    avail_event: u16,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    kind: u32,
    reserved: u32,
    sector: u64,
}

/// What driver and device share, and the driver's own notes.
#[repr(C, align(16))]
struct Disk {
    desc: [Desc; QUEUE],
    avail: Avail,
    used: Used,
    headers: [Header; REQUESTS],
    results: [u8; REQUESTS],
    state: [Request; REQUESTS],
    /// How many elements of the used ring were seen.
    seen: u16,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    Free,
    UnderWay,
    Done,
}

static DISK: SpinLock<Disk> = SpinLock::new("virtio disk", Disk::new());
/// Address of the registers; 0 while no disk was found.
static BASE: AtomicU64 = AtomicU64::new(0);
static BLOCKS: AtomicU64 = AtomicU64::new(0);

/// The disk, as the file system sees it.
pub struct VirtioBlk;

fn read(register: u64) -> u32 {
    mmio_read32(BASE.load(Ordering::Relaxed) + register)
}

fn write(register: u64, value: u32) {
    mmio_write32(BASE.load(Ordering::Relaxed) + register, value);
}

fn write_address(register: u64, address: usize) {
    write(register, address as u32);
    write(register + 4, (address as u64 >> 32) as u32);
}

/// The slot of the first block device with the interface that we know.
fn find() -> Option<u64> {
    (0..VIRTIO_SLOTS as u64).map(|slot| VIRTIO0 + slot * VIRTIO_STRIDE).find(|base| {
        mmio_read32(base + reg::MAGIC) == MAGIC
            && mmio_read32(base + reg::VERSION) == VERSION
            && mmio_read32(base + reg::DEVICE_ID) == BLOCK_DEVICE
    })
}

/// Finds the disk and makes it ready (section 3.1.1); false if there is none.
pub fn init() -> bool {
    let Some(base) = find() else { return false };
    BASE.store(base, Ordering::Relaxed);
    write(reg::STATUS, 0);
    let mut status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
    write(reg::STATUS, status);
    for (word, features) in [(0, 0), (1, FEATURE_VERSION_1)] {
        write(reg::DRIVER_FEATURES_SEL, word);
        write(reg::DRIVER_FEATURES, features);
    }
    status |= STATUS_FEATURES_OK;
    write(reg::STATUS, status);
    if read(reg::STATUS) & STATUS_FEATURES_OK == 0 {
        return false;
    }
    write(reg::QUEUE_SEL, 0);
    if read(reg::QUEUE_READY) != 0 || (read(reg::QUEUE_NUM_MAX) as usize) < QUEUE {
        return false;
    }
    let disk = DISK.lock();
    write(reg::QUEUE_NUM, QUEUE as u32);
    write_address(reg::QUEUE_DESC, (&raw const disk.desc).addr());
    write_address(reg::QUEUE_DRIVER, (&raw const disk.avail).addr());
    write_address(reg::QUEUE_DEVICE, (&raw const disk.used).addr());
    write(reg::QUEUE_READY, 1);
    write(reg::STATUS, status | STATUS_DRIVER_OK);
    let sectors = u64::from(read(reg::CAPACITY)) | u64::from(read(reg::CAPACITY + 4)) << 32;
    BLOCKS.store(sectors / (BSIZE / SECTOR) as u64, Ordering::Relaxed);
    true
}

/// What readers and writers sleep on.
fn channel(request: usize) -> usize {
    (&raw const DISK).addr() + request
}

/// What those sleep on who find no free request.
fn free_channel() -> usize {
    channel(REQUESTS)
}

impl Disk {
    const fn new() -> Disk {
        Disk {
            desc: [Desc { address: 0, len: 0, flags: 0, next: 0 }; QUEUE],
            avail: Avail { flags: 0, index: 0, ring: [0; QUEUE], used_event: 0 },
            used: Used {
                flags: 0,
                index: 0,
                ring: [UsedElement { id: 0, len: 0 }; QUEUE],
                avail_event: 0,
            },
            headers: [Header { kind: 0, reserved: 0, sector: 0 }; REQUESTS],
            results: [0; REQUESTS],
            state: [Request::Free; REQUESTS],
            seen: 0,
        }
    }

    /// Describes a request and hands it to the device. The three descriptors of request `n` are
    /// always those from `3n` on.
    fn submit(&mut self, request: usize, kind: u32, blockno: u32, data: usize) {
        self.state[request] = Request::UnderWay;
        let sector = u64::from(blockno) * (BSIZE / SECTOR) as u64;
        self.headers[request] = Header { kind, reserved: 0, sector };
        self.results[request] = !RESULT_OK;
        let data_flags = if kind == REQUEST_READ { DESC_DEVICE_WRITES } else { 0 };
        let parts = [
            ((&raw const self.headers[request]).addr(), size_of::<Header>(), 0),
            (data, BSIZE, data_flags),
            ((&raw const self.results[request]).addr(), 1, DESC_DEVICE_WRITES),
        ];
        let first = request * CHAIN;
        for (i, (address, len, flags)) in parts.into_iter().enumerate() {
            let (next, more) = if i + 1 < CHAIN { (first + i + 1, DESC_NEXT) } else { (0, 0) };
            self.desc[first + i] = Desc {
                address: address as u64,
                len: len as u32,
                flags: flags | more,
                next: next as u16,
            };
        }
        let index = self.avail.index;
        self.avail.ring[usize::from(index) % QUEUE] = first as u16;
        // The device must see the request before it sees that there is one, and that before it
        // is told to look.
        fence(Ordering::SeqCst);
        // SAFETY: an exclusively borrowed field; volatile, because the device reads it.
        unsafe { (&raw mut self.avail.index).write_volatile(index.wrapping_add(1)) };
        fence(Ordering::SeqCst);
        write(reg::QUEUE_NOTIFY, 0);
    }

    /// The next request that the device has finished.
    fn next_finished(&mut self) -> Option<usize> {
        // SAFETY: a field of ours; volatile, because the device writes it.
        let index = unsafe { (&raw const self.used.index).read_volatile() };
        if self.seen == index {
            return None;
        }
        // What the device wrote before it moved the index is read after it.
        fence(Ordering::SeqCst);
        let element = &raw const self.used.ring[usize::from(self.seen) % QUEUE];
        // SAFETY: as above.
        let id = unsafe { element.read_volatile() }.id;
        self.seen = self.seen.wrapping_add(1);
        Some(id as usize / CHAIN)
    }

    fn result(&self, request: usize) -> u8 {
        // SAFETY: as in `next_finished`.
        unsafe { (&raw const self.results[request]).read_volatile() }
    }
}

/// Transfers a block, sleeping until it is done.
fn transfer(kind: u32, blockno: u32, data: usize) {
    let mut disk = DISK.lock();
    let request = loop {
        match disk.state.iter().position(|state| *state == Request::Free) {
            Some(request) => break request,
            None => disk = sleep(free_channel(), disk),
        }
    };
    disk.submit(request, kind, blockno, data);
    while disk.state[request] != Request::Done {
        disk = sleep(channel(request), disk);
    }
    let result = disk.result(request);
    disk.state[request] = Request::Free;
    drop(disk);
    wakeup(free_channel());
    assert!(result == RESULT_OK, "virtio disk: block {blockno}: result {result}");
}

impl BlockDevice for VirtioBlk {
    fn blocks(&self) -> u64 {
        BLOCKS.load(Ordering::Relaxed)
    }

    fn read(&self, blockno: u32, buf: &mut BlockData) {
        transfer(REQUEST_READ, blockno, buf.as_mut_ptr().expose_provenance());
    }

    fn write(&self, blockno: u32, buf: &BlockData) {
        transfer(REQUEST_WRITE, blockno, buf.as_ptr().expose_provenance());
    }
}

/// Serves the device's interrupt.
pub fn interrupt() {
    let mut disk: SpinGuard<'_, Disk> = DISK.lock();
    // From here on the device may interrupt again; if it does so before the loop ends, the next
    // interrupt finds nothing to do.
    write(reg::INTERRUPT_ACK, read(reg::INTERRUPT_STATUS));
    fence(Ordering::SeqCst);
    while let Some(request) = disk.next_finished() {
        assert!(disk.state.get(request) == Some(&Request::UnderWay), "virtio disk: no request");
        disk.state[request] = Request::Done;
        wakeup(channel(request));
    }
}
