//! Tests of the whole file system on a disk in memory.

#![allow(clippy::unwrap_used)]

mod calls;
mod checker;
mod fixture;
mod hostile;
mod pipes;
mod power_cut;
mod threads;
