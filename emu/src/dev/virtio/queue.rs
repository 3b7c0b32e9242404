//! Split virtqueues: taking requests from the available ring and giving them back on the used
//! one, with nothing believed that the guest wrote there.
//!
//! Source: VIRTIO 1.2, 2.7 "Split Virtqueues".

use thiserror::Error;

use crate::dev::{Dma, NotMemory};

/// Most entries a queue has, and most descriptors a chain has.
pub const MAX_SIZE: u16 = 1024;

/// 2.7.5: the buffer continues at `next`.
const NEXT: u16 = 1;
/// 2.7.5: the device writes the buffer.
const WRITE: u16 = 2;
/// 2.7.5: the buffer is a table of descriptors.
const INDIRECT: u16 = 4;
/// 2.7.6: the driver does not want to be interrupted.
const NO_INTERRUPT: u16 = 1;

const DESCRIPTOR_BYTES: u64 = 16;

/// What a driver did that no device can go on after.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Broken {
    /// part of the queue or of a buffer is not guest memory
    #[error("part of the queue or of a buffer is not guest memory")]
    NotMemory,
    /// a descriptor chain does not end
    #[error("a descriptor chain does not end")]
    Loop,
    /// the available index is further ahead than the queue is long
    #[error("the available index is further ahead than the queue is long")]
    Index,
    /// a descriptor number is not below the queue's size
    #[error("a descriptor number is not below the queue's size")]
    Descriptor,
    /// an indirect descriptor is malformed
    #[error("an indirect descriptor is malformed")]
    Indirect,
    /// a readable buffer follows a writable one, or a buffer the request needs is missing
    #[error("the buffers are not those of a request")]
    Layout,
}

impl From<NotMemory> for Broken {
    fn from(_: NotMemory) -> Broken {
        Broken::NotMemory
    }
}

/// A piece of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Physical address.
    pub pa: u64,
    /// Length in bytes.
    pub len: u32,
}

/// A request: what the device reads, and what it writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The first descriptor's number, by which it is given back.
    pub head: u16,
    /// Buffers for the device to read, in order.
    pub readable: Vec<Segment>,
    /// Buffers for the device to write, in order.
    pub writable: Vec<Segment>,
}

/// A queue's place and position.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Entries; a power of two.
    pub size: u16,
    /// Whether the driver has set it up.
    pub ready: bool,
    /// Physical address of the descriptor table.
    pub desc: u64,
    /// Physical address of the available ring.
    pub avail: u64,
    /// Physical address of the used ring.
    pub used: u64,
    next_avail: u16,
    next_used: u16,
}

struct Descriptor {
    segment: Segment,
    flags: u16,
    next: u16,
}

fn descriptor(mem: &dyn Dma, table: u64, index: u16) -> Result<Descriptor, Broken> {
    let mut bytes = [0; DESCRIPTOR_BYTES as usize];
    mem.read_bytes(table.wrapping_add(u64::from(index) * DESCRIPTOR_BYTES), &mut bytes)?;
    let [a, b, c, d, e, f, g, h, l0, l1, l2, l3, f0, f1, n0, n1] = bytes;
    Ok(Descriptor {
        segment: Segment {
            pa: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            len: u32::from_le_bytes([l0, l1, l2, l3]),
        },
        flags: u16::from_le_bytes([f0, f1]),
        next: u16::from_le_bytes([n0, n1]),
    })
}

impl Queue {
    /// A queue of that size which is nowhere yet.
    pub fn of(size: u16) -> Queue {
        Queue { size, ..Queue::default() }
    }

    /// Starts anew: no request was taken or given back.
    pub fn rewind(&mut self) {
        (self.next_avail, self.next_used) = (0, 0);
    }

    /// Whether `size` is a length that a queue can have.
    pub fn valid_size(size: u32) -> bool {
        size.is_power_of_two() && size <= MAX_SIZE.into()
    }

    /// The number of requests that wait.
    pub fn waiting(&self, mem: &dyn Dma) -> Result<u16, Broken> {
        let waiting = mem.read_u16(self.avail.wrapping_add(2))?.wrapping_sub(self.next_avail);
        if waiting <= self.size { Ok(waiting) } else { Err(Broken::Index) }
    }

    /// Takes the next request. Only to be called when one is [`waiting`](Queue::waiting).
    pub fn take(&mut self, mem: &dyn Dma) -> Result<Chain, Broken> {
        let slot = u64::from(self.next_avail & (self.size - 1));
        let head = mem.read_u16(self.avail.wrapping_add(4 + 2 * slot))?;
        self.next_avail = self.next_avail.wrapping_add(1);
        self.chain(head, mem)
    }

