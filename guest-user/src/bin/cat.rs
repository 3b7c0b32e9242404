//! `cat [file...]`: copies files, or the standard input, to the standard output.
#![no_std]
#![no_main]

use ulib::{Args, O_RDONLY, Scratch, close, eprintln, open, read, text, write_all};

ulib::main!(main);

static BUF: Scratch<[u8; 512]> = Scratch::new([0; 512]);

fn main(args: Args) -> i32 {
    let buf = BUF.take();
    if args.len() <= 1 {
        return copy(0, buf);
    }
    for path in args.rest() {
        let fd = open(path, O_RDONLY);
        if fd < 0 {
            eprintln!("cat: cannot open {}", text(path));
            return 1;
        }
        let status = copy(fd, buf);
        if status != 0 {
            return status;
        }
        close(fd);
    }
    0
}

fn copy(fd: i32, buf: &mut [u8]) -> i32 {
    loop {
        match read(fd, buf) {
            0 => return 0,
            n if n < 0 => {
                eprintln!("cat: read error");
                return 1;
            }
            n => {
                if !write_all(1, &buf[..n as usize]) {
                    eprintln!("cat: write error");
                    return 1;
                }
            }
        }
    }
}
