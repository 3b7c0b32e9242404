//! The heap, the stack, and addresses that belong to others.

use core::ptr::null_mut;

use abi::layout::{KERNBASE, MAXVA, TRAMPOLINE, TRAPFRAME};
use ulib::write;
use ulib::{KILLED, O_CREATE, O_RDWR, O_WRONLY, PAGE, Ptr, Scratch, brk, close, exit, free, kill};
use ulib::{malloc, open, pause, peek, pipe, poke, println, read, sbrk, sys, unlink, wait};

use crate::harness::{child, expect_success, status, status_of};

const MIB: usize = 1024 * 1024;
const BIG: usize = 100 * MIB;

/// Writes a byte to every page from here to there.
fn touch(start: usize, end: usize) {
    for address in (start..end).step_by(PAGE) {
        poke(address, 1);
    }
}

/// Takes all memory, gives it back, takes some again.
pub fn mem() {
    const SIZE: usize = 10001;
    let status = status_of(|| {
        let mut chain: *mut u8 = null_mut();
        loop {
            let block = malloc(SIZE);
            if block.is_null() {
                break;
            }
            // With lazy pages memory ends here, by a kill, and that is fine.
            touch(block as usize, block as usize + SIZE);
            // SAFETY: the block is ours, aligned to 16, and larger than a pointer.
            unsafe { block.cast::<*mut u8>().write(chain) };
            chain = block;
        }
        while !chain.is_null() {
            // SAFETY: the blocks of the chain are ours; each is freed once, after its link is read.
            unsafe {
                let next = chain.cast::<*mut u8>().read();
                free(chain);
                chain = next;
            }
        }
        let block = malloc(20 * 1024);
        ensure!(!block.is_null(), "couldn't allocate mem?!!");
        // SAFETY: just allocated.
        unsafe { free(block) };
        0
    });
    if status != 0 && status != KILLED {
        exit(status);
    }
}

/// Growing by too much, by single bytes, and after a fork.
pub fn sbrkbasic() {
    const TOO_MUCH: usize = 1024 * MIB;
    let status = status_of(|| match sbrk(TOO_MUCH as isize) {
        None => 0, // It may fail,
        Some(start) => {
            touch(start, start + TOO_MUCH); // or kill the process here.
            1
        }
    });
    ensure!(status != 1, "too much memory allocated!");

    let mut end = brk();
    for i in 0..5000 {
        let start = sbrk(1).unwrap_or(0);
        ensure!(start == end, "sbrk test failed {i} {} {}", Ptr(end), Ptr(start));
        poke(start, 1);
        end = start + 1;
    }
    let pid = ulib::fork();
    ensure!(pid >= 0, "sbrk test fork failed");
    sbrk(1);
    ensure!(sbrk(1) == Some(end + 1), "sbrk test failed post-fork");
    if pid == 0 {
        exit(0);
    }
    expect_success();
}

/// Grows to 100 MiB; a page given back and taken again is zero.
pub fn sbrkmuch() {
    let old = brk();
    let grown = sbrk((BIG - old) as isize);
    ensure!(grown == Some(old), "sbrk test failed to grow big address space; enough phys mem?");
    touch(old, BIG);
    poke(BIG - 1, 99);

    let end = brk();
    ensure!(sbrk(-(PAGE as isize)).is_some(), "sbrk could not deallocate");
    let shrunk = brk();
    ensure!(
        shrunk == end - PAGE,
        "sbrk deallocation produced wrong address, a {} c {}",
        Ptr(end),
        Ptr(shrunk)
    );

    let regrown = sbrk(PAGE as isize);
    ensure!(
        regrown == Some(shrunk) && brk() == shrunk + PAGE,
        "sbrk re-allocation failed, a {} c {}",
        Ptr(shrunk),
        Ptr(regrown.unwrap_or(usize::MAX))
    );
    ensure!(peek(BIG - 1) == 0, "sbrk de-allocation didn't really deallocate");

    let end = brk();
    let downsized = sbrk(-((end - old) as isize));
    ensure!(
        downsized == Some(end),
        "sbrk downsize failed, a {} c {}",
        Ptr(end),
        Ptr(downsized.unwrap_or(usize::MAX))
    );
}

/// The kernel's memory cannot be read.
pub fn kernmem() {
    for address in (KERNBASE..KERNBASE + 2_000_000).step_by(50_000) {
        let address = address as usize;
        let status = status_of(|| {
            let byte = peek(address);
            fail!("oops could read {} = {byte:x}", Ptr(address))
        });
        ensure!(status == KILLED, "child was not killed");
    }
}

/// Nor can anything above the highest address be written.
pub fn maxva_plus() {
    let mut address = MAXVA as usize;
    while address != 0 {
        let status = status_of(|| {
            poke(address, 99);
            fail!("oops wrote {}", Ptr(address))
        });
        ensure!(status == KILLED, "child was not killed");
        address <<= 1;
    }
}

