//! Formatted output to the console, and what happens when the kernel finds a bug in itself.

use core::fmt::{self, Write};
use core::panic::Location;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::dev::uart;
use crate::sync::SpinLock;

/// Keeps lines of different harts apart.
static PRINT: SpinLock<()> = SpinLock::new("print", ());

/// A panic message is being printed: no locks any more, whoever holds them.
static PANICKING: AtomicBool = AtomicBool::new(false);

/// Prints to the console, as `std` does.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::print::print(format_args!($($arg)*)) };
}

/// Prints a line to the console, as `std` does.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($arg:tt)*) => { $crate::print::print(format_args!("{}\n", format_args!($($arg)*))) };
}

struct Console;

impl Write for Console {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        uart::write_polling(s.as_bytes());
        Ok(())
    }
}

/// What the macros call: prints without a word of another hart in between.
pub fn print(args: fmt::Arguments<'_>) {
    print_with(|console| console.write_fmt(args));
}

/// Lets something that writes in several steps write without a word of another hart in between.
pub fn print_with(write: impl FnOnce(&mut dyn Write) -> fmt::Result) {
    let _guard = (!PANICKING.load(Ordering::Relaxed)).then(|| PRINT.lock());
    // The console takes everything.
    let _ = write(&mut Console);
}

/// Prints why the kernel cannot go on; from then on no other hart prints.
pub fn print_panic(reason: &dyn fmt::Display, place: Option<&Location<'_>>) {
    if PANICKING.swap(true, Ordering::Relaxed) {
        // Printing the reason panicked, or another hart was first.
        return;
    }
    println!("panic: {reason}");
    if let Some(place) = place {
        println!("       {place}");
    }
    uart::freeze();
}
