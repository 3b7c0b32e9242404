//! Types prepared input at the guest the way a patient person would: a line at a time, the next
//! one when the guest seems to wait for it.
//!
//! Kernels keep few typed bytes (xv6: 128), so a whole file at once would be lost. What is
//! decided here follows from the guest's time and output alone, so that runs repeat. A line is
//! due soon behind a prompt. Without one it is due when the guest has been quiet for some time,
//! less when all harts wait than when they are busy; and much later when what was typed since
//! the last prompt might already fill the guest's buffer. A prompt does not count as one if a line
//! was typed before it: the guest has that line, and takes it next. A guest that does nothing but
//! look for input gets it at once.

use std::collections::VecDeque;

/// Ticks of the time base in a millisecond.
const MS: u64 = crate::board::TIMEBASE_HZ / 1000;

/// Quiet after which a line is due behind a prompt.
const AT_PROMPT: u64 = 10 * MS;
/// The same without a prompt, when all harts wait.
const IDLE: u64 = 1000 * MS;
/// The same without a prompt, when some hart is busy: it may be a kernel that never waits.
const BUSY: u64 = 3000 * MS;
/// The same when the guest's buffer might be full.
const FULL: u64 = 20_000 * MS;

/// The same before a command to the emulator, which is likely to end the run.
const COMMAND: u64 = 60_000 * MS;

/// Bytes that guests are trusted to keep.
const AHEAD: usize = 100;
/// How much of the guest's last line is kept.
const LINE: usize = 16;
/// Most that is kept of what was typed before the first prompt.
const FIRST: usize = 4096;
/// What a shell's prompt ends with.
const PROMPTS: [&[u8]; 3] = [b"$ ", b"# ", b"> "];

/// What the guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// Some hart runs.
    Busy,
    /// All harts wait for interrupts.
    Idle,
    /// It does nothing but look for input.
    Polls,
}

/// Ctrl-A, which introduces a command to the emulator.
pub const ESCAPE: u8 = 1;

/// The next thing to do with the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A byte for the guest.
    Byte(u8),
    /// A command to the emulator: what follows Ctrl-A.
    Command(u8),
}

/// What is still to be typed, and what is known of the guest.
#[derive(Clone, Debug, Default)]
pub struct Typist {
    queue: VecDeque<u8>,
    /// The end of the guest's unfinished line.
    line: Vec<u8>,
    /// Bytes typed since the guest last showed a prompt.
    ahead: usize,
    /// When the guest last printed something or was typed to.
    last: u64,
    /// A line was begun: the rest of it goes without a wait.
    amid: bool,
    /// Bytes of the line that was begun, if there was no prompt for it.
    early: Option<usize>,
    /// Lengths of the lines that were typed without a prompt: the next prompts are for them.
    lines: VecDeque<usize>,
    /// The prompt that is shown is for one of those.
    taken: bool,
    /// There was a prompt.
    prompted: bool,
    /// What was typed before that.
    first: Vec<u8>,
}

impl Typist {
    /// Adds input.
    pub fn add(&mut self, bytes: &[u8]) {
        self.queue.extend(bytes);
    }

    /// Bytes still to be typed.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether all was typed.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The guest starts again, and so does its time.
    pub fn restarted(&mut self) {
        let queue = std::mem::take(&mut self.queue);
        *self = Typist { queue, ..Typist::default() };
    }

    /// The guest will start again without having read anything: it is typed again.
    pub fn expect_repeat(&mut self) {
        let first = std::mem::take(&mut self.first);
        first.into_iter().rev().for_each(|byte| self.queue.push_front(byte));
    }

    /// How long nothing has happened.
    pub fn quiet(&self, now: u64) -> u64 {
        now.saturating_sub(self.last)
    }

    /// The guest printed.
    pub fn printed(&mut self, bytes: &[u8], now: u64) {
        if bytes.is_empty() {
            return;
        }
        self.last = now;
        for byte in bytes {
            if self.line.len() == LINE {
                self.line.remove(0);
            }
            self.line.push(*byte);
            if *byte == b'\n' {
                self.line.clear();
            } else if self.at_prompt() {
                self.prompted = true;
                self.first.clear();
                let line = self.lines.pop_front();
                self.taken = line.is_some();
                self.ahead = line.map_or(0, |line| self.ahead.saturating_sub(line));
            }
        }
    }

    fn at_prompt(&self) -> bool {
        PROMPTS.iter().any(|prompt| self.line.ends_with(prompt))
    }

    /// When the next item is due; `None` when there is none. `live` is for input that is being
    /// typed just now: it need not wait for anything but room in the guest's buffer.
    pub fn due(&self, guest: Guest, live: bool) -> Option<u64> {
        self.queue.front()?;
        let wait = if self.amid || guest == Guest::Polls {
            0
        } else if self.at_prompt() && !self.taken {
            if live { 0 } else { AT_PROMPT }
        } else if self.queue.front() == Some(&ESCAPE) {
            // A guest that waits at a prompt does not take the line that it is for.
            if self.at_prompt() && guest == Guest::Idle { IDLE } else { COMMAND }
        } else if self.ahead + self.next_line() > AHEAD {
            FULL
        } else if live {
            0
        } else if guest == Guest::Idle {
            IDLE
        } else {
            BUSY
        };
        Some(self.last.saturating_add(wait))
    }

