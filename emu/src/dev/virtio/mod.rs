//! Virtio devices: a transport (`mmio`), split queues, and what is behind them.
//!
//! Source: OASIS Virtual I/O Device (VIRTIO) 1.2. Requests are completed at once, inside the
//! guest's notification, so that runs repeat.

pub mod blk;
pub mod disk;
pub mod mmio;
pub mod queue;
pub mod rng;

use super::Dma;
use queue::{Broken, Chain};

/// What the driver and all devices may agree on (6, "Reserved Feature Bits").
pub mod feature {
    /// Legacy: the driver may lay descriptors out as it likes.
    pub const ANY_LAYOUT: u64 = 1 << 27;
    /// Tables of descriptors that a descriptor points at.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Conforms to 1.0 or later.
    pub const VERSION_1: u64 = 1 << 32;
}

/// A device behind a transport.
pub trait Backend {
    /// Its number (5, "Device Types").
    fn device_id(&self) -> u32;

    /// Features it offers beside those of the transport.
    fn features(&self) -> u64;

    /// How many queues it has.
    fn queues(&self) -> usize;

    /// Its configuration space.
    fn config(&self) -> Vec<u8>;

    /// Serves one request, and tells how many bytes it wrote to it.
    fn serve(&mut self, queue: usize, chain: &Chain, mem: &mut dyn Dma) -> Result<u32, Broken>;
}
