//! How a program begins and ends: from `_start` to `main`, and the panic handler.
//!
//! `exec` enters at `_start` with argc in a0, argv in a1 and the stack pointer below the
//! argument strings.

use core::ffi::{CStr, c_char};
use core::panic::PanicInfo;

/// A program's arguments; the first is its name.
#[derive(Clone, Copy)]
pub struct Args(&'static [*const c_char]);

impl Args {
    /// How many there are, the program's name included.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// The argument at this index.
    pub fn get(self, index: usize) -> Option<&'static CStr> {
        // SAFETY: exec has put a NUL-terminated string behind each of the argc pointers, on stack
        // pages that live as long as the process.
        self.0.get(index).map(|&arg| unsafe { CStr::from_ptr(arg) })
    }

    /// The program's name as it was called.
    pub fn program(self) -> &'static CStr {
        self.get(0).unwrap_or(c"?")
    }

    /// Everything behind the program's name.
    pub fn rest(self) -> impl Iterator<Item = &'static CStr> {
        (1..self.len()).filter_map(move |index| self.get(index))
    }

    /// The argument pointers themselves from this index on, with the final null: an argv.
    pub fn argv_from(self, index: usize) -> *const *const c_char {
        self.0[index..].as_ptr()
    }
}

/// What `_start` does: calls `main` and exits with what it returns.
///
/// # Safety
///
/// `argc` and `argv` must be what exec passed.
pub unsafe fn start(argc: usize, argv: *const *const c_char, main: fn(Args) -> i32) -> ! {
    // SAFETY: argv points to argc pointers.
    let args = unsafe { core::slice::from_raw_parts(argv, argc) };
    crate::exit(main(Args(args)))
}

/// Makes `fn main(args: Args) -> i32` the program; its result is the exit status.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        /// Where exec enters the program.
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.start")]
        extern "C" fn _start(argc: usize, argv: *const *const core::ffi::c_char) -> ! {
            // SAFETY: only exec comes here.
            unsafe { $crate::start(argc, argv, $main) }
        }
    };
}

/// The exit status of a program that panicked.
const PANICKED: i32 = 101;

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    crate::eprintln!("{info}");
    crate::exit(PANICKED)
}
