//! The console at a real (pseudo) terminal: raw while the guest runs, sane afterwards.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::*;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OutputModes, tcgetattr};

/// An emulator at a terminal of its own.
struct Session {
    child: Child,
    keys: File,
    /// Keeps the terminal's settings readable after the emulator has ended.
    line: File,
    screen: Receiver<u8>,
    seen: String,
    _folder: Folder,
}

/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

impl Session {
    fn start(name: &str, code: &[u32], args: &[&str]) -> Session {
        let folder = Folder::new(name);
        let kernel = folder.file("kernel.elf", &elf(code, 0, &[]));
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("a terminal");
        unlockpt(&master).expect("a terminal");
        let path = ptsname(&master, Vec::new()).expect("a terminal");
        let open = || -> File {
            let path = path.to_str().expect("UTF-8");
            File::options().read(true).write(true).open(path).expect("a terminal")
        };
        let line = open();
        let child = Command::new(assert_cmd::cargo::cargo_bin!("emu"))
            .arg(kernel)
            .args(args)
            .stdin(Stdio::from(OwnedFd::from(open())))
            .stdout(Stdio::from(OwnedFd::from(open())))
            .stderr(Stdio::piped())
            .spawn()
            .expect("emu runs");
        let keys = File::from(master);
        let mut output = keys.try_clone().expect("a terminal");
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut byte = [0];
            while let Ok(1) = output.read(&mut byte) {
                if sender.send(byte[0]).is_err() {
                    break;
                }
            }
        });
        Session { child, keys, line, screen, seen: String::new(), _folder: folder }
    }

    fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).expect("a terminal");
    }

    /// Waits until the screen shows `text` behind what it showed before.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            let left = until.saturating_duration_since(Instant::now());
            let byte = self.screen.recv_timeout(left);
            self.seen
                .push(byte.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.seen)).into());
        }
        self.seen.clear();
    }

    /// Waits for the end; the terminal must be sane then.
    #[track_caller]
    fn end(mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(Instant::now() < until, "emu does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(self.sane(), "the terminal is still raw");
        status.code()
    }

    fn sane(&self) -> bool {
        let modes = tcgetattr(&self.line).expect("a terminal");
        modes.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
            && modes.output_modes.contains(OutputModes::OPOST)
    }
}

/// Prints a greeting, then prints whatever is typed.
fn echo() -> Vec<u32> {
    let wait = [lbu(6, 7, 5), andi(6, 6, 1), beq_back(6, 0, 8)];
    let copy = [lbu(28, 7, 0), sb(28, 7), beq_back(0, 0, 20)];
    [&print("ready\n")[..], &[lui(7, 0x1000_0000)], &wait, &copy].concat()
}

#[test]
fn keys_go_to_the_guest_and_control_a_x_quits() {
    let mut session = Session::start("keys", &echo(), &[]);
    session.expect("ready\r\n");
    assert!(!session.sane(), "raw while the guest runs");
    // Control-C, Control-D, Control-Z and a carriage return are the guest's.
    session.press(b"q\x03\x04\x1a\rw");
    session.expect("q\x03\x04\x1a\rw");
    session.press(b"\x01a!");
    session.expect("\x01!");
    session.press(b"\x01h");
    session.expect("Ctrl-A a   send Ctrl-A to the guest\r\n");
    session.press(b"$ ");
    session.expect("$ ");
    // What comes next at the terminal begins on a line of its own.
    session.press(b"\x01x");
    session.expect("\r\n");
    assert_eq!(session.end(), Some(0));
}

#[test]
fn the_monitor_is_behind_control_a_c() {
    let mut session = Session::start("monitor", &echo(), &[]);
    session.expect("ready");
    session.press(b"\x01c");
    session.expect("(emu) ");
    session.press(b"stop\rinfp\x7fo cpus\r");
    session.expect("* CPU #0: pc 00000000800000");
    session.press(b"xp/1xw 0x80000000\r");
    session.expect("0000000080000000: 0x100003b7");
    session.press(b"cont\r");
    session.expect("(emu) ");
    session.press(b"\x01c");
    session.press(b"again");
    session.expect("again");
    session.press(b"\x01cquit\r");
    assert_eq!(session.end(), Some(0));
}

#[test]
fn a_finding_opens_the_monitor() {
    let mut session = Session::start("finding", &same_fault(), &["--check=frames,stop"]);
    session.expect("(emu) ");
    session.press(b"info cpus\r");
    session.expect(&format!("* CPU #0: pc {SAME_FAULT_HANDLER:016x}"));
    session.press(b"quit\r");
    assert_eq!(session.end(), Some(0));
}

#[test]
fn signals_leave_a_sane_terminal() {
    for (name, number) in [("-TERM", 15), ("-HUP", 1), ("-INT", 2)] {
        let mut session = Session::start(&format!("signal{number}"), &echo(), &[]);
        session.expect("ready");
        let kill = Command::new("kill").args([name, &session.child.id().to_string()]).status();
        assert!(kill.expect("kill runs").success());
        assert_eq!(session.end(), Some(128 + number));
    }
}

#[test]
fn the_guests_end_leaves_a_sane_terminal() {
    let session = Session::start("exit", &finish(3 << 16 | 0x3333), &[]);
    assert_eq!(session.end(), Some(3));
}
