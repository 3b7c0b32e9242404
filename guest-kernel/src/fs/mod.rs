//! The file system: block cache, log, inodes, directories, files, pipes.
