//! A line of output, put together without the machinery of `fmt`: traces have millions of them.

use std::io::{self, Write};

/// A line in the making.
#[derive(Clone, Debug, Default)]
pub struct Line {
    text: Vec<u8>,
}

impl Line {
    /// Begins again.
    pub fn clear(&mut self) {
        self.text.clear();
    }

    /// What there is so far.
    pub fn bytes(&self) -> &[u8] {
        &self.text
    }

    /// Adds text.
    pub fn text(&mut self, text: &str) -> &mut Line {
        self.text.extend_from_slice(text.as_bytes());
        self
    }

    /// Adds at most `width` characters of a text; a cut shows as a full stop.
    pub fn clipped(&mut self, text: &str, width: usize) -> &mut Line {
        if text.len() <= width || text.chars().count() <= width {
            return self.text(text);
        }
        let end = text.char_indices().nth(width - 1).map_or(0, |(at, _)| at);
        self.text(&text[..end]).text(".")
    }

    /// Adds a number.
    pub fn decimal(&mut self, number: impl itoa::Integer) -> &mut Line {
        self.text(itoa::Buffer::new().format(number))
    }

    /// Adds a number in hexadecimal, of at least that many digits.
    pub fn hex(&mut self, number: u64, digits: u32) -> &mut Line {
        let needed = (64 - number.leading_zeros()).div_ceil(4).max(digits).max(1);
        for digit in (0..needed).rev() {
            let digit = number >> (4 * digit) & 0xf;
            self.text.push(b"0123456789abcdef"[digit as usize]);
        }
        self
    }

    /// Adds what `fill` adds, and spaces behind it up to `width`.
    pub fn left(&mut self, width: usize, fill: impl FnOnce(&mut Line) -> &mut Line) -> &mut Line {
        let (_, missing) = self.column(width, fill);
        self.text.resize(self.text.len() + missing, b' ');
        self
    }

    /// Adds what `fill` adds, and spaces before it up to `width`.
    pub fn right(&mut self, width: usize, fill: impl FnOnce(&mut Line) -> &mut Line) -> &mut Line {
        let (start, missing) = self.column(width, fill);
        self.text.resize(self.text.len() + missing, b' ');
        self.text[start..].rotate_right(missing);
        self
    }

    /// Where a column begins, and how many characters it lacks.
    fn column(
        &mut self,
        width: usize,
        fill: impl FnOnce(&mut Line) -> &mut Line,
    ) -> (usize, usize) {
        let start = self.text.len();
        fill(self);
        let begins = |byte: &&u8| **byte & 0xc0 != 0x80;
        (start, width.saturating_sub(self.text[start..].iter().filter(begins).count()))
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<Line> for String {
    fn from(line: Line) -> String {
        // Only whole texts are added.
        String::from_utf8(line.text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_numbers_and_cuts() {
        let mut line = Line::default();
        line.left(4, |l| l.text("äb")).text("|").right(4, |l| l.decimal(-7));
        line.text("|").hex(0, 1).hex(0xabc, 1).hex(0xf, 4).text("|");
        line.clipped("äöü", 3).clipped("äöüx", 3).right(1, |l| l.text("wide"));
        assert_eq!(String::from(line), "äb  |  -7|0abc000f|äöüäö.wide");
    }
}
