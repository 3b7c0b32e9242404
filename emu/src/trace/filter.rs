//! Which records an output gets: `-e 'pid=5 store'`.
//!
//! An expression is words that must all hold; `,` inside a word means "or", `!` before it "not".

use std::str::FromStr;

use super::record::{Access, Fault, Record};
use super::text;

/// A filter; the empty one lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    negated: bool,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Pid(Vec<i32>),
    Name(Vec<String>),
    Hart(Vec<u32>),
    Page(Vec<(u64, u64)>),
    Function(Vec<String>),
    /// An access, an outcome or a cause as the text output names it.
    Word(Vec<String>),
}

/// What a word of a filter may be, for messages.
const HELP: &str = "pid=N, name=TEXT, hart=N, va=HEX or va=HEX-HEX, fn=TEXT, or words of a fault \
                    line (fetch, load, store, lazy, cow, copied, killed, ...), each with `!` before \
                    it for not and `,` in it for or";

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Filter, String> {
        let terms = text.split_whitespace().map(Term::parse).collect::<Result<_, _>>()?;
        Ok(Filter { terms })
    }
}

impl Term {
    fn parse(word: &str) -> Result<Term, String> {
        let (negated, word) = match word.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, word),
        };
        let bad = |what: &str| format!("`{what}` in a filter: expected {HELP}");
        let numbers = |list: &str| {
            list.split(',').map(|n| n.parse().map_err(|_| bad(n))).collect::<Result<Vec<_>, _>>()
        };
        let words = |list: &str| list.split(',').map(str::to_owned).collect::<Vec<_>>();
        let test = match word.split_once('=') {
            Some(("pid", list)) => Test::Pid(numbers(list)?),
            Some(("hart", list)) => {
                Test::Hart(numbers(list)?.into_iter().map(|n: i32| n.unsigned_abs()).collect())
            }
            Some(("name", list)) => Test::Name(words(list)),
            Some(("fn", list)) => Test::Function(words(list)),
            Some(("va", list)) => Test::Page(
                list.split(',')
                    .map(|r| range(r).ok_or_else(|| bad(r)))
                    .collect::<Result<_, _>>()?,
            ),
            Some(_) => return Err(bad(word)),
            None => Test::Word(known_words(word, bad)?),
        };
        Ok(Term { negated, test })
    }
}

/// `HEX` means its page, `HEX-HEX` everything between, both ends included.
fn range(text: &str) -> Option<(u64, u64)> {
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    match text.split_once('-') {
        Some((from, to)) => Some((hex(from)?, hex(to)?)),
        None => hex(text).map(|va| (va & !0xfff, va | 0xfff)),
    }
}

/// Words that a fault line can hold; anything else is a slip of the pen.
const WORDS: &[&str] = &[
    "fetch",
    "load",
    "store",
    "lazy",
    "shared",
    "file",
    "absent",
    "cow",
    "text",
    "rdonly",
    "noread",
    "noexec",
    "kernel",
    "user",
    "canon",
    "rsvd",
    "align",
    "needA",
    "needD",
    "zeroed",
    "copied",
    "writable",
    "joined",
    "filled",
    "remapped",
    "spurious",
    "unresolved",
    "refused",
    "killed",
    "never",
];

fn known_words(list: &str, bad: impl Fn(&str) -> String) -> Result<Vec<String>, String> {
    let known = |word: &str| {
        WORDS.iter().find(|known| known.eq_ignore_ascii_case(word)).ok_or_else(|| bad(word))
    };
    list.split(',').map(|word| known(word).map(|word| (*word).to_owned())).collect()
}

