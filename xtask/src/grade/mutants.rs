//! The labs' mistakes: each must fail as the labs say, and an ordinary kernel must not know them.
//!
//! The cases are in one file, `mutants`. Each begins with a line `[NAME,...]` (the mistakes, and
//! behind the bracket other boot flags, and options of the emulator); a line `$ COMMAND` is what
//! the guest runs; the lines behind it are the output, or after `! ` what the emulator must say
//! besides; a line `= STATUS` ends the case. Lines in front of a case that begin with `#` say
//! what it is about.

use std::path::Path;

use super::case::Case;
use crate::Result;

/// Words that only the mistakes bring into a kernel, besides their names.
const WORDS: [&str; 6] =
    ["mutant", "mutated", "uvmunmap: not mapped", "uvmcopy:", "freewalk: leaf", "mutants.rs"];

/// The cases of a folder, if it has any.
pub fn read(dir: &Path) -> Result<Vec<Case>> {
    let file = dir.join("mutants");
    match std::fs::read_to_string(&file) {
        Ok(text) => parse(&text).map_err(|why| format!("{}: {why}", file.display())),
        Err(_) => Ok(Vec::new()),
    }
}

fn parse(text: &str) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    while let Some(head) = lines.next() {
        let head = head.strip_prefix('[').and_then(|head| head.split_once(']'));
        let (names, flags) = head.ok_or("a case begins with [NAME]")?;
        let command = lines.next().and_then(|line| line.strip_prefix("$ "));
        let command = command.ok_or_else(|| format!("[{names}] has no command"))?;
        let (mut expected, mut messages) = (String::new(), Vec::new());
        let status = loop {
            let line = lines.next().ok_or_else(|| format!("[{names}] has no end"))?;
            if let Some(status) = line.strip_prefix("= ") {
                break status;
            }
            match line.strip_prefix("! ") {
                Some(message) => messages.push(message.to_owned()),
                None => expected.extend([line, "\n"]),
            }
        };
        let modes = ["sbrk=lazy", "fork=cow", "harts=1"].map(str::to_owned);
        let words = flags.split_whitespace().map(str::to_owned);
        let (emu, flags): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with("--"));
        cases.push(Case {
            name: names.to_owned(),
            command: command.to_owned(),
            expected: Some(expected),
            status: status.parse().map_err(|_| format!("[{names}]: status {status}"))?,
            pinned: flags.into_iter().chain(modes).chain([format!("mutant={names}")]).collect(),
            emu,
            messages,
            sweep: None,
            mutant: true,
        });
    }
    Ok(cases)
}

/// Checks that the ordinary kernel has no trace of the mistakes, which the other one does have.
pub fn check_traces(ordinary: &Path, mutants: &Path) -> Result<()> {
    let read = |path: &Path| std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
    let (ordinary, mutants) = (read(ordinary)?, read(mutants)?);
    for word in WORDS.into_iter().chain(names()) {
        if !contains(&mutants, word) {
            return Err(format!("the kernel with the mistakes does not know {word:?}"));
        }
        if contains(&ordinary, word) {
            return Err(format!("the ordinary kernel knows {word:?}"));
        }
    }
    println!("test ordinary kernel without traces of the mistakes: passed");
    Ok(())
}

/// The names of the mistakes: the rows of the kernel's table.
fn names() -> impl Iterator<Item = &'static str> {
    let rows = include_str!("../../../guest-kernel/src/mm/mutants.rs").lines();
    rows.filter_map(|row| row.split_once(" \"")?.1.split_once("\": \"")).map(|(name, _)| name)
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_has_a_case() {
        let cases = parse(include_str!("../../../guest-user/tests/mutants")).expect("it parses");
        assert!(names().count() >= 16);
        for name in names() {
            let shown = cases.iter().any(|case| case.name.split(',').any(|known| known == name));
            assert!(shown, "no case shows {name}");
        }
    }

    #[test]
    fn a_case_is_read() {
        let cases =
            parse("# why\n[a,b] sbrk=eager --x\n$ x y\none\ntwo\n! m\n= 3\n\n[c]\n$ z\n= 0\n");
        let cases = cases.expect("it parses");
        assert_eq!(cases.len(), 2);
        assert_eq!((cases[0].command.as_str(), cases[0].status), ("x y", 3));
        assert_eq!(cases[0].expected.as_deref(), Some("one\ntwo\n"));
        assert_eq!(cases[0].pinned[0], "sbrk=eager", "the first one counts");
        assert_eq!(
            (&cases[0].emu[..], &cases[0].messages[..]),
            (&["--x".into()][..], &["m".into()][..])
        );
        assert!(parse("[a]\n$ x\n").is_err());
    }
}
