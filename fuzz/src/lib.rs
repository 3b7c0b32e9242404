//! Random streams of instructions on which the engines, and QEMU, have to agree.
//!
//! A seed makes a [`case::Case`] ([`generate`]): streams for one to three harts in all modes, with
//! page tables that change under them, code that changes itself, traps and interrupts.
//! [`lockstep`] runs it on the engines side by side and compares them at every turn's end;
//! [`shrink`] makes what differs small and [`show`] prints it.

pub mod asm;
pub mod case;
pub mod generate;
pub mod layout;
pub mod lockstep;
pub mod modelled;
pub mod qemu;
pub mod random;
pub mod show;
pub mod shrink;
pub mod stream;
mod stubs;
mod system;
pub mod watcher;
