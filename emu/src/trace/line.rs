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
    #[inline]
    pub fn text(&mut self, text: &str) -> &mut Line {
        self.text.extend_from_slice(text.as_bytes());
        self
    }

    /// Adds what another line holds.
    pub fn line(&mut self, other: &Line) -> &mut Line {
        self.text.extend_from_slice(&other.text);
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

    /// Adds a number: what there is most of in a trace.
    #[inline]
    pub fn number(&mut self, number: u64) -> &mut Line {
        self.few(|few| few.number(number))
    }

    /// Adds a few short things at once.
    #[inline]
    pub fn few(&mut self, fill: impl FnOnce(&mut Few)) -> &mut Line {
        let mut few = Few { bytes: [0; FEW], length: 0 };
        fill(&mut few);
        // To copy all of them and then cut is quicker than to copy as many as there are.
        let end = self.text.len() + few.length;
        self.text.extend_from_slice(&few.bytes);
        self.text.truncate(end);
        self
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

/// Bytes of [`Few`]; a number may touch [`AT_ONCE`] more than it needs.
const FEW: usize = 128;
const AT_ONCE: usize = 8;

/// A few short things that are added to a line: as many as fit.
pub struct Few {
    bytes: [u8; FEW],
    length: usize,
}

impl Few {
    /// Adds a short text.
    #[inline]
    pub fn text(&mut self, text: &str) {
        self.bytes[self.length..self.length + text.len()].copy_from_slice(text.as_bytes());
        self.length += text.len();
    }

    /// Adds a short text and a number.
    #[inline]
    pub fn field(&mut self, name: &str, number: u64) {
        self.text(name);
        self.number(number);
    }

    /// Adds a byte.
    #[inline]
    pub fn byte(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    /// Adds a number.
    #[inline]
    pub fn number(&mut self, number: u64) {
        const MOST: u64 = 100_000_000;
        if number < MOST {
            let digits = eight_digits(number as u32);
            // One of them is shown even if it is zero.
            let zeros = (digits.trailing_zeros() / 8).min(7);
            self.digits(digits >> (8 * zeros), 8 - zeros as usize);
        } else {
            self.long(number / MOST, (number % MOST) as u32);
        }
    }

    #[inline(never)]
    fn long(&mut self, high: u64, low: u32) {
        self.number(high);
        self.digits(eight_digits(low), 8);
    }

    #[inline]
    fn digits(&mut self, digits: u64, count: usize) {
        const ASCII: u64 = 0x3030_3030_3030_3030;
        let place = &mut self.bytes[self.length..self.length + AT_ONCE];
        place.copy_from_slice(&(digits | ASCII).to_le_bytes());
        self.length += count;
    }
}

/// The digits of a number below 100 000 000, the first in the lowest byte. All that are at one
/// step of halving are computed side by side in one word, by multiplications instead of divisions.
#[inline]
fn eight_digits(number: u32) -> u64 {
    let (high, low) = (u64::from(number / 10_000), u64::from(number % 10_000));
    let fours = high | low << 32;
    let hundreds = (fours * 5243) >> 19 & 0x7f_0000_007f;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = (twos * 103) >> 10 & 0x000f_000f_000f_000f;
    tens | (twos - tens * 10) << 8
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
        let edges = (0..20).map(|log| 10u64.pow(log)).flat_map(|n| [n - 1, n, n + 7, n / 9 * 8]);
        for number in (0..10_000).map(|n| n * 10_001).chain(edges).chain([u64::MAX]) {
            let mut line = Line::default();
            line.number(number);
            assert_eq!(String::from(line), number.to_string());
        }
    }
}
