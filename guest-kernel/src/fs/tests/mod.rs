//! Tests of the whole file system on a disk in memory.