    /// Length of the next line.
    fn next_line(&self) -> usize {
        let end = self.queue.iter().take(AHEAD + 1).position(|b| *b == b'\n' || *b == ESCAPE);
        end.map_or(self.queue.len(), |end| end + 1)
    }

    /// Takes the next item, which is typed now.
    pub fn take(&mut self, now: u64) -> Option<Item> {
        let byte = self.queue.pop_front()?;
        self.last = now;
        if byte == ESCAPE {
            self.amid = false;
            return self.queue.pop_front().map(Item::Command);
        }
        self.ahead += 1;
        if !self.prompted && self.first.len() < FIRST {
            self.first.push(byte);
        }
        if !self.amid {
            self.early = (!self.at_prompt() || self.taken).then_some(0);
        }
        self.early.iter_mut().for_each(|length| *length += 1);
        self.amid = byte != b'\n' && self.queue.front() != Some(&ESCAPE);
        if !self.amid {
            self.line.clear();
            self.lines.extend(self.early.take().filter(|_| byte == b'\n'));
        }
        Some(Item::Byte(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(typist: &mut Typist, now: u64) -> String {
        let mut line = String::new();
        while let Some(Item::Byte(byte)) = typist.take(now) {
            line.push(byte.into());
            if !typist.amid {
                break;
            }
        }
        line
    }

    #[test]
    fn a_prompt_makes_the_next_line_due() {
        let mut typist = Typist::default();
        assert_eq!(typist.due(Guest::Idle, false), None);
        typist.add(b"ls\ncat x\n");
        assert_eq!(typist.due(Guest::Busy, false), Some(BUSY));
        typist.printed(b"init: starting sh\n$ ", 5);
        assert_eq!(typist.due(Guest::Busy, false), Some(5 + AT_PROMPT));
        assert_eq!(typist.due(Guest::Polls, false), Some(5));
        assert_eq!(line(&mut typist, 9), "ls\n");
        assert_eq!(typist.due(Guest::Idle, false), Some(9 + IDLE));
        typist.printed(b"ls\n", 10);
        typist.printed(b"README\n$", 11);
        typist.printed(b" ", 12);
        assert_eq!(typist.due(Guest::Idle, false), Some(12 + AT_PROMPT));
        assert_eq!(line(&mut typist, 20), "cat x\n");
        assert!(typist.is_empty());
    }

    #[test]
    fn a_prompt_for_a_line_that_was_typed_before_makes_nothing_due() {
        let mut typist = Typist::default();
        typist.add(b"usertests\nls\n\x01x");
        assert_eq!(typist.due(Guest::Busy, true), Some(0), "somebody types just now");
        assert_eq!(line(&mut typist, 1), "usertests\n");
        assert_eq!(line(&mut typist, 1), "ls\n");
        typist.printed(b"usertests\nls\ninit: starting sh\n$ ", 5);
        assert_eq!(typist.due(Guest::Busy, true), Some(5 + COMMAND));
        assert_eq!(typist.due(Guest::Idle, true), Some(5 + IDLE), "unless it was lost");
        typist.printed(b"ALL TESTS PASSED\n$ ", 7);
        assert_eq!(typist.due(Guest::Busy, true), Some(7 + COMMAND));
        typist.printed(b"README\n$ ", 9);
        assert_eq!(typist.due(Guest::Busy, true), Some(9));
        assert_eq!(typist.take(9), Some(Item::Command(b'x')));
        assert_eq!(typist.ahead, 0);
    }

    #[test]
    fn what_was_typed_too_early_is_typed_again() {
        let mut typist = Typist::default();
        typist.add(b"ls\nwc\n");
        assert_eq!(line(&mut typist, 1), "ls\n");
        typist.expect_repeat();
        typist.restarted();
        typist.printed(b"$ ", 5);
        assert_eq!(line(&mut typist, 9), "ls\n");
        typist.expect_repeat();
        assert_eq!(line(&mut typist, 9), "wc\n", "a shell has read the other one");
    }

    #[test]
    fn the_guests_buffer_is_not_overrun() {
        let mut typist = Typist::default();
        for _ in 0..50 {
            typist.add(b"0123456789\n");
        }
        let mut now = 0;
        for _ in 0..9 {
            assert_eq!(typist.due(Guest::Idle, false), Some(now + IDLE));
            now += IDLE;
            line(&mut typist, now);
        }
        assert_eq!(typist.due(Guest::Idle, false), Some(now + FULL));
        assert_eq!(typist.due(Guest::Idle, true), Some(now + FULL));
        typist.printed(b"$ ", now);
        assert_eq!(typist.due(Guest::Idle, true), Some(now));
    }

    #[test]
    fn commands_come_in_their_turn() {
        let mut typist = Typist::default();
        typist.add(b"ab\x01x");
        assert_eq!(
            (typist.take(1), typist.take(1)),
            (Some(Item::Byte(b'a')), Some(Item::Byte(b'b')))
        );
        assert_eq!(
            typist.due(Guest::Idle, false),
            Some(1 + COMMAND),
            "what was typed may take long"
        );
        assert_eq!(typist.take(2), Some(Item::Command(b'x')));
        assert_eq!(typist.take(2), None);
    }
}
