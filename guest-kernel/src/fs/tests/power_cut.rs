//! The power goes at any write: after recovery the image is consistent and has what completed
//! calls did.

use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use abi::fcntl::*;
use abi::fs::BSIZE;

use super::checker::{Tree, check};
use super::fixture::{Calls, Image, Mounted, mkfs, pattern};
use crate::fs::{BlockData, ProcFiles};

/// A run: what was written to the disk, and what the image had to show after how many writes.
struct Recording {
    before: Image,
    writes: Vec<(u32, BlockData)>,
    steps: Vec<(usize, Tree)>,
}

impl Recording {
    /// Runs calls of one transaction each; `model` is what they do to the tree.
    fn of(blocks: u32, steps: Vec<Step>) -> Recording {
        let before = mkfs(blocks, 64);
        let fs = Mounted::new(before.clone()).unwrap();
        let mut process = fs.process();
        // Mounting cleared the log's header.
        let mut tree = Tree::new();
        let mut recorded = vec![(fs.write_count(), tree.clone())];
        for (call, model) in steps {
            call(&mut process);
            model(&mut tree);
            recorded.push((fs.write_count(), tree.clone()));
        }
        drop(process);
        Recording { before, writes: fs.writes(), steps: recorded }
    }

    /// The disk when the power goes after `n` writes.
    fn cut(&self, n: usize) -> Image {
        let mut image = self.before.clone();
        for (blockno, data) in &self.writes[..n] {
            image[*blockno as usize] = *data;
        }
        image
    }

    /// What the image may show after `n` writes: the last completed call's result, or the next's.
    fn expected(&self, n: usize) -> [&Tree; 2] {
        let next = self.steps.iter().position(|(writes, _)| *writes > n);
        let next = next.unwrap_or(self.steps.len() - 1);
        [&self.steps[next.saturating_sub(1)].1, &self.steps[next].1]
    }
}

type Step = (fn(&mut ProcFiles), fn(&mut Tree));

fn file<'t>(tree: &'t mut Tree, path: &str) -> &'t mut Vec<u8> {
    tree.entry(String::from(path)).or_insert(Some(vec![])).as_mut().unwrap()
}

fn steps() -> Vec<Step> {
    vec![
        (|p| p.open(b"a", O_CREATE | O_RDWR).map(drop).unwrap(), |t| file(t, "/a").clear()),
        (
            |p| p.write_all(0, &pattern(1, 3 * BSIZE)).map(drop).unwrap(),
            |t| *file(t, "/a") = pattern(1, 3072),
        ),
        (|p| p.write_all(0, b"tail").map(drop).unwrap(), |t| file(t, "/a").extend(b"tail")),
        (|p| p.mkdir(b"d").unwrap(), |t| drop(t.insert("/d".into(), None))),
        (|p| p.mkdir(b"d/e").unwrap(), |t| drop(t.insert("/d/e".into(), None))),
        (|p| p.link(b"a", b"d/b").unwrap(), |t| *file(t, "/d/b") = file(t, "/a").clone()),
        (|p| p.open(b"d/e/c", O_CREATE | O_RDWR).map(drop).unwrap(), |t| file(t, "/d/e/c").clear()),
        (|p| p.unlink(b"a").unwrap(), |t| drop(t.remove("/a"))),
        (|p| p.write_all(1, &[3; 2000]).map(drop).unwrap(), |t| *file(t, "/d/e/c") = vec![3; 2000]),
        (|p| p.unlink(b"d/b").unwrap(), |t| drop(t.remove("/d/b"))),
        (|p| p.close(0).unwrap(), |_| {}),
        (|p| p.open(b"d/e/c", O_TRUNC | O_RDWR).map(drop).unwrap(), |t| file(t, "/d/e/c").clear()),
        (|p| p.write_all(0, &[4; 1500]).map(drop).unwrap(), |t| *file(t, "/d/e/c") = vec![4; 1500]),
        (|p| p.chdir(b"/d").unwrap(), |_| {}),
        (|p| p.mknod(b"dev", 1, 0).unwrap(), |t| file(t, "/d/dev").clear()),
        (|p| p.unlink(b"e/c").unwrap(), |t| drop(t.remove("/d/e/c"))),
        (|p| p.unlink(b"/d/e").unwrap(), |t| drop(t.remove("/d/e"))),
        (|p| p.unlink(b"/d/dev").unwrap(), |t| drop(t.remove("/d/dev"))),
        (|p| p.unlink(b"/d").unwrap(), |t| drop(t.remove("/d"))),
        (|p| p.put("/z", b"").unwrap(), |t| file(t, "/z").clear()),
    ]
}

