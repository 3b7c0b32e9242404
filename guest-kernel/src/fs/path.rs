//! Paths: names with slashes between them, looked up from the root or the current directory.

use abi::fs::ROOTINO;
use abi::stat::T_DIR;

use super::dir::Name;
use super::{Fs, FsError, Inode, Op, OpInode};

/// Splits off the first name of a path. What is left has no slashes in front, so that it is empty
/// behind the last name. There is no name in an empty path, or one of slashes only.
fn split_first(path: &[u8]) -> Option<(Name, &[u8])> {
    let path = skip_slashes(path);
    let end = path.iter().position(|&byte| byte == b'/').unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    (!name.is_empty()).then(|| (Name::new(name), skip_slashes(rest)))
}

fn skip_slashes(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    &path[start..]
}

impl Fs {
    /// The inode that a path leads to, from the directory `cwd` unless the path begins with a
    /// slash. The path is without its NUL.
    pub fn lookup<'o>(
        &'static self,
        op: &'o Op,
        cwd: &Inode,
        path: &[u8],
    ) -> Result<OpInode<'o>, FsError> {
        let mut inode = self.start(op, cwd, path)?;
        let mut path = path;
        while let Some((name, rest)) = split_first(path) {
            inode = step(op, &inode, &name)?;
            path = rest;
        }
        Ok(inode)
    }

    /// The directory that the last name of a path is looked up in, and that name.
    pub(super) fn lookup_parent<'o>(
        &'static self,
        op: &'o Op,
        cwd: &Inode,
        path: &[u8],
    ) -> Result<(OpInode<'o>, Name), FsError> {
        let mut inode = self.start(op, cwd, path)?;
        let (mut name, mut path) = split_first(path).ok_or(FsError::NotFound)?;
        while let Some((next, rest)) = split_first(path) {
            inode = step(op, &inode, &name)?;
            (name, path) = (next, rest);
        }
        Ok((inode, name))
    }

    fn start<'o>(
        &'static self,
        op: &'o Op,
        cwd: &Inode,
        path: &[u8],
    ) -> Result<OpInode<'o>, FsError> {
        match path.first() {
            Some(b'/') => self.inode_in(op, ROOTINO),
            _ => Ok(cwd.enter(op)),
        }
    }
}

/// The inode that has this name in a directory.
fn step<'o>(op: &'o Op, directory: &Inode, name: &Name) -> Result<OpInode<'o>, FsError> {
    let guard = directory.lock()?;
    if guard.kind != T_DIR {
        return Err(FsError::NotDirectory);
    }
    // A directory that was removed while it was somebody's current one has no entries any more,
    // although those for itself and its parent are still there.
    if guard.nlink == 0 {
        return Err(FsError::NotFound);
    }
    let (inum, _) = guard.find(name)?.ok_or(FsError::NotFound)?;
    directory.fs().inode_in(op, inum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_path() {
        let name = |bytes: &[u8]| Name::new(bytes);
        assert_eq!(split_first(b"a/bb/c"), Some((name(b"a"), &b"bb/c"[..])));
        assert_eq!(split_first(b"///a//bb"), Some((name(b"a"), &b"bb"[..])));
        assert_eq!(split_first(b"a///"), Some((name(b"a"), &b""[..])));
        assert_eq!(split_first(b""), None);
        assert_eq!(split_first(b"////"), None);
        let long = split_first(b"fourteen_bytes_and_more/x");
        assert_eq!(long, Some((name(b"fourteen_bytes"), &b"x"[..])));
    }
}
