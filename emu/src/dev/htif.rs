//! The host-target interface: two words of guest memory through which test programs exit, print
//! and make system calls.
//!
//! Source: riscv-isa-sim's `fesvr` as riscv-tests and OpenSBI use it. The words are found by the
//! ELF symbols `tohost` and `fromhost`. A word holds device (8 bits), command (8) and payload
//! (48). Only what harms nobody is served: exit, writes to the console.

use super::{Dma, NotMemory};
use crate::bus::Exit;

/// Device 0: system calls and exits.
const SYSCALL: u64 = 0;
/// Device 1: the console.
const CONSOLE: u64 = 1;
/// Console command: print the payload's low byte.
const PUT_CHAR: u64 = 1;
/// Linux's number of `write`.
const SYS_WRITE: u64 = 64;
/// Linux's number of `exit`.
const SYS_EXIT: u64 = 93;
/// What an unserved system call returns: -ENOSYS.
const ENOSYS: u64 = -38i64 as u64;
/// Longest write that is served at once.
const MAX_WRITE: u64 = 64 << 10;

/// The interface of a program that has the symbols.
#[derive(Clone, Debug)]
pub struct Htif {
    tohost: u64,
    fromhost: Option<u64>,
}

impl Htif {
    /// With the words at these physical addresses.
    pub fn new(tohost: u64, fromhost: Option<u64>) -> Htif {
        Htif { tohost, fromhost }
    }

    /// Serves a request if there is one; what is printed is appended to `console`.
    pub fn poll(&self, mem: &mut dyn Dma, console: &mut Vec<u8>) -> Option<Exit> {
        let word = mem.read_u64(self.tohost).ok().filter(|word| *word != 0)?;
        let (device, command, payload) = (word >> 56, word >> 48 & 0xff, word & ((1 << 48) - 1));
        let answer = match (device, command) {
            (SYSCALL, 0) if payload & 1 != 0 => return Some(Exit::Code((payload >> 1) as u32)),
            (SYSCALL, 0) => match syscall(payload, mem, console) {
                Ok(Some(exit)) => return Some(exit),
                Ok(None) | Err(NotMemory) => 1,
            },
            (CONSOLE, PUT_CHAR) => {
                console.push(payload as u8);
                word & !0xff
            }
            _ => 0,
        };
        // The words were readable or are harmless; a tohost in memory can be written.
        let _ = mem.write_bytes(self.tohost, &[0; 8]);
        if let Some(fromhost) = self.fromhost.filter(|_| answer != 0) {
            let _ = mem.write_bytes(fromhost, &answer.to_le_bytes());
        }
        None
    }
}

/// A system call: eight words at `block`, number and arguments; the result replaces the first.
fn syscall(
    block: u64,
    mem: &mut dyn Dma,
    console: &mut Vec<u8>,
) -> Result<Option<Exit>, NotMemory> {
    let word = |mem: &dyn Dma, n: u64| mem.read_u64(block.wrapping_add(8 * n));
    let (number, arg0) = (word(mem, 0)?, word(mem, 1)?);
    let result = match number {
        SYS_EXIT => return Ok(Some(Exit::Code(arg0 as u32))),
        SYS_WRITE if arg0 == 1 || arg0 == 2 => {
            let (address, len) = (word(mem, 2)?, word(mem, 3)?.min(MAX_WRITE));
            let mut bytes = vec![0; len as usize];
            mem.read_bytes(address, &mut bytes)?;
            console.extend(bytes);
            len
        }
        _ => ENOSYS,
    };
    mem.write_bytes(block, &result.to_le_bytes())?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::testing::{BASE, Pages};

    fn poll(mem: &mut Pages, tohost: u64) -> (Option<Exit>, Vec<u8>) {
        let mut console = Vec::new();
        mem.put(BASE, &tohost.to_le_bytes());
        let exit = Htif::new(BASE, Some(BASE + 64)).poll(mem, &mut console);
        (exit, console)
    }

    #[test]
    fn odd_words_exit() {
        let mut mem = Pages::new(4096);
        assert_eq!(poll(&mut mem, 1).0, Some(Exit::Code(0)));
        assert_eq!(poll(&mut mem, 7 << 1 | 1).0, Some(Exit::Code(7)));
        assert_eq!(poll(&mut mem, 0), (None, vec![]));
    }

    #[test]
    fn console_and_write_print() {
        let mut mem = Pages::new(4096);
        assert_eq!(poll(&mut mem, 0x0101_0000_0000_0041), (None, b"A".to_vec()));
        assert_eq!(mem.read_u64(BASE), Ok(0));
        let call = [64, 1, BASE + 512, 2u64];
        for (n, word) in call.iter().enumerate() {
            mem.put(BASE + 256 + 8 * n as u64, &word.to_le_bytes());
        }
        mem.put(BASE + 512, b"hi");
        assert_eq!(poll(&mut mem, BASE + 256), (None, b"hi".to_vec()));
        assert_eq!((mem.read_u64(BASE + 256), mem.read_u64(BASE + 64)), (Ok(2), Ok(1)));
    }

    #[test]
    fn nonsense_is_harmless() {
        let mut mem = Pages::new(4096);
        for word in [2, 0xffff_ffff_fffe, u64::MAX << 1, BASE + 4090] {
            assert_eq!(poll(&mut mem, word), (None, vec![]), "{word:x}");
        }
        let mut nowhere = Vec::new();
        assert_eq!(Htif::new(0, None).poll(&mut mem, &mut nowhere), None);
    }
}
