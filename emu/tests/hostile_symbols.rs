//! Whatever a file's symbol table and debug information hold, reading them ends in names, numbers
//! or an error; never in a panic, a hang or a pile of memory.

mod common;

use emu::board::RAM_BASE;
use emu::loader::{Extent, Program};
use emu::symbols::Symbols;
use proptest::prelude::*;

/// A C program with functions, an inlined one, structures and line tables (`data/proc.c`).
const SOUND: &[u8] = include_bytes!("data/proc.elf");

/// The text of [`SOUND`] in memory.
const TEXT: std::ops::Range<u64> = RAM_BASE..RAM_BASE + 0x60;

/// Asks for everything that the rest of the emulator asks for.
fn check(file: &[u8]) {
    let Ok(symbols) = Symbols::from_elf(file) else { return };
    for pc in TEXT.step_by(2).chain([0, 1, RAM_BASE - 1, u64::MAX - 1, u64::MAX]) {
        symbols.place(pc);
        symbols.call(pc);
        symbols.step(pc);
    }
    for name in ["proc", "cpu", "cpus", "pick", "none"] {
        symbols.structure(name);
        symbols.address(name);
        symbols.function_named(name);
    }
}

#[test]
fn the_start_is_sound() {
    let symbols = Symbols::from_elf(SOUND).expect("a sound file");
    let pick = symbols.function_named("pick").expect("a function");
    let place = symbols.place(pick.start);
    assert_eq!((place.function.as_deref(), place.offset), (Some("pick"), Some(0)));
    assert_eq!((place.file.as_deref(), place.line), (Some("proc.c"), Some(26)));
    let proc = symbols.structure("proc").expect("debug information");
    assert_eq!((proc.size, proc.members["pid"], proc.members["name"]), (24, 4, 8));
    assert_eq!(symbols.structure("cpu").expect("debug information").members["depth"], 8);
}

/// Function and line are of the innermost function; the symbol's is named beside it.
#[test]
fn inlined_functions_and_calls() {
    let symbols = Symbols::from_elf(SOUND).expect("a sound file");
    let pick = symbols.function_named("pick").expect("a function").start;
    let place = symbols.place(pick + 2);
    assert_eq!(place.function.as_deref(), Some("pid_of"));
    assert_eq!((place.inlined_into.as_deref(), place.offset), (Some("pick"), Some(2)));
    assert_eq!((place.file.as_deref(), place.line), (Some("proc.c"), Some(22)));
    // `_start` calls `pick` in line 36, and goes on behind that.
    let start = symbols.function_named("_start").expect("a function").start;
    let call = symbols.call(start + 0x16);
    assert_eq!((call.pc, call.line), (start + 0x12, Some(36)));
    assert_eq!(symbols.call(start).pc, start, "nothing calls there");
    assert_eq!(symbols.call(0).pc, 0);
}

/// Every byte at its extremes, alone and as the first of a word.
#[test]
fn extreme_fields() {
    for at in 4..SOUND.len() {
        for (value, len) in [(0, 1), (0x7f, 1), (0x80, 1), (0xff, 1), (0xff, 4), (0xff, 8)] {
            let mut broken = SOUND.to_vec();
            let end = (at + len).min(SOUND.len());
            broken[at..end].fill(value);
            check(&broken);
        }
    }
}

#[test]
fn every_cut_is_an_error_or_symbols() {
    for len in (0..SOUND.len()).step_by(3) {
        check(&SOUND[..len]);
    }
}

fn set(file: &mut [u8], at: usize, value: &[u8]) {
    file[at..at + value.len()].copy_from_slice(value);
}

/// Sixty thousand segments that are the whole file each: 400 GB, if every one had a copy.
#[test]
fn many_segments_are_not_many_copies() {
    let mut file = SOUND[..64].to_vec();
    let mut header = Vec::new();
    for word in [1u32, 5] {
        header.extend(word.to_le_bytes());
    }
    let len = 64 + 60_000 * 56;
    for word in [0, RAM_BASE, RAM_BASE, len, len, 4096u64] {
        header.extend(word.to_le_bytes());
    }
    for _ in 0..60_000 {
        file.extend(&header);
    }
    set(&mut file, 32, &64u64.to_le_bytes());
    set(&mut file, 40, &[0; 8]);
    set(&mut file, 56, &60_000u16.to_le_bytes());
    set(&mut file, 60, &[0; 4]);
    assert_eq!(file.len() as u64, len);
    let symbols = Symbols::from_elf(&file).expect("an ELF file");
    assert_eq!(symbols.loaded_bytes(RAM_BASE, 4), Some(&b"\x7fELF"[..]));
    Program::from_elf(&file, Extent::of(8 << 20)).expect_err("segments overlap");
}

/// Ten thousand symbols with the same name of a megabyte.
#[test]
fn long_names_are_not_many_copies() {
    let (count, name) = (10_000u64, 1u64 << 20);
    let symbols_at = SOUND.len() as u64;
    let names_at = symbols_at + 24 * count;
    let sections_at = names_at + name + 2;
    let mut file = SOUND.to_vec();
    for n in 0..count {
        file.extend(1u32.to_le_bytes());
        file.extend([0x12, 0, 1, 0]);
        file.extend((RAM_BASE + n).to_le_bytes());
        file.extend(1u64.to_le_bytes());
    }
    file.push(0);
    file.resize((sections_at - 1) as usize, b'x');
    file.push(0);
    file.extend([0; 64]);
    file.extend(common::symbol_sections(symbols_at, 24 * count, names_at, name + 2));
    set(&mut file, 40, &sections_at.to_le_bytes());
    set(&mut file, 60, &[3, 0, 2, 0]);
    let symbols = Symbols::from_elf(&file).expect("an ELF file");
    assert_eq!(symbols.function(RAM_BASE), None, "such a name is none");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(6000)
    })]

    #[test]
    fn changed_bytes(changes in prop::collection::vec((4..SOUND.len(), any::<u8>()), 1..12)) {
        let mut file = SOUND.to_vec();
        for (at, byte) in changes {
            file[at] = byte;
        }
        check(&file);
    }

    /// Only debug information and symbols, so that the headers still lead to them.
    #[test]
    fn changed_debug_information(
        changes in prop::collection::vec((0x187..0xbe7usize, any::<u8>()), 1..20)
    ) {
        let mut file = SOUND.to_vec();
        for (at, byte) in changes {
            file[at] = byte;
        }
        check(&file);
    }
}
