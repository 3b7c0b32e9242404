//! System calls, from `ecall` to the return.

use abi::syscall::Syscall;

use super::Tracer;
use crate::events::View;
use crate::trace::record::{Moment, Record, Who};

/// A system call between `ecall` and return.
pub(super) struct Call {
    pub number: u64,
    pub pc: u64,
    pub satp: u64,
    hart: usize,
    retired: u64,
    /// When, who and with what, if system calls are traced.
    shown: Option<(Moment, Who, [u64; 6])>,
}

impl Call {
    /// Its name, when it is one of xv6's.
    pub fn name(&self) -> Option<String> {
        Syscall::from_number(self.number).map(|call| call.name().to_owned())
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
            (self.moment(view), self.who(view), args)
        });
        let (number, retired) = (view.hart.x(17), view.hart.retired());
        self.calls.insert(key, Call { number, pc, satp, hart, retired, shown });
    }

    pub(super) fn call_returned(&mut self, view: &View, key: i64) {
        if let Some(call) = self.calls.remove(&key) {
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
        if let Some((at, who, args)) = call.shown {
            self.outputs.record(&Record::Syscall {
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
