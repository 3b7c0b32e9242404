//! Whatever bytes a kernel file holds, loading it ends in a program inside guest memory or in an
//! error; never in a panic, a hang or a pile of memory.

use emu::board::RAM_BASE;
use emu::loader::{Extent, Program};
use proptest::prelude::*;

const RAM_BYTES: u64 = 1 << 20;

/// A sound ELF file with one segment and a table of two symbols, as a start for mutation.
fn sound() -> Vec<u8> {
    let (code, symbols, names) = (8u64, 3 * 24u64, b"\0tohost\0fromhost\0");
    let code_at = 64 + 56;
    let symbols_at = code_at + code;
    let names_at = symbols_at + symbols;
    let sections_at = names_at + names.len() as u64;
    let mut file = Vec::new();
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    // The header.
    put(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    put(&2u16.to_le_bytes());
    put(&243u16.to_le_bytes());
    put(&1u32.to_le_bytes());
    put(&RAM_BASE.to_le_bytes());
    put(&64u64.to_le_bytes());
    put(&sections_at.to_le_bytes());
    put(&[0, 0, 0, 0]);
    for half in [64u16, 56, 1, 64, 3, 0] {
        put(&half.to_le_bytes());
    }
    // The segment.
    put(&1u32.to_le_bytes());
    put(&5u32.to_le_bytes());
    for word in [code_at, RAM_BASE, RAM_BASE, code, 64, 4096] {
        put(&word.to_le_bytes());
    }
    put(&0x0000_006f_0000_0013u64.to_le_bytes());
    // Symbols, names, sections.
    put(&[0; 24]);
    for (name, value) in [(1u32, RAM_BASE + 16), (8, RAM_BASE + 24)] {
        put(&name.to_le_bytes());
        put(&[0x10, 0, 1, 0]);
        put(&value.to_le_bytes());
        put(&8u64.to_le_bytes());
    }
    put(names);
    put(&[0; 64]);
    for (kind, at, len, link, entry) in
        [(2u32, symbols_at, symbols, 2u32, 24u64), (3, names_at, names.len() as u64, 0, 0)]
    {
        put(&0u32.to_le_bytes());
        put(&kind.to_le_bytes());
        for word in [0, 0, at, len] {
            put(&word.to_le_bytes());
        }
        put(&link.to_le_bytes());
        put(&0u32.to_le_bytes());
        put(&8u64.to_le_bytes());
        put(&entry.to_le_bytes());
    }
    file
}

fn load(file: &[u8]) -> Result<Program, emu::loader::Problem> {
    Program::from_elf(file, Extent::of(RAM_BYTES))
}

fn check(file: &[u8]) {
    let Ok(program) = load(file) else { return };
    for segment in &program.segments {
        assert!(segment.pa >= RAM_BASE);
        assert!(segment.pa + segment.len <= RAM_BASE + RAM_BYTES);
        assert!(segment.bytes.len() as u64 <= segment.len);
    }
    assert!((RAM_BASE..RAM_BASE + RAM_BYTES).contains(&program.entry));
}

#[test]
fn the_start_is_sound() {
    let program = load(&sound()).expect("a sound file");
    assert_eq!(program.symbols.tohost, Some(RAM_BASE + 16));
    assert_eq!(program.symbols.fromhost, Some(RAM_BASE + 24));
}

#[test]
fn every_cut_is_an_error_or_a_program() {
    let file = sound();
    for len in 0..file.len() {
        check(&file[..len]);
    }
    assert!(load(&file[..127]).is_err());
}

/// Every field of the headers at its extremes.
#[test]
fn extreme_fields() {
    let file = sound();
    for at in 4..file.len() {
        for value in [0u64, 1, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX - 7, u64::MAX] {
            for len in [1, 2, 4, 8] {
                let mut broken = file.clone();
                let end = (at + len).min(file.len());
                broken[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
                check(&broken);
            }
        }
    }
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn changed_bytes(changes in prop::collection::vec((0usize..512, any::<u8>()), 1..12)) {
        let mut file = sound();
        let len = file.len();
        for (at, byte) in changes {
            file[at % len] = byte;
        }
        check(&file);
    }

    #[test]
    fn noise_behind_a_good_beginning(noise in prop::collection::vec(any::<u8>(), 0..1024)) {
        let mut file = sound()[..20].to_vec();
        file.extend(noise);
        check(&file);
    }
}
