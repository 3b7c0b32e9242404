//! The monitor: commands about a machine, one a line, behind Ctrl-A c and gdb's `monitor`.
//!
//! Spelling and output are those of QEMU's monitor where it has the command.

mod dump;
mod show;

use isa::paging::{Satp, Va};

use crate::inspect::Inspect;

/// What a command asks for beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// The machine is to stand still.
    Stop,
    /// The machine is to go on.
    Continue,
    /// Recording of the trace is to go on, or to pause.
    Trace(bool),
    /// The program is to end.
    Quit,
}

/// The monitor's own state.
#[derive(Clone, Debug, Default)]
pub struct Monitor {
    hart: usize,
}

const HELP: &str = "\
info registers [-a]   registers of the current hart, or of all
info mem              what the page table maps
info cpus             the harts; cpu N makes one current
info proc             who runs on each hart (with --trace, as the next two)
info frames           free pages now, at first, and when they were fewest
info tlb              the modelled TLB (with --tlb)
walk ADDR             the page-table entries on the way to a virtual address
x/FMT ADDR            memory at a virtual address; FMT is a count, then one of x d u o c i,
xp/FMT ADDR           then one of b h w g; ADDR may be like $sp+16; xp: physical address
stop, cont            stop the machine, let it go on
trace on|off          record the trace, or pause it (with --trace)
quit                  end the emulator
";

impl Monitor {
    /// Carries a command out; returns what is to be printed, and done.
    pub fn execute(&mut self, line: &str, machine: &dyn Inspect) -> (String, Action) {
        let line = line.trim();
        let (command, rest) = split_command(line);
        let text = match (command, rest) {
            ("", _) => Ok(String::new()),
            ("help" | "?", _) => Ok(HELP.to_owned()),
            ("stop" | "s", "") => return (String::new(), Action::Stop),
            ("cont" | "c", "") => return (String::new(), Action::Continue),
            ("trace", "on") => return (String::new(), Action::Trace(true)),
            ("trace", "off") => return (String::new(), Action::Trace(false)),
            ("quit" | "q", "") => return (String::new(), Action::Quit),
            ("info", what) => self.info(what, machine),
            ("cpu", number) => self.cpu(number, machine),
            ("walk", address) => self
                .address(address, machine)
                .map(|va| show::walk(machine.memory(), self.satp(machine), Va(va))),
            ("x" | "xp", rest) => self.dump(command == "xp", rest, machine),
            _ => Err(format!("unknown command: '{line}'")),
        };
        let text = text.unwrap_or_else(|error| format!("{error}\n"));
        (text, Action::None)
    }

    fn info(&self, what: &str, machine: &dyn Inspect) -> Result<String, String> {
        match what {
            "registers" => Ok(show::registers(machine, self.hart)),
            "registers -a" => {
                Ok((0..machine.harts()).map(|hart| show::registers(machine, hart)).collect())
            }
            "mem" => Ok(show::mem(machine.memory(), self.satp(machine))),
            "cpus" => Ok(show::harts(machine, self.hart)),
            "proc" | "frames" => machine.tell(what).ok_or_else(|| {
                format!("nobody watches, so nobody knows; start with --trace={what}")
            }),
            "tlb" => machine
                .tell(what)
                .ok_or_else(|| "no TLB is modelled; start with --tlb=64x4".to_owned()),
            _ => Err(format!("unknown command: 'info {what}'")),
        }
    }

    fn cpu(&mut self, number: &str, machine: &dyn Inspect) -> Result<String, String> {
        let hart = number.parse().ok().filter(|hart| *hart < machine.harts());
        self.hart = hart.ok_or_else(|| format!("there is no hart {number}"))?;
        Ok(String::new())
    }

    /// The current hart's `satp`, whatever mode it is in.
    fn satp(&self, machine: &dyn Inspect) -> Satp {
        let bits = machine.csr(self.hart, isa::csr::SATP).unwrap_or(0);
        Satp::from_bits(bits).unwrap_or_default()
    }

    fn dump(&self, physical: bool, rest: &str, machine: &dyn Inspect) -> Result<String, String> {
        let (format, address) = match rest.strip_prefix('/') {
            Some(rest) => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
            None => ("", rest),
        };
        let format = format.parse::<dump::Format>()?;
        let address = self.address(address, machine)?;
        Ok(dump::dump(&format, address, |at, out| {
            let read = if physical {
                machine.memory().read_bytes(at, out)
            } else {
                machine.read_virtual(self.hart, at, out)
            };
            read.is_ok()
        }))
    }

