//! What the probes in a C xv6 say.

use super::probes::{Probe, Watched};
use super::{MAX_PENDING, Tracer};
use crate::events::View;
use crate::mem::Ram;
use crate::trace::peek;
use crate::trace::record::{Access, Record};

/// A call of `copyin` or `copyout`: the pages that it cannot use as they are.
pub(super) struct Copy {
    key: i64,
    satp: u64,
    access: Access,
    /// Where it needs them, and what the table said.
    pages: Vec<(u64, peek::Seen)>,
    allocated: Vec<u64>,
}

/// A call of `kfree`.
pub(super) struct Freeing {
    sp: u64,
    pa: u64,
    /// Where it returns to.
    back: u64,
}

/// Pages of one copy that are looked at.
const MAX_PAGES: u64 = 1 << 10;
/// What `kfree` fills frames with.
const JUNK: u64 = 0x0101_0101_0101_0101;
/// Words of `kmem` among which the head of the free list is.
const KMEM_WORDS: u64 = 8;

impl Tracer {
    pub(super) fn passed(&mut self, view: &View, probe: Probe) {
        let sp = view.hart.x(2);
        let [a0, a1, a2, a3, ra] = [10, 11, 12, 13, 1].map(|register| view.hart.x(register));
        match (probe.function, probe.returns) {
            (Watched::Kalloc, _) if a0 == 0 => {
                if let Some(open) = self.handled(view) {
                    open.fault.class = Some("OutOfMemory");
                }
            }
            (Watched::Kalloc, _) => {
                self.freed_before(view, a0);
                let free = self.free.unwrap_or(0).saturating_sub(1);
                self.frame_allocated(view, (a0, free), ra);
            }
            (Watched::Kfree, false) => self.free_begins(Freeing { sp, pa: a0, back: ra }),
            (Watched::Kfree, true) => self.free_ends(view, sp),
            (Watched::Exit, _) => {
                let who = self.who(view);
                self.exited(view, who, a0 as i32);
            }
            (Watched::Fork, _) if a0 as i32 > 0 => self.forked(view, a0 as i32),
            (Watched::Exec, _) if a0 as i32 >= 0 && self.kinds.proc => {
                let (at, who) = (self.moment(view), self.who(view));
                self.emit(Record::Execed { at, who });
            }
            (Watched::Fork | Watched::Exec, _) => {}
            (Watched::Vmfault, false) => {
                // Its argument says too little: 2025's copyout passes what copyin does.
                let access = self.copy_around(sp).map_or(Access::Load, |copy| copy.access);
                self.open_soft(view, a1, table(a0), access);
            }
            (Watched::Vmfault, true) => {
                if let Some(va) = self.close_soft(view)
                    && let Some(copy) = self.copy_around(sp)
                {
                    copy.pages.retain(|(page, _)| page >> 12 != va >> 12);
                }
            }
            (Watched::Copyin, false) => self.copy_begins(view, (a0, a2, a3), Access::Load),
            (Watched::Copyout, false) => self.copy_begins(view, (a0, a1, a3), Access::Store),
            (Watched::Copyin | Watched::Copyout, true) => self.copy_ends(view, a0 as i32),
        }
    }

    fn free_begins(&mut self, call: Freeing) {
        if self.freeing.len() < MAX_PENDING {
            self.freeing.push(call);
        }
    }

    fn free_ends(&mut self, view: &View, sp: u64) {
        let Some(at) = self.freeing.iter().rposition(|call| call.sp == sp) else { return };
        let Freeing { pa, back, .. } = self.freeing.swap_remove(at);
        if self.is_free(view.ram(), pa) {
            self.freed.remove(&pa);
            self.frame_freed(view, (pa, self.free.unwrap_or(0) + 1), back);
        } else if self.freed.len() < MAX_PENDING {
            self.freed.insert(pa, back);
        }
    }

    /// A frame is handed out. Another process may do that before `kfree` comes to its end, or
    /// before it is seen there that the frame was free.
    fn freed_before(&mut self, view: &View, pa: u64) {
        let back = match self.freeing.iter().position(|call| call.pa == pa) {
            Some(at) => Some(self.freeing.swap_remove(at).back),
            None if self.freed.is_empty() => None,
            None => self.freed.remove(&pa),
        };
        if let Some(back) = back {
            self.frame_freed(view, (pa, self.free.unwrap_or(0) + 1), back);
        }
    }

    /// Whether `kfree` put a frame on its list, which a kernel that counts references does not
    /// do each time: then the frame holds junk behind the link, or is the list's head.
    fn is_free(&self, ram: &Ram, pa: u64) -> bool {
        let word = |at: u64| ram.read::<u64>(at).ok();
        let link = word(pa).is_some_and(|link| link.is_multiple_of(4096));
        let junk = [8, 2048, 4088].iter().all(|offset| word(pa + offset) == Some(JUNK));
        let head = |kmem: u64| (0..KMEM_WORDS).any(|i| word(kmem + 8 * i) == Some(pa));
        link && junk || self.kmem.is_some_and(head)
    }

    /// The call of a copy function that a function with this stack pointer was called from: the
    /// one next above on the same stack.
    fn copy_around(&mut self, sp: u64) -> Option<&mut Copy> {
        const STACK: u64 = 4096;
        let above = |at: u64| at >= sp && at - sp < STACK;
        let nearest = self.copying.keys().copied().filter(|at| above(*at)).min()?;
        self.copying.get_mut(&nearest)
    }

    fn copy_begins(&mut self, view: &View, (root, va, len): (u64, u64, u64), access: Access) {
        if !self.kinds.faults || len == 0 {
            return;
        }
        let satp = table(root);
        let (first, last) = (va >> 12, va.saturating_add(len - 1) >> 12);
        let last = last.min(first.saturating_add(MAX_PAGES));
        let lacking = |page: u64| {
            let seen = peek::look(view.ram(), satp, page << 12).unwrap_or_default();
            (!usable(&seen, access)).then_some(((page << 12).max(va), seen))
        };
        let pages: Vec<_> = (first..=last).filter_map(lacking).collect();
        if !pages.is_empty() && self.copying.len() < MAX_PENDING {
            let key = self.key(view);
            let copy = Copy { key, satp, access, pages, allocated: Vec::new() };
            self.copying.insert(view.hart.x(2), copy);
        }
    }

    /// A frame was allocated on behalf of a process that is in a copy function.
    pub(super) fn allocated_in_copy(&mut self, key: i64, pa: u64) {
        if let Some(copy) = self.copying.values_mut().find(|copy| copy.key == key) {
            copy.allocated.push(pa);
        }
    }

    /// What was lacking and is there now was faulted in; after a failure, the first page that is
    /// still lacking is what it failed for.
    fn copy_ends(&mut self, view: &View, result: i32) {
        let Some(copy) = self.copying.remove(&view.hart.x(2)) else { return };
        for (va, before) in copy.pages {
            let now = peek::look(view.ram(), copy.satp, va).unwrap_or_default();
            let there = usable(&now, copy.access);
            if there || result < 0 {
                self.found_soft(view, (va, before), copy.satp, copy.access, &copy.allocated);
            }
            if !there {
                break;
            }
        }
    }
}

/// The `satp` of a table whose root's address a C kernel passes around.
fn table(root: u64) -> u64 {
    8 << 60 | root >> 12
}

/// Whether user mode could access a page.
fn usable(seen: &peek::Seen, access: Access) -> bool {
    let needed = 1 << 4 | if access == Access::Store { 1 << 2 } else { 1 << 1 };
    seen.pa.is_some() && seen.pte & needed == needed
}
