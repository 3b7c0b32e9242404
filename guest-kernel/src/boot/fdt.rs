//! A reader of flattened device trees, for the two or three things a kernel wants to know.
//!
//! The blob comes from outside: every number in it is checked before it is used, and nonsense
//! leads to `None`. Format: Devicetree Specification 0.4, chapter 5.

/// A device tree.
#[derive(Clone, Copy)]
pub struct Fdt<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
}

/// First word of every tree, big-endian like all others.
pub const MAGIC: u32 = 0xd00d_feed;
/// Bytes of the header.
const HEADER: usize = 40;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// A piece of the structure block.
enum Token<'a> {
    Begin(&'a [u8]),
    End,
    Property(&'a [u8], &'a [u8]),
}

/// The big-endian word at an offset.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// The bytes up to the next NUL.
fn c_string(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    rest.get(..rest.iter().position(|&byte| byte == 0)?)
}

impl<'a> Fdt<'a> {
    /// The tree in a blob, if its header makes sense.
    pub fn new(blob: &'a [u8]) -> Option<Fdt<'a>> {
        let part = |offset, size| {
            let start = word(blob, offset)? as usize;
            blob.get(start..start.checked_add(word(blob, size)? as usize)?)
        };
        if word(blob, 0)? != MAGIC || blob.len() < HEADER {
            return None;
        }
        Some(Fdt { structure: part(8, 36)?, strings: part(12, 32)? })
    }

    /// The value of a property of the first node with this path. Names in the path match with or
    /// without the address behind the `@`.
    pub fn property(&self, path: &[&str], name: &str) -> Option<&'a [u8]> {
        let mut at = 0;
        // How deep we are, and how many of the nodes around us are the path's.
        let (mut depth, mut matched) = (0, 0);
        while let Some((token, next)) = self.token(at) {
            at = next;
            match token {
                // The root node has no name and is no part of the path.
                Token::Begin(node) => {
                    let wanted = depth > 0 && depth - 1 == matched;
                    if wanted && path.get(matched).is_some_and(|name| names(node, name)) {
                        matched += 1;
                    }
                    depth += 1;
                }
                Token::End => {
                    depth = usize::checked_sub(depth, 1)?;
                    if depth > 0 && depth == matched {
                        if matched == path.len() {
                            return None;
                        }
                        matched -= 1;
                    }
                }
                Token::Property(key, value) => {
                    let here = matched == path.len() && depth == matched + 1;
                    if here && key == name.as_bytes() {
                        return Some(value);
                    }
                }
            }
        }
        None
    }

    /// The token at an offset of the structure block, and where the next one is.
    fn token(&self, mut at: usize) -> Option<(Token<'a>, usize)> {
        loop {
            let kind = word(self.structure, at)?;
            at += 4;
            return match kind {
                NOP => continue,
                BEGIN_NODE => {
                    let name = c_string(self.structure, at)?;
                    Some((Token::Begin(name), (at + name.len() + 1).next_multiple_of(4)))
                }
                END_NODE => Some((Token::End, at)),
                PROPERTY => {
                    let len = word(self.structure, at)? as usize;
                    let name = c_string(self.strings, word(self.structure, at + 4)? as usize)?;
                    let end = (at + 8).checked_add(len)?;
                    let value = self.structure.get(at + 8..end)?;
                    Some((Token::Property(name, value), end.next_multiple_of(4)))
                }
                END => None,
                _ => None,
            };
        }
    }

    /// The kernel's command line.
    pub fn bootargs(&self) -> Option<&'a [u8]> {
        let value = self.property(&["chosen"], "bootargs")?;
        Some(value.split(|&byte| byte == 0).next().unwrap_or_default())
    }

    /// Start and size of the first range of memory.
    pub fn memory(&self) -> Option<(u64, u64)> {
        let cells = |name, default| match self.property(&[], name) {
            Some(value) => word(value, 0),
            None => Some(default),
        };
        let reg = self.property(&["memory"], "reg")?;
        let (start, rest) = number(reg, cells("#address-cells", 2)?)?;
        let (size, _) = number(rest, cells("#size-cells", 1)?)?;
        Some((start, size))
    }
}

/// Whether a node's name is `name`, with or without an address.
fn names(node: &[u8], name: &str) -> bool {
    node == name.as_bytes() || node.split(|&byte| byte == b'@').next() == Some(name.as_bytes())
}

