//! A hart: its registers, and what traps and interrupts do to them.
//!
//! Nothing here formats text, reads a clock or takes a lock; what happens is told to
//! [`crate::events::Events`].

pub mod csr;
pub mod interrupt;
pub mod state;
pub mod trap;

pub use state::{Context, Hart, Wants};
pub use trap::{Refused, Trap};
