//! What a debugger sees of the machine, and may change: registers and memory of a machine that
//! stands still. Looking changes nothing, not even accessed bits.

use isa::Priv;
use isa::paging::{LEVEL_BITS, Mode, PAGE_SHIFT, Pa, Pte, Satp, Va, leaf_size};

use std::collections::BTreeSet;

use crate::console::HostConsole;
use crate::dev::{Dma, NotMemory};
use crate::machine::Stop;

/// A machine that stands still.
pub trait Inspect {
    /// Number of harts.
    fn harts(&self) -> usize;
    /// The next instruction's address.
    fn pc(&self, hart: usize) -> u64;
    /// Changes the next instruction's address.
    fn set_pc(&mut self, hart: usize, value: u64);
    /// An integer register.
    fn x(&self, hart: usize, number: usize) -> u64;
    /// Changes an integer register.
    fn set_x(&mut self, hart: usize, number: usize, value: u64);
    /// A floating-point register's bits.
    fn f(&self, hart: usize, number: usize) -> u64;
    /// Changes a floating-point register.
    fn set_f(&mut self, hart: usize, number: usize, value: u64);
    /// A control and status register; `None` when there is none of that number.
    fn csr(&self, hart: usize, number: u16) -> Option<u64>;
    /// Changes a control and status register as a write in M-mode does.
    fn set_csr(&mut self, hart: usize, number: u16, value: u64) -> bool;
    /// The mode a hart is in.
    fn privilege(&self, hart: usize) -> Priv;
    /// Whether a hart waits for an interrupt.
    fn waits(&self, hart: usize) -> bool;
    /// Guest memory.
    fn memory(&self) -> &dyn Dma;
    /// Guest memory, to be changed; code in it may be changed.
    fn memory_mut(&mut self) -> &mut dyn Dma;
    /// What the machine's observer, if it has one, knows of a topic.
    fn tell(&self, topic: &str) -> Option<String> {
        let _ = topic;
        None
    }

    /// Address translation as it is for a hart's instructions: none in M-mode.
    fn translation(&self, hart: usize) -> Satp {
        let satp = self.csr(hart, isa::csr::SATP).filter(|_| self.privilege(hart) != Priv::Machine);
        satp.and_then(Satp::from_bits).unwrap_or_default()
    }

    /// Fills `out` from a hart's virtual address `va`, page by page.
    fn read_virtual(&self, hart: usize, va: u64, out: &mut [u8]) -> Result<(), NotMemory> {
        let satp = self.translation(hart);
        for (start, range) in pages(va, out.len()) {
            let pa = translate(self.memory(), satp, Va(start)).ok_or(NotMemory)?;
            self.memory().read_bytes(pa.0, &mut out[range])?;
        }
        Ok(())
    }

    /// Copies `data` to a hart's virtual address `va`, page by page, whatever the permissions.
    fn write_virtual(&mut self, hart: usize, va: u64, data: &[u8]) -> Result<(), NotMemory> {
        let satp = self.translation(hart);
        for (start, range) in pages(va, data.len()) {
            let pa = translate(self.memory(), satp, Va(start)).ok_or(NotMemory)?;
            self.memory_mut().write_bytes(pa.0, &data[range])?;
        }
        Ok(())
    }
}

/// Which accesses a watchpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// First virtual address.
    pub va: u64,
    /// Length in bytes.
    pub len: u64,
    /// Loads are meant.
    pub loads: bool,
    /// Stores are meant.
    pub stores: bool,
}

/// Why the machine stands where somebody wanted it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// A hart is in front of a breakpoint.
    Breakpoint,
    /// A hart is behind this access.
    Watch(Watch),
    /// The observer wanted it.
    Observer,
}

/// Where a debugger wants the machine to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Points {
    /// Virtual addresses of instructions, on any hart.
    pub breakpoints: BTreeSet<u64>,
    /// Data.
    pub watches: Vec<Watch>,
}