    /// Follows a chain of descriptors, at most one table of indirect ones among them.
    fn chain(&self, head: u16, mem: &dyn Dma) -> Result<Chain, Broken> {
        let mut chain = Chain { head, ..Chain::default() };
        let (mut table, mut len, mut index) = (self.desc, self.size, head);
        let mut indirect = false;
        for _ in 0..=MAX_SIZE {
            if index >= len {
                return Err(Broken::Descriptor);
            }
            let Descriptor { segment, flags, next } = descriptor(mem, table, index)?;
            if flags & INDIRECT != 0 {
                let entries = segment.len / DESCRIPTOR_BYTES as u32;
                let whole = segment.len % DESCRIPTOR_BYTES as u32 == 0;
                if indirect || flags & NEXT != 0 || !whole || entries > MAX_SIZE.into() {
                    return Err(Broken::Indirect);
                }
                (table, len, index, indirect) = (segment.pa, entries as u16, 0, true);
                continue;
            }
            if flags & WRITE != 0 {
                chain.writable.push(segment);
            } else if chain.writable.is_empty() {
                chain.readable.push(segment);
            } else {
                return Err(Broken::Layout);
            }
            if flags & NEXT == 0 {
                return Ok(chain);
            }
            index = next;
        }
        Err(Broken::Loop)
    }

    /// Gives a request back, with the number of bytes written to it.
    pub fn give_back(&mut self, head: u16, written: u32, mem: &mut dyn Dma) -> Result<(), Broken> {
        let slot = u64::from(self.next_used & (self.size - 1));
        let mut element = [0; 8];
        element[..4].copy_from_slice(&u32::from(head).to_le_bytes());
        element[4..].copy_from_slice(&written.to_le_bytes());
        mem.write_bytes(self.used.wrapping_add(4 + 8 * slot), &element)?;
        self.next_used = self.next_used.wrapping_add(1);
        mem.write_bytes(self.used.wrapping_add(2), &self.next_used.to_le_bytes())?;
        Ok(())
    }

    /// Whether the driver wants to be interrupted for what was given back.
    pub fn wants_interrupt(&self, mem: &dyn Dma) -> Result<bool, Broken> {
        Ok(mem.read_u16(self.avail)? & NO_INTERRUPT == 0)
    }
}

impl Chain {
    /// Bytes the device can read.
    pub fn readable_len(&self) -> u64 {
        self.readable.iter().map(|s| u64::from(s.len)).sum()
    }

    /// Bytes the device can write.
    pub fn writable_len(&self) -> u64 {
        self.writable.iter().map(|s| u64::from(s.len)).sum()
    }

    /// Fills `out` from the readable bytes behind the first `skip`.
    pub fn read(&self, skip: u64, out: &mut [u8], mem: &dyn Dma) -> Result<(), Broken> {
        let mut done = 0;
        for piece in pieces(&self.readable, skip, out.len() as u64) {
            let end = done + piece.len as usize;
            mem.read_bytes(piece.pa, &mut out[done..end])?;
            done = end;
        }
        if done == out.len() { Ok(()) } else { Err(Broken::Layout) }
    }

    /// Copies `data` to the writable bytes behind the first `skip`.
    pub fn write(&self, skip: u64, data: &[u8], mem: &mut dyn Dma) -> Result<(), Broken> {
        let mut done = 0;
        for piece in pieces(&self.writable, skip, data.len() as u64) {
            let end = done + piece.len as usize;
            mem.write_bytes(piece.pa, &data[done..end])?;
            done = end;
        }
        if done == data.len() { Ok(()) } else { Err(Broken::Layout) }
    }
}

/// The parts of `segments` that hold bytes `skip..skip + len`.
fn pieces(segments: &[Segment], skip: u64, len: u64) -> impl Iterator<Item = Segment> {
    let mut start = 0;
    segments.iter().filter_map(move |segment| {
        let (begin, end) = (start, start + u64::from(segment.len));
        start = end;
        let (from, to) = (begin.max(skip), end.min(skip + len));
        (from < to)
            .then(|| Segment { pa: segment.pa.wrapping_add(from - begin), len: (to - from) as u32 })
    })
}

#[cfg(test)]
pub(crate) mod testing {
    //! A driver's side of a queue, in [`Pages`].

    use super::*;
    use crate::dev::testing::{BASE, Pages};

    pub const DESC: u64 = BASE + 0x1000;
    pub const AVAIL: u64 = BASE + 0x2000;
    pub const USED: u64 = BASE + 0x3000;
    pub const DATA: u64 = BASE + 0x4000;

    pub fn queue(size: u16) -> Queue {
        Queue { size, ready: true, desc: DESC, avail: AVAIL, used: USED, ..Queue::default() }
    }

