//! xv6 file system images: make, list, read, write, check.
