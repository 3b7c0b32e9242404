//! The rules, and how a finding says what broke them.

use std::collections::{BTreeSet, HashSet};

use isa::Priv;

use super::deed::Deed;
use super::stale::Used;
use super::tables::{Mapping, bits, frame_of, is_leaf};
use super::{Checker, Finding, leak};
use crate::events::View;
use crate::mem::PAGE_SIZE;
use crate::mmu::Access;
use crate::trace::text::access_word;

/// Findings of one kind at one place that are reported; the others are counted.
const MAX_ALIKE: u32 = 3;
/// Frames that were allocated less than so many nanoseconds ago may be in the hands of a system
/// call.
const YOUNG: u64 = 10_000_000;

impl Checker {
    /// A deed in words.
    pub(super) fn tell(&self, deed: &Deed) -> String {
        deed.tell(self.kernel.symbols.as_ref())
    }

    /// A table, by the process that used it last.
    fn space(&self, root: u64) -> String {
        match self.owners.get(&root) {
            Some(pid) => format!("pid {pid}"),
            None => format!("the table at {root:x}"),
        }
    }

    /// Reports what is wrong, unless much like it was said already.
    pub(super) fn find(&mut self, check: &'static str, place: u64, message: String) {
        let count = self.alike.entry((check, place)).or_default();
        *count += 1;
        if *count <= MAX_ALIKE {
            self.findings.push(Finding { check, message });
            self.stop |= self.wanted.stop;
        }
    }

    /// Somebody stored to a frame that is held copy-on-write.
    pub(super) fn store_to_cow(&mut self, view: &View, va: u64, pa: u64) {
        let frame = pa & !(PAGE_SIZE - 1);
        if self.frames.is_ending(frame) {
            return;
        }
        let holders = self.mirror.mappings(frame).iter().filter(|m| m.cow);
        let Some(held) = holders.copied().next() else { return };
        let by = self.deed(view, view.hart.at);
        // Of a kernel that frees first and clears the PTE afterwards, the next owner may be quicker.
        if by.stack.iter().any(|pc| self.layout.is_allocator(*pc)) {
            return;
        }
        let user = view.hart.privilege == Priv::User;
        let who = if user { "user mode" } else { "the kernel" };
        let (writer, holder) = (self.tell(&by), self.holder(&held));
        let message =
            format!("{who} writes to {va:#x}, frame {:x}, {writer}; {holder}", frame >> 12);
        // What copies is the same for many; who called it is not.
        self.find("cow", by.stack[0] >> 12 ^ by.stack[1], message);
    }

    /// Who holds a frame copy-on-write.
    fn holder(&self, held: &Mapping) -> String {
        let (space, by) = (self.space(held.root), self.tell(&held.by));
        format!("{space} holds the frame copy-on-write at {:#x}, since {by}", held.va)
    }

    /// An access may have used an entry that the table contradicts.
    pub(super) fn stale_entry(&mut self, by: &Deed, va: u64, access: Access, used: Used, now: u64) {
        let change = match used.change {
            Some((_, _, by)) => format!("the table was changed by {}", self.tell(&by)),
            None => "the table is another one".to_owned(),
        };
        let message = format!(
            "{} at {va:#x} by {}: the TLB may still hold {} from {}, the table says {}; \
             {change}, without sfence.vma since",
            access_word(access),
            self.tell(by),
            entry(used.cached.pte),
            crate::trace::text::seconds(used.cached.ns),
            entry(now),
        );
        self.find("tlb", used.change.map_or(0, |(_, _, by)| by.stack[0]), message);
    }

    /// The mappings of these frames in a table that is about to be used.
    pub(super) fn check_mappings(&mut self, root: u64, changed: &BTreeSet<u64>, by: &Deed) {
        for frame in changed {
            let mappings = self.mirror.mappings(*frame).iter();
            let user: Vec<Mapping> = mappings.filter(|m| m.pte & bits::U != 0).copied().collect();
            let writer = user.iter().find(|m| m.root == root && m.pte & bits::W != 0);
            let holder = user.iter().find(|m| m.root != root && m.cow);
            if let (Some(writer), Some(holder), true) = (writer, holder, self.wanted.cow) {
                let message = format!(
                    "{} may write to frame {:x} at {:#x}, since {}; {}",
                    self.space(root),
                    frame >> 12,
                    writer.va,
                    self.tell(&writer.by),
                    self.holder(holder)
                );
                self.find("cow", writer.by.stack[0], message);
            }
            let refs = self.frames.get(*frame).and_then(|known| known.refs);
            if let Some(refs) = refs.filter(|refs| self.wanted.frames && *refs < user.len() as u64)
            {
                let places: Vec<String> = user
                    .iter()
                    .map(|m| {
                        format!("{} at {:#x}, since {}", self.space(m.root), m.va, self.tell(&m.by))
                    })
                    .collect();
                let message = format!(
                    "frame {:x} has {} and is mapped {}: {}",
                    frame >> 12,
                    count(refs, "reference"),
                    count(user.len() as u64, "time"),
                    places.join("; ")
                );
                self.find("frames", by.stack[0], message);
            }
        }
    }

