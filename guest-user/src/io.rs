//! Reading, writing and formatted output.

use core::fmt::{self, Write};

use crate::sys;

/// Reads into a buffer; bytes read, 0 at the end, -1 on error.
pub fn read(fd: i32, buf: &mut [u8]) -> i32 {
    // SAFETY: the buffer is borrowed for writing, and the kernel stays within it.
    unsafe { sys::read(fd, buf.as_mut_ptr(), buf.len()) }
}

/// Writes a buffer; bytes written, or -1.
pub fn write(fd: i32, buf: &[u8]) -> i32 {
    sys::write(fd, buf.as_ptr(), buf.len())
}

/// Whether all of the buffer could be written.
pub fn write_all(fd: i32, buf: &[u8]) -> bool {
    write(fd, buf) == buf.len() as i32
}

/// Reads a line, its end included, into the buffer; its length, 0 at the end of input.
///
/// Reads single bytes, so that what follows the line is left for others.
pub fn gets(buf: &mut [u8]) -> usize {
    let mut length = 0;
    while length < buf.len() {
        if read(0, &mut buf[length..length + 1]) < 1 {
            break;
        }
        length += 1;
        if matches!(buf[length - 1], b'\n' | b'\r') {
            break;
        }
    }
    length
}

/// Formatted output to a descriptor, through a buffer small enough for the stack.
struct Output {
    fd: i32,
    length: usize,
    buf: [u8; Output::SIZE],
}

impl Output {
    const SIZE: usize = 128;

    fn flush(&mut self) {
        write(self.fd, &self.buf[..self.length]);
        self.length = 0;
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.length == Output::SIZE {
                self.flush();
            }
            self.buf[self.length] = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// What the print macros call.
#[doc(hidden)]
#[inline(never)]
pub fn print_to(fd: i32, args: fmt::Arguments) {
    let mut output = Output { fd, length: 0, buf: [0; Output::SIZE] };
    // An error can only come from a Display implementation; what was printed stays printed.
    let _ = output.write_fmt(args);
    output.flush();
}

/// Prints to a file descriptor.
#[macro_export]
macro_rules! fprint {
    ($fd:expr, $($arg:tt)*) => { $crate::print_to($fd, format_args!($($arg)*)) };
}

/// Prints to the standard output.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::fprint!(1, $($arg)*) };
}

/// Prints a line to the standard output.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($format:literal $($arg:tt)*) => { $crate::print!("{}\n", format_args!($format $($arg)*)) };
}

/// Prints a line to the standard error output.
#[macro_export]
macro_rules! eprintln {
    ($format:literal $($arg:tt)*) => {
        $crate::fprint!(2, "{}\n", format_args!($format $($arg)*))
    };
}
