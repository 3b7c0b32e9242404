//! Checkers: rules of memory management that a kernel must keep, watched while it runs.
//!
//! They work on any kernel with symbols: frames are known from `kalloc` and `kfree` (or from the
//! in-tree kernel's hints), page tables from `satp`, changes of them from the stores. They share
//! no code with the kernel, nor with the machine's walk. What they find says both sides: the
//! instruction that broke the rule, and who made the state in which it does.

pub mod deed;
pub mod frames;
pub mod leak;
pub mod stale;
pub mod tables;

use std::collections::{BTreeSet, HashMap, HashSet};

use abi::hint::{Hint, Owner};
use isa::Priv;
use isa::paging::{Mode, Satp};
use isa::trap::{Cause, Exception};

use crate::events::View;
use crate::mem::PAGE_SIZE;
use crate::mmu::{Access, Fault, Leaf};
use crate::symbols::Symbols;
use crate::trace::awareness::ProcReader;
use crate::trace::tracer::returns_of;
use deed::{Deed, Layout};
use frames::Frames;
use stale::{Stale, Used};
use tables::{COW, Change, Mapping, Mirror, TABLE, bits, frame_of, is_leaf};

/// Findings of one kind at one place that are reported; the others are counted.
const MAX_ALIKE: u32 = 3;
/// Faults in a row without an instruction between them.
const MAX_FAULTS: u32 = 8;
/// Frames that were allocated less than so many nanoseconds ago may be in the hands of a system
/// call.
const YOUNG: u64 = 10_000_000;
/// Kernel stacks that are data of the kernel: of a C xv6, and of the in-tree kernel.
const STACKS: [&str; 4] = [
    "stack0",
    "guest_kernel::stack::LAST_STACK",
    "guest_kernel::stack::HART_STACKS",
    "guest_kernel::stack::PROC_STACKS",
];
/// What xv6's allocator fills freed frames with.
const JUNK: u64 = 0x0101_0101_0101_0101;

/// `--check=LIST`: which rules are watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// Frames that are freed while they are mapped, freed twice, or mapped more often than they
    /// are counted.
    pub frames: bool,
    /// Stale TLB entries.
    pub tlb: bool,
    /// Writes to frames that somebody holds copy-on-write.
    pub cow: bool,
    /// Frames without an owner, at marks and at the end.
    pub leak: bool,
}

impl std::str::FromStr for Checks {
    type Err = String;

    fn from_str(list: &str) -> Result<Checks, String> {
        let mut checks = Checks::default();
        for word in list.split(',') {
            match word {
                "frames" => checks.frames = true,
                "tlb" => checks.tlb = true,
                "cow" => checks.cow = true,
                "leak" => checks.leak = true,
                _ => return Err(format!("`{word}` is no check; frames, tlb, cow and leak are")),
            }
        }
        Ok(checks)
    }
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which checker found it, as in `--check`.
    pub check: &'static str,
    /// What is wrong, both sides named.
    pub message: String,
}

/// What a hart is doing.
#[derive(Clone, Default)]
struct OnHart {
    /// The instruction that is being executed.
    pc: u64,
    /// The process, as the kernel's hints say.
    hinted: Option<i32>,
    /// The last page fault, and how often it came in a row: pc, address, instructions retired
    /// at the return from it.
    fault: Option<(u64, u64, u64)>,
    faults: u32,
}

/// What a probe is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probed {
    AllocEnds,
    FreeBegins,
    FreeEnds,
}

/// What is known of the kernel.
#[derive(Default)]
pub struct Kernel {
    /// Its symbols.
    pub symbols: Option<Symbols>,
    /// How to find out which process runs.
    pub reader: Option<ProcReader>,
}

