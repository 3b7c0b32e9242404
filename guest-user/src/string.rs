//! Strings that end in NUL, numbers in text, and how both are printed.

use core::ffi::CStr;
use core::fmt::{self, Display, Write};

/// The number at the start of a string, 0 if there is none.
pub fn atoi(text: &CStr) -> i32 {
    text.to_bytes()
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0i32, |n, byte| n.wrapping_mul(10).wrapping_add(i32::from(byte - b'0')))
}

/// The number that an optional argument stands for, `default` without one.
pub fn number_or(arg: Option<&CStr>, default: usize) -> usize {
    arg.map_or(default, |arg| atoi(arg) as usize)
}

/// Prints bytes as text.
pub struct Text<'a>(pub &'a [u8]);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_char('?')?;
            }
        }
        Ok(())
    }
}

/// Prints a NUL-terminated string.
pub fn text(string: &CStr) -> Text<'_> {
    Text(string.to_bytes())
}

/// Prints an address as C's `%p` does on xv6: sixteen upper-case digits.
pub struct Ptr(pub usize);

impl Display for Ptr {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:#018X}", self.0)
    }
}

/// A NUL-terminated string put together at run time, of at most `N - 1` bytes.
#[derive(Clone, Copy)]
pub struct Name<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Name<N> {
    /// An empty string.
    pub const fn new() -> Name<N> {
        Name { bytes: [0; N], length: 0 }
    }

    /// A string of these bytes; panics when they do not fit.
    pub fn from(bytes: &[u8]) -> Name<N> {
        let mut name = Name::new();
        assert!(name.push(bytes), "name too long");
        name
    }

    /// Appends bytes; false, and nothing done, when they do not fit.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let end = self.length + bytes.len();
        if end >= N {
            return false;
        }
        self.bytes[self.length..end].copy_from_slice(bytes);
        self.length = end;
        true
    }

    /// The string, up to its first NUL.
    pub fn as_c(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

impl<const N: usize> Default for Name<N> {
    fn default() -> Name<N> {
        Name::new()
    }
}

impl<const N: usize> Write for Name<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.push(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}
