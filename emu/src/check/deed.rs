//! Who did something, where and when: one side of what a finding says.

use crate::events::View;
use crate::symbols::Symbols;
use crate::trace::peek;
use crate::trace::text::{seconds, short_name};

/// Callers that are remembered.
const DEPTH: usize = 4;
/// Functions that are looked at for that.
const DEEPEST: usize = 16;
/// Farthest from one stack frame to the next.
const MAX_FRAME: u64 = 4096;

/// Something that the guest did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deed {
    /// Virtual time in nanoseconds.
    pub ns: u64,
    /// The hart.
    pub hart: usize,
    /// The process on whose behalf, if known.
    pub pid: Option<i32>,
    /// Where: the instruction, and its callers as far as they are known; zeros behind.
    pub stack: [u64; DEPTH],
    /// The first of these is a return address as well: who called is meant.
    pub called: bool,
}

/// The kernel's text, whether its functions keep frame pointers, and since when it runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layout {
    /// First address of the text, and the one behind it.
    pub text: (u64, u64),
    /// As in C kernels compiled with `-fno-omit-frame-pointer`.
    pub frame_pointers: bool,
    /// The function that allocates frames: its first address, and the one behind it.
    pub allocator: (u64, u64),
    /// When the machine was reset, in nanoseconds.
    pub since: u64,
}

impl Layout {
    /// Virtual time, of all lives of the machine.
    pub fn ns(&self, view: &View) -> u64 {
        self.since + view.ns()
    }

    /// Whether this is in the function that allocates frames.
    pub fn is_allocator(&self, pc: u64) -> bool {
        (self.allocator.0..self.allocator.1).contains(&pc)
    }

    fn is_text(&self, pc: u64) -> bool {
        (self.text.0..self.text.1).contains(&pc)
    }
}

impl Deed {
    /// What the hart is doing: first an instruction, or nothing when the caller of the function is
    /// meant whose first or last instruction this is.
    pub fn new(
        view: &View,
        layout: &Layout,
        kernel: Option<&Symbols>,
        pid: Option<i32>,
        first: Option<u64>,
    ) -> Deed {
        let in_caller = first.is_none();
        let mut stack = [0; DEPTH];
        stack[0] = first.unwrap_or(view.hart.x(1));
        if layout.is_text(stack[0]) {
            match kernel {
                Some(kernel) if !layout.frame_pointers => unwind(view, layout, kernel, &mut stack),
                _ => walk_stack(view, layout, in_caller, &mut stack[1..]),
            }
        }
        Deed { ns: layout.ns(view), hart: view.hart.id, pid, stack, called: in_caller }
    }

    /// In words.
    pub fn tell(&self, kernel: Option<&Symbols>) -> String {
        let pcs = self.stack.iter().take_while(|pc| **pc != 0);
        let mut names = pcs.enumerate().map(|(n, pc)| {
            let called = n > 0 || self.called;
            let place =
                kernel.map(|kernel| if called { kernel.call(*pc) } else { kernel.place(*pc) });
            let place = place.unwrap_or_default();
            let mut name = match (&place.function, place.offset) {
                (Some(function), Some(offset)) => {
                    let (own, outer) = (short_name(function), place.inlined_into.as_ref());
                    let inlined = outer.map_or(String::new(), |_| format!("{own} in "));
                    let outer = outer.map_or(own, |outer| short_name(outer));
                    format!("{inlined}{outer}+{offset:#x}")
                }
                _ if *pc >= abi::layout::TRAMPOLINE => format!("the trampoline ({pc:x})"),
                _ => format!("user code at {pc:#x}"),
            };
            if let (0, Some(file), Some(line)) = (n, &place.file, place.line) {
                let file = file.rsplit('/').next().unwrap_or_default();
                name.push_str(&format!(" ({file}:{line})"));
            }
            name
        });
        let place = names.next().unwrap_or_else(|| "somebody".to_owned());
        let callers: String = names.map(|name| format!(" < {name}")).collect();
        let pid = self.pid.map_or(String::new(), |pid| format!(" for pid {pid}"));
        format!("{place}{callers}{pid} at {}", seconds(self.ns))
    }
}

/// Fills all but the first with return addresses, by what the compiler tells debuggers.
fn unwind(view: &View, layout: &Layout, kernel: &Symbols, stack: &mut [u64; DEPTH]) {
    let mut sp = view.hart.x(2);
    let (mut at, mut depth) = (stack[0], 1);
    for steps in 0..DEEPEST {
        let step = kernel.step(at);
        sp = sp.wrapping_add(step.map_or(0, |step| step.up));
        let saved = step.and_then(|step| step.back);
        let back = match saved.map(|offset| view.ram().read(sp.wrapping_add_signed(offset))) {
            Some(Ok(back)) => back,
            // Where nothing is told it is assembly, which calls nobody.
            None if steps == 0 => view.hart.x(1),
            _ => return,
        };
        if !layout.is_text(back) {
            return;
        }
        // A function that calls itself is told once.
        let starts = [stack[depth - 1], back].map(|pc| kernel.function(pc).map(|f| f.start));
        if starts[0] != starts[1] {
            let Some(slot) = stack.get_mut(depth) else { return };
            (*slot, depth) = (back, depth + 1);
        }
        at = back;
    }
}

/// Fills `out` with return addresses along the frame pointers.
fn walk_stack(view: &View, layout: &Layout, in_caller: bool, out: &mut [u64]) {
    let satp = view.hart.csr.satp.bits();
    let load = |va: u64| {
        let pa = peek::look(view.ram(), satp, va).map_or(Some(va), |seen| seen.pa)?;
        view.ram().read::<u64>(pa).ok()
    };
    let mut frame = view.hart.x(8);
    let mut leaf = !in_caller;
    for slot in out {
        let (Some(high), Some(low)) = (load(frame.wrapping_sub(8)), load(frame.wrapping_sub(16)))
        else {
            return;
        };
        // A function that calls none keeps its return address in a register.
        let (back, next) = match (layout.is_text(high), leaf) {
            (true, _) => (high, low),
            (false, true) => (view.hart.x(1), high),
            (false, false) => return,
        };
        if !layout.is_text(back) || next <= frame || next - frame > MAX_FRAME {
            return;
        }
        (*slot, frame, leaf) = (back, next, false);
    }
}
