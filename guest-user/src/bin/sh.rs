//! `sh [-c line]`: the shell. Pipes, redirection, `;`, `&`, `( )` and `cd`.
//!
//! ```text
//! line  = pipe { "&" } [ ";" line ]
//! pipe  = exec [ "|" pipe ]
//! exec  = { redir } { word { redir } }  |  "(" line ")" { redir }
//! redir = "<" word | ">" word | ">>" word
//! ```
//!
//! Each line is parsed and run in a child; a syntax error ends the child only.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

use abi::param::MAXARG;
use ulib::{Args, O_CREATE, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, Scratch, T_FILE, Text, chdir};
use ulib::{close, dup, eprintln, exec, exit, fstat, gets, open, pipe, read, text, wait};
use ulib::{spawn, write};

ulib::main!(main);

static LINE: Scratch<[u8; 512]> = Scratch::new([0; 512]);

fn main(args: Args) -> i32 {
    if let (Some(option), Some(line)) = (args.get(1), args.get(2))
        && option == c"-c"
    {
        parse(line.to_bytes()).run();
    }
    // Three descriptors are open from here on.
    loop {
        let fd = open(c"console", O_RDWR);
        if fd >= 3 {
            close(fd);
        }
        if !(0..3).contains(&fd) {
            break;
        }
    }
    let buf = LINE.take();
    loop {
        write(2, b"$ ");
        let length = gets(buf);
        if length == 0 {
            return 0;
        }
        run_line(buf[..length].trim_ascii());
    }
}

fn run_line(line: &[u8]) {
    if line.is_empty() {
        return;
    }
    // The shell itself must change its directory, not a child.
    if let Some(path) = line.strip_prefix(b"cd ") {
        let path = c_string(path);
        if chdir(&path) < 0 {
            eprintln!("cannot cd {}", text(&path));
        }
        return;
    }
    must_fork(|| parse(line).run());
    wait();
}

/// A parsed command.
enum Command {
    Exec { words: Vec<CString> },
    Redirect { command: Box<Command>, path: CString, how: Redirection },
    Pipe { left: Box<Command>, right: Box<Command> },
    List { first: Box<Command>, then: Box<Command> },
    Background { command: Box<Command> },
}

#[derive(Clone, Copy)]
enum Redirection {
    Input,
    Output,
    Append,
}

impl Command {
    /// Runs the command in this process, which ends with the command's exit status.
    fn run(&self) -> ! {
        match self {
            Command::Exec { words } => run_program(words),
            Command::Redirect { command, path, how } => {
                redirect(path, *how);
                command.run()
            }
            Command::List { first, then } => {
                must_fork(|| first.run());
                wait();
                then.run()
            }
            Command::Pipe { left, right } => run_pipe(left, right),
            Command::Background { command } => {
                must_fork(|| command.run());
                exit(0)
            }
        }
    }
}

fn run_program(words: &[CString]) -> ! {
    let args: Vec<&CStr> = words.iter().map(CString::as_c_str).collect();
    let Some(program) = args.first() else { exit(1) };
    exec(program, &args);
    eprintln!("exec {} failed", text(program));
    exit(127)
}

fn redirect(path: &CStr, how: Redirection) {
    let (fd, flags) = match how {
        Redirection::Input => (0, O_RDONLY),
        Redirection::Output => (1, O_WRONLY | O_CREATE | O_TRUNC),
        Redirection::Append => (1, O_RDWR | O_CREATE),
    };
    close(fd);
    // The lowest free descriptor is the one just closed.
    let opened = open(path, flags);
    if opened < 0 {
        eprintln!("open {} failed", text(path));
        exit(1);
    }
    if matches!(how, Redirection::Append) && fstat(opened).is_some_and(|stat| stat.kind == T_FILE) {
        // There is no seek: reading moves the offset to the end.
        while read(opened, &mut [0; 128]) > 0 {}
    }
}

fn run_pipe(left: &Command, right: &Command) -> ! {
    let Some(ends) = pipe() else { die("pipe") };
    must_fork(|| {
        close(1);
        dup(ends.writer);
        ends.close();
        left.run()
    });
    let last = must_fork(|| {
        close(0);
        dup(ends.reader);
        ends.close();
        right.run()
    });
    ends.close();
    let mut status = 0;
    for child in [wait(), wait()].into_iter().flatten() {
        if child.pid == last {
            status = child.status;
        }
    }
    exit(status)
}

