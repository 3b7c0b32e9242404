//! `grind`: two processes make random system calls forever.
//!
//! Prints `A` and `B` now and then to show that they live. The random numbers are those of Park
//! and Miller, CACM 31(10), 1988: x := 16807 x mod (2^31 - 1).
#![no_std]
#![no_main]

use core::ffi::CStr;

use ulib::{Args, O_CREATE, O_RDWR, Scratch, brk, chdir, close, dup, eprintln, exec, exit, fork};
use ulib::{fstat, getpid, kill, link, mkdir, open, pause, pipe, println, read, sbrk, spawn};
use ulib::{unlink, wait, write};

ulib::main!(main);

/// The largest inode number of a default image.
const MAX_INODES: u32 = 200;

static BUF: Scratch<[u8; 999]> = Scratch::new([0; 999]);

fn main(_: Args) -> i32 {
    let mut seed = 1;
    loop {
        if spawn(|| iteration(seed)) > 0 {
            wait();
        }
        pause(20);
        seed += 1;
    }
}

/// Prints a complaint and ends the process.
macro_rules! fail {
    ($($arg:tt)*) => {{
        println!("grind: {}", format_args!($($arg)*));
        exit(1)
    }};
}

/// Starts a child, or ends this process.
fn must_spawn(body: impl FnOnce() -> i32) -> i32 {
    let pid = spawn(body);
    if pid < 0 {
        fail!("fork failed");
    }
    pid
}

/// Runs two grinders until one of them fails.
fn iteration(seed: u64) -> i32 {
    unlink(c"a");
    unlink(c"b");
    let first = must_spawn(|| Grinder::new(seed ^ 31, b'A').run());
    let second = must_spawn(|| Grinder::new(seed ^ 7177, b'B').run());
    if wait().is_none_or(|child| child.status != 0) {
        kill(first);
        kill(second);
    }
    wait();
    0
}

struct Grinder {
    random: u64,
    sign: u8,
    fd: i32,
    first_break: usize,
    buf: &'static mut [u8; 999],
}

impl Grinder {
    fn new(seed: u64, sign: u8) -> Grinder {
        Grinder { random: seed, sign, fd: -1, first_break: brk(), buf: BUF.take() }
    }

    fn next_random(&mut self) -> u64 {
        let x = self.random % 0x7fff_fffe + 1;
        self.random = x * 16807 % 0x7fff_ffff - 1;
        self.random
    }

    fn run(&mut self) -> ! {
        mkdir(c"grindir");
        enter_grindir();
        chdir(c"/");
        for iterations in 1u64.. {
            if iterations % 500 == 0 {
                write(1, &[self.sign]);
            }
            match self.next_random() % 23 {
                what @ 1..=12 => self.files(what),
                what @ (13 | 14 | 17 | 18 | 20) => self.processes(what),
                what @ 15..=16 => self.memory(what),
                19 => pipes(),
                21 => small_file(),
                22 => pipeline(),
                _ => {}
            }
        }
        exit(0)
    }

    fn files(&mut self, what: u64) {
        match what {
            1 => touch(c"grindir/../a"),
            2 => touch(c"grindir/../grindir/../b"),
            3 => drop(unlink(c"grindir/../a")),
            4 => {
                enter_grindir();
                unlink(c"../b");
                chdir(c"/");
            }
            5 | 6 => {
                close(self.fd);
                let path = if what == 5 { c"/grindir/../a" } else { c"/./grindir/./../b" };
                self.fd = open(path, O_CREATE | O_RDWR);
            }
            7 => drop(write(self.fd, self.buf)),
            8 => drop(read(self.fd, self.buf)),
            9 => {
                mkdir(c"grindir/../a");
                touch(c"a/../a/./a");
                unlink(c"a/a");
            }
            10 => {
                mkdir(c"/../b");
                touch(c"grindir/../b/b");
                unlink(c"b/b");
            }
            11 => {
                unlink(c"b");
                link(c"../grindir/./../a", c"../b");
            }
            _ => {
                unlink(c"../grindir/../a");
                link(c".././b", c"/grindir/../a");
            }
        }
    }

    fn processes(&mut self, what: u64) {
        let pid = must_spawn(|| {
            match what {
                14 => {
                    fork();
                    fork();
                }
                17 => touch(c"a"),
                18 => drop(kill(getpid())),
                20 => {
                    unlink(c"a");
                    mkdir(c"a");
                    chdir(c"a");
                    unlink(c"../a");
                    open(c"x", O_CREATE | O_RDWR);
                    unlink(c"x");
                }
                _ => {}
            }
            0
        });
        if what == 17 {
            if chdir(c"../grindir/..") != 0 {
                fail!("chdir failed");
            }
            kill(pid);
        }
        wait();
    }

    fn memory(&mut self, what: u64) {
        if what == 15 {
            sbrk(6011);
        } else if brk() > self.first_break {
            sbrk(-((brk() - self.first_break) as isize));
        }
    }
}

/// Makes sure a file exists.
fn touch(path: &CStr) {
    close(open(path, O_CREATE | O_RDWR));
}

fn enter_grindir() {
    if chdir(c"grindir") != 0 {
        fail!("chdir grindir failed");
    }
}

fn pipes() {
    let Some(ends) = pipe() else { fail!("pipe failed") };
    must_spawn(|| {
        fork();
        fork();
        if write(ends.writer, b"x") != 1 {
            println!("grind: pipe write failed");
        }
        if read(ends.reader, &mut [0]) != 1 {
            println!("grind: pipe read failed");
        }
        0
    });
    ends.close();
    wait();
}

/// There must always be an inode, a descriptor and a block for one more file.
fn small_file() {
    unlink(c"c");
    let fd = open(c"c", O_CREATE | O_RDWR);
    if fd < 0 {
        fail!("create c failed");
    }
    if write(fd, b"x") != 1 {
        fail!("write c failed");
    }
    match fstat(fd) {
        None => fail!("fstat failed"),
        Some(stat) if stat.size != 1 => fail!("fstat reports wrong size {}", stat.size),
        Some(stat) if stat.ino > MAX_INODES => {
            fail!("fstat reports crazy i-number {}", stat.ino)
        }
        Some(_) => {}
    }
    close(fd);
    unlink(c"c");
}

/// `echo hi | cat`, its output read back.
fn pipeline() {
    let (Some(middle), Some(end)) = (pipe(), pipe()) else { fail!("pipe failed") };
    must_spawn(|| {
        end.close();
        close(middle.reader);
        move_to(1, middle.writer);
        exec(c"grindir/../echo", &[c"echo", c"hi"]);
        eprintln!("grind: echo: not found");
        2
    });
    must_spawn(|| {
        close(middle.writer);
        close(end.reader);
        move_to(0, middle.reader);
        move_to(1, end.writer);
        exec(c"/cat", &[c"cat"]);
        eprintln!("grind: cat: not found");
        6
    });
    middle.close();
    close(end.writer);
    let mut output = [0; 3];
    for byte in output.chunks_mut(1) {
        read(end.reader, byte);
    }
    close(end.reader);
    let statuses = [wait(), wait()].map(|child| child.map_or(-1, |child| child.status));
    if statuses != [0, 0] || output != *b"hi\n" {
        fail!("exec pipeline failed {} {} \"{}\"", statuses[0], statuses[1], ulib::Text(&output));
    }
}

/// Makes `fd` the descriptor `wanted`.
fn move_to(wanted: i32, fd: i32) {
    close(wanted);
    if dup(fd) != wanted {
        fail!("dup failed");
    }
    close(fd);
}
