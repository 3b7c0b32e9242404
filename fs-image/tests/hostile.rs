//! Images that are damaged or made to harm: `fsck` names block and field, everything else gives
//! an error or an answer, and nothing panics or runs for ever.

mod common;

use common::{BIG, BSIZE, DEVICE, INNER, ROOT, Raw, SMALL, SUB, sample};
use fs_image::Image;
use proptest::prelude::*;

/// Bitmap block of the sample: 31 log and 3 inode blocks after the superblock's.
const BITMAP: usize = 36;

/// Does everything that can be done to an image. What `fsck` calls sound must stay so.
fn exercise(bytes: &[u8]) {
    let Ok(image) = Image::open(bytes.to_vec()) else { return };
    let sound = image.fsck().is_empty();
    for dir in ["/", "sub", "sub/..", "sub/sub/sub/..", "small", "big"] {
        let Ok(entries) = image.list(dir) else { continue };
        for entry in entries.into_iter().take(20) {
            let path = format!("{dir}/{}", String::from_utf8_lossy(&entry.name));
            let _ = (image.get(&path), image.list(&path));
        }
    }
    let contents = common::big();
    for path in ["new", "small", "big", "sub/inner", "sub/x", "console"] {
        let mut image = image.clone();
        let done = image.put(path, &contents).is_ok();
        let problems = image.fsck();
        assert!(!sound || problems.is_empty(), "{path}: {problems:?}");
        assert!(!sound || !done || image.get(path).is_ok_and(|got| got == contents), "{path}");
    }
}

/// Damages the sample and looks for one line among the problems.
fn damaged(what: &str, line: &str, damage: impl Fn(&mut Raw)) {
    let mut raw = sample();
    damage(&mut raw);
    exercise(&raw.0);
    let problems: Vec<String> = match Image::open(raw.0) {
        Ok(image) => image.fsck().iter().map(|problem| problem.to_string()).collect(),
        Err(error) => vec![error.to_string()],
    };
    assert!(problems.iter().any(|problem| problem.starts_with(line)), "{what}: {problems:#?}");
}

#[test]
fn superblocks_are_not_believed() {
    let field = |n: usize| BSIZE + 4 * n;
    let set = |n: usize, value: u32| move |raw: &mut Raw| raw.set_word(field(n), value);
    damaged("magic", "block 1, magic: 0x10203041", set(0, 0x1020_3041));
    damaged("size", "block 1, size: 401 blocks, but the image is cut off after 400", set(1, 401));
    damaged("size", "block 1, size: 4294967295 blocks", set(1, u32::MAX));
    damaged("size", "block 1, nblocks: 363 of only 0", set(1, 0));
    damaged("nblocks", "block 1, nblocks: 401 of only 400", set(2, 401));
    damaged("nblocks", "block 1, nblocks: area begins at 0", set(2, 400));
    damaged("nblocks", "block 1, nblocks: 0 blocks of data", set(2, 0));
    damaged("ninodes", "block 1, bmapstart: area begins at 36", set(3, 200));
    damaged("ninodes", "block 1, ninodes: 4294967295", set(3, u32::MAX));
    damaged("nlog", "block 1, nlog: 0", set(4, 0));
    damaged("nlog", "block 1, inodestart: area begins at 33", set(4, 32));
    damaged("nlog", "block 1, nlog: 4294967295", set(4, u32::MAX));
    damaged("logstart", "block 1, logstart: area begins at 1", set(5, 1));
    damaged("logstart", "block 1, inodestart", set(5, u32::MAX));
    damaged("inodestart", "block 1, bmapstart", set(6, u32::MAX));
    damaged("bmapstart", "block 1, nblocks", set(7, u32::MAX));
}

#[test]
fn cut_off_images_are_refused() {
    let raw = sample();
    for length in [0, 1, BSIZE, BSIZE + 8, 2 * BSIZE, 37 * BSIZE, 400 * BSIZE - 1] {
        exercise(&raw.0[..length]);
        let error = Image::open(raw.0[..length].to_vec()).err().expect("too short").to_string();
        let field = if length < 2 * BSIZE { "superblock: cut off" } else { "size: 400 blocks" };
        assert!(error.starts_with(&format!("block 1, {field}")), "{length}: {error}");
    }
}

