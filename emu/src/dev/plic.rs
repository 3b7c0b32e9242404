//! The platform-level interrupt controller: priorities, enables and thresholds decide which of
//! the devices' interrupt lines reaches which context.
//!
//! Source: RISC-V PLIC Specification 1.0.0. What the specification leaves to the gateways is as
//! on QEMU 7, which kernels are tested with: a device that looks at its interrupt condition says
//! what it found, and that makes its source pending or not; a claim ends it. So a source whose
//! line just stays high is not pending again on completion: xv6 of 2020 never acknowledges an
//! empty transmitter, and would be interrupted for ever.

use super::{Ctx, Device};

/// Sources, 0 (which is none) among them.
pub const SOURCES: usize = 96;
/// Highest priority; there are three bits of it.
const MAX_PRIORITY: u32 = 7;

const WORDS: usize = SOURCES / 32;
const PENDING: u64 = 0x1000;
const ENABLE: u64 = 0x2000;
const ENABLE_STRIDE: u64 = 0x80;
const CONTEXT: u64 = 0x20_0000;
const CONTEXT_STRIDE: u64 = 0x1000;

enum Register {
    Priority(usize),
    Pending(usize),
    Enable {
        context: usize,
        word: usize,
    },
    Threshold(usize),
    Claim(usize),
    /// There in the layout, but of a source that does not exist: reads zero.
    Zero,
}

#[derive(Clone, Debug, Default)]
struct Context {
    enable: [u32; WORDS],
    threshold: u32,
}

/// State of the controller.
#[derive(Clone, Debug)]
pub struct Plic {
    priority: [u32; SOURCES],
    pending: [u32; WORDS],
    claimed: [u32; WORDS],
    contexts: Vec<Context>,
    /// One bit per context: its external interrupt line.
    lines: u32,
}

impl Plic {
    /// For that many contexts, at most 32.
    pub fn new(contexts: usize) -> Plic {
        assert!(contexts <= 32, "a line per context fits a word");
        Plic {
            priority: [0; SOURCES],
            pending: [0; WORDS],
            claimed: [0; WORDS],
            contexts: vec![Context::default(); contexts],
            lines: 0,
        }
    }

    /// A device found its line to be high or low.
    pub fn signal(&mut self, source: u32, high: bool) {
        let (word, bit) = (source as usize / 32, 1 << (source % 32));
        if (self.pending[word] & bit != 0) != high {
            self.pending[word] ^= bit;
            self.update();
        }
    }

    /// Whether a context's external interrupt is raised.
    pub fn line(&self, context: usize) -> bool {
        self.lines & 1 << context != 0
    }

    /// The pending source, not in service, that a claim by this context gets, and its priority: the highest
    /// priority, the lowest number among equals; 0 when there is none.
    fn best(&self, context: usize) -> (usize, u32) {
        let mut best = (0, 0);
        for word in 0..WORDS {
            let open = self.pending[word] & !self.claimed[word];
            let mut bits = open & self.contexts[context].enable[word];
            while bits != 0 {
                let source = word * 32 + bits.trailing_zeros() as usize;
                if self.priority[source] > best.1 {
                    best = (source, self.priority[source]);
                }
                bits &= bits - 1;
            }
        }
        best
    }

    fn update(&mut self) {
        self.lines = 0;
        for context in 0..self.contexts.len() {
            if self.best(context).1 > self.contexts[context].threshold {
                self.lines |= 1 << context;
            }
        }
    }

    fn decode(&self, offset: u64) -> Option<Register> {
        if !offset.is_multiple_of(4) {
            return None;
        }
        let contexts = self.contexts.len() as u64;
        let word_or_zero = |word: u64, register: fn(usize) -> Register| {
            if word < WORDS as u64 { register(word as usize) } else { Register::Zero }
        };
        match offset {
            CONTEXT.. => {
                let context = (offset - CONTEXT) / CONTEXT_STRIDE;
                let context = (context < contexts).then_some(context as usize)?;
                match (offset - CONTEXT) % CONTEXT_STRIDE {
                    0 => Some(Register::Threshold(context)),
                    4 => Some(Register::Claim(context)),
                    _ => None,
                }
            }
            ENABLE.. => {
                let context = (offset - ENABLE) / ENABLE_STRIDE;
                let context = (context < contexts).then_some(context as usize)?;
                let word = ((offset - ENABLE) % ENABLE_STRIDE / 4) as usize;
                Some(if word < WORDS { Register::Enable { context, word } } else { Register::Zero })
            }
            PENDING.. => Some(word_or_zero((offset - PENDING) / 4, Register::Pending)),
            _ if offset / 4 < SOURCES as u64 => Some(Register::Priority((offset / 4) as usize)),
            _ => Some(Register::Zero),
        }
    }

    fn claim(&mut self, context: usize) -> u32 {
        let (source, _) = self.best(context);
        if source != 0 {
            self.claimed[source / 32] |= 1 << (source % 32);
            self.pending[source / 32] &= !(1 << (source % 32));
        }
        self.update();
        source as u32
    }

    /// A completion of a source that is not enabled for the context is ignored (chapter 9).
    fn complete(&mut self, context: usize, source: u32) {
        let (word, bit) = (source as usize / 32, 1 << (source % 32));
        if word < WORDS && self.contexts[context].enable[word] & bit != 0 {
            self.claimed[word] &= !bit;
        }
    }
}