/// The checkers.
pub struct Checker {
    wanted: Checks,
    kernel: Kernel,
    layout: Layout,
    data: Option<(u64, u64)>,
    /// Stacks among the data, by address.
    stacks: Vec<(u64, u64)>,
    probes: HashMap<u64, Probed>,
    harts: Vec<OnHart>,
    memory: u64,
    mirror: Mirror,
    frames: Frames,
    stale: Stale,
    /// A store to a table that is about to be done.
    store: Option<(u64, Deed)>,
    /// Frames whose mappings in a table changed since the table was used last.
    changed: HashMap<u64, BTreeSet<u64>>,
    /// Last known process of every table.
    owners: HashMap<u64, i32>,
    lost: HashSet<u64>,
    /// Pages that were allocated for tables, and are part of none yet.
    young: BTreeSet<u64>,
    /// Frames were allocated since the process table was looked at.
    grown: bool,
    findings: Vec<Finding>,
    alike: HashMap<(&'static str, u64), u32>,
}

impl Checker {
    /// Checkers for a machine with that many harts and that much memory.
    pub fn new(wanted: Checks, kernel: Kernel, harts: usize, memory: u64) -> Checker {
        let symbols = kernel.symbols.as_ref();
        let address = |name: &str| symbols.and_then(|symbols| symbols.address(name));
        let text_end = address("etext").or(address("text_end")).unwrap_or(0);
        let data = address("rodata_end").or(address("etext")).zip(address("end"));
        let layout = Layout {
            text: (crate::board::RAM_BASE, text_end),
            frame_pointers: address("kalloc").is_some(),
        };
        let named = |name: &&str| symbols.and_then(|symbols| symbols.extent(name));
        let mut stacks: Vec<(u64, u64)> = STACKS.iter().filter_map(named).collect();
        stacks.sort_unstable();
        let probes = symbols.map_or_else(HashMap::new, probes_of);
        Checker {
            wanted,
            kernel,
            layout,
            data,
            stacks,
            probes,
            harts: vec![OnHart::default(); harts],
            memory,
            mirror: Mirror::new(memory),
            frames: Frames::default(),
            stale: Stale::new(harts),
            store: None,
            changed: HashMap::new(),
            owners: HashMap::new(),
            lost: HashSet::new(),
            young: BTreeSet::new(),
            grown: false,
            findings: Vec::new(),
            alike: HashMap::new(),
        }
    }

    /// The machine is reset.
    pub fn restarted(&mut self) {
        let kernel = std::mem::take(&mut self.kernel);
        *self = Checker::new(self.wanted, kernel, self.harts.len(), self.memory);
    }

    /// Where the kernel's allocator begins and ends.
    pub fn probes(&self) -> impl Iterator<Item = u64> {
        self.probes.keys().copied()
    }

    /// What was found since the last call.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    fn pid(&self, view: &View) -> Option<i32> {
        let reader = || {
            let current = self.kernel.reader?.current(view.ram(), view.hart.id as u64)?;
            Some(current.0)
        };
        self.harts[view.hart.id].hinted.or_else(reader)
    }

    /// What the hart is doing right now.
    fn deed(&self, view: &View) -> Deed {
        Deed::at(view, &self.layout, self.pid(view), self.harts[view.hart.id].pc)
    }

    fn tell(&self, deed: &Deed) -> String {
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
    fn find(&mut self, check: &'static str, place: u64, message: String) {
        let count = self.alike.entry((check, place)).or_default();
        *count += 1;
        if *count <= MAX_ALIKE {
            self.findings.push(Finding { check, message });
        }
    }

    /// An instruction is about to be executed: the one before is done.
    pub fn executed(&mut self, view: &View, pc: u64) {
        self.settle(view);
        self.harts[view.hart.id].pc = pc;
    }

    /// Looks at what the last store to a table did.
    fn settle(&mut self, view: &View) {
        if let Some((pa, by)) = self.store.take() {
            let changes = self.mirror.stored(view.ram(), pa, by);
            self.apply(&changes, by);
        }
    }

    fn apply(&mut self, changes: &[Change], by: Deed) {
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

    /// A load or store was translated and is about to be done.
    pub fn accessed(&mut self, view: &View, va: u64, pa: u64, access: Access) {
        if access != Access::Store {
            return;
        }
        let flags = self.mirror.flags(pa);
        if flags & COW != 0 && self.wanted.cow {
            self.store_to_cow(view, va, pa);
        }
        if flags & TABLE != 0 {
            self.settle(view);
            self.store = Some((pa, self.deed(view)));
        }
    }

    fn store_to_cow(&mut self, view: &View, va: u64, pa: u64) {
        let frame = pa & !(PAGE_SIZE - 1);
        if self.frames.is_ending(frame) {
            return;
        }
        let holders = self.mirror.mappings(frame).iter().filter(|m| m.cow);
        let Some(held) = holders.copied().next() else { return };
        let by = self.deed(view);
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

    /// The page tables allow an access.
    pub fn walked(&mut self, view: &View, va: u64, access: Access, leaf: &Leaf) {
        if !self.wanted.tlb {
            return;
        }
        let asid = view.hart.csr.satp.asid;
        let now = (leaf.pte.0, leaf.level, leaf.pte_pa);
        let used = self.stale.walked(view.hart.id, (asid, va, access), now, view.ns());
        if let Some(used) = used {
            self.stale_entry(view, va, access, used, leaf.pte.0);
        }
    }

    /// The page tables refuse an access.
    pub fn faulted(&mut self, view: &View, fault: &Fault) {
        if !self.wanted.tlb {
            return;
        }
        let user = view.hart.privilege == Priv::User;
        let asid = view.hart.csr.satp.asid;
        let page = (asid, fault.va, fault.access);
        if let Some(used) = self.stale.refused(view.hart.id, page, user) {
            self.stale_entry(view, fault.va, fault.access, used, fault.pte.0);
        }
    }

    fn stale_entry(&mut self, view: &View, va: u64, access: Access, used: Used, now: u64) {
        let by = self.deed(view);
        let change = match used.change {
            Some((_, _, by)) => format!("the table was changed by {}", self.tell(&by)),
            None => "the table is another one".to_owned(),
        };
        let message = format!(
            "{access:?} at {va:#x} by {}: the TLB may still hold {} from {}, the table says {}; \
             {change}, without sfence.vma since",
            self.tell(&by),
            entry(used.cached.pte),
            crate::trace::text::seconds(used.cached.ns),
            entry(now),
        );
        self.find("tlb", used.change.map_or(0, |(_, _, by)| by.stack[0]), message);
    }

    /// `sfence.vma` was executed.
    pub fn fenced(&mut self, view: &View, va: Option<u64>, asid: Option<u16>) {
        self.settle(view);
        self.stale.fenced(view.hart.id, va, asid);
    }

    /// `satp` was written: a table is about to be used.
    pub fn satp_written(&mut self, view: &View, new: Satp) {
        self.settle(view);
        if new.mode == Mode::Bare {
            return;
        }
        let root = new.ppn.pa().0;
        let by = self.deed(view);
        if !self.mirror.knows(root) {
            self.adopt(view, root);
        }
        let changed = self.changed.remove(&root).unwrap_or_default();
        self.check_mappings(root, &changed, &by);
        self.check_dangling(root, &by);
    }

    /// The mappings of these frames in a table that is about to be used.
    fn check_mappings(&mut self, root: u64, changed: &BTreeSet<u64>, by: &Deed) {
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
                    "frame {:x} has {refs} references and is mapped {} times: {}",
                    frame >> 12,
                    user.len(),
                    places.join("; ")
                );
                self.find("frames", by.stack[0], message);
            }
        }
    }