#[test]
fn logs_are_not_believed() {
    damaged("n", "block 2, log header, n: 31 blocks in a log of 30", |raw| {
        raw.set_word(2 * BSIZE, 31);
    });
    damaged("home", "block 2, log header, block[0]: 1 is neither", |raw| {
        raw.set_word(2 * BSIZE, 1);
        raw.set_word(2 * BSIZE + 4, 1);
    });
    damaged("home", "block 2, log header, block[1]: 4294967295", |raw| {
        raw.set_word(2 * BSIZE, 2);
        raw.set_word(2 * BSIZE + 4, 33);
        raw.set_word(2 * BSIZE + 8, u32::MAX);
    });
}

#[test]
fn inodes_are_not_believed() {
    let set = |inum: usize, field: usize, value: u32| {
        move |raw: &mut Raw| raw.set_word(raw.inode(inum, field), value)
    };
    damaged("type", "block 33, inode 2 type: 4 is none", |raw| {
        raw.set_half(raw.inode(SMALL, 0), 4);
    });
    damaged("nlink", "block 33, inode 2 nlink: -1 is negative", |raw| {
        raw.set_half(raw.inode(SMALL, 6), 0xffff);
    });
    damaged("size", "block 33, inode 2 size: 4294967295", set(SMALL, 8, u32::MAX));
    damaged("size", "block 33, inode 2 addrs[1]: no block, but size", set(SMALL, 8, 1025));
    damaged("hole", "block 33, inode 3 addrs[12]: no block", set(BIG, 12 + 48, 0));
    damaged("range", "block 33, inode 2 addrs[0]: 36 is no data", set(SMALL, 12, 36));
    damaged("range", "block 33, inode 2 addrs[0]: 400 is no data", set(SMALL, 12, 400));
    damaged("device", "block 33, inode 6 size: a device", set(DEVICE, 8, 1));
    damaged("directory", "block 33, inode 4 size: 47 is no multiple", set(SUB, 8, 47));
    damaged("self", "block 51, entry 0 of inode 3's indirect block: block 51 is used", |raw| {
        let indirect = raw.indirect(BIG);
        raw.set_word(indirect, (indirect / BSIZE) as u32);
    });
    damaged("hole", "block 51, entry 1 of inode 3's indirect block: no block", |raw| {
        let indirect = raw.indirect(BIG);
        assert_eq!(indirect, 51 * BSIZE);
        raw.set_word(indirect + 4, 0);
    });
    damaged("twice", "block 33, inode 3 addrs[0]: block 38 is used already, by inode 2", |raw| {
        let block = raw.word(raw.inode(SMALL, 12));
        raw.set_word(raw.inode(BIG, 12), block);
    });
}

#[test]
fn the_bitmap_agrees_both_ways() {
    let flip =
        |block: usize| move |raw: &mut Raw| raw.0[BITMAP * BSIZE + block / 8] ^= 1 << (block % 8);
    damaged("free", "block 36, bitmap bit of block 1: metadata, but marked free", flip(1));
    damaged("free", "block 36, bitmap bit of block 38: of inode 2, but marked", flip(38));
    damaged("used", "block 36, bitmap bit of block 399: marked used, but no file", flip(399));
}