/// A machine that a debugger runs.
pub trait Debuggee: Inspect {
    /// Runs until something stops it: [`Stop::Point`] with a hart in front of a breakpoint or
    /// behind a watched access. A hart that stands at a breakpoint first goes on from it.
    fn go(&mut self, console: &mut dyn HostConsole, points: &Points) -> Stop;

    /// Lets one hart execute one instruction, or take one trap; the others stand still.
    fn step(&mut self, hart: usize) -> Option<Stop>;
}

/// The pieces of `len` bytes from `va` on that lie in one page each.
fn pages(va: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let start = va.wrapping_add(done as u64);
        let rest = (1 << PAGE_SHIFT) - (start & ((1 << PAGE_SHIFT) - 1)) as usize;
        let n = rest.min(len - done);
        let piece = (start, done..done + n);
        done += n;
        (n > 0).then_some(piece)
    })
}

/// One step of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The level of the table; 0 holds 4 KiB leaves.
    pub level: u32,
    /// Where the entry is.
    pub at: Pa,
    /// The entry.
    pub pte: Pte,
}

/// The entries that a walk for `va` meets, from the root on. It ends at a leaf, at an entry that
/// is not valid, and where a table is not in memory.
pub fn steps(mem: &dyn Dma, satp: Satp, va: Va) -> Vec<Step> {
    let mut found = Vec::new();
    let mut table = satp.ppn;
    for level in (0..satp.mode.levels()).rev() {
        let at = Pa(table.pa().0 + 8 * va.index(level) as u64);
        let Ok(bits) = mem.read_u64(at.0) else { break };
        let pte = Pte(bits);
        found.push(Step { level, at, pte });
        if !pte.valid() || pte.is_leaf() {
            break;
        }
        table = pte.ppn();
    }
    found
}

/// The physical address of a virtual one, if a valid leaf maps it.
pub fn translate(mem: &dyn Dma, satp: Satp, va: Va) -> Option<Pa> {
    if satp.mode == Mode::Bare {
        return Some(Pa(va.0));
    }
    if !satp.mode.is_canonical(va) {
        return None;
    }
    let step = *steps(mem, satp, va).last().filter(|s| s.pte.valid() && s.pte.is_leaf())?;
    let mut inside = leaf_size(step.level) - 1;
    if step.level == 0 && step.pte.napot() {
        inside = (Pte::NAPOT_PAGES << PAGE_SHIFT) - 1;
    }
    Some(Pa(step.pte.ppn().pa().0 & !inside | va.0 & inside))
}

/// Most page-table pages that [`mappings`] looks at: a hostile table can point at itself.
const MAX_TABLES: usize = 1 << 16;

/// A range of virtual addresses that is mapped to consecutive physical ones alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First virtual address.
    pub va: Va,
    /// First physical address.
    pub pa: Pa,
    /// Length in bytes.
    pub size: u64,
    /// A leaf of it; all have the same flags.
    pub pte: Pte,
}

/// All that a page table maps, in ranges as QEMU's monitor forms them: a range does not go
/// beyond its page-table page. The second value says whether the table was too large to be seen
/// whole.
pub fn mappings(mem: &dyn Dma, satp: Satp) -> (Vec<Mapping>, bool) {
    let mut scan = Scan { mem, mode: satp.mode, found: Vec::new(), tables: 0 };
    if let Some(level) = satp.mode.levels().checked_sub(1) {
        scan.table(satp.ppn.pa(), level, 0);
    }
    (scan.found, scan.tables > MAX_TABLES)
}

struct Scan<'a> {
    mem: &'a dyn Dma,
    mode: Mode,
    found: Vec<Mapping>,
    tables: usize,
}

