//! The machine's time, in ticks of the time base (10 MHz).
//!
//! Time is virtual unless asked otherwise: ten nanoseconds for every instruction that a hart
//! executes while the others, which take turns with it on the host, execute as many, as on a small
//! board of 100 million instructions a second. So with n harts running, one instruction is worth
//! 10/n ns; a fraction of a tick is kept exactly. What a guest does to let time pass, as loops that
//! wait for the clock, costs a tenth of what it would at one nanosecond. A guest that waits for it
//! comes to the end of time, where it stands still.

use std::time::Instant;

use crate::board::{MAX_HARTS, TIMEBASE_HZ};

/// What every number of running harts divides: 1 × 2 × 3 × 4 × 5 × 6 × 7 × 8 without repetition.
const SHARES: u64 = 840;
const _: () = assert!(MAX_HARTS <= 8);
/// Nanoseconds in a tick.
pub const TICK_NS: u64 = 1_000_000_000 / TIMEBASE_HZ;
/// Nanoseconds that an instruction takes.
const INSN_NS: u64 = 10;
/// Fractions of a tick: shares of a nanosecond.
const FRACTIONS: u64 = TICK_NS * SHARES;

/// Where time comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Retired instructions.
    #[default]
    Virtual,
    /// The host's clock.
    Host,
}

/// The clock.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Ticks and fractions at the beginning of the present turn.
    ticks: u64,
    fraction: u64,
    /// Instructions that the hart whose turn it is had retired at its beginning.
    start: u64,
    /// Fractions for every instruction of this turn.
    rate: u64,
    /// Instructions of all harts in all turns before this one.
    total: u64,
    /// When the host's clock counts: its time at tick 0.
    host: Option<Instant>,
}

impl Clock {
    /// A clock at zero.
    pub fn new(source: Source) -> Clock {
        let host = (source == Source::Host).then(Instant::now);
        Clock { ticks: 0, fraction: 0, start: 0, rate: INSN_NS * SHARES, total: 0, host }
    }

    /// Whether time is the host's.
    pub fn is_host(&self) -> bool {
        self.host.is_some()
    }

    /// The time when the hart whose turn it is has retired that many instructions.
    #[inline]
    pub fn now(&self, retired: u64) -> u64 {
        match self.host {
            None => {
                let fractions = self.fraction + (retired - self.start) * self.rate;
                self.ticks.saturating_add(fractions / FRACTIONS)
            }
            Some(start) => (start.elapsed().as_nanos() / u128::from(TICK_NS)) as u64,
        }
    }

    /// The same in nanoseconds.
    pub fn nanoseconds(&self, retired: u64) -> u64 {
        match self.host {
            None => {
                let fractions = self.fraction + (retired - self.start) * self.rate;
                self.ticks.saturating_mul(TICK_NS).saturating_add(fractions / SHARES)
            }
            Some(start) => start.elapsed().as_nanos() as u64,
        }
    }

    /// Instructions that all harts retired, when the one whose turn it is has retired that many.
    pub fn total(&self, retired: u64) -> u64 {
        self.total + (retired - self.start)
    }

    /// A turn begins, of one of `running` harts, which has retired that many instructions.
    pub fn begin_turn(&mut self, retired: u64, running: u64) {
        self.start = retired;
        self.rate = INSN_NS * SHARES / running.clamp(1, MAX_HARTS as u64);
    }

    /// The turn ends.
    pub fn end_turn(&mut self, retired: u64) {
        let fraction = self.fraction + (retired - self.start) * self.rate;
        self.ticks = self.ticks.saturating_add(fraction / FRACTIONS);
        self.fraction = fraction % FRACTIONS;
        self.total += retired - self.start;
        self.start = retired;
    }

    /// Time between turns.
    pub fn idle_now(&self) -> u64 {
        self.now(self.start)
    }

    /// Between turns: it is `ticks` now, which is not in the past.
    pub fn pass(&mut self, ticks: u64) {
        if ticks > self.ticks {
            (self.ticks, self.fraction) = (ticks, 0);
        }
    }

    /// How many more instructions until `deadline`, for a hart that has retired that many; nothing
    /// if instructions do not tell.
    pub fn insns_until(&self, retired: u64, deadline: u64) -> Option<u64> {
        if self.host.is_some() {
            return None;
        }
        let gone = self.fraction + (retired - self.start) * self.rate;
        let fractions = u128::from(deadline.saturating_sub(self.ticks)) * u128::from(FRACTIONS);
        let left = fractions.saturating_sub(u128::from(gone)).div_ceil(u128::from(self.rate));
        Some(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_ten_nanoseconds_shared_by_all() {
        for harts in 1..=8 {
            let mut clock = Clock::new(Source::Virtual);
            for _ in 0..harts {
                clock.begin_turn(0, harts);
                clock.end_turn(12_345);
            }
            // Seven turns leave no rounding behind.
            assert_eq!((clock.ticks, clock.fraction), (1234, 50 * SHARES), "{harts}");
        }
    }

    #[test]
    fn a_deadline_is_met_by_the_very_instruction() {
        let mut clock = Clock::new(Source::Virtual);
        clock.begin_turn(1000, 3);
        clock.end_turn(1007);
        clock.begin_turn(50, 3);
        let left = clock.insns_until(60, 2).unwrap();
        assert_eq!((clock.now(60 + left - 1), clock.now(60 + left)), (1, 2));
        assert_eq!(clock.insns_until(60, 0), Some(0));
        assert!(clock.insns_until(60, u64::MAX).unwrap() > 1 << 60);
    }

    #[test]
    fn idle_time_never_goes_back() {
        let mut clock = Clock::new(Source::Virtual);
        clock.pass(10);
        clock.pass(3);
        assert_eq!(clock.idle_now(), 10);
    }
}
