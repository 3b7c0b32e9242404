//! RISC-V as data: the instruction table, decoder, disassembler, CSRs, traps, paging.
#![no_std]
#![forbid(unsafe_code)]
