//! The entropy device: random bytes, the same ones in every run of the same seed.
//!
//! Source: VIRTIO 1.2, 5.4 "Entropy Device".

use super::queue::{Broken, Chain};
use super::{Backend, Dma};
use crate::dev::SplitMix;

/// Most bytes one request gets; the driver asks again (5.4.6.2 lets the device give fewer).
const MAX_BYTES: u64 = 4096;

/// State of the device.
#[derive(Clone, Debug)]
pub struct Rng(SplitMix);

impl Rng {
    /// A device with that seed.
    pub fn new(seed: u64) -> Rng {
        Rng(SplitMix(seed ^ 0x656e_7472_6f70_7921))
    }
}

impl Backend for Rng {
    fn device_id(&self) -> u32 {
        4
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> usize {
        1
    }

    fn config(&self) -> Vec<u8> {
        Vec::new()
    }

    fn serve(&mut self, _: usize, chain: &Chain, mem: &mut dyn Dma) -> Result<u32, Broken> {
        let len = chain.writable_len().min(MAX_BYTES);
        let bytes: Vec<u8> =
            (0..len.div_ceil(8)).flat_map(|_| self.0.next_u64().to_le_bytes()).collect();
        chain.write(0, &bytes[..len as usize], mem)?;
        Ok(len as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::testing::*;
    use super::*;
    use crate::dev::testing::Pages;

    #[test]
    fn bytes_repeat_with_the_seed() {
        let run = |seed| {
            let mut mem = Pages::new(0x8000);
            put_request(&mut mem, 0, 8, &[(DATA, 13, true)]);
            let chain = queue(8).take(&mem).expect("a request");
            assert_eq!(Rng::new(seed).serve(0, &chain, &mut mem), Ok(13));
            let mut bytes = [0; 16];
            mem.read_bytes(DATA, &mut bytes).expect("in memory");
            assert_eq!(bytes[13..], [0; 3]);
            bytes
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
