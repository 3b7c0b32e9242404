//! Small machines for tests: ELF files made of a few instructions.
#![allow(dead_code)]

pub mod guest;

use std::path::{Path, PathBuf};

/// Where the programs are linked.
pub const BASE: u64 = 0x8000_0000;

/// A folder that goes away with the value.
pub struct Folder(PathBuf);

impl Folder {
    /// A fresh one.
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("emu-test-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("temporary folder");
        Folder(path)
    }

    /// A file in it, with that content.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("temporary folder");
        std::fs::write(&path, content).expect("temporary folder");
        path
    }

    /// A file's name in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// An ELF file of these instructions at [`BASE`], with that many bytes of memory, and symbols.
pub fn elf(code: &[u32], memory: u64, symbols: &[(&str, u64)]) -> Vec<u8> {
    let code: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    let code_at = 64 + 56u64;
    let symbols_at = code_at + code.len() as u64;
    let symbols_len = 24 * (symbols.len() as u64 + 1);
    let mut names = vec![0];
    let mut table = vec![0; 24];
    for (name, value) in symbols {
        table.extend((names.len() as u32).to_le_bytes());
        // A global function.
        table.extend([0x12, 0, 1, 0]);
        table.extend(value.to_le_bytes());
        table.extend(8u64.to_le_bytes());
        names.extend(name.as_bytes());
        names.push(0);
    }
    let names_at = symbols_at + symbols_len;
    let sections_at = names_at + names.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0\x01\0\0\0".to_vec();
    for word in [BASE, 64, sections_at] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0; 4]);
    for half in [64u16, 56, 1, 64, 3, 2] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1u32.to_le_bytes());
    file.extend(7u32.to_le_bytes());
    for word in [code_at, BASE, BASE, code.len() as u64, memory.max(code.len() as u64), 4096] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file.extend(table);
    file.extend(&names);
    file.extend([0; 64]);
    file.extend(symbol_sections(symbols_at, symbols_len, names_at, names.len() as u64));
    file
}

/// Headers of a table of symbols, which has to be section 1, and of their names.
pub fn symbol_sections(symbols_at: u64, symbols: u64, names_at: u64, names: u64) -> Vec<u8> {
    let mut headers = Vec::new();
    for (kind, at, len, link, entry) in
        [(2u32, symbols_at, symbols, 2u32, 24u64), (3, names_at, names, 0, 0)]
    {
        headers.extend(0u32.to_le_bytes());
        headers.extend(kind.to_le_bytes());
        for word in [0, 0, at, len] {
            headers.extend(word.to_le_bytes());
        }
        headers.extend(link.to_le_bytes());
        headers.extend(0u32.to_le_bytes());
        headers.extend(8u64.to_le_bytes());
        headers.extend(entry.to_le_bytes());
    }
    headers
}

/// `lui rd, value >> 12`.
pub fn lui(rd: u32, value: u32) -> u32 {
    value & 0xffff_f000 | rd << 7 | 0x37
}

/// `addi rd, rs1, imm`.
pub fn addi(rd: u32, rs1: u32, imm: i32) -> u32 {
    (imm as u32) << 20 | rs1 << 15 | rd << 7 | 0x13
}

/// `sw rs2, offset(rs1)`, with an offset below 32.
pub fn sw(rs2: u32, rs1: u32, offset: u32) -> u32 {
    rs2 << 20 | rs1 << 15 | 2 << 12 | offset << 7 | 0x23
}

/// `sb rs2, 0(rs1)`.
pub fn sb(rs2: u32, rs1: u32) -> u32 {
    rs2 << 20 | rs1 << 15 | 0x23
}

/// `lbu rd, offset(rs1)`.
pub fn lbu(rd: u32, rs1: u32, offset: u32) -> u32 {
    offset << 20 | rs1 << 15 | 4 << 12 | rd << 7 | 0x03
}

/// `andi rd, rs1, imm`.
pub fn andi(rd: u32, rs1: u32, imm: u32) -> u32 {
    imm << 20 | rs1 << 15 | 7 << 12 | rd << 7 | 0x13
}

/// `beq rs1, rs2, offset`, for small backward offsets in bytes.
pub fn beq_back(rs1: u32, rs2: u32, back: u32) -> u32 {
    let offset = (back as i32).wrapping_neg() as u32;
    (offset >> 12 & 1) << 31
        | (offset >> 5 & 0x3f) << 25
        | rs2 << 20
        | rs1 << 15
        | (offset >> 1 & 0xf) << 8
        | (offset >> 11 & 1) << 7
        | 0x63
}

/// `j .`
pub const SELF: u32 = 0x0000_006f;
/// `wfi`
pub const WFI: u32 = 0x1050_0073;
/// Jumps back over `wfi`.
pub const BACK: u32 = 0xffdf_f06f;

/// Instructions that write `word` to the test finisher.
pub fn finish(word: u32) -> Vec<u32> {
    // lui's value is sign-extended only from bit 31, which these words do not have.
    let low = (word << 20) as i32 >> 20;
    let high = word.wrapping_sub(low as u32);
    vec![lui(5, 0x10_0000), lui(6, high), addi(6, 6, low), sw(6, 5, 0), SELF]
}

/// Where the handler of [`same_fault`] is.
pub const SAME_FAULT_HANDLER: u64 = BASE + 4 * 16;

/// A load that faults, and a handler (in memory of 8 KiB) that returns without having done anything about it.
pub fn same_fault() -> Vec<u32> {
    let csrw = |csr: u32, rs1: u32| csr << 20 | rs1 << 15 | 1 << 12 | 0x73;
    let slli = |rd: u32, by: u32| by << 20 | rd << 15 | 1 << 12 | rd << 7 | 0x13;
    let add = |rd: u32, rs2: u32| rs2 << 20 | rd << 15 | rd << 7 | 0x33;
    let (satp, mtvec, mstatus, pmpcfg0, pmpaddr0) = (0x180, 0x305, 0x300, 0x3a0, 0x3b0);
    let (auipc_x7, mret, load) = (7 << 7 | 0x17, 0x3020_0073, 3 << 12 | 9 << 7 | 0x03);
    vec![
        // All memory is for all modes.
        addi(5, 0, -1),
        csrw(pmpaddr0, 5),
        addi(5, 0, 0x1f),
        csrw(pmpcfg0, 5),
        // An empty page table, behind this page.
        addi(5, 0, 8),
        slli(5, 60),
        lui(6, 0x8_0000),
        addi(6, 6, 1),
        add(5, 6),
        csrw(satp, 5),
        auipc_x7,
        addi(7, 7, 4 * (16 - 10)),
        csrw(mtvec, 7),
        // Loads are as in user mode.
        lui(8, 1 << 17),
        csrw(mstatus, 8),
        load,
        mret,
    ]
}

/// Instructions that print `text`.
pub fn print(text: &str) -> Vec<u32> {
    let mut code = vec![lui(7, 0x1000_0000)];
    for byte in text.bytes() {
        code.extend([addi(28, 0, byte.into()), sb(28, 7)]);
    }
    code
}
