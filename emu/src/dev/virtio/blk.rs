//! The block device.
//!
//! Source: VIRTIO 1.2, 5.2 "Block Device". A request that makes no sense for the disk gets an
//! I/O error; one that is no request (no room for header or status) breaks the queue.

use super::disk::{Disk, SECTOR};
use super::queue::{Broken, Chain};
use super::{Backend, Dma};

/// 5.2.3: the most segments a request has is in the configuration.
const F_SEG_MAX: u64 = 1 << 2;
/// 5.2.3: the disk cannot be written.
const F_READ_ONLY: u64 = 1 << 5;
/// 5.2.3: the block size is in the configuration.
const F_BLOCK_SIZE: u64 = 1 << 6;
/// 5.2.3: there is a flush request.
const F_FLUSH: u64 = 1 << 9;
/// 5.2.3: there is a discard request.
const F_DISCARD: u64 = 1 << 13;
/// 5.2.3: there is a write-zeroes request.
const F_WRITE_ZEROES: u64 = 1 << 14;

/// 5.2.6: requests.
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

/// 5.2.6: the answer in a request's last byte.
const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;

const HEADER: u64 = 16;
/// Bytes of the answer to GET_ID.
const ID: usize = 20;
/// Bytes of one range of a discard or write-zeroes request.
const RANGE: u64 = 16;
/// Most ranges in such a request, and most sectors in a range.
const MAX_RANGES: u64 = 32;
const MAX_RANGE_SECTORS: u32 = 1 << 16;
/// 5.2.6: write-zeroes may unmap; for discard the flag is reserved.
const RANGE_UNMAP: u32 = 1;
/// Most buffers of data in a request.
const SEG_MAX: u32 = 254;
/// Data is copied in pieces of this size.
const PIECE: u64 = 64 << 10;

/// The device, with its image and what it calls itself.
#[derive(Debug)]
pub struct Blk {
    disk: Disk,
    id: [u8; ID],
}

/// Why a request was not carried out, as its status byte. A buffer outside memory is the
/// request's fault, not the queue's.
type Status = u8;

impl Blk {
    /// A disk with that image; the name is cut to 20 bytes.
    pub fn new(disk: Disk, name: &str) -> Blk {
        let mut id = [0; ID];
        for (to, from) in id.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        Blk { disk, id }
    }

    /// The first byte of `len` bytes from `sector` on, if they are whole sectors on the disk.
    fn place(&self, sector: u64, len: u64) -> Result<u64, Status> {
        let end = sector.checked_add(len / SECTOR).ok_or(IO_ERROR)?;
        if len.is_multiple_of(SECTOR) && end <= self.disk.sectors() {
            Ok(sector * SECTOR)
        } else {
            Err(IO_ERROR)
        }
    }

    fn read(&self, sector: u64, len: u64, chain: &Chain, mem: &mut dyn Dma) -> Outcome {
        let at = self.place(sector, len)?;
        let mut buffer = vec![0; len.min(PIECE) as usize];
        for done in (0..len).step_by(PIECE as usize) {
            let piece = &mut buffer[..(len - done).min(PIECE) as usize];
            self.disk.read(at + done, piece).map_err(|_| IO_ERROR)?;
            chain.write(done, piece, mem).map_err(|_| IO_ERROR)?;
        }
        Ok(len)
    }

    fn write(&mut self, sector: u64, chain: &Chain, mem: &dyn Dma) -> Outcome {
        let len = chain.readable_len() - HEADER;
        let at = self.place(sector, len)?;
        let mut buffer = vec![0; len.min(PIECE) as usize];
        for done in (0..len).step_by(PIECE as usize) {
            let piece = &mut buffer[..(len - done).min(PIECE) as usize];
            chain.read(HEADER + done, piece, mem).map_err(|_| IO_ERROR)?;
            self.disk.write(at + done, piece).map_err(|_| IO_ERROR)?;
        }
        Ok(0)
    }

    /// Discard and write-zeroes: both leave zeroes in the ranges.
    fn zero(&mut self, kind: u32, chain: &Chain, mem: &dyn Dma) -> Outcome {
        let len = chain.readable_len() - HEADER;
        if !len.is_multiple_of(RANGE) || len / RANGE > MAX_RANGES || self.disk.read_only() {
            return Err(IO_ERROR);
        }
        for n in 0..len / RANGE {
            let mut range = [0; RANGE as usize];
            chain.read(HEADER + n * RANGE, &mut range, mem).map_err(|_| IO_ERROR)?;
            let [a, b, c, d, e, f, g, h, n0, n1, n2, n3, f0, f1, f2, f3] = range;
            let sector = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
            let sectors = u32::from_le_bytes([n0, n1, n2, n3]);
            let flags = u32::from_le_bytes([f0, f1, f2, f3]);
            let known = if kind == WRITE_ZEROES { RANGE_UNMAP } else { 0 };
            if flags & !known != 0 {
                return Err(UNSUPPORTED);
            }
            if sectors > MAX_RANGE_SECTORS {
                return Err(IO_ERROR);
            }
            let len = u64::from(sectors) * SECTOR;
            let at = self.place(sector, len)?;
            let zeroes = vec![0; len as usize];
            self.disk.write(at, &zeroes).map_err(|_| IO_ERROR)?;
        }
        Ok(0)
    }
}

