//! Where a foreign kernel is watched: the functions of a C xv6 that allocate, free, copy, fork,
//! load and end, by their symbols.
//!
//! A kernel that gives hints has names of its own, which these are not. Enough is known at the
//! entry of a function and at its `ret` instructions; a call is told from another by the stack
//! pointer, which is the same at both.

use isa::Op;

use crate::symbols::Symbols;
use crate::trace::quick::QuickMap;

/// A function that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// `kalloc()`: a frame or nothing.
    Kalloc,
    /// `kfree(pa)`; a kernel that counts references frees only at the last one.
    Kfree,
    /// `exit(status)` or `kexit(status)`.
    Exit,
    /// `fork()` or `kfork()`: the child's process id.
    Fork,
    /// `exec(path, argv)` or `kexec(path, argv)`: a number that is not negative.
    Exec,
    /// `vmfault(pagetable, va, …)`: a frame or nothing.
    Vmfault,
    /// `copyin(pagetable, to, va, len)`, `copyinstr`.
    Copyin,
    /// `copyout(pagetable, va, from, len)`.
    Copyout,
}

/// A place in the kernel's code that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The instruction's address.
    pub pc: u64,
    /// The function.
    pub function: Watched,
    /// Whether it is about to return, or begins.
    pub returns: bool,
}

/// Probes by address. Those that were met are found at once, where no other took their place.
pub struct Probes {
    all: QuickMap<u64, Probe>,
    met: [Option<Probe>; 64],
}

impl Probes {
    /// These.
    pub fn new(probes: Vec<Probe>) -> Probes {
        let all = probes.into_iter().map(|probe| (probe.pc, probe)).collect();
        Probes { all, met: [None; 64] }
    }

    /// The one at an address.
    pub fn at(&mut self, pc: u64) -> Option<Probe> {
        let place = &mut self.met[(pc >> 1) as usize % 64];
        if place.is_none_or(|probe| probe.pc != pc) {
            *place = self.all.get(&pc).copied();
        }
        *place
    }

    /// Where they are.
    pub fn addresses(&self) -> impl Iterator<Item = u64> {
        self.all.keys().copied()
    }
}

/// Functions by name, and whether their entry and their returns are of interest.
const FUNCTIONS: &[(&str, Watched, bool, bool)] = &[
    ("kalloc", Watched::Kalloc, false, true),
    ("kfree", Watched::Kfree, true, true),
    ("exit", Watched::Exit, true, false),
    ("kexit", Watched::Exit, true, false),
    ("fork", Watched::Fork, false, true),
    ("kfork", Watched::Fork, false, true),
    ("exec", Watched::Exec, false, true),
    ("kexec", Watched::Exec, false, true),
    ("vmfault", Watched::Vmfault, true, true),
    ("copyin", Watched::Copyin, true, true),
    ("copyinstr", Watched::Copyin, true, true),
    ("copyout", Watched::Copyout, true, true),
];

/// The probes that a kernel's symbols allow, by address.
pub fn probes_of(kernel: &Symbols) -> Vec<Probe> {
    let mut probes = Vec::new();
    for &(name, function, entry, exit) in FUNCTIONS {
        let Some(start) = kernel.function_named(name).map(|function| function.start) else {
            continue;
        };
        if entry {
            probes.push(Probe { pc: start, function, returns: false });
        }
        if exit {
            let returns = returns_of(kernel, name).into_iter();
            probes.extend(returns.map(|pc| Probe { pc, function, returns: true }));
        }
    }
    probes.sort_by_key(|probe| probe.pc);
    probes
}

/// The `ret` instructions of a function.
pub fn returns_of(kernel: &Symbols, name: &str) -> Vec<u64> {
    let Some(function) = kernel.function_named(name) else { return Vec::new() };
    let length = usize::try_from(function.end - function.start).unwrap_or(0);
    let Some(code) = kernel.loaded_bytes(function.start, length) else { return Vec::new() };
    let mut found = Vec::new();
    let mut offset = 0;
    while let Some(low) = code.get(offset..offset + 2) {
        let mut bits = u32::from(u16::from_le_bytes([low[0], low[1]]));
        if bits & 3 == 3 {
            let Some(high) = code.get(offset + 2..offset + 4) else { break };
            bits |= u32::from(u16::from_le_bytes([high[0], high[1]])) << 16;
        }
        let Some(inst) = isa::decode(bits) else { break };
        if inst.op == Op::Jalr && inst.rd() == 0 && inst.rs1() == 1 {
            found.push(function.start + offset as u64);
        }
        offset += inst.len() as usize;
    }
    found
}
