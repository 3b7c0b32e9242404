//! The host's terminal in raw mode, and its way back whatever happens: return, panic, signal.

use std::io::{self, IsTerminal, stdin};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The terminal is in raw mode.
static RAW: AtomicBool = AtomicBool::new(false);
/// The signal that asked the program to end; 0 for none.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// How long the run loop has to notice a signal.
const GRACE: Duration = Duration::from_secs(1);

/// Raw mode, while it lives.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Makes every key a byte of ours, if standard input is a terminal.
    pub fn enter() -> io::Result<Option<RawMode>> {
        if !stdin().is_terminal() {
            return Ok(None);
        }
        enable_raw_mode()?;
        RAW.store(true, Ordering::SeqCst);
        let raw = RawMode(());
        // Output stays as it was: a newline also returns the carriage.
        let mut modes = tcgetattr(stdin())?;
        modes.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        tcsetattr(stdin(), OptionalActions::Now, &modes)?;
        Ok(Some(raw))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Takes the terminal out of raw mode, if it is in it.
pub fn restore() {
    if RAW.swap(false, Ordering::SeqCst) {
        // If the terminal is gone there is nothing to restore.
        let _ = disable_raw_mode();
    }
}

/// The signal that asked the program to end.
pub fn signal() -> Option<i32> {
    match SIGNAL.load(Ordering::Relaxed) {
        0 => None,
        signal => Some(signal),
    }
}

/// From now on signals that end the program leave a sane terminal, and so do panics.
pub fn guard() -> io::Result<()> {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        print(info);
    }));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            SIGNAL.store(signal, Ordering::SeqCst);
            // The run loop ends in good order; unless it hangs.
            std::thread::sleep(GRACE);
            restore();
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