impl Scan<'_> {
    /// The flags that ranges are told apart by.
    const FLAGS: u64 = 0xff;

    fn table(&mut self, table: Pa, level: u32, base: u64) {
        self.tables += 1;
        let mut page = [0; 1 << PAGE_SHIFT];
        if self.tables > MAX_TABLES || self.mem.read_bytes(table.0, &mut page).is_err() {
            return;
        }
        let mut open = false;
        for (index, bytes) in page.as_chunks::<8>().0.iter().enumerate() {
            let pte = Pte(u64::from_le_bytes(*bytes));
            let va = base | (index as u64) << (PAGE_SHIFT + LEVEL_BITS * level);
            if !pte.valid() {
                open = false;
            } else if pte.is_leaf() {
                self.leaf(va, pte, leaf_size(level), open);
                open = true;
            } else if let Some(below) = level.checked_sub(1) {
                self.table(pte.ppn().pa(), below, va);
                open = false;
            }
        }
    }

    /// A leaf: the continuation of the last range if that is `open` and goes on here.
    fn leaf(&mut self, va: u64, pte: Pte, size: u64, open: bool) {
        let pa = pte.ppn().pa();
        if open
            && let Some(last) = self.found.last_mut()
            && last.pte.0 & Scan::FLAGS == pte.0 & Scan::FLAGS
            && last.pa.0 + last.size == pa.0
        {
            last.size += size;
            return;
        }
        let unused = 64 - self.mode.va_bits();
        let va = Va(((va << unused) as i64 >> unused) as u64);
        self.found.push(Mapping { va, pa, size, pte });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::testing::{BASE, Pages};
    use isa::paging::Ppn;

    /// Three tables: a page at 0x1000, its neighbours, and a superpage at 0x4020_0000.
    fn bed() -> (Pages, Satp) {
        let mut mem = Pages::new(0x8000);
        let mut put = |table: u64, index: u64, to: u64, flags: u64| {
            let pte = Pte::new(Pa(to).ppn(), flags | Pte::V);
            mem.put(BASE + table * 4096 + 8 * index, &pte.0.to_le_bytes());
        };
        let rw = Pte::R | Pte::W;
        put(0, 0, BASE + 4096, 0);
        put(0, 1, BASE + 3 * 4096, 0);
        put(1, 0, BASE + 2 * 4096, 0);
        put(2, 1, BASE + 0x5000, rw);
        put(2, 2, BASE + 0x6000, rw);
        put(2, 3, BASE + 0x7000, rw | Pte::U);
        put(2, 5, BASE + 0x7000, rw);
        put(3, 1, BASE & !0x1f_ffff, Pte::X);
        let satp = Satp { mode: Mode::Sv39, asid: 0, ppn: Ppn(BASE >> 12) };
        (mem, satp)
    }

    #[test]
    fn addresses_are_translated() {
        let (mem, satp) = bed();
        assert_eq!(translate(&mem, satp, Va(0x1234)), Some(Pa(BASE + 0x5234)));
        assert_eq!(translate(&mem, satp, Va(0x4023_4567)), Some(Pa(BASE + 0x3_4567)));
        assert_eq!(translate(&mem, satp, Va(0x4000)), None);
        assert_eq!(translate(&mem, satp, Va(1 << 40)), None);
        assert_eq!(translate(&mem, Satp::default(), Va(5)), Some(Pa(5)));
        assert_eq!(steps(&mem, satp, Va(0x1000)).len(), 3);
    }

    #[test]
    fn ranges_are_formed_as_on_qemu() {
        let (mem, satp) = bed();
        let (found, cut) = mappings(&mem, satp);
        let ranges: Vec<_> = found.iter().map(|m| (m.va.0, m.size)).collect();
        let expected =
            [(0x1000, 0x2000), (0x3000, 0x1000), (0x5000, 0x1000), (0x4020_0000, 0x20_0000)];
        assert_eq!((ranges.as_slice(), cut), (&expected[..], false));
    }

    #[test]
    fn a_table_that_points_at_itself_is_no_trap() {
        let mut mem = Pages::new(0x1000);
        for index in 0..512 {
            mem.put(BASE + 8 * index, &Pte::new(Pa(BASE).ppn(), Pte::V).0.to_le_bytes());
        }
        let satp = Satp { mode: Mode::Sv57, asid: 0, ppn: Ppn(BASE >> 12) };
        let (found, cut) = mappings(&mem, satp);
        assert!(found.is_empty() && cut);
        assert_eq!(steps(&mem, satp, Va(0)).len(), 5);
        assert_eq!(translate(&mem, satp, Va(0)), None);
    }
}
