//! A file system checker of its own: it reads the image without any code of the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::fixture::Image;

/// What an image has under its paths: bytes of a file, or nothing for a directory.
pub type Tree = BTreeMap<String, Option<Vec<u8>>>;

const BLOCK: usize = 1024;

struct Raw<'i> {
    image: &'i Image,
    /// Size, data blocks, inodes, log blocks, and where log, inodes and bitmap start.
    sb: [usize; 7],
}

#[derive(Debug)]
struct RawInode {
    kind: i16,
    nlink: i16,
    size: usize,
    addrs: [usize; 13],
}

fn u32s(block: &[u8]) -> Vec<usize> {
    let word = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize;
    block.chunks(4).map(word).collect()
}

impl Raw<'_> {
    fn inode(&self, inum: usize) -> RawInode {
        let bytes = &self.image[self.sb[5] + inum / 16][inum % 16 * 64..][..64];
        let half = |i: usize| i16::from_le_bytes([bytes[i], bytes[i + 1]]);
        let words = u32s(bytes);
        let mut addrs = [0; 13];
        addrs.copy_from_slice(&words[3..]);
        RawInode { kind: half(0), nlink: half(6), size: words[2], addrs }
    }

    /// The file's blocks in order, 0 for those that it does not have, and the indirect block.
    fn blocks(&self, inode: &RawInode) -> (Vec<usize>, usize) {
        let mut blocks = inode.addrs[..12].to_vec();
        if inode.addrs[12] != 0 {
            blocks.extend(u32s(&self.image[inode.addrs[12]]));
        }
        (blocks, inode.addrs[12])
    }

    fn content(&self, inode: &RawInode) -> Vec<u8> {
        let (blocks, _) = self.blocks(inode);
        let mut content = Vec::new();
        for &block in blocks.iter().take(inode.size.div_ceil(BLOCK)) {
            content.extend_from_slice(&self.image[block]);
        }
        content.truncate(inode.size);
        content
    }

    fn entries(&self, inode: &RawInode) -> Vec<(String, usize)> {
        let content = self.content(inode);
        let entry = |bytes: &[u8]| {
            let name: Vec<u8> = bytes[2..].iter().copied().take_while(|&b| b != 0).collect();
            let name = String::from_utf8_lossy(&name).to_string();
            (name, usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
        };
        content.chunks(16).map(entry).filter(|(_, inum)| *inum != 0).collect()
    }
}

/// Everything that is wrong with an image, and what is in it.
pub fn check(image: &Image) -> Result<Tree, Vec<String>> {
    let words = u32s(&image[1][..32]);
    let mut sb = [0; 7];
    sb.copy_from_slice(&words[1..]);
    let raw = Raw { image, sb };
    let mut errors = Vec::new();
    if u32s(&image[sb[4]])[0] != 0 {
        errors.push("the log is not empty".to_string());
    }
    check_blocks(&raw, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut tree = Tree::new();
    let mut names = BTreeMap::from([(1, 1)]);
    walk(&raw, "", 1, 1, &mut tree, &mut names, &mut errors);
    for inum in 1..sb[2] {
        let inode = raw.inode(inum);
        let counted = names.get(&inum).copied().unwrap_or(0);
        if inode.kind != 0 && (counted == 0 || i32::from(inode.nlink) != counted) {
            errors.push(format!("inode {inum} has {counted} names: {inode:?}"));
        }
    }
    if errors.is_empty() { Ok(tree) } else { Err(errors) }
}

fn check_blocks(raw: &Raw, errors: &mut Vec<String>) {
    let data = raw.sb[0] - raw.sb[1];
    let mut used: BTreeSet<usize> = (0..data).collect();
    for inum in 1..raw.sb[2] {
        let inode = raw.inode(inum);
        if inode.kind == 0 {
            continue;
        }
        let (blocks, indirect) = raw.blocks(&inode);
        for block in blocks.into_iter().chain([indirect]).filter(|&block| block != 0) {
            if !(data..raw.sb[0]).contains(&block) || !used.insert(block) {
                errors.push(format!("inode {inum}: block {block} is not its own"));
            }
        }
    }
    for block in 0..raw.sb[0] {
        let bit = raw.image[raw.sb[6] + block / 8192][block % 8192 / 8] >> (block % 8) & 1;
        if (bit == 1) != used.contains(&block) {
            errors.push(format!("block {block}: bit {bit}"));
        }
    }
}

fn walk(
    raw: &Raw,
    path: &str,
    inum: usize,
    parent: usize,
    tree: &mut Tree,
    names: &mut BTreeMap<usize, i32>,
    errors: &mut Vec<String>,
) {
    for (name, target) in raw.entries(&raw.inode(inum)) {
        let here = format!("{path}/{name}");
        match name.as_str() {
            "." if target == inum => continue,
            ".." if target == parent => continue,
            _ => {}
        }
        let inode = raw.inode(target);
        *names.entry(target).or_default() += 1;
        match inode.kind {
            1 => {
                *names.entry(inum).or_default() += 1;
                tree.insert(here.clone(), None);
                walk(raw, &here, target, inum, tree, names, errors);
            }
            2 | 3 => drop(tree.insert(here, Some(raw.content(&inode)))),
            kind => errors.push(format!("{here} is inode {target} of kind {kind}")),
        }
    }
}
