//! Running tests, each in its own process, and counting free pages before and after.

use core::cell::Cell;
use core::ffi::CStr;

use ulib::{PAGE, brk, exit, pause, print, println, sbrk, spawn, sys, wait};

/// One test: passes when its process ends with status 0.
pub struct Test {
    /// What it is called on the command line.
    pub name: &'static str,
    /// The test itself; [`ensure!`] ends it early.
    pub run: fn(),
    /// Whether it asks for more than MIT's kernel of 2025 does.
    pub later: bool,
}

/// Whether to start over when all tests have run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Once is enough.
    Never,
    /// Until a test fails.
    UntilFailure,
    /// Failures do not matter.
    Always,
}

/// What a test's process knows from its parent.
struct Known {
    /// The name of the test that runs here.
    test: Cell<&'static str>,
    /// How this kernel's free pages are counted.
    count: Cell<Count>,
}

// SAFETY: a process has one thread.
unsafe impl Sync for Known {}

static KNOWN: Known = Known { test: Cell::new("usertests"), count: Cell::new(Count::Taken) };

/// The name of the test that runs in this process.
pub fn test_name() -> &'static str {
    KNOWN.test.get()
}

/// Fails the test with a message unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            fail!($($message)*);
        }
    };
}

/// Fails the test with a message.
macro_rules! fail {
    ($($message:tt)*) => {{
        ulib::println!("{}: {}", crate::harness::test_name(), format_args!($($message)*));
        ulib::exit(1)
    }};
}

/// Starts a child that runs `body` and exits with its result; the test fails without one.
pub fn child(body: impl FnOnce() -> i32) -> i32 {
    let pid = spawn(body);
    ensure!(pid >= 0, "fork failed");
    pid
}

/// Waits for a child and returns its exit status.
pub fn status() -> i32 {
    match wait() {
        Some(child) => child.status,
        None => fail!("wait failed"),
    }
}

/// Ends the test now when the child that ends next has failed.
pub fn expect_success() {
    let status = status();
    if status != 0 {
        exit(status);
    }
}

/// Runs the body in a child and returns its exit status.
pub fn status_of(body: impl FnOnce() -> i32) -> i32 {
    child(body);
    status()
}

/// How free memory is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    /// The kernel says so.
    Asked,
    /// By taking all there is (MIT's kernel has no such call).
    Taken,
}

impl Count {
    /// Finds out, once; a kernel without the call complains on the console.
    fn detect() -> Count {
        if sys::getnumfreepages() >= 0 { Count::Asked } else { Count::Taken }
    }

    fn free_pages(self) -> usize {
        match self {
            Count::Taken => take_all(),
            Count::Asked => {
                let pages = sys::getnumfreepages() as usize;
                let bytes = sys::freepmem() as usize;
                if pages * PAGE != bytes {
                    println!("FAILED -- freepmem says {bytes} bytes, not {pages} pages");
                }
                pages
            }
        }
    }
}

/// Counts free pages by growing until that fails, in ever smaller steps, and shrinking again.
/// The first step is small because a failure costs what was allocated on the way to it.
fn take_all() -> usize {
    let before = brk();
    let mut pages = 0;
    let mut step = 64;
    while step > 0 {
        if sbrk((step * PAGE) as isize).is_some() {
            pages += step;
        } else {
            step /= 2;
        }
    }
    sbrk(-((brk() - before) as isize));
    pages
}

/// The kernel's count of free pages, if it has one.
pub fn free_pages() -> Option<usize> {
    match KNOWN.count.get() {
        Count::Asked => usize::try_from(sys::getnumfreepages()).ok(),
        Count::Taken => None,
    }
}

/// Clock ticks after which memory still missing counts as lost: orphans of a test may be ending.
const SETTLE_TICKS: u32 = 30;

struct Driver {
    count: Count,
    free: usize,
    repeat: Repeat,
    executed: usize,
}

/// Runs the tests; whether the overall verdict is good.
pub fn drive(quick: &[Test], slow: &[Test], only: Option<&CStr>, repeat: Repeat) -> bool {
    let count = Count::detect();
    KNOWN.count.set(count);
    loop {
        println!("usertests starting");
        let mut driver = Driver { count, free: count.free_pages(), repeat, executed: 0 };
        if !driver.run_all(quick, only) {
            return false;
        }
        if only.is_none() && !slow.is_empty() {
            println!("usertests slow tests starting");
        }
        if !driver.run_all(slow, only) {
            return false;
        }
        if driver.executed == 0 {
            println!("NO TESTS EXECUTED");
            return false;
        }
        if repeat == Repeat::Never {
            return true;
        }
    }
}

impl Driver {
    /// Runs those tests that are wanted; false when it is time to stop.
    fn run_all(&mut self, tests: &[Test], only: Option<&CStr>) -> bool {
        for test in tests {
            let wanted = match only {
                Some(name) => name.to_bytes() == test.name.as_bytes(),
                None => !test.later || self.count == Count::Asked,
            };
            if !wanted {
                continue;
            }
            self.executed += 1;
            if !self.run(test) && self.repeat != Repeat::Always {
                println!("SOME TESTS FAILED");
                return false;
            }
        }
        true
    }

    fn run(&mut self, test: &Test) -> bool {
        print!("test {}: ", test.name);
        let pid = spawn(|| {
            KNOWN.test.set(test.name);
            (test.run)();
            0
        });
        if pid < 0 {
            println!("runtest: fork error");
            return false;
        }
        let passed = wait().is_some_and(|child| child.status == 0);
        let free = self.settled();
        let lost = free < self.free;
        if !passed {
            println!("FAILED");
        } else if lost {
            println!("FAILED -- lost some free pages {free} (out of {})", self.free);
        } else {
            println!("OK");
        }
        self.free = free;
        passed && !lost
    }

    /// Free pages once they are as many as before, or time is up.
    fn settled(&self) -> usize {
        let mut free = self.count.free_pages();
        for _ in 0..SETTLE_TICKS {
            if free >= self.free {
                break;
            }
            pause(1);
            free = self.count.free_pages();
        }
        free
    }
}
