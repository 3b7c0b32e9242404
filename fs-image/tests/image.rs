//! Images that are sound: what goes in comes out, and `fsck` has nothing to say.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{BSIZE, Raw, big, sample};
use fs_image::{Error, Image};

fn open(raw: Raw) -> Image {
    Image::open(raw.0).expect("the superblock is sound")
}

fn names(image: &Image, path: &str) -> Vec<String> {
    let entries = image.list(path).expect("a directory");
    entries.into_iter().map(|entry| String::from_utf8(entry.name).expect("ASCII")).collect()
}

#[test]
fn the_default_image_has_mits_layout() {
    let image = Image::mkfs(2000, 200).expect("the default shape");
    let words: Vec<u32> = image.as_bytes()[BSIZE..BSIZE + 32]
        .chunks(4)
        .map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")))
        .collect();
    // 1 boot, 1 superblock, 31 log, 13 inode and 1 bitmap blocks, 1953 of data.
    assert_eq!(words, [0x1020_3040, 2000, 1953, 200, 31, 2, 33, 46]);
    assert_eq!(image.as_bytes().len(), 2000 * BSIZE);
    // The metadata and the root directory's block are used.
    let bitmap = &image.as_bytes()[46 * BSIZE..47 * BSIZE];
    assert_eq!(bitmap.iter().map(|byte| byte.count_ones()).sum::<u32>(), 48);
    assert_eq!(image.fsck(), []);
}

#[test]
fn what_goes_in_comes_out() {
    let image = open(sample());
    assert_eq!(image.fsck(), []);
    assert_eq!(image.get("small").expect("there"), b"hello\n");
    assert_eq!(image.get("/big").expect("there"), big());
    assert_eq!(image.get("sub/inner").expect("there"), b"inside\n");
    assert_eq!(image.get("/sub/../sub//./inner").expect("there"), b"inside\n");
    assert_eq!(names(&image, "/"), [".", "..", "small", "big", "sub", "console"]);
    assert_eq!(names(&image, "sub"), [".", "..", "inner"]);
    assert_eq!(names(&image, "sub/inner"), ["inner"]);
}

#[test]
fn rewriting_a_file_gives_its_blocks_back() {
    let mut image = open(sample());
    let before = image.as_bytes().to_vec();
    for _ in 0..200 {
        image.put("big", &vec![1; 30_000]).expect("room");
        image.put("sub/new", &vec![2; 13_000]).expect("room");
    }
    assert_eq!(image.get("sub/new").expect("there"), vec![2; 13_000]);
    assert_eq!(image.fsck(), []);
    image.put("big", &big()).expect("room");
    assert_eq!(image.get("big").expect("there"), big());
    assert_ne!(image.as_bytes(), before);
}

#[test]
fn a_full_image_refuses_and_stays_as_it_was() {
    let mut image = open(sample());
    let most = vec![3; 268 * BSIZE];
    image.put("most", &most).expect("room for the greatest file");
    let before = image.as_bytes().to_vec();
    let error = image.put("more", &most).expect_err("no room for another");
    assert!(matches!(error, Error::NoBlocks(400)), "{error}");
    assert_eq!(image.as_bytes(), before);
    let error = image.put("most", &vec![3; 268 * BSIZE + 1]).expect_err("too large");
    assert!(matches!(error, Error::TooLarge(..)), "{error}");
    let error = (0..40).find_map(|i| image.put(&i.to_string(), b"").err());
    assert!(matches!(error, Some(Error::NoInodes(40))), "{error:?}");
    assert_eq!(image.get("most").expect("there"), most);
    assert_eq!(image.fsck(), []);
}

#[test]
fn a_directory_grows_by_blocks() {
    let mut image = Image::mkfs(2000, 1200).expect("a fair shape");
    for i in 0..1100 {
        image.put(&format!("file{i}"), &[i as u8]).expect("room");
    }
    assert_eq!(image.list("/").expect("the root").len(), 1102);
    assert_eq!(image.get("file1099").expect("there"), [1099u32 as u8]);
    assert_eq!(image.fsck(), []);
}

#[test]
fn many_blocks_have_many_bitmap_blocks() {
    let mut image = Image::mkfs(40_000, 200).expect("a fair shape");
    image.put("big", &big()).expect("room");
    assert_eq!(image.fsck(), []);
    assert_eq!(image.as_bytes().len(), 40_000 * BSIZE);
}

