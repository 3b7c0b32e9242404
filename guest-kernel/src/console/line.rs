//! The line editor: what the keys do before a line is complete.
//!
//! Return ends a line, Ctrl-D ends the input, Backspace and Ctrl-H take back a character, Ctrl-U
//! the line, Ctrl-P asks for the list of processes. Everything typed is echoed.

/// Bytes that can be typed ahead.
const ROOM: usize = 128;

const fn ctrl(letter: u8) -> u8 {
    letter - b'@'
}

const DELETE: u8 = 0x7f;
/// What takes the last character off the screen.
const RUBOUT: &[u8] = b"\x08 \x08";

/// Input: complete lines that nobody has read yet, then the line that is being typed.
pub struct Line {
    ring: [u8; ROOM],
    /// Bytes read, complete and typed since boot: each at most [`ROOM`] ahead of the first.
    read: usize,
    complete: usize,
    typed: usize,
}

/// What a key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// The line is not complete.
    More,
    /// A line is complete: readers may go on.
    Complete,
    /// The list of processes is wanted.
    ProcessList,
}

impl Line {
    /// Nothing was typed yet.
    pub const fn new() -> Line {
        Line { ring: [0; ROOM], read: 0, complete: 0, typed: 0 }
    }

    /// Whether there is something to read.
    pub fn is_complete(&self) -> bool {
        self.read != self.complete
    }

    /// Takes a key.
    pub fn typed(&mut self, byte: u8, echo: impl Fn(&[u8])) -> Typed {
        const CTRL_P: u8 = ctrl(b'P');
        const CTRL_U: u8 = ctrl(b'U');
        const CTRL_H: u8 = ctrl(b'H');
        match byte {
            CTRL_P => return Typed::ProcessList,
            CTRL_U => while self.erase(&echo) {},
            CTRL_H | DELETE => {
                self.erase(&echo);
            }
            0 => {}
            _ if self.typed - self.read == ROOM => {}
            _ => return self.insert(byte, echo),
        }
        Typed::More
    }

    fn insert(&mut self, byte: u8, echo: impl Fn(&[u8])) -> Typed {
        let byte = if byte == b'\r' { b'\n' } else { byte };
        echo(&[byte]);
        self.ring[self.typed % ROOM] = byte;
        self.typed += 1;
        let full = self.typed - self.read == ROOM;
        if full || byte == b'\n' || byte == ctrl(b'D') {
            self.complete = self.typed;
            return Typed::Complete;
        }
        Typed::More
    }

    /// Takes the last character of the line back, if there is one.
    fn erase(&mut self, echo: &impl Fn(&[u8])) -> bool {
        let any = self.typed != self.complete;
        if any {
            self.typed -= 1;
            echo(RUBOUT);
        }
        any
    }

    /// Moves a line, or as much as there is room for, to `buf`; returns its length. 0 means the
    /// end of the input: Ctrl-D was typed at the start of a line.
    pub fn take(&mut self, buf: &mut [u8]) -> usize {
        let mut len = 0;
        while len < buf.len() && self.is_complete() {
            let byte = self.ring[self.read % ROOM];
            if byte == ctrl(b'D') && len > 0 {
                // The bytes before it are one read, the end is the next.
                break;
            }
            self.read += 1;
            if byte == ctrl(b'D') {
                break;
            }
            buf[len] = byte;
            len += 1;
            if byte == b'\n' {
                break;
            }
        }
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::string::String;
    use std::vec::Vec;

    struct Terminal {
        line: Line,
        screen: RefCell<Vec<u8>>,
    }

    impl Terminal {
        fn new() -> Terminal {
            Terminal { line: Line::new(), screen: RefCell::default() }
        }

        fn keys(&mut self, keys: &[u8]) -> Typed {
            let mut last = Typed::More;
            for &key in keys {
                last = self.line.typed(key, |echo| self.screen.borrow_mut().extend(echo));
            }
            last
        }

        fn read(&mut self, room: usize) -> String {
            let mut buf = std::vec![0; room];
            let len = self.line.take(&mut buf);
            String::from_utf8_lossy(&buf[..len]).into_owned()
        }
    }

    #[test]
    fn a_line_is_complete_with_return() {
        let mut terminal = Terminal::new();
        assert_eq!(terminal.keys(b"ls"), Typed::More);
        assert!(!terminal.line.is_complete());
        assert_eq!(terminal.keys(b"\r"), Typed::Complete);
        assert_eq!(terminal.read(100), "ls\n");
        assert_eq!(*terminal.screen.borrow(), b"ls\n");
    }

    #[test]
    fn reads_take_one_line_or_what_fits() {
        let mut terminal = Terminal::new();
        terminal.keys(b"one\ntwo\n");
        assert_eq!(terminal.read(2), "on");
        assert_eq!(terminal.read(100), "e\n");
        assert_eq!(terminal.read(100), "two\n");
        assert!(!terminal.line.is_complete());
    }

    #[test]
    fn characters_and_lines_can_be_taken_back() {
        let mut terminal = Terminal::new();
        terminal.keys(b"lx\x08s\x7f\x7f\x7f\x7fwc\x15cat\r");
        assert_eq!(terminal.read(100), "cat\n");
        assert!(terminal.screen.borrow().starts_with(b"lx\x08 \x08s\x08 \x08\x08 \x08wc"));
    }

    #[test]
    fn complete_lines_cannot_be_taken_back() {
        let mut terminal = Terminal::new();
        terminal.keys(b"a\n\x08\x15b\n");
        assert_eq!(terminal.read(100), "a\n");
        assert_eq!(terminal.read(100), "b\n");
    }

    #[test]
    fn the_end_of_input_is_an_empty_read() {
        let mut terminal = Terminal::new();
        assert_eq!(terminal.keys(b"abc\x04"), Typed::Complete);
        assert_eq!(terminal.read(100), "abc");
        assert!(terminal.line.is_complete());
        assert_eq!(terminal.read(100), "");
        assert!(!terminal.line.is_complete());
    }

    #[test]
    fn a_full_buffer_counts_as_a_line_and_takes_no_more() {
        let mut terminal = Terminal::new();
        assert_eq!(terminal.keys(&[b'x'; ROOM]), Typed::Complete);
        assert_eq!(terminal.keys(b"yz"), Typed::More);
        assert_eq!(terminal.read(1000), "x".repeat(ROOM));
        assert_eq!(terminal.keys(b"\x10"), Typed::ProcessList);
    }
}
