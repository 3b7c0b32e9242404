//! A page fault in a trace.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Access, Frames, Moment, Place, Reason, SavedFrame, USUAL_NS, Who, Word, is_default, numbered,
};

/// What became of a fault, inferred from the page table before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// A new frame full of zeros was mapped.
    Zeroed {
        /// Its physical address.
        pa: u64,
    },
    /// A new frame with the old one's contents was mapped.
    Copied {
        /// The old frame's physical address.
        from: u64,
        /// The new frame's physical address.
        to: u64,
        /// How many mappings the old frame had, when that is known.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        refs: Option<u32>,
    },
    /// The same frame became writable: its last user needs no copy.
    MadeWritable {
        /// Its physical address.
        pa: u64,
    },
    /// A frame was mapped that others have already mapped.
    Joined {
        /// Its physical address.
        pa: u64,
    },
    /// A new frame was mapped that is not all zeros: contents of a file.
    Filled {
        /// Its physical address.
        pa: u64,
    },
    /// The same frame, with other permissions than a write needs.
    Remapped {
        /// Its physical address.
        pa: u64,
        /// The new PTE.
        pte: u64,
    },
    /// The table already allowed the access when the handler returned, unchanged.
    Spurious,
    /// The handler returned to the same place and the table still forbids the access.
    Unresolved,
    /// A system call needed the page and did not get it: the call fails, the process goes on.
    Refused,
    /// The process was ended.
    Killed,
    /// The trace ended first.
    NeverReturned,
}

impl Outcome {
    /// The outcome's name in tables and filters.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Zeroed { .. } => "zeroed",
            Outcome::Copied { .. } => "copied",
            Outcome::MadeWritable { .. } => "made writable",
            Outcome::Joined { .. } => "joined",
            Outcome::Filled { .. } => "filled",
            Outcome::Remapped { .. } => "remapped",
            Outcome::Spurious => "spurious",
            Outcome::Unresolved => "unresolved",
            Outcome::Refused => "refused",
            Outcome::Killed => "killed",
            Outcome::NeverReturned => "never returned",
        }
    }
}

/// How the access came about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Via {
    /// The hart's own translation: a page-fault trap.
    #[default]
    Trap,
    /// The kernel walked the table for a system call (copyin, copyout).
    Syscall {
        /// The call's number.
        number: u64,
        /// Its name, when it is one of xv6's.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        name: Option<Word>,
    },
}

/// One page fault, from the trap to the return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When and where it trapped.
    #[serde(flatten)]
    pub at: Moment,
    /// Whose fault it was.
    #[serde(flatten)]
    pub who: Who,
    /// The instruction that faulted (for [`Via::Syscall`]: the `ecall`).
    #[serde(with = "numbered")]
    pub place: Arc<Place>,
    /// Whether it came from user mode.
    #[serde(rename = "kernel", with = "kernel")]
    #[serde(skip_serializing_if = "kernel::is_not", default = "kernel::never")]
    pub user: bool,
    /// What was attempted.
    pub access: Access,
    /// The virtual address.
    pub va: u64,
    /// Why the walk stopped.
    pub reason: Reason,
    /// At which level of the table it stopped (0 is the 4 KiB level).
    #[serde(skip_serializing_if = "is_default", default)]
    pub level: u32,
    /// The PTE it stopped at.
    #[serde(skip_serializing_if = "is_default", default)]
    pub pte: u64,
    /// A trap, or a system call's own walk.
    #[serde(skip_serializing_if = "is_default", default)]
    pub via: Via,
    /// What became of it.
    pub outcome: Outcome,
    /// Instructions from the trap to the return on this hart, but for those while other processes
    /// ran; none when it never returned there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cost: Option<u64>,
    /// Virtual time of the return in nanoseconds since reset.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub returned: Option<u64>,
    /// Frames allocated in between on this hart.
    #[serde(skip_serializing_if = "is_default", default)]
    pub allocated: u32,
    /// Frames freed in between on this hart.
    #[serde(skip_serializing_if = "is_default", default)]
    pub freed: u32,
    /// Free pages at the return, when they are counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub free: Option<u64>,
    /// How the kernel itself classified it, when it says so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub class: Option<Word>,
    /// Only in files: the frames that its handling allocated and freed, if that is all there was
    /// in between. Elsewhere they are a record before it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(in crate::trace) frames: Vec<SavedFrame>,
}

/// In a file, what is unusual is said: that a fault came from the kernel.
mod kernel {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(user: &bool, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_bool(!user)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<bool, D::Error> {
        bool::deserialize(input).map(|kernel| !kernel)
    }

    pub fn is_not(user: &bool) -> bool {
        *user
    }

    pub fn never() -> bool {
        true
    }
}

impl Fault {
    /// When it returned, if instructions took the usual time.
    pub(in crate::trace) fn usual_return(&self) -> Option<u64> {
        Some(self.at.ns.wrapping_add(self.cost?.wrapping_mul(USUAL_NS.into())))
    }

    /// The frames in it as a record of their own, that of an address space; nothing if there are
    /// none.
    pub(in crate::trace) fn take_frames(
        &mut self,
        satp: u64,
    ) -> Result<Option<Frames>, &'static str> {
        let saved = std::mem::take(&mut self.frames);
        let who = Who { satp, ..self.who.clone() };
        Frames::from_saved(self.at, who, self.free.unwrap_or(0), saved)
            .map(Frames::begin_with_first)
    }
}
