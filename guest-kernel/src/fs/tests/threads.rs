//! Processes that work in the same directories at the same time.

use std::format;
use std::thread;
use std::vec::Vec;

use abi::fcntl::*;

use super::checker::check;
use super::fixture::{Calls, Mounted, mkfs, pattern};
use crate::fs::FsError;

#[test]
fn creating_linking_and_unlinking_the_same_names() {
    let fs = Mounted::new(mkfs(1000, 100)).unwrap();
    thread::scope(|scope| {
        for i in 0..4 {
            let mut p = fs.process();
            scope.spawn(move || {
                for round in 0..150 {
                    let name = format!("n{}", (i + round) % 5);
                    let other = format!("d/n{}", round % 3);
                    // Whether a call succeeds depends on the others; that nothing breaks does not.
                    let _ = match (i + round) % 7 {
                        0 | 1 => p.put(&name, &pattern(round, round * 20)),
                        2 => p.link(name.as_bytes(), other.as_bytes()),
                        3 => p.unlink(name.as_bytes()),
                        4 => p.mkdir(b"d"),
                        5 => p.unlink(other.as_bytes()),
                        _ => p.unlink(b"d"),
                    };
                    match p.cat(&name) {
                        Ok(_) | Err(FsError::NotFound) => {}
                        error => panic!("{error:?}"),
                    }
                }
            });
        }
    });
    check(&fs.image()).unwrap();
}

#[test]
fn writers_of_a_shared_offset_lose_nothing() {
    let fs = Mounted::new(mkfs(1000, 100)).unwrap();
    let mut parent = fs.process();
    let fd = parent.open(b"shared", O_CREATE | O_RDWR).unwrap();
    thread::scope(|scope| {
        for i in 0..4u8 {
            let mut p = parent.fork();
            scope.spawn(move || {
                for _ in 0..200 {
                    assert_eq!(p.write_all(fd, &[b'a' + i; 10]), Ok(10));
                }
            });
        }
    });
    let all = parent.cat("shared").unwrap();
    assert_eq!(all.len(), 4 * 200 * 10);
    let runs: Vec<&[u8]> = all.chunks(10).collect();
    assert!(runs.iter().all(|run| run.iter().all(|byte| byte == &run[0])));
    for i in 0..4 {
        assert_eq!(runs.iter().filter(|run| run[0] == b'a' + i).count(), 200);
    }
}

#[test]
fn many_processes_share_few_buffers() {
    let fs = Mounted::new(mkfs(2000, 100)).unwrap();
    thread::scope(|scope| {
        for i in 0..12 {
            let mut p = fs.process();
            scope.spawn(move || {
                let name = format!("f{i}");
                for round in 0..3 {
                    p.put(&name, &pattern(i + round, 60_000)).unwrap();
                    assert_eq!(p.cat(&name).unwrap(), pattern(i + round, 60_000));
                }
            });
        }
    });
    assert_eq!(check(&fs.image()).unwrap().len(), 12);
}
