//! No translator: what stands for it on hosts that it does not know.

use crate::events::Events;
use crate::exec::Cpu;
use crate::exec::code::{Block, Code};
use crate::mem::Ram;
use crate::mmu::Tables;

/// There is none.
#[derive(Debug)]
pub enum Translator {}

impl Translator {
    /// Fails.
    pub fn new<E: Events>(
        _warm: u8,
        _ram: &Ram,
        _code: &Code,
        _tables: &Tables,
    ) -> std::io::Result<Translator> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    /// Where jumps to a block lead.
    pub fn entry(&self, _block: &Block) -> u64 {
        match *self {}
    }

    /// Whether it is time for [`Translator::reset`].
    pub fn full(&self) -> bool {
        match *self {}
    }

    /// To be called between turns.
    pub fn between_turns(&mut self, _retired: u64) {
        match *self {}
    }

    /// Forgets all code.
    pub fn reset(&mut self) {
        match *self {}
    }
}

impl<E: Events> Cpu<'_, E> {
    /// Executes the translation of a block, of which there is none.
    pub(crate) fn run_native(&mut self, _block: &Block, _pc: u64, _link: u32) -> Option<u32> {
        None
    }
}
