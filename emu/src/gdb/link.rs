//! The connection to a debugger, read a packet at a time.
//!
//! `c` means that everything goes on, and the labs' graders say nothing else. gdbstub takes it for
//! one hart alone, while the others stand still; `vCont;c`, as gdb says it, it takes for all.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;

use gdbstub::conn::{Connection, ConnectionExt};

/// What simple debuggers say, and what gdb says instead.
const PLAIN: &[u8] = b"$c#63";
const CONTINUE: &[u8] = b"$vCont;c#a8";

/// A debugger's connection.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    /// Bytes that are next, before those of the stream.
    ahead: VecDeque<u8>,
}

impl Link {
    /// A connection that begins with what the debugger says.
    pub fn new(stream: TcpStream) -> Link {
        Link { stream, ahead: VecDeque::new() }
    }

    /// The same connection, on which the debugger has said that everything goes on.
    pub fn continued(&self) -> io::Result<Link> {
        Ok(Link { stream: self.stream.try_clone()?, ahead: CONTINUE.iter().copied().collect() })
    }
}

impl Connection for Link {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        Connection::write(&mut self.stream, byte)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Connection::write_all(&mut self.stream, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Connection::flush(&mut self.stream)
    }

    fn on_session_start(&mut self) -> io::Result<()> {
        Connection::on_session_start(&mut self.stream)
    }
}

impl ConnectionExt for Link {
    fn read(&mut self) -> io::Result<u8> {
        if let Some(byte) = self.ahead.pop_front() {
            return Ok(byte);
        }
        // A packet that begins like that one goes on: waiting for its next byte holds nothing up.
        let mut read = vec![ConnectionExt::read(&mut self.stream)?];
        while read.len() < PLAIN.len() && PLAIN.starts_with(&read) {
            read.push(ConnectionExt::read(&mut self.stream)?);
        }
        self.ahead.extend(if read == PLAIN { CONTINUE } else { &read });
        // There is at least the byte that was read first.
        self.ahead.pop_front().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        match self.ahead.front() {
            Some(byte) => Ok(Some(*byte)),
            None => ConnectionExt::peek(&mut self.stream),
        }
    }
}
