//! What a hart is doing, and for which process.

use std::rc::Rc;
use std::sync::Arc;

use crate::events::View;
use crate::mmu::Fault;
use crate::trace::awareness::{ProcReader, RawName};
use crate::trace::record::Who;

/// A process. Its name is counted by this thread alone, which costs less.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its id.
    pub pid: Option<i32>,
    /// Its name.
    pub name: Option<Rc<str>>,
}

impl From<&Who> for Process {
    fn from(who: &Who) -> Process {
        Process { pid: who.pid, name: who.name.as_deref().map(Rc::from) }
    }
}

/// What a hart is doing.
#[derive(Default)]
pub(super) struct OnHart {
    /// The process: as the kernel's hints say, or as it was last read.
    who: Who,
    /// The same.
    process: Process,
    hinted: bool,
    /// How often it changed.
    changes: u64,
    read: Option<(i32, RawName)>,
    /// Whose trap is being handled, when only address spaces tell processes apart.
    pub handling: Option<i64>,
    /// Instructions when it came from user mode or to another process last, while a fault was open.
    pub entered: u64,
    /// Why the coming page-fault trap is taken.
    pub refused: Option<Fault>,
    /// The process that was last seen in user mode.
    pub ran: Option<(i64, Option<Arc<str>>)>,
}

impl OnHart {
    /// The kernel says which process it is.
    pub fn hinted(&mut self, who: Who) {
        (self.process, self.who, self.hinted) = (Process::from(&who), who, true);
        self.changes += 1;
    }

    /// The process, if the kernel said which.
    pub fn known(&self) -> Option<&Who> {
        self.hinted.then_some(&self.who)
    }

    /// The process and the present address space.
    pub fn who(&mut self, reader: Option<&ProcReader>, view: &View) -> &Who {
        self.whose(reader, view);
        &self.who
    }

    /// The process.
    pub fn process(&mut self, reader: Option<&ProcReader>, view: &View) -> &Process {
        self.whose(reader, view);
        &self.process
    }

    /// The same as it was last asked for.
    pub fn last(&self) -> &Process {
        &self.process
    }

    /// A number for the process and the present address space: the next is another one.
    pub fn whose(&mut self, reader: Option<&ProcReader>, view: &View) -> u64 {
        let satp = view.hart.csr.satp.bits();
        if satp != self.who.satp {
            self.who.satp = satp;
            self.changes += 1;
        }
        if !self.hinted {
            let read = reader.and_then(|reader| reader.current(view.ram(), view.hart.id as u64));
            if read != self.read {
                self.read = read;
                self.changes += 1;
                self.who.pid = read.map(|(pid, _)| pid);
                self.who.name = read.map(|(_, name)| name.text().into());
                self.process = Process::from(&self.who);
            }
        }
        self.changes
    }
}