/// A number of one or two words, and what follows it.
fn number(bytes: &[u8], cells: u32) -> Option<(u64, &[u8])> {
    match cells {
        1 => Some((word(bytes, 0)?.into(), bytes.get(4..)?)),
        2 => Some((u64::from(word(bytes, 0)?) << 32 | u64::from(word(bytes, 4)?), bytes.get(8..)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Writes trees: the opposite of the reader, as far as the tests need it.
    #[derive(Default)]
    struct Writer {
        structure: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Writer {
        fn word(&mut self, word: u32) {
            self.structure.extend(word.to_be_bytes());
        }

        fn pad(&mut self) {
            self.structure.resize(self.structure.len().next_multiple_of(4), 0);
        }

        fn node(&mut self, name: &str, inside: impl FnOnce(&mut Writer)) {
            self.word(BEGIN_NODE);
            self.structure.extend(name.as_bytes());
            self.structure.push(0);
            self.pad();
            inside(self);
            self.word(END_NODE);
        }

        fn property(&mut self, name: &str, value: &[u8]) {
            self.word(PROPERTY);
            self.word(value.len() as u32);
            self.word(self.strings.len() as u32);
            self.strings.extend(name.as_bytes());
            self.strings.push(0);
            self.structure.extend(value);
            self.pad();
        }

        fn blob(mut self) -> Vec<u8> {
            self.word(END);
            let strings = HEADER + self.structure.len();
            let header = [
                MAGIC,
                (strings + self.strings.len()) as u32,
                HEADER as u32,
                strings as u32,
                0,
                17,
                16,
                0,
                self.strings.len() as u32,
                self.structure.len() as u32,
            ];
            let mut blob: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
            blob.extend(self.structure);
            blob.extend(self.strings);
            blob
        }
    }

    fn sample() -> Vec<u8> {
        let mut tree = Writer::default();
        tree.node("", |tree| {
            tree.property("#address-cells", &2u32.to_be_bytes());
            tree.property("#size-cells", &2u32.to_be_bytes());
            tree.property("bootargs", b"wrong\0");
            tree.node("cpus", |tree| {
                tree.node("chosen", |tree| tree.property("bootargs", b"too deep\0"));
            });
            tree.word(NOP);
            tree.node("memory@80000000", |tree| {
                tree.property("device_type", b"memory\0");
                let reg = [0x8000_0000u64.to_be_bytes(), 0x1000_0000u64.to_be_bytes()];
                tree.property("reg", reg.as_flattened());
            });
            tree.node("chosen", |tree| {
                tree.node("inner", |tree| tree.property("bootargs", b"inside\0"));
                tree.property("stdout-path", b"/soc/uart\0");
                tree.property("bootargs", b"run=\"echo hi\"\0");
            });
        });
        tree.blob()
    }

    #[test]
    fn finds_properties_by_path() {
        let blob = sample();
        let tree = Fdt::new(&blob).expect("the blob is a tree");
        assert_eq!(tree.bootargs(), Some(&b"run=\"echo hi\""[..]));
        assert_eq!(tree.memory(), Some((0x8000_0000, 0x1000_0000)));
        assert_eq!(tree.property(&["chosen", "inner"], "bootargs"), Some(&b"inside\0"[..]));
        assert_eq!(tree.property(&["cpus", "inner"], "bootargs"), None);
        assert_eq!(tree.property(&["chosen"], "absent"), None);
        assert_eq!(tree.property(&[], "bootargs"), Some(&b"wrong\0"[..]));
    }

    #[test]
    fn every_cut_off_tree_is_harmless() {
        let blob = sample();
        for len in 0..blob.len() {
            if let Some(tree) = Fdt::new(&blob[..len]) {
                let _ = (tree.bootargs(), tree.memory());
            }
        }
    }

    proptest! {
        #[test]
        fn broken_trees_are_harmless(at in 0usize..500, bytes in any::<[u8; 4]>()) {
            let mut blob = sample();
            let at = at % (blob.len() - 4);
            blob[at..at + 4].copy_from_slice(&bytes);
            if let Some(tree) = Fdt::new(&blob) {
                let _ = (tree.bootargs(), tree.memory());
            }
        }

        #[test]
        fn garbage_is_harmless(mut blob in proptest::collection::vec(any::<u8>(), 0..200)) {
            if blob.len() >= 4 {
                blob[..4].copy_from_slice(&MAGIC.to_be_bytes());
            }
            if let Some(tree) = Fdt::new(&blob) {
                let _ = (tree.bootargs(), tree.memory());
            }
        }
    }
}
