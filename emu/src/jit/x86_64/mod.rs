//! Translated code for x86-64 on Linux: an assembler, what surrounds translated code, and what each
//! kind of instruction becomes.

mod access;
mod asm;
mod buffer;
mod bulk;
mod chooser;
mod floating;
mod flow;
mod integer;
mod rounds;
mod site;
mod sse;
mod stubs;
mod system;
mod translate;
mod translator;

pub use translator::Translator;