    /// The dangling mappings of a table that is about to be used.
    fn check_dangling(&mut self, root: u64, by: &Deed) {
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

    /// An instruction that the checkers asked for is about to be executed.
    pub fn probed(&mut self, view: &View, pc: u64) {
        let Some(what) = self.probes.get(&pc).copied() else { return };
        self.settle(view);
        let (a0, sp) = (view.hart.x(10), view.hart.x(2));
        let by = Deed::of_caller(view, &self.layout, self.pid(view));
        match what {
            Probed::AllocEnds if a0 != 0 => self.allocated(a0, false, by),
            Probed::AllocEnds => {}
            Probed::FreeBegins => {
                if let Some(before) = self.frames.ending(sp, a0) {
                    self.freed_twice(a0, &by, &before);
                }
                self.table_ends(a0, by);
            }
            // A kernel that counts references calls it for each; junk tells that it was the last.
            Probed::FreeEnds => {
                if let Some(frame) = self.frames.ended(sp)
                    && view.ram().read::<u64>(frame + 64) == Ok(JUNK)
                {
                    self.freed(frame, by);
                }
            }
        }
    }

    fn allocated(&mut self, frame: u64, counted: bool, by: Deed) {
        self.grown = true;
        if let Some(before) = self.frames.allocated(frame, counted, by)
            && self.wanted.frames
        {
            let (now, before) = (self.tell(&by), self.tell(&before));
            let message =
                format!("frame {:x} is allocated by {now}, and was by {before}", frame >> 12);
            self.find("frames", by.stack[0], message);
        }
    }

    fn freed(&mut self, frame: u64, by: Deed) {
        self.table_ends(frame, by);
        if let Some(before) = self.frames.freed(frame, by) {
            self.freed_twice(frame, &by, &before);
        }
        for mapping in self.mirror.mappings(frame) {
            self.frames.dangles(frame, mapping.root, mapping.va);
        }
    }

    fn freed_twice(&mut self, frame: u64, by: &Deed, before: &Deed) {
        if self.wanted.frames {
            let (now, before) = (self.tell(by), self.tell(before));
            let message =
                format!("frame {:x} is freed by {now}; it was freed by {before}", frame >> 12);
            self.find("frames", by.stack[0], message);
        }
    }

    /// A table of a new process, among the pages that were allocated for tables.
    fn adopt_young(&mut self, view: &View, child: i32) {
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
        let roots: Vec<u64> = self.young.difference(&inner).copied().collect();
        for root in roots {
            self.adopt(view, root);
            self.owners.insert(root, child);
        }
    }

    /// Tables of processes that never ran, as the process table has them.
    fn adopt_from_table(&mut self, view: &View) {
        let Some(reader) = self.kernel.reader.filter(|_| std::mem::take(&mut self.grown)) else {
            return;
        };
        for (pid, root) in reader.tables(view.ram()) {
            if !self.mirror.knows(root) {
                self.adopt(view, root);
            }
            self.owners.insert(root, pid);
        }
    }

    fn adopt(&mut self, view: &View, root: u64) {
        let by = self.deed(view);
        let levels = view.hart.csr.satp.mode.levels();
        let changes = self.mirror.adopt(view.ram(), root, levels, by);
        self.apply(&changes, by);
    }

    /// A frame that may be a page of a table is nobody's any more.
    fn table_ends(&mut self, frame: u64, by: Deed) {
        self.young.remove(&frame);
        if self.mirror.flags(frame) & TABLE != 0 {
            let changes = self.mirror.release(frame);
            self.apply(&changes, by);
            self.changed.remove(&frame);
            self.owners.remove(&frame);
            self.frames.retain_dangling(|dangling| dangling.root != frame);
        }
    }

    /// The in-tree kernel tells something.
    pub fn hinted(&mut self, view: &View, kind: i32) {
        self.settle(view);
        let Some(kind) = Hint::from_imm(kind) else { return };
        let [a0, a2] = [10, 12].map(|register| view.hart.x(register));
        match kind {
            Hint::ProcSwitched => {
                self.harts[view.hart.id].hinted = Some(a0 as i32);
            }
            Hint::FrameAllocated => {
                if a2 == Owner::PageTable as u64 {
                    self.young.insert(a0);
                }
                self.allocated(a0, true, self.deed(view));
            }
            // The child's memory is complete, and was never used.
            Hint::Forked => self.adopt_young(view, view.hart.x(11) as i32),
            Hint::FrameFreed => self.freed(a0, self.deed(view)),
            Hint::FrameRefs => {
                self.frames.counted(a0, a2);
                if a2 == 0 {
                    self.table_ends(a0, self.deed(view));
                }
            }
            Hint::Mark => self.look_for_leaks(view),
            _ => {}
        }
    }

    /// A trap was taken.
    pub fn trapped(&mut self, view: &View, cause: Cause, tval: u64, pc: u64) {
        self.settle(view);
        use Exception::{InstPageFault, LoadPageFault, StorePageFault};
        if !matches!(cause, Cause::Exception(InstPageFault | LoadPageFault | StorePageFault)) {
            return;
        }
        let retired = view.hart.retired();
        let hart = &mut self.harts[view.hart.id];
        let again = hart.fault.replace((pc, tval, u64::MAX)) == Some((pc, tval, retired));
        hart.faults = if again { hart.faults + 1 } else { 0 };
        if hart.faults == MAX_FAULTS {
            let by = Deed { stack: [pc, 0, 0, 0], ..self.deed(view) };
            let message = format!(
                "the same {} at {tval:#x} comes again and again, by {}: the kernel returns and \
                 nothing has changed",
                cause.name(),
                self.tell(&by)
            );
            self.find("frames", pc, message);
        }
    }

    /// The hart returned from a trap.
    pub fn returned(&mut self, view: &View) {
        let retired = view.hart.retired();
        let pc = view.hart.ctx.pc;
        let hart = &mut self.harts[view.hart.id];
        if let Some((at, _, back)) = &mut hart.fault
            && *at == pc
        {
            // The return itself retires.
            *back = retired + 1;
        }
        if view.hart.privilege == Priv::User
            && let Some(pid) = self.pid(view)
        {
            self.adopt_from_table(view);
            self.owners.insert(view.hart.csr.satp.ppn.pa().0, pid);
        }
    }

    /// Looks for frames that nobody can reach: at a mark, and when the run ends.
    pub fn look_for_leaks(&mut self, view: &View) {
        let Some((start, end)) = self.data.filter(|_| self.wanted.leak) else { return };
        self.settle(view);
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
            let Some(by) = by.filter(|by| by.ns + YOUNG < view.ns()) else { continue };
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

/// A leaf in words.
fn entry(pte: u64) -> String {
    match is_leaf(pte) {
        true => format!("frame {:x} {}", frame_of(pte) >> 12, crate::trace::text::pte_bits(pte)),
        false => "nothing".to_owned(),
    }
}

/// Where a C xv6 allocates and frees frames.
fn probes_of(kernel: &Symbols) -> HashMap<u64, Probed> {
    let ends = |name, what| returns_of(kernel, name).into_iter().map(move |pc| (pc, what));
    let begins = kernel.address("kfree").map(|pc| (pc, Probed::FreeBegins));
    ends("kalloc", Probed::AllocEnds).chain(ends("kfree", Probed::FreeEnds)).chain(begins).collect()
}
