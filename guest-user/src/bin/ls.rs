//! `ls [path...]`: name, type, inode number and size of files; directories are listed.
#![no_std]
#![no_main]

use core::ffi::CStr;

use abi::fs::{DIRENT_SIZE, DIRSIZ};
use ulib::{Args, Name, O_RDONLY, Stat, T_DIR, Text, close, eprintln, fstat, open, println, read};
use ulib::{stat, text};

ulib::main!(main);

fn main(args: Args) -> i32 {
    if args.len() < 2 {
        list(c".");
    }
    args.rest().for_each(list);
    0
}

fn list(path: &CStr) {
    let fd = open(path, O_RDONLY);
    if fd < 0 {
        eprintln!("ls: cannot open {}", text(path));
        return;
    }
    match fstat(fd) {
        None => eprintln!("ls: cannot stat {}", text(path)),
        Some(stat) if stat.kind == T_DIR => list_directory(fd, path),
        Some(stat) => print(path.to_bytes(), &stat),
    }
    close(fd);
}

fn list_directory(fd: i32, path: &CStr) {
    let mut prefix = Name::<512>::new();
    if path.count_bytes() + 1 + DIRSIZ + 1 > 512 || !prefix.push(path.to_bytes()) {
        println!("ls: path too long");
        return;
    }
    prefix.push(b"/");
    let mut entry = [0; DIRENT_SIZE];
    while read(fd, &mut entry) == DIRENT_SIZE as i32 {
        if entry[..2] == [0, 0] {
            continue; // A free entry has no inode number.
        }
        let padded = &entry[DIRENT_SIZE - DIRSIZ..];
        let length = padded.iter().position(|&byte| byte == 0).unwrap_or(DIRSIZ);
        let mut full = prefix;
        full.push(&padded[..length]);
        match stat(full.as_c()) {
            Some(stat) => print(&padded[..length], &stat),
            None => println!("ls: cannot stat {}", text(full.as_c())),
        }
    }
}

/// Prints one line, the last part of the path padded to the longest name's length.
fn print(path: &[u8], stat: &Stat) {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    let pad = &[b' '; DIRSIZ][name.len().min(DIRSIZ)..];
    println!("{}{} {} {} {}", Text(name), Text(pad), stat.kind, stat.ino, stat.size);
}
