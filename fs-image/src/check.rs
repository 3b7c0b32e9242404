//! `fsck`: what must hold of an image, each rule checked against what the disk says.
//!
//! First every inode claims its blocks; a block that is claimed twice stays with the first, and
//! only its owner looks into it afterwards. So the work is bounded by the size of the image,
//! whatever it holds. Then the tree is walked from the root, each directory once, and what was
//! found is compared with the bitmap and the link counts.

use std::collections::{HashSet, VecDeque};

use abi::fs::{BSIZE, DIRENT_SIZE, DiskInode, IPB, MAXFILE, NDIRECT, NINDIRECT, ROOTINO};
use abi::stat::{T_DEVICE, T_DIR};

use crate::{Image, Problem, disk};

/// Problems that are told in full.
const TOLD: usize = 1000;

struct Check<'a> {
    image: &'a Image,
    /// For every block the inode that claimed it first, or 0.
    owner: Vec<u32>,
    /// For every inode the entries that name it, as its link count has it.
    links: Vec<u32>,
    reached: Vec<bool>,
    problems: Vec<Problem>,
    untold: usize,
}

impl Image {
    /// Checks everything; an empty list is a sound file system.
    pub fn fsck(&self) -> Vec<Problem> {
        let mut check = Check {
            image: self,
            owner: vec![0; self.layout.size as usize],
            links: vec![0; self.layout.ninodes as usize],
            reached: vec![false; self.layout.ninodes as usize],
            problems: Vec::new(),
            untold: 0,
        };
        if let Err(problem) = self.committed() {
            check.say(problem);
        }
        for inum in ROOTINO..self.layout.ninodes {
            check.inode(inum);
        }
        check.bitmap();
        check.tree();
        for inum in ROOTINO..self.layout.ninodes {
            check.count_links(inum);
        }
        if check.untold > 0 {
            let what = format!("{} more problems", check.untold);
            check.problems.push(Problem::new(crate::layout::SUPER, "image", what));
        }
        check.problems
    }
}

