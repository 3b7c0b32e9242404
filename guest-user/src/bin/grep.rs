//! `grep pattern [file...]`: prints the lines that match; knows `^ . * $`.
//!
//! The matcher is Rob Pike's, from Kernighan and Pike, *The Practice of Programming*, chapter 9.
#![no_std]
#![no_main]

use ulib::{Args, O_RDONLY, Scratch, close, eprintln, open, println, read, text, write};

ulib::main!(main);

static BUF: Scratch<[u8; 1024]> = Scratch::new([0; 1024]);

fn main(args: Args) -> i32 {
    let Some(pattern) = args.get(1) else {
        eprintln!("usage: grep pattern [file ...]");
        return 1;
    };
    let buf = BUF.take();
    if args.len() <= 2 {
        grep(pattern.to_bytes(), 0, buf);
        return 0;
    }
    for path in args.rest().skip(1) {
        let fd = open(path, O_RDONLY);
        if fd < 0 {
            println!("grep: cannot open {}", text(path));
            return 1;
        }
        grep(pattern.to_bytes(), fd, buf);
        close(fd);
    }
    0
}

/// Prints the lines of `fd` that match. A line that does not fit the buffer ends the search.
fn grep(pattern: &[u8], fd: i32, buf: &mut [u8]) {
    let mut filled = 0;
    loop {
        let n = read(fd, &mut buf[filled..]);
        if n <= 0 {
            return;
        }
        filled += n as usize;
        let mut start = 0;
        while let Some(length) = buf[start..filled].iter().position(|&byte| byte == b'\n') {
            if matches(pattern, &buf[start..start + length]) {
                write(1, &buf[start..=start + length]);
            }
            start += length + 1;
        }
        buf.copy_within(start..filled, 0);
        filled -= start;
    }
}

fn matches(pattern: &[u8], line: &[u8]) -> bool {
    match pattern {
        [b'^', rest @ ..] => matches_here(rest, line),
        _ => (0..=line.len()).any(|start| matches_here(pattern, &line[start..])),
    }
}

/// Whether the pattern matches at the beginning of the text.
fn matches_here(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], _) => true,
        (&[byte, b'*', ref rest @ ..], _) => matches_star(byte, rest, text),
        ([b'$'], _) => text.is_empty(),
        (&[byte, ref pattern @ ..], &[first, ref text @ ..]) if byte == b'.' || byte == first => {
            matches_here(pattern, text)
        }
        _ => false,
    }
}

/// Whether any number of `byte`, and then the pattern, match at the beginning of the text.
fn matches_star(byte: u8, pattern: &[u8], text: &[u8]) -> bool {
    let run = text.iter().take_while(|&&next| byte == b'.' || next == byte).count();
    (0..=run).any(|skip| matches_here(pattern, &text[skip..]))
}