#[test]
fn paths_that_cannot_be_are_refused() {
    let mut image = open(sample());
    for (path, want) in [
        ("none", "none: no such file or directory in the image"),
        ("small/x", "small/x: not a directory"),
        ("sub", "sub: not a regular file"),
        ("console", "console: not a regular file"),
    ] {
        assert_eq!(image.get(path).expect_err(path).to_string(), want);
    }
    for path in ["none/x", "small/x", "sub", "/", "", "console", "fifteen-letters", "a\0b"] {
        assert!(image.put(path, b"x").is_err(), "{path}");
    }
    image.put("fourteen-chars", b"x").expect("fits exactly");
    assert_eq!(image.get("fourteen-chars").expect("there"), b"x");
    assert_eq!(image.fsck(), []);
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    for (blocks, ninodes) in [(0, 200), (46, 200), (2000, 0), (2000, 1), (2000, 70_000)] {
        assert!(Image::mkfs(blocks, ninodes).is_err(), "{blocks} {ninodes}");
    }
    assert!(Image::mkfs(u32::MAX, 200).is_err());
    assert!(Image::mkfs(2000, u32::MAX).is_err());
}

#[test]
fn a_committed_transaction_is_installed() {
    let mut raw = sample();
    let home = raw.word(raw.inode(common::SMALL, 12));
    raw.set_word(2 * BSIZE, 1);
    raw.set_word(2 * BSIZE + 4, home);
    raw.0[3 * BSIZE..3 * BSIZE + 6].copy_from_slice(b"LOGGED");
    let image = open(raw);
    assert_eq!(image.replayed(), 1);
    assert_eq!(image.get("small").expect("there"), b"LOGGED");
    assert_eq!(image.fsck(), []);
    let again = Image::open(image.as_bytes().to_vec()).expect("sound");
    assert_eq!(again.replayed(), 0, "the log is empty afterwards");
}

fn fs_image(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fs-image"));
    command.current_dir(dir).args(args).output().expect("the program starts")
}

fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(dir.join("user")).expect("a folder for the test");
    dir
}

#[test]
fn the_program_makes_lists_reads_writes_and_checks() {
    let dir = folder("commands");
    std::fs::write(dir.join("user/_cat"), big()).expect("written");
    std::fs::write(dir.join("README"), "read me\n").expect("written");
    let run = |args: &[&str]| {
        let out = fs_image(&dir, args);
        assert_eq!(String::from_utf8_lossy(&out.stderr), "", "{args:?}");
        assert_eq!(out.status.code(), Some(0), "{args:?}");
        out.stdout
    };
    assert_eq!(run(&["mkfs", "fs.img", "README", "user/_cat"]), b"");
    assert_eq!(run(&["cat", "fs.img", "cat"]), big());
    run(&["put", "fs.img", "README", "/again"]);
    run(&["put", "fs.img", "user/_cat"]);
    run(&["get", "fs.img", "again"]);
    assert_eq!(std::fs::read(dir.join("again")).expect("copied out"), b"read me\n");
    let listing = String::from_utf8(run(&["ls", "fs.img"])).expect("ASCII");
    let lines: Vec<&str> = listing.lines().collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[3], "file     3   1   20000 cat");
    assert_eq!(run(&["fsck", "fs.img"]), b"fs.img: fine, 2000 blocks\n");
    let left = std::fs::read_dir(&dir).expect("the folder").count();
    assert_eq!(left, 4, "no temporary file stays: README, again, fs.img, user");
}

#[test]
fn the_program_says_what_is_wrong_by_its_status() {
    let dir = folder("failures");
    let mut raw = sample();
    let links = raw.inode(common::SMALL, 6);
    raw.set_half(links, 9);
    std::fs::write(dir.join("bad.img"), &raw.0).expect("written");
    std::fs::write(dir.join("cut.img"), &raw.0[..100_000]).expect("written");
    std::fs::write(dir.join("file"), "x").expect("written");
    for (status, args, line) in [
        (1, &["fsck", "bad.img"][..], "bad.img: block 33, inode 2 nlink: 9, but 1 links were"),
        (1, &["put", "bad.img", "file"], "bad.img: block 33, inode 2 nlink: 9"),
        (1, &["ls", "cut.img"], "cut.img: block 1, size: 400 blocks, but the image is cut off"),
        (2, &["ls", "none.img"], "fs-image: none.img: No such file"),
        (2, &["cat", "bad.img", "none"], "fs-image: bad.img: none: no such file or directory"),
        (2, &["mkfs", "new.img", "file", "./file"], "fs-image: ./file: a second file file"),
        (2, &["mkfs", "none/new.img", "file"], "fs-image: none/new.img: No such file"),
        (2, &["ls", "."], "fs-image: .: Is a directory"),
        (2, &["unknown"], "error: unrecognized subcommand 'unknown'"),
    ] {
        let out = fs_image(&dir, args);
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(stderr.starts_with(line), "{args:?}: {stderr}");
        assert_eq!(out.status.code(), Some(status), "{args:?}: {stderr}");
    }
    assert_eq!(std::fs::read(dir.join("bad.img")).expect("there"), raw.0, "untouched");
    assert!(!dir.join("new.img").exists());
}