    /// The dangling mappings of a table that is about to be used.
    pub(super) fn check_dangling(&mut self, root: u64, by: &Deed) {
        if !self.wanted.frames {
            return;
        }
        for dangling in self.frames.take_dangling(root) {
            let mappings = self.mirror.mappings(dangling.frame);
            let mapping = mappings.iter().find(|m| (m.root, m.va) == (root, dangling.va)).copied();
            let again = self.frames.get(dangling.frame).filter(|frame| frame.alive);
            // If it has a new owner, the mapping may be his.
            let old = |m: &Mapping| again.is_none() || m.by.ns <= dangling.freed.ns;
            let Some(mapping) = mapping.filter(old) else { continue };
            let again = again.and_then(|frame| frame.allocated).map_or(String::new(), |by| {
                format!(", and was allocated again by {}", self.tell(&by))
            });
            let message = format!(
                "frame {:x} was freed by {}{again}; it is still mapped by {} at {:#x}, since {}",
                dangling.frame >> 12,
                self.tell(&dangling.freed),
                self.space(root),
                dangling.va,
                self.tell(&mapping.by),
            );
            self.find("frames", by.stack[0] ^ dangling.freed.stack[0], message);
        }
    }

    /// A frame is freed that is free.
    pub(super) fn freed_twice(&mut self, frame: u64, by: &Deed, before: &Deed) {
        if self.wanted.frames {
            let (now, before) = (self.tell(by), self.tell(before));
            let message =
                format!("frame {:x} is freed by {now}; it was freed by {before}", frame >> 12);
            self.find("frames", by.stack[0], message);
        }
    }

    /// Looks for frames that nobody can reach: at a mark, and when the run ends.
    pub fn look_for_leaks(&mut self, view: &View) {
        let Some((start, end)) = self.data.filter(|_| self.wanted.leak) else { return };
        let alive: HashSet<u64> = self.frames.alive().map(|(frame, _)| frame).collect();
        let owners = &self.owners;
        // What a table that is no process's maps elsewhere than at its own address.
        let stacks = self.mirror.all_mappings().filter(|(_, m)| !owners.contains_key(&m.root));
        let mut origin = leak::Origin {
            data: Vec::new(),
            root: view.hart.csr.satp.ppn.pa().0,
            stacks: stacks.map(|(frame, _)| frame).collect(),
        };
        let mut next = start;
        for (first, behind) in &self.stacks {
            origin.data.push((next, *first));
            next = *behind;
        }
        origin.data.push((next, end));
        for frame in leak::unreached(view.ram(), &alive, &origin) {
            if self.lost.contains(&frame) {
                continue;
            }
            let by = self.frames.get(frame).and_then(|known| known.allocated);
            let Some(by) = by.filter(|by| by.ns + YOUNG < self.layout.ns(view)) else { continue };
            self.lost.insert(frame);
            let message = format!(
                "frame {:x} has no owner any more; it was allocated by {}",
                frame >> 12,
                self.tell(&by)
            );
            self.find("leak", by.stack[0], message);
        }
    }

    /// How many findings there were, reported or not.
    pub fn found(&self) -> u32 {
        self.alike.values().sum()
    }

    /// How many findings there were of which only the first few were reported.
    pub fn unreported(&self) -> u32 {
        self.alike.values().map(|count| count.saturating_sub(MAX_ALIKE)).sum()
    }
}

/// So many of something.
fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A leaf in words.
fn entry(pte: u64) -> String {
    match is_leaf(pte) {
        true => format!("frame {:x} {}", frame_of(pte) >> 12, crate::trace::text::pte_bits(pte)),
        false => "nothing".to_owned(),
    }
}