/// Mounting repairs the image; returns the repaired one.
fn recover(image: Image) -> (Image, Vec<(u32, BlockData)>) {
    let fs = Mounted::new(image).unwrap();
    (fs.image(), fs.writes())
}

#[test]
fn every_prefix_of_writes_recovers() {
    let recording = Recording::of(150, steps());
    let total = recording.writes.len();
    assert!(total > 150, "only {total} writes");
    for n in 0..=total {
        let (image, _) = recover(recording.cut(n));
        let tree = check(&image).unwrap_or_else(|errors| panic!("{n} writes: {errors:?}"));
        let expected = recording.expected(n);
        assert!(expected.contains(&&tree), "{n} of {total} writes: {tree:?}, not {expected:?}");
    }
}

#[test]
fn the_power_may_go_again_while_recovering() {
    let recording = Recording::of(150, steps());
    let mut twice = 0;
    for n in 0..=recording.writes.len() {
        let cut = recording.cut(n);
        let (repaired, writes) = recover(cut.clone());
        let mut image = cut;
        for (blockno, data) in writes {
            let (again, _) = recover(image.clone());
            assert!(again == repaired, "{n} writes, then a cut in recovery");
            image[blockno as usize] = data;
            twice += 1;
        }
    }
    assert!(twice > 500, "{twice} cuts");
}

#[test]
fn a_long_write_is_cut_between_its_transactions() {
    let fs = Mounted::new(mkfs(400, 64)).unwrap();
    let before = fs.image();
    let data = pattern(9, 40 * BSIZE + 5);
    fs.process().put("long", &data).unwrap();
    let mut image = before;
    let mut longest = 0;
    for (blockno, block) in fs.writes() {
        image[blockno as usize] = block;
        let tree = check(&recover(image.clone()).0).unwrap();
        if let Some(Some(content)) = tree.get("/long") {
            assert_eq!(content[..], data[..content.len()]);
            assert!(content.len() >= longest, "a completed transaction is gone");
            longest = content.len();
        }
    }
    assert_eq!(longest, data.len());
}

#[test]
fn processes_that_share_a_commit_are_cut_together() {
    let fs = Mounted::new(mkfs(600, 64)).unwrap();
    let before = fs.image();
    std::thread::scope(|scope| {
        for i in 0..3 {
            let mut p = fs.process();
            scope.spawn(move || {
                p.mkdir(format!("d{i}").as_bytes()).unwrap();
                p.chdir(format!("d{i}").as_bytes()).unwrap();
                for round in 0..4 {
                    p.put("f", &pattern(i, 7000)).unwrap();
                    p.link(b"f", format!("g{round}").as_bytes()).unwrap();
                    p.unlink(b"f").unwrap();
                }
                p.unlink(b"g2").unwrap();
            });
        }
    });
    let mut image = before;
    for (n, (blockno, block)) in fs.writes().into_iter().enumerate() {
        image[blockno as usize] = block;
        let (repaired, _) = recover(image.clone());
        let tree = check(&repaired).unwrap_or_else(|errors| panic!("{n} writes: {errors:?}"));
        for (path, content) in tree {
            let Some(content) = content else { continue };
            let i = usize::from(path.as_bytes()[2] - b'0');
            assert_eq!(content[..], pattern(i, 7000)[..content.len()], "{n} writes, {path}");
        }
    }
    assert_eq!(check(&fs.image()).unwrap().len(), 3 + 3 * 3);
}