/// When memory runs out while a process grows, what it had got for that comes back.
pub fn sbrkfail() {
    let mut pids = [-1; 10];
    let mut failed = false;
    for pid in &mut pids {
        let Some(ends) = pipe() else { fail!("pipe() failed") };
        *pid = ulib::spawn(|| {
            close(ends.reader);
            match sbrk((BIG - brk()) as isize) {
                None => write(ends.writer, b"0"),
                Some(start) => {
                    touch(start, BIG); // With lazy pages some are killed here.
                    write(ends.writer, b"1")
                }
            };
            close(ends.writer);
            loop {
                pause(1000);
            }
        });
        close(ends.writer);
        if *pid >= 0 {
            let mut answer = [0];
            if read(ends.reader, &mut answer) != 1 {
                // Killed: its memory comes back when it is waited for.
                wait();
                *pid = -1;
            }
            failed |= answer != *b"1";
        }
        close(ends.reader);
    }
    if !failed {
        println!("sbrkfail: no allocation failed; allocate more?");
    }
    // If the failed ones have given back what they got, there is a page for us.
    let page = status_of(|| match sbrk(PAGE as isize) {
        Some(page) => {
            poke(page, 1);
            0
        }
        None => 1,
    });
    for pid in pids.into_iter().filter(|&pid| pid >= 0) {
        kill(pid);
        wait();
    }
    ensure!(page == 0, "failed sbrk leaked memory");

    // Far too much: an error, or with lazy pages a kill.
    let status = status_of(|| {
        if let Some(start) = sbrk(10 * BIG as isize) {
            touch(start, start + 10 * BIG);
            fail!("allocate a lot of memory succeeded {}", 10 * BIG);
        }
        0
    });
    ensure!(status == 0 || status == KILLED, "growing by too much ended with {status}");
}

/// System calls that read and write freshly grown memory.
pub fn sbrkarg() {
    let Some(page) = sbrk(PAGE as isize) else { fail!("sbrk failed") };
    let fd = open(c"sbrk", O_CREATE | O_WRONLY);
    unlink(c"sbrk");
    ensure!(fd >= 0, "open sbrk failed");
    ensure!(sys::write(fd, page as *const u8, PAGE) >= 0, "write sbrk failed");
    close(fd);

    let Some(page) = sbrk(PAGE as isize) else { fail!("sbrk failed") };
    // SAFETY: the page is new, and nobody else knows of it.
    ensure!(unsafe { sys::pipe(page as *mut i32) } == 0, "pipe() failed");
}

/// Memory without an initial value starts out zero.
pub fn bsstest() {
    static UNINITIALISED: Scratch<[u8; 10000]> = Scratch::new([0; 10000]);
    let start = UNINITIALISED.as_ptr() as usize;
    for address in start..start + 10000 {
        ensure!(peek(address) == 0, "bss test failed");
    }
}

/// There is an inaccessible page below the stack.
pub fn stacktest() {
    let status = status_of(|| {
        let sp: usize;
        // SAFETY: reads a register.
        unsafe { core::arch::asm!("mv {}, sp", out(reg) sp, options(nomem, nostack)) };
        let byte = peek(sp - PAGE);
        fail!("stacktest: read below stack {byte}")
    });
    ensure!(status == KILLED, "child was not killed");
}

/// Text, the kernel and the top pages cannot be written.
pub fn nowrite() {
    for address in [0, KERNBASE, TRAPFRAME, TRAMPOLINE, MAXVA, u64::MAX] {
        let address = address as usize;
        child(|| {
            poke(address, 10);
            println!("nowrite: write to {} did not fail!", Ptr(address));
            0
        });
        if status() == 0 {
            exit(1);
        }
    }
}

/// Shrinking to less than a page, to nothing, and by less than a page.
pub fn sbrkbugs() {
    // To nothing: there used to be a panic in exit. The next instruction is a page fault.
    status_of(|| {
        sbrk(-(brk() as isize));
        0
    });
    // To somewhere in the first page, which used to be freed.
    status_of(|| {
        sbrk(-((brk() - 3500) as isize));
        0
    });
    // To the middle of a page and then a bit less.
    status_of(|| {
        sbrk((10 * PAGE + 2048) as isize - brk() as isize);
        sbrk(-10);
        0
    });
}

/// The break moves across a page boundary and back: the last page is still usable.
pub fn sbrklast() {
    crate::arguments::align_break();
    sbrk(PAGE as isize);
    sbrk(10);
    sbrk(-20);
    let name = brk() - 64;
    poke(name, b'x');
    poke(name + 1, 0);
    let fd = sys::open(name as *const _, O_RDWR | O_CREATE);
    sys::write(fd, name as *const u8, 1);
    close(fd);
    let fd = sys::open(name as *const _, O_RDWR);
    poke(name, 0);
    // SAFETY: one byte of the heap's last page, which this test owns.
    unsafe { sys::read(fd, name as *mut u8, 1) };
    close(fd);
    ensure!(peek(name) == b'x', "read back {}", peek(name));
    unlink(c"x");
}

/// Sizes are 32-bit numbers with a sign.
pub fn sbrk8000() {
    sbrk(0x8000_0004_u32 as i32 as isize);
    let last = brk() - 1;
    poke(last, peek(last).wrapping_add(1));
}
