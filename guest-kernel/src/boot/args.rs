//! The boot flags: `word=value` pairs on the kernel's command line.

use crate::mm::Policy;

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootArgs<'a> {
    /// `sbrk=`, `fork=` and `kmalloc_panic=`: the memory system's.
    pub policy: Policy,
    /// `vmprint=exec1`: the first program's page table is printed when it starts.
    pub vmprint_exec1: bool,
    /// `explain=1`: a line on the console says why a fault kills a process.
    pub explain: bool,
    /// `run="command args"`: what runs instead of the shell, before the machine powers off.
    pub run: Option<&'a str>,
    /// `fail_alloc=n`: the n-th allocation of a frame after the first program was loaded fails.
    pub fail_alloc: Option<u64>,
    /// `mutant=a,b`: mistakes to make.
    #[cfg(feature = "mutants")]
    pub mutants: Option<&'a str>,
}

impl<'a> BootArgs<'a> {
    /// Without a command line.
    pub const DEFAULT: BootArgs<'static> = BootArgs {
        policy: Policy { lazy_sbrk: true, cow_fork: true, kmalloc_panic: false },
        vmprint_exec1: false,
        explain: false,
        run: None,
        fail_alloc: None,
        #[cfg(feature = "mutants")]
        mutants: None,
    };

    /// Reads a command line; words that mean nothing go to `unknown`.
    pub fn parse(line: &'a str, mut unknown: impl FnMut(&str)) -> BootArgs<'a> {
        let mut args = BootArgs::DEFAULT;
        for word in words(line) {
            if args.word(word).is_none() {
                unknown(word);
            }
        }
        args
    }

    fn word(&mut self, word: &'a str) -> Option<()> {
        let (key, value) = word.split_once('=')?;
        match key {
            "sbrk" => self.policy.lazy_sbrk = choice(value, "eager", "lazy")?,
            "fork" => self.policy.cow_fork = choice(value, "copy", "cow")?,
            "kmalloc_panic" => self.policy.kmalloc_panic = choice(value, "0", "1")?,
            "vmprint" => self.vmprint_exec1 = (value == "exec1").then_some(true)?,
            "explain" => self.explain = choice(value, "0", "1")?,
            "run" => self.run = Some(value.trim_matches('"')),
            "fail_alloc" => self.fail_alloc = Some(value.parse().ok()?),
            #[cfg(feature = "mutants")]
            "mutant" => self.mutants = Some(value),
            _ => return None,
        }
        Some(())
    }
}

/// Whether the value is the second one rather than the first.
fn choice(value: &str, no: &str, yes: &str) -> Option<bool> {
    match value {
        _ if value == no => Some(false),
        _ if value == yes => Some(true),
        _ => None,
    }
}

/// The words of a line; a space between double quotes does not end a word.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c: char| {
        quoted ^= c == '"';
        c.is_ascii_whitespace() && !quoted
    })
    .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    fn parse(line: &str) -> (BootArgs<'_>, Vec<String>) {
        let mut unknown = Vec::new();
        let args = BootArgs::parse(line, |word| unknown.push(word.into()));
        (args, unknown)
    }

    #[test]
    fn no_line_means_the_defaults() {
        assert_eq!(parse(""), (BootArgs::DEFAULT, Vec::new()));
    }

    #[test]
    fn flags_are_read() {
        let (args, unknown) = parse(
            "sbrk=eager  fork=copy run=\"usertests -q  mem\" kmalloc_panic=1 vmprint=exec1 explain=1",
        );
        assert_eq!(args.policy, Policy { lazy_sbrk: false, cow_fork: false, kmalloc_panic: true });
        assert_eq!(args.run, Some("usertests -q  mem"));
        assert!(args.vmprint_exec1 && args.explain);
        assert!(unknown.is_empty());
    }

    #[test]
    fn a_command_needs_no_quotes_if_it_is_one_word() {
        assert_eq!(parse("run=ls").0.run, Some("ls"));
    }

    #[test]
    fn what_makes_no_sense_is_reported_and_changes_nothing() {
        let (args, unknown) = parse("quiet sbrk=often root=/dev/vda vmprint=2 fail_alloc=x");
        assert_eq!(args, BootArgs::DEFAULT);
        let words = ["quiet", "sbrk=often", "root=/dev/vda", "vmprint=2", "fail_alloc=x"];
        assert_eq!(unknown, words);
    }
}
