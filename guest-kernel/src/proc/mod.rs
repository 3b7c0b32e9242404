//! Processes: the table, the scheduler, and their lives from fork to wait.
//!
//! What a process has falls into three parts. Its [`State`] is for everybody, behind a lock. What
//! it [`Own`]s (memory, files, registers) only its own kernel thread touches, or its parent
//! before it runs and after it is gone. Who is whose parent is one table behind one lock.
//!
//! Locks are taken in this order: condition locks (and the family's), then a process's state.

mod dump;
mod life;
mod own;
mod sched;
mod table;

pub use dump::{dump, list};
pub use life::{exit, fork, kill, me, parent_pid, start_init, wait};
pub use own::{Own, OwnGuard};
pub use sched::{current, killed, scheduler, sleep, sleep_unless_killed, wakeup, yield_now};
pub use table::{Proc, State, in_use};
