//! System calls, from `ecall` to the return.

use abi::syscall::Syscall;

use super::{Tracer, key_of};
use crate::events::View;
use crate::trace::record::{Moment, Place, Record, Who};

/// A system call between `ecall` and return.
pub(super) struct Call {
    pub at: Moment,
    pub who: Who,
    pub number: u64,
    pub place: Place,
    retired: u64,
    args: [u64; 6],
}

impl Call {
    /// Its name, when it is one of xv6's.
    pub fn name(&self) -> Option<String> {
        Syscall::from_number(self.number).map(|call| call.name().to_owned())
    }
}

impl Tracer {
    pub(super) fn open_call(&mut self, view: &View, pc: u64) {
        let (at, who) = (self.moment(view), self.who(view));
        let key = key_of(who.pid, who.satp);
        let args = [10, 11, 12, 13, 14, 15].map(|register| view.hart.x(register));
        let place = self.place(view.ram(), pc, who.satp, true);
        let (number, retired) = (view.hart.x(17), view.hart.retired());
        self.harts[view.hart.id].handling = Some(key);
        self.calls.insert(key, Call { at, who, retired, number, args, place });
    }

    pub(super) fn call_returned(&mut self, view: &View, key: i64) {
        if let Some(call) = self.calls.remove(&key) {
            let same_hart = view.hart.id == call.at.hart as usize;
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
        if self.kinds.sys {
            let name = call.name();
            let Call { at, who, number, args, .. } = call;
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
