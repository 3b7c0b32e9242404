//! `alloctest fork | exec | mmap | fault | pipe`: does one thing that takes memory, while the
//! boot flag `fail_alloc=n` lets an allocation fail. What fails is said, and the status is 1;
//! wrong contents are worse than failure, and end with [`WRONG`].
#![no_std]
#![no_main]

use ulib::{Args, KILLED, MAP_PRIVATE, MAP_SHARED, O_CREATE, O_RDWR, PAGE, PROT_READ, PROT_WRITE};
use ulib::{Scratch, close, eprintln, exec, exit, mmap_anonymous, mmap_file, munmap, open, peek};
use ulib::{pipe, poke, println, read, sbrklazy, spawn, sys, unlink, wait, write_all};

ulib::main!(main);

/// The exit status when memory has contents that it must not have.
const WRONG: i32 = 98;
const PAGES: usize = 6;

fn main(args: Args) -> i32 {
    let done = match args.get(1).map(|word| word.to_bytes()) {
        Some(b"fork") => fork(),
        Some(b"exec") => exec_echo(),
        Some(b"mmap") => mmap(),
        Some(b"fault") => fault(),
        Some(b"pipe") => pipe_write(),
        _ => {
            eprintln!("usage: alloctest fork | exec | mmap | fault | pipe");
            return 1;
        }
    };
    if done.is_none() {
        println!("alloctest: out of memory");
    }
    i32::from(done.is_none())
}

fn check(address: usize, value: u8) {
    if peek(address) != value {
        println!("alloctest: {} instead of {value} at {address:#x}", peek(address));
        exit(WRONG);
    }
}

/// Runs the body in a child; `None` if there was none or it failed.
fn in_child(body: impl FnOnce() -> Option<()>) -> Option<()> {
    if spawn(|| i32::from(body().is_none())) < 0 {
        return None;
    }
    match wait()?.status {
        0 => Some(()),
        1 | KILLED => None,
        status => exit(status),
    }
}

/// Heap pages whose first bytes are 0, 1, 2, …
fn marked_pages() -> Option<usize> {
    let start = sbrklazy((PAGES * PAGE) as isize)?;
    (0..PAGES).for_each(|page| poke(start + page * PAGE, page as u8));
    Some(start)
}

/// A child and a grandchild write parts of what they inherit.
fn fork() -> Option<()> {
    let start = marked_pages()?;
    let write_from = |first: usize, value: u8| {
        (first..PAGES).for_each(|page| poke(start + page * PAGE, value));
        (0..PAGES).for_each(|page| {
            check(start + page * PAGE, if page < first { page as u8 } else { value });
        });
    };
    let done = in_child(|| {
        let done = in_child(|| {
            write_from(4, 99);
            Some(())
        });
        write_from(2, 77);
        done
    });
    (0..PAGES).for_each(|page| check(start + page * PAGE, page as u8));
    done
}

fn exec_echo() -> Option<()> {
    let run = |program| {
        in_child(move || {
            exec(program, &[program, c"a", c"b"]);
            None
        })
    };
    run(c"echo")?;
    // The kernel has begun to replace the program when it finds that there is none.
    if exec(c"README", &[c"README"]) != -1 || exec(c"nosuchfile", &[]) != -1 {
        exit(WRONG);
    }
    run(c"echo")
}

/// Every kind of mapping, a hole in each, a child that shares some of them.
fn mmap() -> Option<()> {
    let private = mmap_anonymous(PAGES * PAGE, MAP_PRIVATE)?;
    let shared = mmap_anonymous(PAGES * PAGE, MAP_SHARED)?;
    let fd = open(c"alloctest.tmp", O_CREATE | O_RDWR);
    let file = [MAP_SHARED, MAP_PRIVATE].map(|flags| {
        let whole = write_all(fd, &[b'f'; 100]);
        mmap_file(fd, 2 * PAGE, PROT_READ | PROT_WRITE, flags).filter(|_| whole)
    });
    close(fd);
    unlink(c"alloctest.tmp");
    let [file, copy] = [file[0]?, file[1]?];
    let page = sys::mapshared();
    for start in [private, shared, file, copy] {
        poke(start, 1);
    }
    if page == 0 || !munmap(private + 2 * PAGE, PAGE) || !munmap(shared + PAGE, PAGE) {
        return None;
    }
    let done = in_child(|| {
        [private, shared, file, copy, page].into_iter().for_each(|start| poke(start, 2));
        poke(shared + 3 * PAGE, 3);
        check(copy + 1, b'f');
        Some(())
    });
    if done.is_some() {
        let all = [(private, 1), (shared, 2), (file, 2), (copy, 1), (page, 2)];
        all.into_iter().for_each(|(start, value)| check(start, value));
        check(shared + 3 * PAGE, 3);
    }
    if sys::msync(file, PAGE) != 0 {
        return None;
    }
    done.filter(|()| munmap(file, 2 * PAGE) && munmap(shared + 2 * PAGE, 3 * PAGE))
}

/// Faults that find nothing, and faults of both sides of a fork.
fn fault() -> Option<()> {
    // A page table page of its own for every other page.
    let start = sbrklazy((PAGES << 21) as isize)?;
    let pages = || (0..PAGES).map(|i| start + (i << 21));
    pages().for_each(|page| {
        check(page, 0);
        poke(page, 1);
    });
    let done = in_child(|| {
        pages().for_each(|page| {
            check(page, 1);
            poke(page, 2);
            check(page + PAGE, 0);
        });
        Some(())
    });
    pages().for_each(|page| {
        check(page, 1);
        poke(page, 3);
    });
    done
}

static WRITTEN: Scratch<[u8; 3 * PAGE]> = Scratch::new([0; 3 * PAGE]);

/// Writes and reads a pipe with buffers that are promised, copy-on-write or both.
fn pipe_write() -> Option<()> {
    let ends = pipe()?;
    let buffer = WRITTEN.take();
    let heap = sbrklazy((3 * PAGE) as isize)?;
    poke(heap + PAGE, 7);
    let pid = spawn(|| {
        close(ends.reader);
        buffer.fill(5);
        // SAFETY: the heap was extended by three pages, zero where they were not touched.
        let heap = unsafe { core::slice::from_raw_parts(heap as *const u8, 3 * PAGE) };
        let done = write_all(ends.writer, heap) && write_all(ends.writer, &buffer[..]);
        i32::from(!done)
    });
    close(ends.writer);
    let mut total = 0;
    while pid >= 0 {
        let n = read(ends.reader, &mut buffer[total % PAGE..][..PAGE]);
        if n <= 0 {
            break;
        }
        for (index, &byte) in buffer[total % PAGE..][..n as usize].iter().enumerate() {
            let right = match total + index {
                at if at == PAGE => 7,
                at if at < 3 * PAGE => 0,
                _ => 5,
            };
            if byte != right {
                println!("alloctest: {byte} instead of {right} behind {} bytes", total + index);
                exit(WRONG);
            }
        }
        total += n as usize;
    }
    close(ends.reader);
    let child = wait()?;
    (child.status == 0 && total == 6 * PAGE).then_some(())
}
