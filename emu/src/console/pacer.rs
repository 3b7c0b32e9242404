//! Lets idle time pass at the speed of the host's clock, so that a guest's ten seconds take ten
//! seconds when somebody watches.

use std::time::{Duration, Instant};

/// Nanoseconds in a tick of the time base.
const TICK_NS: u64 = 1_000_000_000 / crate::board::TIMEBASE_HZ;
/// How much real time spent computing may be made up for by a shorter wait.
const MAX_CREDIT: Duration = Duration::from_millis(100);

/// The guest's time and the host's at the end of the last wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pacer {
    last: Option<(Instant, u64)>,
}

impl Pacer {
    /// When, on the host's clock, the guest's time `deadline` is reached if it waits from `now`.
    pub fn target(&self, host: Instant, now: u64, deadline: u64) -> Instant {
        let wait = ticks(deadline.saturating_sub(now));
        let Some((instant, time)) = self.last else { return host + wait };
        let ideal = instant + ticks(deadline.saturating_sub(time));
        // Computing faster than the clock gives nothing back: the guest's time is what it is.
        ideal.clamp((host + wait).checked_sub(MAX_CREDIT).unwrap_or(host), host + wait)
    }

    /// A wait that began at the guest's `now` ended at `host`; returns the guest's time then.
    pub fn woke(&mut self, begun: Instant, host: Instant, now: u64, deadline: u64) -> u64 {
        let target = self.target(begun, now, deadline);
        if host >= target {
            self.last = Some((target, deadline));
            return deadline;
        }
        let passed = (host - begun).as_nanos() as u64 / TICK_NS;
        let time = now.saturating_add(passed).min(deadline);
        self.last = Some((host, time));
        time
    }
}

fn ticks(n: u64) -> Duration {
    // A deadline years ahead is as good as any.
    Duration::from_nanos(n.saturating_mul(TICK_NS).min(1 << 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = crate::board::TIMEBASE_HZ;

    #[test]
    fn waits_last_as_long_as_the_guest_thinks() {
        let (start, mut pacer) = (Instant::now(), Pacer::default());
        assert_eq!(pacer.target(start, 5, 5 + SECOND), start + Duration::from_secs(1));
        let woken = start + Duration::from_secs(1);
        assert_eq!(pacer.woke(start, woken, 5, 5 + SECOND), 5 + SECOND);
        // Ten milliseconds of computing that the guest took for nothing shorten the next wait.
        let later = woken + Duration::from_millis(10);
        let target = pacer.target(later, 5 + SECOND, 5 + 2 * SECOND);
        assert_eq!(target, woken + Duration::from_secs(1));
        // Ten seconds do not do away with it.
        let later = woken + Duration::from_secs(10);
        let target = pacer.target(later, 5 + SECOND, 5 + 2 * SECOND);
        assert_eq!(target, later + Duration::from_millis(900));
    }

    #[test]
    fn a_key_ends_a_wait_early() {
        let (start, mut pacer) = (Instant::now(), Pacer::default());
        let key = start + Duration::from_millis(250);
        assert_eq!(pacer.woke(start, key, 0, SECOND), SECOND / 4);
        assert_eq!(pacer.target(key, SECOND / 4, SECOND), start + Duration::from_secs(1));
        assert!(pacer.target(key, 0, u64::MAX) > key);
    }
}
