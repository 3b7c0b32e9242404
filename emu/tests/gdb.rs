//! A debugger's side of gdb's protocol: registers, memory, breakpoints, watchpoints, steps.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use common::*;

struct Gdb {
    child: Child,
    socket: TcpStream,
    _folder: Folder,
}

/// A port that was free a moment ago, another one for each test, and none that the host gives to
/// whoever asks for any: nobody else takes it, or is taken for the machine.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() % 1000 * 10;
    let mut ports = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed))
        .map(|n| 20_000 + (first as u16 + n) % 10_000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

impl Gdb {
    /// Starts a stopped machine and connects to it.
    fn start(name: &str, code: &[u32], args: &[&str]) -> Gdb {
        let folder = Folder::new(name);
        let kernel = folder.file("kernel.elf", &elf(code, 8192, &[]));
        let port = free_port();
        let child = Command::new(assert_cmd::cargo::cargo_bin!("emu"))
            .arg(kernel)
            .args(["-S", "-gdb", &format!("tcp::{port}")])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("emu runs");
        let until = Instant::now() + Duration::from_secs(20);
        let socket = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(socket) => break socket,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        Gdb { child, socket, _folder: folder }
    }

    fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.socket.read_exact(&mut byte).expect("an answer");
        byte[0]
    }

    /// Sends a packet; returns the answer's text.
    fn ask(&mut self, text: &str) -> String {
        self.send(text);
        self.answer()
    }

    fn send(&mut self, text: &str) {
        let sum = text.bytes().fold(0u8, u8::wrapping_add);
        self.socket.write_all(format!("${text}#{sum:02x}").as_bytes()).expect("a socket");
        assert_eq!(self.byte(), b'+');
    }

    fn answer(&mut self) -> String {
        assert_eq!(self.byte(), b'$');
        self.text()
    }

    /// The rest of an answer.
    fn text(&mut self) -> String {
        let mut text = String::new();
        loop {
            match self.byte() {
                b'#' => break,
                // A repetition: the character before it, so many times more.
                b'*' => {
                    let times = self.byte() - 29;
                    let last = text.chars().last().expect("something to repeat");
                    (0..times).for_each(|_| text.push(last));
                }
                byte => text.push(byte.into()),
            }
        }
        self.byte();
        self.byte();
        self.socket.write_all(b"+").expect("a socket");
        text
    }

    /// As [`Gdb::ask`], where the machine may start again before it answers, which is another `+`.
    fn ask_again(&mut self, text: &str) -> String {
        self.send(text);
        match self.byte() {
            b'$' => self.text(),
            byte => {
                assert_eq!(byte, b'+');
                self.answer()
            }
        }
    }

    fn register(&mut self, number: u32) -> u64 {
        let hex = self.ask(&format!("p{number:x}"));
        let hex = hex.get(..16).unwrap_or_else(|| panic!("register {number}: {hex}"));
        u64::from_str_radix(hex, 16).expect("hexadecimal").swap_bytes()
    }
}

impl Drop for Gdb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PC: u32 = 32;
const X6: u32 = 6;

#[test]
fn steps_breakpoints_and_the_end() {
    let mut gdb = Gdb::start("gdb-steps", &finish(3 << 16 | 0x3333), &[]);
    assert!(gdb.ask("?").starts_with("T05"));
    assert_eq!(gdb.register(PC), BASE);
    assert!(gdb.ask("qXfer:features:read:target.xml:0,ffb").contains("riscv:rv64"));
    assert_eq!(gdb.ask("m80000000,4"), "b7021000");
    assert!(gdb.ask("vCont;s:p1.1").starts_with("T05"));
    assert_eq!(gdb.register(PC), BASE + 4);
    assert_eq!(gdb.ask(&format!("Z0,{:x},4", BASE + 12)), "OK");
    let stop = gdb.ask("vCont;c");
    assert!(stop.contains("swbreak"), "{stop}");
    assert_eq!((gdb.register(PC), gdb.register(X6)), (BASE + 12, 3 << 16 | 0x3333));
    // A changed register changes what happens: code 4.
    assert_eq!(gdb.ask("P6=3333040000000000"), "OK");
    assert_eq!(gdb.ask(&format!("z0,{:x},4", BASE + 12)), "OK");
    assert_eq!(gdb.ask("vCont;c"), "W04");
    assert_eq!(gdb.child.wait().expect("it ends").code(), Some(4));
}

#[test]
fn a_finding_stops_in_the_debuggers_hands() {
    let mut gdb = Gdb::start("gdb-check", &same_fault(), &["--check=frames,stop"]);
    let stop = gdb.ask("vCont;c");
    assert!(stop.starts_with("T05"), "{stop}");
    // The fault was taken once more.
    assert_eq!(gdb.register(PC), SAME_FAULT_HANDLER);
}

/// The graders of the labs send `c`, and mean all harts.
#[test]
fn a_plain_continue_is_for_all_harts() {
    // csrr x28, mhartid; hart 0 waits for ever, the other one ends the run.
    let code = [vec![0xf140_2e73, beq_back(28, 0, 0)], finish(3 << 16 | 0x3333)].concat();
    let mut gdb = Gdb::start("gdb-plain", &code, &["-smp", "2"]);
    assert_eq!(gdb.ask(&format!("Z1,{:x},1", BASE + 12)), "OK");
    let stop = gdb.ask("c");
    assert!(stop.starts_with("T05thread:02"), "{stop}");
    assert_eq!(gdb.ask("c"), "W03");
}

#[test]
fn a_start_with_older_virtio_is_not_the_debuggers_affair() {
    // Reads the version of a slot and turns away, to the finisher.
    let read = 4 << 20 | 7 << 15 | 2 << 12 | 28 << 7 | 0x03;
    let code = [vec![lui(7, 0x1000_1000), read], finish(3 << 16 | 0x3333)].concat();
    let mut gdb = Gdb::start("gdb-again", &code, &["-device", "virtio-rng-device"]);
    assert_eq!(gdb.ask(&format!("Z1,{:x},1", BASE + 4)), "OK");
    for _life in 0..2 {
        let stop = gdb.ask_again("c");
        assert!(stop.starts_with("T05"), "{stop}");
        assert_eq!(gdb.register(PC), BASE + 4);
    }
    assert_eq!(gdb.ask("c"), "W03");
}

#[test]
fn watchpoints_interrupts_and_farewell() {
    // x5 = BASE + 0x1000; one store there, then a loop for ever.
    let code = [lui(5, 0x8000_1000), 0x0202_9293, 0x0202_d293, addi(6, 0, 9), sw(6, 5, 8), SELF];
    let mut gdb = Gdb::start("gdb-watch", &code, &[]);
    assert_eq!(gdb.ask("Z2,80001008,4"), "OK");
    let stop = gdb.ask("vCont;c");
    assert!(stop.contains("watch:"), "{stop}");
    assert_eq!(gdb.ask("m80001008,4"), "09000000");
    assert_eq!(gdb.ask("z2,80001008,4"), "OK");
    gdb.send("vCont;c");
    std::thread::sleep(Duration::from_millis(50));
    gdb.socket.write_all(&[3]).expect("a socket");
    let stop = gdb.answer();
    assert!(stop.starts_with("T02"), "{stop}");
    assert_eq!(gdb.register(PC), BASE + 20);
    assert!(gdb.ask("m0,4").starts_with('E'), "nothing is there");
    gdb.ask("D");
    std::thread::sleep(Duration::from_millis(50));
    assert!(gdb.child.try_wait().expect("a child").is_none(), "the machine goes on");
}