    pub fn put_descriptor(mem: &mut Pages, at: u64, pa: u64, len: u32, flags: u16, next: u16) {
        mem.put(at, &pa.to_le_bytes());
        mem.put(at + 8, &len.to_le_bytes());
        mem.put(at + 12, &flags.to_le_bytes());
        mem.put(at + 14, &next.to_le_bytes());
    }

    /// Makes a chain of buffers `(pa, len, device writes)` from descriptor 0 on, available as
    /// the request number `n` (from 0).
    pub fn put_request(mem: &mut Pages, n: u16, size: u16, buffers: &[(u64, u32, bool)]) {
        for (i, (pa, len, writes)) in buffers.iter().enumerate() {
            let more = i + 1 < buffers.len();
            let flags = (u16::from(more) * NEXT) | (u16::from(*writes) * WRITE);
            put_descriptor(mem, DESC + 16 * i as u64, *pa, *len, flags, i as u16 + 1);
        }
        mem.put(AVAIL + 4 + 2 * u64::from(n % size), &0u16.to_le_bytes());
        mem.put(AVAIL + 2, &(n + 1).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;
    use crate::dev::testing::{BASE, Pages};

    #[test]
    fn a_request_goes_round() {
        let mut mem = Pages::new(0x8000);
        let mut queue = queue(8);
        assert_eq!(queue.waiting(&mem), Ok(0));
        put_request(
            &mut mem,
            0,
            8,
            &[(DATA, 3, false), (DATA + 8, 2, false), (DATA + 16, 4, true)],
        );
        mem.put(DATA, b"abc.....de");
        assert_eq!(queue.waiting(&mem), Ok(1));
        let chain = queue.take(&mem).expect("a request");
        assert_eq!((chain.readable_len(), chain.writable_len()), (5, 4));
        let mut text = [0; 3];
        chain.read(1, &mut text, &mem).expect("three bytes behind the first");
        assert_eq!(&text, b"bcd");
        assert_eq!(chain.read(3, &mut text, &mem), Err(Broken::Layout));
        chain.write(1, b"xyz", &mut mem).expect("three bytes behind the first");
        assert_eq!(chain.write(2, b"xyz", &mut mem), Err(Broken::Layout));
        queue.give_back(chain.head, 4, &mut mem).expect("a used ring");
        assert_eq!(mem.read_u16(USED + 2), Ok(1));
        assert_eq!((mem.read_u32(USED + 4), mem.read_u32(USED + 8)), (Ok(0), Ok(4)));
        assert_eq!(queue.waiting(&mem), Ok(0));
    }

    #[test]
    fn indirect_tables_are_followed_once() {
        let mut mem = Pages::new(0x8000);
        let mut queue = queue(8);
        put_request(&mut mem, 0, 8, &[(DATA, 32, false)]);
        put_descriptor(&mut mem, DESC, DATA, 32, INDIRECT, 0);
        put_descriptor(&mut mem, DATA, BASE, 5, NEXT, 1);
        put_descriptor(&mut mem, DATA + 16, BASE + 8, 6, WRITE, 0);
        let chain = queue.take(&mem).expect("a request");
        assert_eq!((chain.readable_len(), chain.writable_len()), (5, 6));
        put_descriptor(&mut mem, DATA, DATA, 32, INDIRECT, 1);
        assert_eq!(queue.chain(0, &mem), Err(Broken::Indirect));
        put_descriptor(&mut mem, DESC, DATA, 33, INDIRECT, 0);
        assert_eq!(queue.chain(0, &mem), Err(Broken::Indirect));
        put_descriptor(&mut mem, DESC, DATA, 0, INDIRECT, 0);
        assert_eq!(queue.chain(0, &mem), Err(Broken::Descriptor));
    }

    #[test]
    fn hostile_rings_are_errors() {
        let mut mem = Pages::new(0x8000);
        let mut queue = queue(8);
        mem.put(AVAIL + 2, &9u16.to_le_bytes());
        assert_eq!(queue.waiting(&mem), Err(Broken::Index));
        put_descriptor(&mut mem, DESC, DATA, 8, NEXT, 0);
        assert_eq!(queue.chain(0, &mem), Err(Broken::Loop));
        assert_eq!(queue.chain(8, &mem), Err(Broken::Descriptor));
        put_descriptor(&mut mem, DESC, DATA, 8, NEXT | WRITE, 1);
        put_descriptor(&mut mem, DESC + 16, DATA, 8, 0, 0);
        assert_eq!(queue.chain(0, &mem), Err(Broken::Layout));
        queue.desc = u64::MAX - 3;
        assert_eq!(queue.chain(0, &mem), Err(Broken::NotMemory));
        queue.used = 0;
        assert_eq!(queue.give_back(0, 0, &mut mem), Err(Broken::NotMemory));
    }
}
