//! The translator: blocks that are executed often become x86-64 code.
//!
//! It executes what the interpreter executes, block by block, and nothing else: the same blocks,
//! the same fast TLB, the same counting, so that a run is the same to the instruction. Rare
//! instructions, and what the fast path of an instruction does not cover, are calls to the
//! interpreter. See `docs/engine.md`.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod x86_64;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use x86_64::Translator;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod absent;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub use absent::Translator;

use crate::events::Events;
use crate::exec::code::Code;
use crate::mem::Ram;
use crate::mmu::Tables;

/// How instructions are executed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// What is executed a third time is translated to machine code of the host.
    #[default]
    Jit,
    /// Everything is translated at once: slower, for tests of the translator.
    JitAtOnce,
    /// Everything is interpreted, as on hosts other than x86-64 Linux.
    Interp,
}

impl Engine {
    /// The translator of this engine, if it has one and the host allows it.
    pub fn translator<E: Events>(
        self,
        ram: &Ram,
        code: &Code,
        tables: &Tables,
    ) -> Option<Translator> {
        match self {
            Engine::Jit => Translator::new::<E>(2, ram, code, tables).ok(),
            Engine::JitAtOnce => Translator::new::<E>(0, ram, code, tables).ok(),
            Engine::Interp => None,
        }
    }
}