    /// A sum of numbers and `$registers`.
    fn address(&self, text: &str, machine: &dyn Inspect) -> Result<u64, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("an address is missing".to_owned());
        }
        let mut sum = 0u64;
        for (sign, term) in terms(text) {
            let value = match term.strip_prefix('$') {
                Some(name) => {
                    show::register(machine, self.hart, name).ok_or("unknown register".to_owned())?
                }
                None => number(term).ok_or_else(|| format!("'{term}' is no number"))?,
            };
            sum = if sign { sum.wrapping_sub(value) } else { sum.wrapping_add(value) };
        }
        Ok(sum)
    }
}

/// The command's name, and what follows it: `x/4xw 0` is `x` and `/4xw 0`.
fn split_command(line: &str) -> (&str, &str) {
    let end = line.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(line.len());
    (&line[..end], line[end..].trim())
}

/// The terms of a sum, each with whether it is taken off.
fn terms(text: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut rest = text;
    let mut minus = false;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(['+', '-']).unwrap_or(rest.len());
        let term = (minus, rest[..end].trim());
        minus = rest[end..].starts_with('-');
        rest = rest.get(end + 1..).unwrap_or("");
        Some(term)
    })
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use isa::Priv;

    use super::*;
    use crate::dev::Dma;
    use crate::dev::testing::{BASE, Pages};

    struct Still(Pages);

    impl Inspect for Still {
        fn harts(&self) -> usize {
            2
        }
        fn pc(&self, hart: usize) -> u64 {
            BASE + hart as u64
        }
        fn set_pc(&mut self, _: usize, _: u64) {}
        fn x(&self, _: usize, number: usize) -> u64 {
            number as u64
        }
        fn set_x(&mut self, _: usize, _: usize, _: u64) {}
        fn f(&self, _: usize, _: usize) -> u64 {
            0
        }
        fn set_f(&mut self, _: usize, _: usize, _: u64) {}
        fn csr(&self, hart: usize, number: u16) -> Option<u64> {
            match number {
                isa::csr::MHARTID => Some(hart as u64),
                isa::csr::SATP => Some(0),
                _ => None,
            }
        }
        fn set_csr(&mut self, _: usize, _: u16, _: u64) -> bool {
            false
        }
        fn privilege(&self, _: usize) -> Priv {
            Priv::Supervisor
        }
        fn waits(&self, hart: usize) -> bool {
            hart == 1
        }
        fn memory(&self) -> &dyn Dma {
            &self.0
        }
        fn memory_mut(&mut self) -> &mut dyn Dma {
            &mut self.0
        }
    }

    fn say(line: &str) -> String {
        let mut mem = Pages::new(4096);
        mem.put(BASE, &[0x17, 0x91, 0, 0, 0x13, 1, 1, 0xa1, 5, 0x65]);
        Monitor::default().execute(line, &Still(mem)).0
    }

    #[test]
    fn dumps_look_like_qemus() {
        let cases = [
            (
                "xp/4xw 0x80000000",
                "0000000080000000: 0x00009117 0xa1010113 0x00006505 0x00000000\n",
            ),
            ("x/2xg 0x80000000", "0000000080000000: 0xa101011300009117 0x0000000000006505\n"),
            ("xp /4dh 0x80000000", "0000000080000000: 37143     0   275 41217\n"),
            ("xp/3ob 0x80000001", "0000000080000001: 0221   0   0\n"),
            ("xp/2cb 0x80000008", "0000000080000008: '\\x05' 'e'\n"),
            ("x 0x0", "0000000000000000: Cannot access memory\n"),
            ("x/s 0", "invalid char in format: 's'\n"),
            ("x/1xb $s0+0x80000000-8", "0000000080000000: 0x17\n"),
        ];
        for (line, expected) in cases {
            assert_eq!(say(line), expected, "{line}");
        }
    }

    #[test]
    fn instructions_are_disassembled() {
        let text = say("xp/3i 0x80000000");
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("0x0000000080000000:  00009117          auipc"), "{text}");
        assert!(lines[2].starts_with("0x0000000080000008:  6505"), "{text}");
    }

    #[test]
    fn what_nobody_watches_nobody_knows() {
        assert!(say("info proc").ends_with("start with --trace=proc\n"));
        assert!(say("info frames").ends_with("start with --trace=frames\n"));
        assert!(say("info tlb").ends_with("start with --tlb=64x4\n"));
    }

    #[test]
    fn harts_and_nonsense() {
        assert_eq!(say("info mem"), "No translation or protection\n");
        assert!(say("info cpus").contains("* CPU #0") && say("info cpus").contains("CPU #1"));
        assert_eq!(say("foo"), "unknown command: 'foo'\n");
        assert_eq!(say("cpu 2"), "there is no hart 2\n");
        assert!(say("info registers").contains(" x8/s0    0000000000000008 "));
        assert_eq!(say("walk"), "an address is missing\n");
        assert_eq!(say("x/99999999999xb 0"), "the count is too large\n");
        let quit = Monitor::default().execute("q", &Still(Pages::new(0)));
        assert_eq!(quit, (String::new(), Action::Quit));
    }
}
