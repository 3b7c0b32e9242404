//! Mutual exclusion: spin locks, sleep locks, and nesting of interrupts-off sections.

mod intr;
mod once;
mod sleep;
mod spin;

pub use intr::{depth, pop_off, push_off, saved_enable, set_saved_enable};
pub use once::SetOnce;
pub use sleep::{SleepGuard, SleepLock};
pub use spin::{SpinGuard, SpinLock};
