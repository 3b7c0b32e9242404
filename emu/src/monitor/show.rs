//! Registers, harts and page tables as text.

use std::fmt::Write;

use isa::csr;
use isa::paging::{Mode, Satp, Va};
use isa::{fp_reg_name, int_reg_name};

use crate::dev::Dma;
use crate::inspect::{self, Inspect};

/// The registers that QEMU lists, of those that this machine has, in its order.
const LISTED: [u16; 18] = [
    csr::MHARTID,
    csr::MSTATUS,
    csr::MIP,
    csr::MIE,
    csr::MIDELEG,
    csr::MEDELEG,
    csr::MTVEC,
    csr::STVEC,
    csr::MEPC,
    csr::SEPC,
    csr::MCAUSE,
    csr::SCAUSE,
    csr::MTVAL,
    csr::STVAL,
    csr::MSCRATCH,
    csr::SSCRATCH,
    csr::SATP,
    csr::FCSR,
];

/// Everything about a hart.
pub fn registers(machine: &dyn Inspect, hart: usize) -> String {
    let mut text = format!("\nCPU#{hart}\n mode     {}\n", machine.privilege(hart).letter());
    let _ = writeln!(text, " {:<8} {:016x}", "pc", machine.pc(hart));
    for number in LISTED {
        if let (Some(name), Some(value)) = (csr::name(number), machine.csr(hart, number)) {
            let _ = writeln!(text, " {:<8} {value:016x}", name.to_string());
        }
    }
    rows(&mut text, 'x', int_reg_name, |n| machine.x(hart, n));
    rows(&mut text, 'f', fp_reg_name, |n| machine.f(hart, n));
    text
}

/// Thirty-two registers, four on a line.
fn rows(
    text: &mut String,
    letter: char,
    name: impl Fn(usize) -> &'static str,
    value: impl Fn(usize) -> u64,
) {
    for number in 0..32 {
        let label = format!("{letter}{number}/{}", name(number));
        let _ = write!(text, " {label:<8} {:016x}", value(number));
        if number % 4 == 3 {
            text.push('\n');
        }
    }
}

/// The value of a register by name: `pc`, `a0`, `x10`, `fa0`, `satp`.
pub fn register(machine: &dyn Inspect, hart: usize, name: &str) -> Option<u64> {
    if name == "pc" {
        return Some(machine.pc(hart));
    }
    let numbered = |letter: char| name.strip_prefix(letter)?.parse().ok().filter(|n| *n < 32usize);
    let by_name = |names: fn(usize) -> &'static str| (0..32).find(|n| names(*n) == name);
    if let Some(n) = numbered('x').or_else(|| by_name(int_reg_name)) {
        return Some(machine.x(hart, n));
    }
    if let Some(n) = numbered('f').or_else(|| by_name(fp_reg_name)) {
        return Some(machine.f(hart, n));
    }
    let number = (0..4096).find(|n| csr::name(*n).is_some_and(|csr| csr.to_string() == name))?;
    machine.csr(hart, number)
}

/// A line for each hart.
pub fn harts(machine: &dyn Inspect, current: usize) -> String {
    (0..machine.harts())
        .map(|hart| {
            let mark = if hart == current { '*' } else { ' ' };
            let waits = if machine.waits(hart) { " waits" } else { "" };
            let (pc, mode) = (machine.pc(hart), machine.privilege(hart).letter());
            format!("{mark} CPU #{hart}: pc {pc:016x} mode {mode}{waits}\n")
        })
        .collect()
}

/// What a page table maps, as QEMU's `info mem` shows it.
pub fn mem(memory: &dyn Dma, satp: Satp) -> String {
    if satp.mode == Mode::Bare {
        return "No translation or protection\n".to_owned();
    }
    let mut text = "vaddr            paddr            size             attr\n\
                    ---------------- ---------------- ---------------- -------\n"
        .to_owned();
    let (mappings, cut) = inspect::mappings(memory, satp);
    for m in mappings {
        let _ = writeln!(text, "{:016x} {:016x} {:016x} {}", m.va, m.pa, m.size, m.pte);
    }
    if cut {
        text.push_str("(more page tables than can be shown)\n");
    }
    text
}

/// The entries on the way to an address, and what is at the end.
pub fn walk(memory: &dyn Dma, satp: Satp, va: Va) -> String {
    let mut text = format!("satp {:016x} {}\n", satp.bits(), satp.mode.name());
    if satp.mode != Mode::Bare && !satp.mode.is_canonical(va) {
        return text + "not canonical: the topmost bits differ\n";
    }
    for step in inspect::steps(memory, satp, va) {
        let _ = writeln!(
            text,
            "L{} [{:3}] at {:016x}: {:016x} {} ppn {:011x} rsw {:02b}",
            step.level,
            va.index(step.level),
            step.at,
            step.pte.0,
            if step.pte.valid() { step.pte.to_string() } else { "invalid".to_owned() },
            step.pte.ppn(),
            step.pte.rsw(),
        );
    }
    match inspect::translate(memory, satp, va) {
        Some(pa) => text + &format!("{va:016x} is at {pa:016x}\n"),
        None => text + &format!("{va:016x} is not mapped\n"),
    }
}
