//! Guest memory (interim: a plain buffer behind the interface that devices use).

/// Guest memory from [`crate::board::RAM_BASE`] on.
pub struct Ram {
    bytes: Vec<u8>,
}

/// An address outside guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRam;

impl Ram {
    /// That many bytes of zeroes.
    pub fn new(len: u64) -> std::io::Result<Ram> {
        Ok(Ram { bytes: vec![0; len as usize] })
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn range(&self, pa: u64, len: usize) -> Result<std::ops::Range<usize>, OutOfRam> {
        let start = pa.checked_sub(crate::board::RAM_BASE).ok_or(OutOfRam)?;
        let end = start.checked_add(len as u64).filter(|end| *end <= self.len());
        Ok(start as usize..end.ok_or(OutOfRam)? as usize)
    }

    /// Fills `out` from `pa`.
    pub fn dma_read(&self, pa: u64, out: &mut [u8]) -> Result<(), OutOfRam> {
        out.copy_from_slice(&self.bytes[self.range(pa, out.len())?]);
        Ok(())
    }

    /// Copies `data` to `pa`.
    pub fn dma_write(&mut self, pa: u64, data: &[u8]) -> Result<(), OutOfRam> {
        let range = self.range(pa, data.len())?;
        self.bytes[range].copy_from_slice(data);
        Ok(())
    }
}