impl Filter {
    /// Whether it may let some frames of a run pass and others not.
    pub fn tells_frames_apart(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.test, Test::Page(_)))
    }

    /// Whether a record passes; frames that are told apart come one by one. Header and end always do; a word that only faults have (an
    /// outcome, say) holds for no other record.
    pub fn passes(&self, record: &Record) -> bool {
        // What is about the whole run belongs to every part of it.
        if matches!(record, Record::Header { .. } | Record::TlbCounted { .. } | Record::End { .. })
        {
            return true;
        }
        self.terms.iter().all(|term| term.test.holds(record) != term.negated)
    }
}

impl Test {
    fn holds(&self, record: &Record) -> bool {
        let who = record.who();
        let fault = match record {
            Record::Fault(fault) => Some(fault),
            _ => None,
        };
        match self {
            Test::Pid(pids) => who.and_then(|who| who.pid).is_some_and(|pid| pids.contains(&pid)),
            Test::Name(names) => who
                .and_then(|who| who.name.as_ref())
                .is_some_and(|name| names.iter().any(|wanted| **wanted == **name)),
            Test::Hart(harts) => record.at().is_some_and(|at| harts.contains(&at.hart)),
            Test::Page(ranges) => address(record)
                .is_some_and(|va| ranges.iter().any(|(from, to)| (*from..=*to).contains(&va))),
            Test::Function(names) => {
                let functions =
                    fault.map(|Fault { place, .. }| [&place.function, &place.inlined_into]);
                let mut functions = functions.into_iter().flatten().flatten();
                functions.any(|name| names.iter().any(|wanted| name.contains(wanted.as_str())))
            }
            Test::Word(words) => words.iter().any(|word| has_word(record, fault, word)),
        }
    }
}

fn address(record: &Record) -> Option<u64> {
    match record {
        Record::Fault(fault) => Some(fault.va),
        Record::TlbMissed { va, .. } => Some(*va),
        Record::Frames(run) => run.frames.first().map(|frame| frame.pa),
        _ => None,
    }
}

fn has_word(record: &Record, fault: Option<&Fault>, word: &str) -> bool {
    let access = match record {
        Record::Fault(fault) => Some(fault.access),
        Record::TlbMissed { access, .. } => Some(*access),
        _ => None,
    };
    let named = |access: Access| text::access_word(access) == word;
    access.is_some_and(named)
        || fault.is_some_and(|fault| {
            text::why(fault) == word || fault.outcome.name().split(' ').any(|part| part == word)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(filter: &str) -> bool {
        let filter: Filter = filter.parse().expect("valid");
        filter.passes(&Record::Fault(text::tests::sample()))
    }

    #[test]
    fn all_words_must_hold() {
        for filter in [
            "",
            "pid=5 store",
            "cow",
            "copied,killed",
            "!load name=sh,cat",
            "va=3000",
            "va=0x3f00-3fff hart=0 fn=run_",
        ] {
            assert!(passes(filter), "{filter}");
        }
        for filter in ["pid=6", "store !cow", "killed", "va=4000", "fn=main", "name=s"] {
            assert!(!passes(filter), "{filter}");
        }
    }

    #[test]
    fn what_is_about_the_whole_run_passes() {
        let filter: Filter = "pid=5 store".parse().expect("valid");
        let (at, config) = (Default::default(), "64x4,fifo,asid=on".to_owned());
        let (insts, data) = Default::default();
        assert!(filter.passes(&Record::TlbCounted { at, config, insts, data }));
        assert!(!filter.passes(&Record::Mark { at, who: Default::default(), values: [0; 3] }));
    }

    #[test]
    fn only_addresses_tell_frames_of_a_run_apart() {
        let tells = |filter: &str| filter.parse().map(|f: Filter| f.tells_frames_apart());
        assert_eq!((tells("va=3000"), tells("pid=5 !load")), (Ok(true), Ok(false)));
    }

    #[test]
    fn slips_of_the_pen_are_errors() {
        for filter in ["stor", "pid=x", "va=zz", "colour=red"] {
            let error = filter.parse::<Filter>().expect_err("invalid");
            assert!(error.contains("expected pid=N"), "{error}");
        }
    }
}