impl Check<'_> {
    fn say(&mut self, problem: Problem) {
        if self.problems.len() < TOLD {
            self.problems.push(problem);
        } else {
            self.untold += 1;
        }
    }

    fn inode_problem(&mut self, inum: u32, field: &str, what: impl Into<String>) {
        self.say(self.image.layout.in_inode(inum, field, what));
    }

    /// Type, size and blocks of an inode.
    fn inode(&mut self, inum: u32) {
        let inode = self.image.inode(inum);
        match inode.kind {
            0 => return,
            1..=3 => {}
            kind => return self.inode_problem(inum, "type", format!("{kind} is none")),
        }
        if inode.nlink < 0 {
            self.inode_problem(inum, "nlink", format!("{} is negative", inode.nlink));
        }
        if inode.size as usize > MAXFILE * BSIZE {
            let what = format!("{} is more than {}", inode.size, MAXFILE * BSIZE);
            self.inode_problem(inum, "size", what);
        }
        if inode.kind == T_DEVICE && (inode.size != 0 || inode.addrs != [0; NDIRECT + 1]) {
            self.inode_problem(inum, "size", "a device has neither size nor blocks");
        }
        if inode.kind == T_DIR && !(inode.size as usize).is_multiple_of(DIRENT_SIZE) {
            let what = format!("{} is no multiple of a directory entry's", inode.size);
            self.inode_problem(inum, "size", what);
        }
        let needed = (inode.size as usize).min(MAXFILE * BSIZE).div_ceil(BSIZE);
        // MIT's mkfs may round a directory up to a last block that it does not allocate.
        let needed = needed - (inode.kind == T_DIR && needed > 1) as usize;
        for (index, &block) in inode.addrs.iter().enumerate() {
            if block != 0 {
                let here = self.image.layout.inode_at(inum).0;
                let mine = self.claim(inum, block, here, format!("inode {inum} addrs[{index}]"));
                if index == NDIRECT && mine {
                    self.indirect(inum, block, needed);
                }
            } else if index < needed {
                let what = format!("no block, but size is {}", inode.size);
                self.inode_problem(inum, &format!("addrs[{index}]"), what);
            }
        }
    }

    fn indirect(&mut self, inum: u32, indirect: u32, needed: usize) {
        for index in 0..NINDIRECT {
            let field = format!("entry {index} of inode {inum}'s indirect block");
            match disk::word(self.image.block(indirect), index) {
                0 if NDIRECT + index >= needed => {}
                0 => self.say(Problem::new(indirect, field, "no block inside the file's size")),
                block => _ = self.claim(inum, block, indirect, field),
            }
        }
    }

    /// Notes that an inode has a block; whether it has it alone. `at` and `field` say where.
    fn claim(&mut self, inum: u32, block: u32, at: u32, field: String) -> bool {
        let layout = &self.image.layout;
        if !layout.is_data(block) {
            let data = format!("{} to {}", layout.datastart, layout.size - 1);
            self.say(Problem::new(at, field, format!("{block} is no data block ({data})")));
            return false;
        }
        match self.owner[block as usize] {
            0 => {
                self.owner[block as usize] = inum;
                true
            }
            other => {
                let what = format!("block {block} is used already, by inode {other}");
                self.say(Problem::new(at, field, what));
                false
            }
        }
    }

    /// Every block: used if and only if its bit says so. All before the data count as used.
    fn bitmap(&mut self) {
        let layout = self.image.layout;
        for block in 0..layout.size {
            let owner = self.owner[block as usize];
            let used = block < layout.datastart || owner != 0;
            if used == self.image.is_marked(block) {
                continue;
            }
            let what = match (used, owner) {
                (false, _) => "marked used, but no file has it".to_string(),
                (true, 0) => "metadata, but marked free".to_string(),
                (true, inum) => format!("of inode {inum}, but marked free"),
            };
            let map = layout.bit_at(block).0;
            self.say(Problem::new(map, format!("bitmap bit of block {block}"), what));
        }
    }

    /// Walks the directories from the root, each once.
    fn tree(&mut self) {
        if self.image.inode(ROOTINO).kind != T_DIR {
            return self.inode_problem(ROOTINO, "type", "the root is no directory");
        }
        self.reached[ROOTINO as usize] = true;
        self.links[ROOTINO as usize] = 1;
        let mut queue = VecDeque::from([(ROOTINO, ROOTINO)]);
        while let Some((dir, parent)) = queue.pop_front() {
            let mut names = HashSet::new();
            for (index, name, inum) in self.entries(dir) {
                let field = format!("entry {index} ({})", name.escape_ascii());
                if inum >= self.image.layout.ninodes {
                    let what = format!("inode {inum} is none");
                    self.inode_problem(dir, &field, what);
                } else if self.image.inode(inum).kind == 0 {
                    self.inode_problem(dir, &field, format!("inode {inum} is free"));
                } else if index >= 2 {
                    self.child(dir, &field, &name, inum, &mut queue);
                } else if index == 1 && dir != ROOTINO {
                    self.links[parent as usize] += 1;
                }
                if !names.insert(name) {
                    self.inode_problem(dir, &field, "this name is there twice");
                }
            }
            self.dots(dir, parent);
        }
    }

    /// An entry of a directory behind the first two.
    fn child(
        &mut self,
        dir: u32,
        field: &str,
        name: &[u8],
        inum: u32,
        queue: &mut VecDeque<(u32, u32)>,
    ) {
        if name.is_empty() || name.contains(&b'/') || name == b"." || name == b".." {
            return self.inode_problem(dir, field, "no name for a file");
        }
        self.links[inum as usize] = self.links[inum as usize].saturating_add(1);
        let again = std::mem::replace(&mut self.reached[inum as usize], true);
        if self.image.inode(inum).kind != T_DIR {
            return;
        }
        if again {
            let what = format!("directory {inum} is linked a second time");
            return self.inode_problem(dir, field, what);
        }
        queue.push_back((inum, dir));
    }

    /// The first entry is `.` and the second `..`, where the kernel relies on them.
    fn dots(&mut self, dir: u32, parent: u32) {
        let block = self.image.inode(dir).addrs[0];
        if !self.image.layout.is_data(block) || self.owner[block as usize] != dir {
            return self.inode_problem(dir, "addrs[0]", "a directory without entries");
        }
        for (index, name, want) in [(0, ".", dir), (1, "..", parent)] {
            let entry = disk::dirent(self.image.block(block), index * DIRENT_SIZE);
            if disk::name(&entry) != name.as_bytes() || entry.inum as u32 != want {
                let found = disk::name(&entry).escape_ascii();
                let what = format!("{found} → {} instead of {name} → {want}", entry.inum);
                self.say(Problem::new(block, format!("directory {dir} entry {index}"), what));
            }
        }
    }

    /// The used entries in those blocks that the directory has alone, each block once.
    fn entries(&self, dir: u32) -> Vec<(usize, Vec<u8>, u32)> {
        let inode = self.image.inode(dir);
        let size = (inode.size as usize).min(MAXFILE * BSIZE);
        let (mut entries, mut seen) = (Vec::new(), HashSet::new());
        for index in 0..size.div_ceil(BSIZE) {
            let block = self.own_block(dir, &inode, index).filter(|&block| seen.insert(block));
            let Some(block) = block else { continue };
            let bytes = &self.image.block(block)[..BSIZE.min(size - index * BSIZE)];
            for (n, bytes) in bytes.chunks_exact(DIRENT_SIZE).enumerate() {
                let entry = disk::dirent(bytes, 0);
                if entry.inum != 0 {
                    let position = index * BSIZE / DIRENT_SIZE + n;
                    entries.push((position, disk::name(&entry).to_vec(), entry.inum as u32));
                }
            }
        }
        entries
    }

    fn own_block(&self, inum: u32, inode: &DiskInode, index: usize) -> Option<u32> {
        let own = |block: u32| {
            let owner = self.owner.get(block as usize)?;
            (block != 0 && *owner == inum).then_some(block)
        };
        if index < NDIRECT {
            return own(inode.addrs[index]);
        }
        let indirect = own(inode.addrs[NDIRECT])?;
        own(disk::word(self.image.block(indirect), index - NDIRECT))
    }

    /// An inode that is used is reached, and its link count is the number of its entries.
    fn count_links(&mut self, inum: u32) {
        let inode = self.image.inode(inum);
        if !(1..=3).contains(&inode.kind) {
            return;
        }
        let links = self.links[inum as usize];
        if !self.reached[inum as usize] {
            let what = match inode.nlink {
                0 => "used, but without a name: the kernel frees it when it next mounts",
                _ => "used, but no directory has it",
            };
            self.inode_problem(inum, "type", what);
        } else if inode.nlink as i64 != links as i64 {
            let what = format!("{}, but {links} links were found", inode.nlink);
            self.inode_problem(inum, "nlink", what);
        }
    }
}

/// What the layout promises and this relies on.
const _: () = assert!(IPB * abi::fs::INODE_SIZE == BSIZE);
