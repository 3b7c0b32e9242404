//! Memory: frames, page tables, address spaces, the fault function.