impl Device for Plic {
    fn read(&mut self, offset: u64, size: u8, _: &mut Ctx) -> Option<u64> {
        if size != 4 {
            return None;
        }
        let value = match self.decode(offset)? {
            Register::Priority(source) => self.priority[source],
            Register::Pending(word) => self.pending[word],
            Register::Enable { context, word } => self.contexts[context].enable[word],
            Register::Threshold(context) => self.contexts[context].threshold,
            Register::Claim(context) => self.claim(context),
            Register::Zero => 0,
        };
        Some(value.into())
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _: &mut Ctx) -> Option<()> {
        if size != 4 {
            return None;
        }
        let value = value as u32;
        match self.decode(offset)? {
            // Source 0 does not exist; its bits and its priority stay zero.
            Register::Priority(0) | Register::Pending(_) | Register::Zero => {}
            Register::Priority(source) => self.priority[source] = value & MAX_PRIORITY,
            Register::Enable { context, word } => {
                self.contexts[context].enable[word] = if word == 0 { value & !1 } else { value };
            }
            Register::Threshold(context) => {
                self.contexts[context].threshold = value & MAX_PRIORITY;
            }
            Register::Claim(context) => self.complete(context, value),
        }
        self.update();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::testing::Pages;

    fn read(plic: &mut Plic, offset: u64) -> u64 {
        plic.read(offset, 4, &mut Ctx { now: 0, mem: &mut Pages::new(0) }).expect("a register")
    }

    fn write(plic: &mut Plic, offset: u64, value: u64) {
        let mut mem = Pages::new(0);
        plic.write(offset, 4, value, &mut Ctx { now: 0, mem: &mut mem }).expect("a register");
    }

    const CLAIM: u64 = 0x20_1004;
    const THRESHOLD: u64 = 0x20_1000;
    const ENABLE1: u64 = 0x2080;

    /// Sources 1 and 10 at priority 1, enabled for context 1.
    fn plic() -> Plic {
        let mut plic = Plic::new(4);
        write(&mut plic, 4, 1);
        write(&mut plic, 40, 1);
        write(&mut plic, ENABLE1, 1 << 10 | 1 << 1 | 1);
        plic
    }

    #[test]
    fn claim_takes_highest_priority_then_lowest_number() {
        let mut plic = plic();
        plic.signal(10, true);
        plic.signal(1, true);
        assert!(plic.line(1) && !plic.line(0) && !plic.line(2));
        assert_eq!(read(&mut plic, 0x1000), 1 << 10 | 1 << 1);
        assert_eq!(read(&mut plic, CLAIM), 1);
        write(&mut plic, CLAIM, 1);
        plic.signal(1, true);
        write(&mut plic, 40, 7);
        assert_eq!(read(&mut plic, CLAIM), 10);
        assert_eq!(read(&mut plic, CLAIM), 1);
        assert_eq!(read(&mut plic, CLAIM), 0);
        assert!(!plic.line(1));
    }

    #[test]
    fn only_a_signal_makes_a_source_pending_again() {
        let mut plic = plic();
        plic.signal(10, true);
        assert_eq!(read(&mut plic, CLAIM), 10);
        assert!(!plic.line(1));
        write(&mut plic, CLAIM, 10);
        assert!(!plic.line(1));
        plic.signal(10, true);
        assert_eq!(read(&mut plic, CLAIM), 10);
        plic.signal(10, true);
        assert!(!plic.line(1), "still in service");
        write(&mut plic, CLAIM, 10);
        assert!(plic.line(1));
        plic.signal(10, false);
        assert!(!plic.line(1), "withdrawn before its claim");
    }

    #[test]
    fn thresholds_mask_and_completion_needs_the_enable() {
        let mut plic = plic();
        plic.signal(10, true);
        write(&mut plic, THRESHOLD, 1);
        assert!(!plic.line(1));
        assert_eq!(read(&mut plic, CLAIM), 10, "a claim does not heed the threshold");
        write(&mut plic, THRESHOLD, 0);
        write(&mut plic, ENABLE1, 0);
        write(&mut plic, CLAIM, 10);
        write(&mut plic, ENABLE1, 1 << 10);
        plic.signal(10, true);
        assert!(!plic.line(1), "still in service");
        write(&mut plic, CLAIM, 10);
        assert!(plic.line(1));
        write(&mut plic, CLAIM, 0xffff_ffff);
    }

    #[test]
    fn source_zero_and_absent_registers_do_nothing() {
        let mut plic = plic();
        write(&mut plic, 0, 7);
        assert_eq!(read(&mut plic, 0), 0);
        assert_eq!(read(&mut plic, ENABLE1) & 1, 0);
        assert_eq!(read(&mut plic, 0x1f00), 0);
        let mut mem = Pages::new(0);
        let mut ctx = Ctx { now: 0, mem: &mut mem };
        assert_eq!(plic.read(0x20_4000, 4, &mut ctx), None, "there are four contexts");
        assert_eq!(plic.read(0x2002, 4, &mut ctx), None);
        assert_eq!(plic.read(0x1000, 8, &mut ctx), None);
    }
}
