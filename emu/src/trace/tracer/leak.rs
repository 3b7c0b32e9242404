//! Whether the run left as many free pages as its first command found.

use std::collections::BTreeSet;

/// Processes that are alive, as far as forks and exits were seen, and what there was before the
/// first command: before the first process that a forked one forks, as a shell does.
#[derive(Default)]
pub(super) struct Leak {
    alive: BTreeSet<i64>,
    before: Option<(BTreeSet<i64>, u64)>,
    /// Children that ended before their parent was told that it has them.
    gone: BTreeSet<i64>,
    /// What was missing when one of those that were there before ended.
    at_exit: Option<u64>,
}

/// Processes that are told apart.
const MAX_ALIVE: usize = 1 << 12;

impl Leak {
    /// A process calls fork.
    pub fn forks(&mut self, process: i64, free: Option<u64>) {
        if self.before.is_none() && self.alive.contains(&process) {
            self.before = free.map(|free| (self.alive.clone(), free));
        }
    }

    /// It has a child.
    pub fn forked(&mut self, child: i32) {
        if !self.gone.remove(&child.into()) && self.alive.len() < MAX_ALIVE {
            self.alive.insert(child.into());
        }
    }

    /// A process ends.
    pub fn exited(&mut self, process: i64, free: Option<u64>) {
        // The shell itself: its own pages are not missing.
        self.at_exit = free.and_then(|free| self.missing(free)).or(self.at_exit);
        if !self.alive.remove(&process) && self.gone.len() < MAX_ALIVE {
            self.gone.insert(process);
        }
    }

    /// How many pages are missing now, or were when the shell ended, if all that began since has
    /// ended.
    pub fn missing(&self, free: u64) -> Option<u64> {
        let (alive, before) = self.before.as_ref()?;
        if *alive == self.alive {
            return Some(before.saturating_sub(free));
        }
        self.at_exit.filter(|_| self.alive.is_subset(alive))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_with_a_command() {
        let mut leak = Leak::default();
        // init and its shell.
        leak.forks(1, Some(100));
        leak.forked(2);
        assert_eq!(leak.missing(90), None);
        leak.forks(2, Some(90));
        leak.forked(3);
        leak.forks(3, Some(80));
        leak.forked(4);
        leak.exited(4, Some(80));
        assert_eq!(leak.missing(90), None, "a command runs");
        leak.exited(5, Some(80));
        leak.forked(5);
        leak.exited(3, Some(85));
        assert_eq!((leak.missing(90), leak.missing(88)), (Some(0), Some(2)));
        leak.exited(2, Some(89));
        assert_eq!(leak.missing(95), Some(1), "the shell's own pages do not count");
    }
}
