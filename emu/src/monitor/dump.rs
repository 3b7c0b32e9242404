//! `x` and `xp`: memory in numbers, characters or instructions, laid out as QEMU's monitor does.

use std::fmt::Write;
use std::str::FromStr;

/// Most items that one command shows.
const MAX_COUNT: usize = 65536;

/// How memory is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    count: usize,
    kind: Kind,
    size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Hex,
    Signed,
    Unsigned,
    Octal,
    Character,
    Instruction,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let count = match &text[..digits] {
            "" => 1,
            number => number
                .parse()
                .ok()
                .filter(|n| *n <= MAX_COUNT)
                .ok_or_else(|| "the count is too large".to_owned())?,
        };
        let mut format = Format { count, kind: Kind::Hex, size: 4 };
        for letter in text[digits..].chars() {
            match letter {
                'x' => format.kind = Kind::Hex,
                'd' => format.kind = Kind::Signed,
                'u' => format.kind = Kind::Unsigned,
                'o' => format.kind = Kind::Octal,
                'c' => (format.kind, format.size) = (Kind::Character, 1),
                'i' => format.kind = Kind::Instruction,
                'b' => format.size = 1,
                'h' => format.size = 2,
                'w' => format.size = 4,
                'g' => format.size = 8,
                other => return Err(format!("invalid char in format: '{other}'")),
            }
        }
        Ok(format)
    }
}

impl Format {
    fn bytes_on_a_line(self) -> usize {
        if self.size < 4 { 8 } else { 16 }
    }

    /// QEMU's widths: what the largest number of that size takes.
    fn item(self, value: u64) -> String {
        let bits = self.size * 8;
        match self.kind {
            Kind::Hex => format!("0x{value:0width$x}", width = bits / 4),
            Kind::Signed => {
                let width = (bits * 10).div_ceil(33);
                if self.size == 8 {
                    format!("{:width$}", value as i64)
                } else {
                    format!("{value:width$}")
                }
            }
            Kind::Unsigned => format!("{value:width$}", width = (bits * 10).div_ceil(33)),
            Kind::Octal => {
                let text = if value == 0 { "0".to_owned() } else { format!("0{value:o}") };
                format!("{text:>width$}", width = bits.div_ceil(3))
            }
            Kind::Character => match value as u8 {
                b'\n' => "'\\n'".to_owned(),
                b'\r' => "'\\r'".to_owned(),
                b'\'' | b'\\' => format!("'\\{}'", char::from(value as u8)),
                printable @ b' '..=b'~' => format!("'{}'", char::from(printable)),
                other => format!("'\\x{other:02x}'"),
            },
            Kind::Instruction => String::new(),
        }
    }
}

/// Shows memory from `at` on; `read` says whether it could fill its buffer.
pub fn dump(format: &Format, at: u64, read: impl Fn(u64, &mut [u8]) -> bool) -> String {
    if format.kind == Kind::Instruction {
        code(format.count, at, read)
    } else {
        items(format, at, read)
    }
}

fn items(format: &Format, mut at: u64, read: impl Fn(u64, &mut [u8]) -> bool) -> String {
    let mut text = String::new();
    let mut left = format.count;
    while left > 0 {
        let _ = write!(text, "{at:016x}:");
        for _ in 0..left.min(format.bytes_on_a_line() / format.size) {
            let mut bytes = [0; 8];
            if !read(at, &mut bytes[..format.size]) {
                return text + " Cannot access memory\n";
            }
            let _ = write!(text, " {}", format.item(u64::from_le_bytes(bytes)));
            at = at.wrapping_add(format.size as u64);
            left -= 1;
        }
        text.push('\n');
    }
    text
}

fn code(count: usize, mut at: u64, read: impl Fn(u64, &mut [u8]) -> bool) -> String {
    let mut text = String::new();
    for _ in 0..count {
        let mut bytes = [0; 4];
        if !read(at, &mut bytes[..2]) {
            let _ = writeln!(text, "{at:016x}: Cannot access memory");
            break;
        }
        let long = bytes[0] & 3 == 3;
        if long && !read(at.wrapping_add(2), &mut bytes[2..]) {
            let _ = writeln!(text, "{at:016x}: Cannot access memory");
            break;
        }
        let bits = u32::from_le_bytes(bytes);
        let hex = if long { format!("{bits:08x}") } else { format!("{bits:04x}") };
        let assembly = isa::decode(bits)
            .map_or_else(|| "illegal".to_owned(), |inst| isa::disasm(&inst, at).to_string());
        let _ = writeln!(text, "0x{at:016x}:  {hex:<16}  {assembly}");
        at = at.wrapping_add(if long { 4 } else { 2 });
    }
    text
}