#[test]
fn the_tree_is_one() {
    let set = |dir: usize, index: usize, inum: u16| {
        move |raw: &mut Raw| raw.set_half(raw.entry(dir, index), inum)
    };
    damaged("root", "block 33, inode 1 type: the root is no directory", |raw| {
        raw.set_half(raw.inode(ROOT, 0), 2);
    });
    damaged("range", "block 33, inode 1 entry 2 (small): inode 40 is none", set(ROOT, 2, 40));
    damaged("free", "block 33, inode 1 entry 2 (small): inode 7 is free", set(ROOT, 2, 7));
    damaged("dot", "block 37, directory 1 entry 0: . → 2", set(ROOT, 0, 2));
    damaged("dotdot", "block 60, directory 4 entry 1: .. → 4", set(SUB, 1, SUB as u16));
    damaged("loop", "block 33, inode 4 entry 2 (inner): directory 1 is linked", set(SUB, 2, 1));
    damaged("loop", "block 33, inode 4 entry 2 (inner): directory 4 is linked", set(SUB, 2, 4));
    damaged("empty", "block 33, inode 4 addrs[0]: a directory without entries", |raw| {
        raw.set_word(raw.inode(SUB, 8), 0);
        raw.set_word(raw.inode(SUB, 12), 0);
    });
    damaged("lost", "block 33, inode 5 type: used, but no directory has it", set(SUB, 2, 0));
    damaged("orphan", "block 33, inode 5 type: used, but without a name", |raw| {
        raw.set_half(raw.entry(SUB, 2), 0);
        raw.set_half(raw.inode(INNER, 6), 0);
    });
    damaged("links", "block 33, inode 1 nlink: 1, but 2 links", |raw| {
        raw.set_half(raw.inode(ROOT, 6), 1);
    });
    let name = |name: &'static [u8]| {
        move |raw: &mut Raw| {
            let at = raw.entry(ROOT, 2) + 2;
            raw.0[at..at + 14].fill(0);
            raw.0[at..at + name.len()].copy_from_slice(name);
        }
    };
    damaged("slash", "block 33, inode 1 entry 2 (a/b): no name for a file", name(b"a/b"));
    damaged("name", "block 33, inode 1 entry 2 (): no name for a file", name(b""));
    damaged("name", "block 33, inode 1 entry 2 (..): no name", name(b".."));
    damaged("name", "block 33, inode 1 entry 3 (big): this name is there twice", name(b"big"));
}

#[test]
fn a_bomb_of_shared_blocks_ends() {
    // Every inode a directory of the greatest size, and all with the same blocks, which are
    // directories of directories.
    let image = Image::mkfs(4000, 30_000).expect("a fair shape");
    let mut raw = Raw(image.as_bytes().to_vec());
    for inum in 1..30_000 {
        raw.set_half(raw.inode(inum, 0), 1);
        raw.set_word(raw.inode(inum, 8), 268 * BSIZE as u32);
        for n in 0..13 {
            raw.set_word(raw.inode(inum, 12 + 4 * n), 3000 + n as u32);
        }
    }
    for n in 0..256 {
        raw.set_word(3012 * BSIZE + 4 * n, 3000 + (n % 13) as u32);
    }
    for entry in 0..12 * 64 {
        raw.set_half(3000 * BSIZE + 16 * entry, 2 + entry as u16);
        raw.0[3000 * BSIZE + 16 * entry + 2] = b'a';
    }
    exercise(&raw.0);
    let problems = Image::open(raw.0).expect("a sound superblock").fsck();
    assert_eq!(problems.len(), 1001);
    assert!(problems[1000].what.ends_with("more problems"), "{}", problems[1000]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    /// Random bytes anywhere in the metadata and the first blocks of data.
    #[test]
    fn flipped_bytes_do_no_harm(flips in prop::collection::vec((0..70 * BSIZE, any::<u8>()), 1..20)) {
        let mut raw = sample();
        for (at, byte) in flips {
            raw.0[at] ^= byte;
        }
        exercise(&raw.0);
    }

    /// Random words where words matter: superblock, log header, inodes, indirect block, entries.
    #[test]
    fn wild_words_do_no_harm(
        words in prop::collection::vec(
            (0..5usize, 0..256usize, prop_oneof![0..500u32, any::<u32>()]), 1..12),
    ) {
        let mut raw = sample();
        let areas = [BSIZE, 2 * BSIZE, 33 * BSIZE, raw.indirect(BIG), raw.entry(ROOT, 0)];
        for (area, word, value) in words {
            // A superblock has eight words, and the inodes are most worth hitting.
            let (area, word) = if area == 0 { (0, word % 8) } else { (area, word) };
            raw.set_word(areas[area] + 4 * word, value);
        }
        exercise(&raw.0);
    }

    /// Cut off anywhere.
    #[test]
    fn cut_anywhere_does_no_harm(length in 0..400 * BSIZE) {
        exercise(&sample().0[..length]);
    }
}
