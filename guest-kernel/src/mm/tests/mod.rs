//! The memory system on the host: edge cases of the calls, memory running out at every
//! allocation, and random operations against a model.

mod exhaustion;
mod faults;
mod kernel_memory;
mod maps;
mod model;
mod random;
mod recount;
mod sharing;
mod sizes;
