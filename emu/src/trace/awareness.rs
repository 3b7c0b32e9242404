//! Who runs: what the kernel's own data say about a hart.
//!
//! A foreign kernel is read through its debug information (`struct proc`, `struct cpu`, the array
//! `cpus`); the in-tree kernel says it by hints. Without either, a process is its address space.

use crate::mem::Ram;
use crate::symbols::Symbols;

/// Reads the running process from an xv6-like kernel's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcReader {
    cpus: u64,
    cpu_size: u64,
    cpu_proc: u64,
    proc_pid: u64,
    proc_name: u64,
    /// The array of processes, the size of one, and where its page table is.
    table: Option<(u64, u64, u64)>,
}

/// Processes of an xv6.
const NPROC: u64 = 64;

impl ProcReader {
    /// Works for kernels whose debug information has `struct cpu { struct proc *proc; … }`,
    /// `struct proc { int pid; char name[]; … }` and an array `cpus`, linked where they run.
    pub fn from_symbols(symbols: &Symbols) -> Option<ProcReader> {
        let cpu = symbols.structure("cpu")?;
        let proc = symbols.structure("proc")?;
        let table = symbols.address("proc").zip(proc.members.get("pagetable"));
        Some(ProcReader {
            table: table.map(|(base, member)| (base, proc.size, *member)),
            cpus: symbols.address("cpus")?,
            cpu_size: cpu.size,
            cpu_proc: *cpu.members.get("proc")?,
            proc_pid: *proc.members.get("pid")?,
            proc_name: *proc.members.get("name")?,
        })
    }

    /// Process ids and roots of the page tables of all processes.
    pub fn tables(self, ram: &Ram) -> impl Iterator<Item = (i32, u64)> {
        let procs = self.table.into_iter().flat_map(|(base, size, member)| {
            (0..NPROC).map(move |n| (base.wrapping_add(n.wrapping_mul(size)), member))
        });
        procs.filter_map(move |(proc, member)| {
            let root = ram.read::<u64>(proc.checked_add(member)?).ok().filter(|root| *root != 0)?;
            let pid = ram.read::<u32>(proc.checked_add(self.proc_pid)?).ok()?;
            Some((pid as i32, root))
        })
    }

    /// Process id and name of what a hart runs; nothing between processes.
    pub fn current(&self, ram: &Ram, hart: u64) -> Option<(i32, RawName)> {
        let proc = self.proc(ram, hart)?;
        let pid = ram.read::<u32>(proc.checked_add(self.proc_pid)?).ok()? as i32;
        Some((pid, RawName::read(ram, proc.checked_add(self.proc_name)?)))
    }

    /// Process id of what a hart runs.
    pub fn pid(&self, ram: &Ram, hart: u64) -> Option<i32> {
        let proc = self.proc(ram, hart)?;
        Some(ram.read::<u32>(proc.checked_add(self.proc_pid)?).ok()? as i32)
    }

    fn proc(&self, ram: &Ram, hart: u64) -> Option<u64> {
        let cpu = self.cpus.checked_add(hart.checked_mul(self.cpu_size)?)?;
        let proc = ram.read::<u64>(cpu.checked_add(self.cpu_proc)?).ok()?;
        (proc != 0).then_some(proc)
    }
}

/// A process name as it is in memory: at most sixteen bytes, of which the first zero ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawName(u64, u64);

impl RawName {
    /// The name at `pa`; nothing outside of memory.
    pub fn read(ram: &Ram, pa: u64) -> RawName {
        let half = |pa: Option<u64>| pa.and_then(|pa| ram.read::<u64>(pa).ok()).unwrap_or(0);
        RawName(half(Some(pa)), half(pa.checked_add(8)))
    }

    /// As text; what is not printable shows as `?`.
    pub fn text(self) -> String {
        let bytes = [self.0, self.1].into_iter().flat_map(u64::to_le_bytes);
        let bytes = bytes.take_while(|byte| *byte != 0);
        bytes.map(|byte| if byte.is_ascii_graphic() { char::from(byte) } else { '?' }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::RAM_BASE;

    #[test]
    fn the_running_process_is_read_from_memory() {
        let mut ram = Ram::new(1 << 16).expect("memory");
        let reader = ProcReader {
            cpus: RAM_BASE + 0x100,
            cpu_size: 128,
            cpu_proc: 0,
            proc_pid: 48,
            proc_name: 344,
            table: Some((RAM_BASE + 0x1000, 360, 80)),
        };
        assert_eq!(reader.current(&ram, 1), None);
        let proc = RAM_BASE + 0x1000;
        ram.write::<u64>(RAM_BASE + 0x100 + 128, proc).expect("inside");
        ram.write::<u32>(proc + 48, 7).expect("inside");
        ram.dma_write(proc + 344, b"cat\0junk").expect("inside");
        let current = reader.current(&ram, 1).map(|(pid, name)| (pid, name.text()));
        assert_eq!(current, Some((7, "cat".to_owned())));
        ram.write::<u64>(proc + 80, RAM_BASE + 0x3000).expect("inside");
        assert_eq!(reader.tables(&ram).collect::<Vec<_>>(), [(7, RAM_BASE + 0x3000)]);
        // Pointers are the guest's: wild ones are nothing, not a panic.
        ram.write::<u64>(RAM_BASE + 0x100, u64::MAX - 3).expect("inside");
        assert_eq!(reader.current(&ram, 0), None);
        assert_eq!(reader.current(&ram, u64::MAX), None);
    }
}