/// Bytes written to the request's buffers, the status byte not among them.
type Outcome = Result<u64, Status>;

impl Backend for Blk {
    fn device_id(&self) -> u32 {
        2
    }

    fn features(&self) -> u64 {
        let common = F_SEG_MAX | F_BLOCK_SIZE | F_FLUSH;
        let kind = if self.disk.read_only() { F_READ_ONLY } else { F_DISCARD | F_WRITE_ZEROES };
        common | kind
    }

    fn queues(&self) -> usize {
        1
    }

    /// 5.2.4 `struct virtio_blk_config`.
    fn config(&self) -> Vec<u8> {
        let mut config = vec![0; 60];
        let mut put = |at: usize, bytes: &[u8]| config[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.disk.sectors().to_le_bytes());
        put(12, &SEG_MAX.to_le_bytes());
        put(20, &(SECTOR as u32).to_le_bytes());
        // Discard: most sectors, most ranges, alignment; write-zeroes: most sectors, most ranges.
        put(36, &MAX_RANGE_SECTORS.to_le_bytes());
        put(40, &(MAX_RANGES as u32).to_le_bytes());
        put(44, &1u32.to_le_bytes());
        put(48, &MAX_RANGE_SECTORS.to_le_bytes());
        put(52, &(MAX_RANGES as u32).to_le_bytes());
        put(56, &[1]);
        config
    }

