//! From a case that fails to a smaller one that fails.

use std::time::{Duration, Instant};

use isa::Priv;
use isa::csr::mstatus;
use isa::paging::Mode;

use crate::case::{Case, NOP};

/// Makes a case simpler while `fails` says that it still fails, for some time.
pub fn shrink(case: &Case, limit: Duration, mut fails: impl FnMut(&Case) -> bool) -> Case {
    let start = Instant::now();
    let mut best = case.clone();
    loop {
        let before = size(&best);
        let mut attempt = |best: &mut Case, change: &dyn Fn(&mut Case)| {
            let mut simpler = best.clone();
            change(&mut simpler);
            let worth = start.elapsed() < limit && size(&simpler) < size(best);
            if worth && fails(&simpler) {
                *best = simpler;
            }
        };
        settings(&mut best, &mut attempt);
        words(&mut best, &mut attempt);
        registers(&mut best, &mut attempt);
        if size(&best) == before || start.elapsed() >= limit {
            return best;
        }
    }
}

type Attempt<'a> = dyn FnMut(&mut Case, &dyn Fn(&mut Case)) + 'a;

/// How much there is to a case.
fn size(case: &Case) -> u64 {
    let words: usize = case.streams.iter().map(|(_, words)| useful(words)).sum();
    let registers = case.x.iter().flatten().chain(&case.f).filter(|value| **value != 0).count();
    let start = [Priv::Machine, Priv::Supervisor, Priv::User].iter().position(|p| *p == case.start);
    let [machine, supervisor] = case.vectored;
    let flags = [
        case.paging,
        case.mode != Mode::Sv39,
        machine,
        supervisor,
        case.timer.is_some(),
        case.fcsr != 0,
        case.turn < 10_000,
    ];
    let flags = flags.into_iter().filter(|flag| *flag).count() + start.unwrap_or(0);
    let masks = [case.medeleg, case.mideleg, case.mie, case.mstatus & !mstatus::FS];
    let bits: u32 = masks.iter().map(|mask| mask.count_ones()).sum();
    let lists = case.leaves.len() + case.pad as usize;
    let small = registers + flags + bits as usize + lists;
    1_000_000 * case.harts as u64 + 1000 * words as u64 + small as u64
}

fn useful(words: &[u32]) -> usize {
    words.iter().filter(|word| **word != NOP).count()
}

fn settings(best: &mut Case, attempt: &mut Attempt) {
    while best.harts > 1 {
        let harts = best.harts;
        attempt(best, &|case| {
            case.harts -= 1;
            case.streams.pop();
            case.x.pop();
        });
        if best.harts == harts {
            attempt(best, &|case| {
                case.harts -= 1;
                case.streams.remove(0);
                case.x.remove(0);
            });
        }
        if best.harts == harts {
            break;
        }
    }
    let changes: [&dyn Fn(&mut Case); 14] = [
        &|case| case.timer = None,
        &|case| case.pad = 0,
        &|case| case.turn = 10_000,
        &|case| case.paging = false,
        &|case| case.mode = Mode::Sv39,
        &|case| case.vectored[0] = false,
        &|case| case.vectored[1] = false,
        &|case| case.start = Priv::Machine,
        &|case| case.medeleg = 0,
        &|case| case.mideleg = 0,
        &|case| case.mie = 0,
        &|case| case.fcsr = 0,
        &|case| case.mstatus &= mstatus::FS | mstatus::SUM,
        &|case| case.mstatus &= mstatus::FS,
    ];
    changes.into_iter().for_each(|change| attempt(best, change));
    for at in (0..best.leaves.len()).rev() {
        attempt(best, &|case| {
            case.leaves.remove(at);
        });
    }
}

/// Instructions become such that do nothing, in pieces of decreasing size.
fn words(best: &mut Case, attempt: &mut Attempt) {
    for stream in 0..best.streams.len() {
        let length = best.streams[stream].1.len();
        let mut piece = length.next_power_of_two();
        while piece > 0 {
            for at in (0..length).step_by(piece).rev() {
                let range = at..(at + piece).min(length);
                if best.streams[stream].1[range.clone()].iter().any(|word| *word != NOP) {
                    attempt(best, &|case| case.streams[stream].1[range.clone()].fill(NOP));
                }
            }
            piece /= 2;
        }
        // Pairs of 16-bit encodings, one by one.
        for at in 0..length {
            let word = best.streams[stream].1[at];
            attempt(best, &|case| case.streams[stream].1[at] = word & !0xffff | 1);
            attempt(best, &|case| case.streams[stream].1[at] = word & 0xffff | 1 << 16);
        }
    }
}

fn registers(best: &mut Case, attempt: &mut Attempt) {
    attempt(best, &|case| case.f = [0; 32]);
    for hart in 0..best.harts {
        for number in 0..32 {
            if best.x[hart][number] != 0 {
                attempt(best, &|case| case.x[hart][number] = 0);
            }
        }
    }
    for number in 0..32 {
        if best.f[number] != 0 {
            attempt(best, &|case| case.f[number] = 0);
        }
    }
}
