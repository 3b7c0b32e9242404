//! What `private` and the `prodcons` programs have in common: a ring buffer in mapped memory
//! that one side fills and the other adds up.

use crate::{Ended, mmap_anonymous, munmap, println, spawn, wait};

/// A ring of `N` numbers. The counters stand behind the numbers: with a large ring they lie on
/// another page, and a parent that sets them up does not touch the first one.
#[repr(C)]
pub struct Ring<const N: usize> {
    items: [i32; N],
    next_in: i32,
    next_out: i32,
    produced: i32,
    consumed: i32,
    total: i32,
}

impl<const N: usize> Ring<N> {
    /// Makes a ring in a mapping of its own; the kernel must have zeroed it.
    ///
    /// `flags` is `MAP_SHARED` or `MAP_PRIVATE`.
    pub fn map(flags: u32) -> Option<&'static mut Ring<N>> {
        let address = mmap_anonymous(size_of::<Ring<N>>(), flags)?;
        // SAFETY: the mapping is new, large enough, page aligned, zeroed, and only unmapped by
        // `unmap`, which takes the reference. Relatives write to it only while we wait for them.
        let ring = unsafe { &mut *(address as *mut Ring<N>) };
        ring.next_in = 0;
        ring.next_out = 0;
        ring.produced = 0;
        ring.consumed = 0;
        ring.total = 0;
        Some(ring)
    }

    /// Puts `count` items in: what `item` makes of 1, 2, 3, …
    pub fn produce(&mut self, count: i32, item: fn(i32) -> i32) {
        while self.produced < count {
            self.produced += 1;
            self.items[self.next_in as usize] = item(self.produced);
            self.next_in = (self.next_in + 1) % N as i32;
        }
    }

    /// Takes `count` items out and adds them up.
    pub fn consume(&mut self, count: i32) {
        while self.consumed < count {
            self.total = self.total.wrapping_add(self.items[self.next_out as usize]);
            self.next_out = (self.next_out + 1) % N as i32;
            self.consumed += 1;
        }
    }

    /// What was taken out, added up.
    pub fn total(&self) -> i32 {
        // SAFETY: a field of ours. Volatile because a child may have written it.
        unsafe { core::ptr::read_volatile(&self.total) }
    }

    /// Gives the mapping back; whether the kernel took it.
    pub fn unmap(&'static mut self) -> bool {
        munmap(core::ptr::from_mut(self) as usize, size_of::<Ring<N>>())
    }
}

/// A producer and then a consumer, each a child of its own; prints the total and unmaps,
/// unless the program is called with an argument.
pub fn in_children<const N: usize>(args: crate::Args, flags: u32, item: fn(i32) -> i32) -> i32 {
    let Some(ring) = Ring::<N>::map(flags) else {
        println!("mmap failed");
        return 1;
    };
    let producer = spawn(|| {
        ring.produce(N as i32, item);
        0
    });
    if !has_ended(producer) {
        return 1;
    }
    let consumer = spawn(|| {
        ring.consume(N as i32);
        0
    });
    if !has_ended(consumer) {
        return 1;
    }
    println!("total = {}", ring.total());
    finish(args, ring)
}

/// Waits for the child; whether there was one, and it did not fail.
fn has_ended(pid: i32) -> bool {
    if pid < 0 {
        println!("fork failed");
        return false;
    }
    wait() == Some(Ended { pid, status: 0 })
}

/// Unmaps the ring, unless the program is called with an argument: then exit must do it.
pub fn finish<const N: usize>(args: crate::Args, ring: &'static mut Ring<N>) -> i32 {
    if args.len() == 1 && !ring.unmap() {
        println!("munmap failed");
        return 1;
    }
    0
}
