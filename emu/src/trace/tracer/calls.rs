//! System calls, from `ecall` to the return.

use abi::syscall::Syscall;

use super::{MAX_PENDING, Tracer};
use crate::events::View;
use crate::trace::quick::QuickMap;
use crate::trace::record::{Moment, Record, Who, Word};

/// A system call between `ecall` and return.
pub(super) struct Call {
    pub number: u64,
    pub pc: u64,
    pub satp: u64,
    hart: usize,
    retired: u64,
    /// When, who and with what, if system calls are traced.
    shown: Option<Box<(Moment, Who, [u64; 6])>>,
}

impl Call {
    /// Its name, when it is one of xv6's.
    pub fn name(&self) -> Option<Word> {
        Syscall::from_number(self.number).map(|call| Word::Borrowed(call.name()))
    }
}

/// The calls that have begun, by process. Most return before their hart begins another one.
pub(super) struct Calls {
    /// The last one of every hart.
    latest: Vec<Option<(i64, Call)>>,
    others: QuickMap<i64, Call>,
}

impl Calls {
    /// None, of a machine with that many harts.
    pub fn new(harts: usize) -> Calls {
        Calls { latest: (0..harts).map(|_| None).collect(), others: QuickMap::default() }
    }

    fn begin(&mut self, key: i64, call: Call) {
        match self.latest[call.hart].replace((key, call)) {
            Some((other, older)) if other != key && self.others.len() < MAX_PENDING => {
                self.others.insert(other, older);
            }
            _ => {}
        }
    }

    /// What a process is in.
    pub fn of(&self, key: i64) -> Option<&Call> {
        let latest = self.latest.iter().flatten().find(|(process, _)| *process == key);
        latest.map(|(_, call)| call).or_else(|| self.others.get(&key))
    }

    /// A hart is back in user mode. Whether it is where its last call came from, which is over
    /// then: processes that live at the same time do not have the same address space.
    pub fn ends_at_once(&mut self, hart: usize, satp: u64) -> bool {
        self.latest[hart].take_if(|(_, call)| call.satp == satp && satp != 0).is_some()
    }

    /// The same, and it is over.
    pub fn end(&mut self, key: i64) -> Option<Call> {
        let is_its = |slot: &&mut Option<(i64, Call)>| {
            slot.as_ref().is_some_and(|(process, _)| *process == key)
        };
        let latest = self.latest.iter_mut().find(is_its).and_then(Option::take);
        latest.map(|(_, call)| call).or_else(|| self.others.remove(&key))
    }
}

impl Tracer {
    pub(super) fn open_call(&mut self, view: &View, pc: u64) {
        let hart = view.hart.id;
        self.harts[hart].handling = None;
        let (key, satp) = (self.key(view), view.hart.csr.satp.bits());
        self.harts[hart].handling = Some(key);
        let shown = self.kinds.sys.then(|| {
            let args = [10, 11, 12, 13, 14, 15].map(|register| view.hart.x(register));
            Box::new((self.moment(view), self.who(view), args))
        });
        let (number, retired) = (view.hart.x(17), view.hart.retired());
        if number == Syscall::Fork as u64 {
            self.leak.forks(key, self.free);
        }
        self.calls.begin(key, Call { number, pc, satp, hart, retired, shown });
    }

    pub(super) fn call_returned(&mut self, view: &View, key: i64) {
        if let Some(call) = self.calls.end(key)
            && call.shown.is_some()
        {
            let same_hart = view.hart.id == call.hart;
            let cost = same_hart.then(|| view.hart.retired() - call.retired);
            let returned = self.moment(view).ns;
            self.emit_call(call, Some((view.hart.x(10), returned)), cost);
        }
    }

    pub(super) fn emit_call(
        &mut self,
        call: Call,
        returned: Option<(u64, u64)>,
        cost: Option<u64>,
    ) {
        let (name, number) = (call.name(), call.number);
        if let Some((at, who, args)) = call.shown.map(|shown| *shown) {
            self.emit(Record::Syscall {
                at,
                who,
                number,
                call: name,
                args,
                result: returned.map(|(result, _)| result),
                cost,
                returned: returned.map(|(_, ns)| ns),
            });
        }
    }
}
