//! xv6 in Rust.
#![cfg_attr(not(test), no_std)]
