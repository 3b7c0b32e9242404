//! From a function to its caller, by the tables that compilers write for debuggers: how far up the
//! stack pointer was, and where the return address lies.

use gimli::{
    BaseAddresses, CfaRule, DebugFrame, Register, RegisterRule, UnwindContext, UnwindSection,
};

use super::{Reader, Symbols};

const RA: Register = Register(1);
const SP: Register = Register(2);

/// What is known at an instruction of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// From the stack pointer to what it was at the call.
    pub up: u64,
    /// From there to the return address; it is still in its register if there is none.
    pub back: Option<i64>,
    /// The function is one of the in-tree kernel's ledger of frames, whose callers matter.
    pub in_ledger: bool,
}

/// Part of the names of the ledger's functions.
const LEDGER: &str = "guest_kernel::mm::frame::";

impl Symbols {
    /// How to get from the instruction at `pc` to the caller of its function.
    pub fn step(&self, pc: u64) -> Option<Step> {
        let in_ledger = || self.function(pc).is_some_and(|f| f.name.contains(LEDGER));
        let find = || Some(Step { in_ledger: in_ledger(), ..find(&self.frames, pc)? });
        *self.steps.borrow_mut().entry(pc).or_insert_with(find)
    }
}

fn find(frames: &DebugFrame<Reader>, pc: u64) -> Option<Step> {
    let (bases, mut context) = (BaseAddresses::default(), UnwindContext::new());
    let row = frames
        .unwind_info_for_address(&bases, &mut context, pc, DebugFrame::cie_from_offset)
        .ok()?;
    let up = match row.cfa() {
        CfaRule::RegisterAndOffset { register: SP, offset } => u64::try_from(*offset).ok()?,
        _ => return None,
    };
    let back = match row.register(RA) {
        RegisterRule::Offset(offset) => Some(offset),
        RegisterRule::Undefined | RegisterRule::SameValue => None,
        _ => return None,
    };
    Some(Step { up, back, in_ledger: false })
}
