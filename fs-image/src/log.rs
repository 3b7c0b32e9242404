//! The log: a header that counts the blocks of a committed transaction and says where they
//! belong, and behind it their contents.

use abi::fs::BSIZE;

use crate::{Image, Problem, disk};

impl Image {
    /// Where the blocks of a committed transaction belong, in the order of the log.
    pub(crate) fn committed(&self) -> Result<Vec<u32>, Problem> {
        let layout = &self.layout;
        let header = self.block(layout.logstart);
        let count = disk::word(header, 0);
        if count > layout.nlog - 1 || count as usize >= BSIZE / 4 {
            let what = format!("{count} blocks in a log of {}", layout.nlog - 1);
            return Err(Problem::new(layout.logstart, "log header, n", what));
        }
        let homes: Vec<u32> = (1..=count as usize).map(|i| disk::word(header, i)).collect();
        match homes.iter().position(|home| !(layout.inodestart..layout.size).contains(home)) {
            Some(i) => Err(Problem::new(
                layout.logstart,
                format!("log header, block[{i}]"),
                format!("{} is neither metadata nor data", homes[i]),
            )),
            None => Ok(homes),
        }
    }

    /// Installs a committed transaction; a damaged header is left for `fsck` to report.
    pub(crate) fn replay(&mut self) {
        let Ok(homes) = self.committed() else { return };
        let (header, mut from) = (self.layout.logstart, self.layout.logstart as usize);
        for &home in &homes {
            from += 1;
            self.bytes.copy_within(from * BSIZE..(from + 1) * BSIZE, home as usize * BSIZE);
        }
        disk::set_word(self.block_mut(header), 0, 0);
        self.replayed = homes.len() as u32;
    }
}