/// Starts a child, or dies.
fn must_fork(body: impl FnOnce() -> i32) -> i32 {
    let pid = spawn(body);
    if pid < 0 {
        die("fork");
    }
    pid
}

fn die(message: &str) -> ! {
    eprintln!("{message}");
    exit(1)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    End,
    Symbol(u8),
    Append,
    Word(&'a [u8]),
}

struct Parser<'a> {
    rest: &'a [u8],
}

fn parse(line: &[u8]) -> Command {
    let mut parser = Parser { rest: line };
    let command = parser.line();
    if parser.peek() != Token::End {
        eprintln!("leftovers: {}", Text(parser.rest));
        die("syntax");
    }
    command
}

impl<'a> Parser<'a> {
    /// The next token, which stays.
    fn peek(&mut self) -> Token<'a> {
        let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'\x0b');
        let symbol = |byte: &u8| b"<|>&;()".contains(byte);
        while self.rest.first().is_some_and(space) {
            self.rest = &self.rest[1..];
        }
        match self.rest {
            [] | [0, ..] => Token::End,
            [b'>', b'>', ..] => Token::Append,
            [byte, ..] if symbol(byte) => Token::Symbol(*byte),
            rest => {
                let end = rest.iter().position(|byte| space(byte) || symbol(byte) || *byte == 0);
                Token::Word(&rest[..end.unwrap_or(rest.len())])
            }
        }
    }

    /// Takes the next token away.
    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.rest = &self.rest[match token {
            Token::End => 0,
            Token::Symbol(_) => 1,
            Token::Append => 2,
            Token::Word(word) => word.len(),
        }..];
        token
    }

    /// Takes this symbol away if it is next.
    fn accept(&mut self, symbol: u8) -> bool {
        let found = self.peek() == Token::Symbol(symbol);
        if found {
            self.next();
        }
        found
    }

    fn line(&mut self) -> Command {
        let mut command = self.pipe();
        while self.accept(b'&') {
            command = Command::Background { command: Box::new(command) };
        }
        if self.accept(b';') {
            command = Command::List { first: Box::new(command), then: Box::new(self.line()) };
        }
        command
    }

    fn pipe(&mut self) -> Command {
        let left = self.exec();
        if !self.accept(b'|') {
            return left;
        }
        Command::Pipe { left: Box::new(left), right: Box::new(self.pipe()) }
    }

    fn exec(&mut self) -> Command {
        let mut redirections = Vec::new();
        if self.accept(b'(') {
            let command = self.line();
            if !self.accept(b')') {
                die("syntax - missing )");
            }
            self.redirections(&mut redirections);
            return redirected(command, redirections);
        }
        let mut words = Vec::new();
        self.redirections(&mut redirections);
        while let Token::Word(word) = self.peek() {
            self.next();
            words.push(c_string(word));
            if words.len() >= MAXARG {
                die("too many args");
            }
            self.redirections(&mut redirections);
        }
        if self.peek() == Token::Symbol(b'(') {
            die("syntax");
        }
        redirected(Command::Exec { words }, redirections)
    }

    fn redirections(&mut self, found: &mut Vec<(CString, Redirection)>) {
        loop {
            let how = match self.peek() {
                Token::Symbol(b'<') => Redirection::Input,
                Token::Symbol(b'>') => Redirection::Output,
                Token::Append => Redirection::Append,
                _ => return,
            };
            self.next();
            let Token::Word(path) = self.next() else {
                die("missing file for redirection");
            };
            found.push((c_string(path), how));
        }
    }
}

/// Wraps a command into its redirections; the last one given is done first.
fn redirected(command: Command, redirections: Vec<(CString, Redirection)>) -> Command {
    redirections.into_iter().fold(command, |command, (path, how)| Command::Redirect {
        command: Box::new(command),
        path,
        how,
    })
}

/// A copy with a NUL behind it; the parser ends words at NULs.
fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_else(|_| die("syntax"))
}
