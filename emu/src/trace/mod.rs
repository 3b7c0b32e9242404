//! The point of the machine: what happened, joined into records, and the outputs made of them.

pub mod awareness;
pub mod courier;
pub mod file;
pub mod filter;
pub mod html;
pub mod json_lines;
pub mod kinds;
pub mod line;
pub(crate) mod notes;
pub(crate) mod numbers;
pub mod observer;
pub mod outputs;
pub mod peek;
pub mod perfetto;
pub mod programs;
pub mod quick;
pub mod record;
pub mod series;
pub mod sink;
pub mod sites;
pub mod summary;
pub mod text;
pub mod tlb;
pub mod tlb_model;
pub mod tracer;
