//! `mmaptest`: files in memory: private and shared, written back, lazy, inherited.
#![no_std]
#![no_main]

use core::ffi::CStr;

use abi::fs::BSIZE;
use ulib::{Args, KILLED, MAP_PRIVATE, MAP_SHARED, O_CREATE, O_RDONLY, O_RDWR, O_WRONLY, PAGE};
use ulib::{PROT_READ, PROT_WRITE, Scratch, close, exit, getpid, mmap_file, munmap, open, peek};
use ulib::{poke, println, read, spawn, unlink, wait, write};

ulib::main!(main);

const FILE: &CStr = c"mmap.dur";
const READ_WRITE: u32 = PROT_READ | PROT_WRITE;

/// Its name, and the test.
type Test = (&'static str, fn(&mut State));

/// In the order they run: `dirty` and `rest` go on with what `read_write` has mapped.
const TESTS: [Test; 11] = [
    ("basic mmap", basic),
    ("mmap private", private),
    ("mmap read-only", read_only),
    ("mmap read/write", read_write),
    ("mmap dirty", dirty),
    ("not-mapped unmap", rest),
    ("lazy access", lazy_access),
    ("mmap two files", two_files),
    ("fork", inherit),
    ("munmap prevents access", unmapped),
    ("writes to read-only mapped memory", read_only_memory),
];

/// What the tests work with.
struct State {
    buf: [u8; PAGE],
    /// The three pages that `read_write` maps.
    mapped: usize,
}

static STATE: Scratch<State> = Scratch::new(State { buf: [0; PAGE], mapped: 0 });

fn main(_: Args) -> i32 {
    let state = STATE.take();
    state.make_file();
    for (name, test) in TESTS {
        println!("test {name}");
        test(state);
        println!("test {name}: OK");
    }
    unlink(FILE);
    println!("mmaptest: all tests succeeded");
    0
}

fn fail(why: &str) -> ! {
    println!("mmaptest failure: {why}, pid={}", getpid());
    exit(1)
}

fn require(condition: bool, what: &str) {
    if !condition {
        fail(what);
    }
}

impl State {
    /// Makes the file: one and a half pages of A.
    fn make_file(&mut self) {
        unlink(FILE);
        let fd = open(FILE, O_WRONLY | O_CREATE);
        require(fd >= 0, "open");
        self.buf.fill(b'A');
        for _ in 0..PAGE / BSIZE * 3 / 2 {
            require(write(fd, &self.buf[..BSIZE]) == BSIZE as i32, "write 0 makefile");
        }
        require(close(fd) >= 0, "close");
    }

    /// Reads the file, which must be as long as ever, into `check`, one page at a time.
    fn check_file(&mut self, check: fn(page: usize, content: &[u8]) -> bool, why: &str) {
        let fd = open(FILE, O_RDONLY);
        require(fd >= 0, "open");
        for (page, length) in [PAGE, PAGE / 2].into_iter().enumerate() {
            require(read(fd, &mut self.buf) == length as i32, "read");
            require(check(page, &self.buf[..length]), why);
        }
        close(fd);
    }
}

fn open_file(flags: u32) -> i32 {
    let fd = open(FILE, flags);
    require(fd >= 0, "open");
    fd
}

/// Maps two pages of the file.
fn map(fd: i32, prot: u32, flags: u32) -> usize {
    mmap_file(fd, 2 * PAGE, prot, flags).unwrap_or_else(|| fail("mmap"))
}

fn unmap(address: usize, length: usize) {
    require(munmap(address, length), "munmap");
}

/// The mapping must show the file as it was made, and zero behind its end.
fn check_mapping(start: usize) {
    for offset in 0..2 * PAGE {
        let wanted = if offset < PAGE + PAGE / 2 { b'A' } else { 0 };
        let got = peek(start + offset);
        if got != wanted {
            println!("mismatch at {offset}, wanted {wanted:#x}, got {got:#x}");
            fail("mapping mismatch");
        }
    }
}

fn fill(start: usize, length: usize, byte: u8) {
    (start..start + length).for_each(|address| poke(address, byte));
}

fn basic(_: &mut State) {
    let fd = open_file(O_RDONLY);
    let start = map(fd, PROT_READ, MAP_PRIVATE);
    check_mapping(start);
    unmap(start, 2 * PAGE);
    close(fd);
}

/// A file opened for reading can be mapped writable if the writes are private.
fn private(state: &mut State) {
    let fd = open_file(O_RDONLY);
    let start = map(fd, READ_WRITE, MAP_PRIVATE);
    close(fd);
    check_mapping(start);
    fill(start, 2 * PAGE, b'Z');
    unmap(start, 2 * PAGE);
    state.check_file(|_, content| content[0] == b'A', "write to MAP_PRIVATE was written to file");
}

/// But not if they would have to be written back.
fn read_only(_: &mut State) {
    let fd = open_file(O_RDONLY);
    let refused = mmap_file(fd, 3 * PAGE, READ_WRITE, MAP_SHARED).is_none();
    require(refused, "mmap should have failed");
    close(fd);
}

/// The mapping outlives its descriptor; two of three pages are unmapped.
fn read_write(state: &mut State) {
    let fd = open_file(O_RDWR);
    let start = mmap_file(fd, 3 * PAGE, READ_WRITE, MAP_SHARED).unwrap_or_else(|| fail("mmap"));
    close(fd);
    check_mapping(start);
    fill(start, PAGE, b'B');
    fill(start + PAGE, PAGE, b'C');
    unmap(start, 2 * PAGE);
    state.mapped = start;
}

/// What was written is in the file, which has not grown.
fn dirty(state: &mut State) {
    state.check_file(
        |page, content| content.iter().all(|&byte| byte == b"BC"[page]),
        "file does not contain modifications",
    );
}

/// The third page, never touched.
fn rest(state: &mut State) {
    unmap(state.mapped + 2 * PAGE, PAGE);
}

/// The file is read when the page is touched, not when it is mapped.
fn lazy_access(state: &mut State) {
    state.make_file();
    let fd = open_file(O_RDWR);
    let start = map(fd, READ_WRITE, MAP_SHARED);
    close(fd);
    let fd = open_file(O_RDWR);
    require(write(fd, b"m") == 1, "write");
    close(fd);
    require(peek(start) == b'm', "read was not lazy");
    unmap(start, 2 * PAGE);
}

/// Two files at the same time, without a name or descriptor left.
fn two_files(_: &mut State) {
    let map_new = |name: &CStr, content: &[u8; 5]| {
        let fd = open(name, O_RDWR | O_CREATE);
        require(fd >= 0, "open");
        require(write(fd, content) == 5, "write");
        let start = mmap_file(fd, PAGE, PROT_READ, MAP_PRIVATE).unwrap_or_else(|| fail("mmap"));
        require(close(fd) >= 0, "close");
        require(unlink(name) >= 0, "unlink");
        start
    };
    let is = |start: usize, content: &[u8; 5]| {
        content.iter().enumerate().all(|(i, &byte)| peek(start + i) == byte)
    };
    let first = map_new(c"mmap1", b"12345");
    let second = map_new(c"mmap2", b"67890");
    require(is(first, b"12345"), "mmap1 mismatch");
    require(is(second, b"67890"), "mmap2 mismatch");
    unmap(first, PAGE);
    require(is(second, b"67890"), "mmap2 mismatch (2)");
    unmap(second, PAGE);
}

/// A child sees the mappings, and unmapping in it does not concern the parent.
fn inherit(state: &mut State) {
    state.make_file();
    let fd = open_file(O_RDONLY);
    require(unlink(FILE) >= 0, "unlink");
    let first = map(fd, PROT_READ, MAP_SHARED);
    let second = map(fd, PROT_READ, MAP_SHARED);
    require(peek(first + PAGE) == b'A', "fork mismatch (1)");
    let pid = spawn(|| {
        check_mapping(first);
        unmap(first, PAGE);
        0
    });
    require(pid >= 0, "fork");
    require(wait().is_some_and(|child| child.status == 0), "fork_test failed");
    check_mapping(first);
    check_mapping(second);
    unmap(first, 2 * PAGE);
    unmap(second, 2 * PAGE);
    close(fd);
}

/// What is unmapped is gone, page by page; the rest is still written back.
fn unmapped(state: &mut State) {
    state.make_file();
    let fd = open_file(O_RDWR);
    let start = map(fd, READ_WRITE, MAP_SHARED);
    close(fd);
    poke(start, b'X');
    poke(start + PAGE, b'Y');
    for (number, page) in [start + PAGE, start].into_iter().enumerate() {
        let pid = spawn(|| {
            poke(start, b'a');
            poke(start + PAGE, b'b');
            unmap(page, PAGE);
            println!("read {:x}", peek(page)); // Must be fatal.
            0
        });
        require(pid >= 0, "fork");
        if wait().is_none_or(|child| child.status != KILLED) {
            println!("child #{} read unmapped memory", number + 1);
            fail("munmap");
        }
    }
    poke(start, b'P');
    poke(start + PAGE, b'Q');
    unmap(start, PAGE);
    poke(start + PAGE, b'R');
    unmap(start + PAGE, PAGE);
    state.check_file(|page, content| content[0] == b"PR"[page], "file is wrong");
}

fn read_only_memory(state: &mut State) {
    state.make_file();
    let pid = spawn(|| {
        let fd = open_file(O_RDWR);
        let start = map(fd, PROT_READ, MAP_SHARED);
        poke(start, 0); // Must be fatal.
        0
    });
    require(pid >= 0, "fork");
    let killed = wait().is_some_and(|child| child.status == KILLED);
    require(killed, "child wrote read-only mapping");
}