    fn serve(&mut self, _: usize, chain: &Chain, mem: &mut dyn Dma) -> Result<u32, Broken> {
        let mut header = [0; HEADER as usize];
        chain.read(0, &mut header, mem)?;
        let [k0, k1, k2, k3, _, _, _, _, a, b, c, d, e, f, g, h] = header;
        let kind = u32::from_le_bytes([k0, k1, k2, k3]);
        let sector = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let room = chain.writable_len().checked_sub(1).ok_or(Broken::Layout)?;
        let outcome = match kind {
            IN => self.read(sector, room, chain, mem),
            OUT => self.write(sector, chain, mem),
            FLUSH => self.disk.flush().map_or(Err(IO_ERROR), |()| Ok(0)),
            GET_ID if room >= ID as u64 => {
                chain.write(0, &self.id, mem).map_or(Err(IO_ERROR), |()| Ok(ID as u64))
            }
            DISCARD | WRITE_ZEROES => self.zero(kind, chain, mem),
            _ => Err(UNSUPPORTED),
        };
        let (status, written) = match outcome {
            Ok(written) => (OK, written),
            Err(status) => (status, 0),
        };
        chain.write(room, &[status], mem)?;
        Ok(written as u32 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::{Mode, testing::disk};
    use super::super::queue::testing::*;
    use super::*;
    use crate::dev::testing::{BASE, Pages};

    const STATUS: u64 = DATA + 0x2000;

    struct Bed {
        blk: Blk,
        mem: Pages,
    }

    fn bed(name: &str, mode: Mode) -> Bed {
        let content: Vec<u8> = (0..8u8).flat_map(|n| [n + 1; 512]).collect();
        Bed { blk: Blk::new(disk(name, &content, mode), name), mem: Pages::new(0x8000) }
    }

    impl Bed {
        /// Serves one request; returns what `serve` says and the status byte.
        fn request(
            &mut self,
            kind: u32,
            sector: u64,
            buffers: &[(u64, u32, bool)],
        ) -> (Result<u32, Broken>, u8) {
            self.mem.put(DATA, &kind.to_le_bytes());
            self.mem.put(DATA + 8, &sector.to_le_bytes());
            self.mem.put(STATUS, &[0xff]);
            let mut all = vec![(DATA, 16, false)];
            all.extend_from_slice(buffers);
            all.push((STATUS, 1, true));
            put_request(&mut self.mem, 0, 8, &all);
            let chain = queue(8).take(&self.mem).expect("a request");
            let served = self.blk.serve(0, &chain, &mut self.mem);
            let mut status = [0];
            self.mem.read_bytes(STATUS, &mut status).expect("in memory");
            (served, status[0])
        }

        fn byte(&self, pa: u64) -> u8 {
            let mut byte = [0];
            self.mem.read_bytes(pa, &mut byte).expect("in memory");
            byte[0]
        }
    }

    const BUFFER: u64 = DATA + 0x400;

    #[test]
    fn reads_and_writes_sectors() {
        let mut bed = bed("rw", Mode::ReadWrite);
        assert_eq!(
            bed.request(IN, 1, &[(BUFFER, 1000, true), (BUFFER + 1000, 24, true)]),
            (Ok(1025), OK)
        );
        assert_eq!((bed.byte(BUFFER + 511), bed.byte(BUFFER + 1023)), (2, 3));
        bed.mem.put(BUFFER, &[0xaa; 512]);
        assert_eq!(bed.request(OUT, 7, &[(BUFFER, 512, false)]), (Ok(1), OK));
        bed.mem.put(BUFFER, &[0; 512]);
        assert_eq!(bed.request(IN, 7, &[(BUFFER, 512, true)]), (Ok(513), OK));
        assert_eq!(bed.byte(BUFFER + 511), 0xaa);
        assert_eq!(bed.request(FLUSH, 0, &[]), (Ok(1), OK));
    }

    #[test]
    fn nonsense_is_an_io_error() {
        let mut bed = bed("nonsense", Mode::ReadWrite);
        for (kind, sector, buffer) in [
            (IN, 8, (BUFFER, 512, true)),
            (IN, u64::MAX, (BUFFER, 512, true)),
            (IN, 0, (BUFFER, 511, true)),
            (IN, 0, (0, 512, true)),
            (IN, 0, (BASE, u32::MAX, true)),
            (OUT, 7, (BUFFER, 1024, false)),
            (OUT, 0, (u64::MAX - 5, 512, false)),
        ] {
            assert_eq!(bed.request(kind, sector, &[buffer]), (Ok(1), IO_ERROR), "{kind} {sector}");
        }
        assert_eq!(bed.request(99, 0, &[]), (Ok(1), UNSUPPORTED));
    }

    #[test]
    fn a_request_without_header_or_status_breaks_the_queue() {
        let mut bed = bed("broken", Mode::ReadWrite);
        for buffers in [&[(DATA, 15, false), (STATUS, 1, true)][..], &[(DATA, 16, false)]] {
            put_request(&mut bed.mem, 0, 8, buffers);
            let chain = queue(8).take(&bed.mem).expect("a request");
            assert_eq!(bed.blk.serve(0, &chain, &mut bed.mem), Err(Broken::Layout));
        }
    }

    #[test]
    fn read_only_and_identity() {
        let mut bed = bed("ro", Mode::ReadOnly);
        assert_ne!(bed.blk.features() & F_READ_ONLY, 0);
        assert_eq!(bed.request(OUT, 0, &[(BUFFER, 512, false)]), (Ok(1), IO_ERROR));
        assert_eq!(bed.request(GET_ID, 0, &[(BUFFER, 20, true)]), (Ok(21), OK));
        assert_eq!((bed.byte(BUFFER), bed.byte(BUFFER + 2)), (b'r', 0));
        assert_eq!(bed.blk.config()[0], 8);
    }

    #[test]
    fn discard_and_write_zeroes_leave_zeroes() {
        let mut bed = bed("zero", Mode::Snapshot);
        let range = |sector: u64, sectors: u32, flags: u32| {
            let mut bytes = sector.to_le_bytes().to_vec();
            bytes.extend(sectors.to_le_bytes());
            bytes.extend(flags.to_le_bytes());
            bytes
        };
        bed.mem.put(BUFFER, &range(2, 1, 0));
        assert_eq!(bed.request(DISCARD, 0, &[(BUFFER, 16, false)]), (Ok(1), OK));
        bed.mem.put(BUFFER, &range(4, 1, RANGE_UNMAP));
        assert_eq!(bed.request(DISCARD, 0, &[(BUFFER, 16, false)]), (Ok(1), UNSUPPORTED));
        assert_eq!(bed.request(WRITE_ZEROES, 0, &[(BUFFER, 16, false)]), (Ok(1), OK));
        bed.mem.put(BUFFER, &range(7, 2, 0));
        assert_eq!(bed.request(WRITE_ZEROES, 0, &[(BUFFER, 16, false)]), (Ok(1), IO_ERROR));
        assert_eq!(bed.request(IN, 2, &[(BUFFER, 1536, true)]), (Ok(1537), OK));
        let bytes = [0, 512, 1024].map(|at| bed.byte(BUFFER + at));
        assert_eq!(bytes, [0, 4, 0]);
    }
}
