//! Pipes between threads.

use std::thread;
use std::vec::Vec;

use super::fixture::{Calls, Memory, Mounted, mkfs, pattern};
use crate::fs::{FsError, ProcFiles};

fn with_pipe(fs: &Mounted) -> ProcFiles {
    let mut p = fs.process();
    let mut memory = Memory::of(8);
    p.pipe(&mut memory, 0).unwrap();
    assert_eq!(memory.0, [0, 0, 0, 0, 1, 0, 0, 0]);
    p
}

#[test]
fn bytes_come_out_in_order_until_the_writer_goes() {
    let fs = Mounted::new(mkfs(100, 20)).unwrap();
    let mut reader = with_pipe(&fs);
    let mut writer = reader.fork();
    reader.close(1).unwrap();
    writer.close(0).unwrap();
    let mut all = Vec::new();
    thread::scope(|scope| {
        scope.spawn(move || {
            for i in 0..20 {
                assert_eq!(writer.write_all(1, &pattern(i, 333 * i)), Ok(333 * i));
            }
        });
        loop {
            let got = reader.read_some(0, 700).unwrap();
            if got.is_empty() {
                break;
            }
            all.extend(got);
        }
    });
    let sent: Vec<u8> = (0..20).flat_map(|i| pattern(i, 333 * i)).collect();
    assert_eq!(all, sent);
}

#[test]
fn a_pipe_without_a_reader_is_broken() {
    let fs = Mounted::new(mkfs(100, 20)).unwrap();
    let mut p = with_pipe(&fs);
    assert_eq!(p.write_all(0, b"x"), Err(FsError::BadDescriptor));
    assert_eq!(p.read_some(1, 1), Err(FsError::BadDescriptor));
    assert_eq!(p.fstat(0), Err(FsError::Invalid));
    assert_eq!(p.write_all(1, b"abc"), Ok(3));
    assert_eq!(p.read_some(0, 100).unwrap(), b"abc");
    p.close(0).unwrap();
    assert_eq!(p.write_all(1, b"x"), Err(FsError::Broken));
    assert_eq!(p.write_all(1, b""), Ok(0));
}

#[test]
fn what_lies_before_a_bad_page_goes_through() {
    let fs = Mounted::new(mkfs(100, 20)).unwrap();
    let mut p = with_pipe(&fs);
    let mut memory = Memory(pattern(5, 4096));
    assert_eq!(p.write(&mut memory, 1, 4000, 200), Ok(96));
    assert_eq!(p.write(&mut memory, 1, 5000, 200), Ok(0));
    assert_eq!(p.read_some(0, 100).unwrap(), pattern(5, 4096)[4000..]);
    assert_eq!(p.write_all(1, &[7; 200]), Ok(200));
    assert_eq!(p.read(&mut memory, 0, 4000, 200), Ok(96));
    assert_eq!(memory.0[4000..], [7; 96]);
    assert_eq!(p.pipe(&mut memory, 4092), Err(FsError::Fault));
    assert_eq!(fs.files.used(), 2, "the pipe that could not be told of is gone");
}
