//! `prodcons-sem`: two producers and two consumers at the same time on a small shared ring,
//! kept apart by semaphores; `total = 210`, the sum of 1 to 20.
#![no_std]
#![no_main]

use core::ptr::addr_of_mut;

use ulib::{Args, MAP_SHARED, PAGE, exit, kill, mmap_anonymous, munmap, println, spawn, sys, wait};

ulib::main!(main);

const SLOTS: usize = 4;
const ITEMS: i32 = 20;

/// Lives in shared memory. Fields are only touched between waiting for and posting `mutex`.
#[repr(C)]
struct Shared {
    mutex: i32,
    empty: i32,
    full: i32,
    items: [i32; SLOTS],
    produced: i32,
    consumed: i32,
    total: i32,
}

fn main(_: Args) -> i32 {
    let Some(address) = mmap_anonymous(PAGE, MAP_SHARED) else {
        println!("mmap failed");
        return 1;
    };
    let shared = address as *mut Shared;
    // SAFETY: the mapping is new and large enough; the semaphores are set up before the forks.
    let ready = unsafe {
        sys::sem_init(addr_of_mut!((*shared).mutex), 1, 1)
            | sys::sem_init(addr_of_mut!((*shared).empty), 1, SLOTS as i32)
            | sys::sem_init(addr_of_mut!((*shared).full), 1, 0)
    };
    if ready != 0 {
        println!("sem_init failed");
        return 1;
    }
    let pids = [produce, produce, consume, consume].map(|role| spawn(|| role(shared)));
    let mut failed = pids.iter().any(|&pid| pid < 0);
    if failed {
        println!("fork failed");
        end_all(&pids);
    }
    while let Some(child) = wait() {
        if child.status != 0 && !failed {
            // The others would wait for it for ever.
            end_all(&pids);
            failed = true;
        }
    }
    if failed {
        return 1;
    }
    // SAFETY: all children have ended; the semaphores are ours.
    let (total, destroyed) = unsafe {
        let destroyed = sys::sem_destroy(addr_of_mut!((*shared).mutex))
            | sys::sem_destroy(addr_of_mut!((*shared).empty))
            | sys::sem_destroy(addr_of_mut!((*shared).full));
        ((*shared).total, destroyed)
    };
    println!("total = {total}");
    if destroyed != 0 || !munmap(address, PAGE) {
        println!("sem_destroy or munmap failed");
        return 1;
    }
    0
}

fn end_all(pids: &[i32]) {
    for &pid in pids.iter().filter(|&&pid| pid > 0) {
        kill(pid);
    }
}

/// Waits for the semaphore, or ends the process.
///
/// # Safety
/// The semaphore is set up.
unsafe fn wait_for(semaphore: *mut i32) {
    // SAFETY: passed on to the caller.
    if unsafe { sys::sem_wait(semaphore) } != 0 {
        exit(1);
    }
}

/// Takes a slot, and puts the next number into it, until there have been enough.
fn produce(shared: *mut Shared) -> i32 {
    // SAFETY: `empty` says that a slot is free, `mutex` that nobody else is in here.
    unsafe {
        loop {
            wait_for(addr_of_mut!((*shared).empty));
            wait_for(addr_of_mut!((*shared).mutex));
            let done = (*shared).produced == ITEMS;
            if !done {
                (*shared).produced += 1;
                let n = (*shared).produced;
                (*shared).items[(n - 1) as usize % SLOTS] = n;
            }
            sys::sem_post(addr_of_mut!((*shared).mutex));
            if done {
                // The other producer may wait for this slot to learn the same.
                sys::sem_post(addr_of_mut!((*shared).empty));
                return 0;
            }
            sys::sem_post(addr_of_mut!((*shared).full));
        }
    }
}

/// Takes the next number and adds it to the total, until there have been enough.
fn consume(shared: *mut Shared) -> i32 {
    // SAFETY: `full` says that a number is there, `mutex` that nobody else is in here.
    unsafe {
        loop {
            wait_for(addr_of_mut!((*shared).full));
            wait_for(addr_of_mut!((*shared).mutex));
            let done = (*shared).consumed == ITEMS;
            if !done {
                let n = (*shared).consumed as usize;
                (*shared).consumed += 1;
                (*shared).total += (*shared).items[n % SLOTS];
            }
            let last = (*shared).consumed == ITEMS;
            sys::sem_post(addr_of_mut!((*shared).mutex));
            if last {
                // Nothing more will come: wake the other consumer to see that.
                sys::sem_post(addr_of_mut!((*shared).full));
            }
            if done {
                return 0;
            }
            sys::sem_post(addr_of_mut!((*shared).empty));
        }
    }
}
