//! What the checkers know of frames and tables, kept up to date.

use std::collections::BTreeSet;

use super::Checker;
use super::deed::Deed;
use super::tables::{Change, TABLE, bits, frame_of, is_leaf};
use crate::events::View;
use crate::mem::PAGE_SIZE;

impl Checker {
    /// Mappings changed.
    pub(super) fn apply(&mut self, changes: &[Change], by: Deed) {
        for change in changes {
            self.stale.changed(change.slot, change.old, change.new, by);
            if !is_leaf(change.new) {
                continue;
            }
            let frame = frame_of(change.new);
            self.changed.entry(change.root).or_default().insert(frame);
            self.frames.dangles(frame, change.root, change.va);
            // What others may do with the frame matters when it becomes copy-on-write.
            for mapping in self.mirror.mappings(frame) {
                if mapping.pte & bits::W != 0 {
                    self.changed.entry(mapping.root).or_default().insert(frame);
                }
            }
        }
    }

    /// A frame came into use.
    pub(super) fn allocated(&mut self, frame: u64, counted: bool, by: Deed) {
        self.grown = true;
        self.mirror.end_cow(frame);
        if let Some(before) = self.frames.allocated(frame, counted, by)
            && self.wanted.frames
        {
            let (now, before) = (self.tell(&by), self.tell(&before));
            let message =
                format!("frame {:x} is allocated by {now}, and was by {before}", frame >> 12);
            self.find("frames", by.stack[0], message);
        }
    }

    /// A frame is free again.
    pub(super) fn freed(&mut self, frame: u64, by: Deed) {
        self.table_ends(frame, by);
        self.mirror.end_cow(frame);
        if let Some(before) = self.frames.freed(frame, by) {
            self.freed_twice(frame, &by, &before);
        }
        for mapping in self.mirror.mappings(frame) {
            self.frames.dangles(frame, mapping.root, mapping.va);
        }
    }

    /// A table of a new process, among the pages that were allocated for tables.
    pub(super) fn adopt_young(&mut self, view: &View, pc: u64, child: i32) {
        let mirror = &self.mirror;
        self.young.retain(|page| mirror.flags(*page) & TABLE == 0);
        let words = |page: &u64| view.ram().bytes(*page, PAGE_SIZE).unwrap_or_default();
        let inner: BTreeSet<u64> = self
            .young
            .iter()
            .flat_map(|page| words(page).as_chunks::<8>().0)
            .map(|word| u64::from_le_bytes(*word))
            .filter(|pte| pte & bits::V != 0 && !is_leaf(*pte))
            .map(frame_of)
            .collect();
        let by = self.deed(view, pc);
        let roots: Vec<u64> = self.young.difference(&inner).copied().collect();
        for root in roots {
            self.adopt(view, root, by);
            self.owners.insert(root, child);
        }
    }

    /// Tables of processes that never ran, as the process table has them.
    pub(super) fn adopt_from_table(&mut self, view: &View, pc: u64) {
        let Some(reader) = self.kernel.reader.filter(|_| std::mem::take(&mut self.grown)) else {
            return;
        };
        for (pid, root) in reader.tables(view.ram()) {
            if !self.mirror.knows(root) {
                self.adopt(view, root, self.deed(view, pc));
            }
            self.owners.insert(root, pid);
        }
    }

    /// A table is known from now on.
    pub(super) fn adopt(&mut self, view: &View, root: u64, by: Deed) {
        let levels = view.hart.csr.satp.mode.levels();
        let changes = self.mirror.adopt(view.ram(), root, levels, by);
        self.apply(&changes, by);
    }

    /// A frame that may be a page of a table is nobody's any more.
    pub(super) fn table_ends(&mut self, frame: u64, by: Deed) {
        self.young.remove(&frame);
        if self.mirror.flags(frame) & TABLE != 0 {
            let changes = self.mirror.release(frame);
            self.apply(&changes, by);
            self.changed.remove(&frame);
            self.owners.remove(&frame);
            self.frames.retain_dangling(|dangling| dangling.root != frame);
        }
    }
}
