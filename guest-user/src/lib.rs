//! User-side library of the in-tree guest.
#![no_std]
