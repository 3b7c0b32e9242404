//! What the in-tree kernel says of itself.

use abi::hint::Hint;
use isa::Priv;

use super::Tracer;
use super::infer::class_name;
use crate::events::View;
use crate::trace::awareness::RawName;
use crate::trace::record::{Access, Moment, Record, Who};

impl Tracer {
    pub(super) fn hint(&mut self, view: &View, pc: u64, kind: i32) {
        let Some(kind) = Hint::from_imm(kind) else { return };
        // Programs may set marks; the rest is the kernel's to say.
        if view.hart.privilege == Priv::User && kind != Hint::Mark {
            return;
        }
        let [a0, a1, a2] = [10, 11, 12].map(|register| view.hart.x(register));
        match kind {
            Hint::ProcSwitched => {
                if !self.open.is_empty() {
                    let (hart, retired) = (view.hart.id, view.hart.retired());
                    self.harts[hart].entered = retired;
                    self.open.wait_for(i64::from(a0 as i32), hart as u32, retired);
                }
                let name = Some(RawName::read(view.ram(), a1).text().into());
                let who = Who { pid: Some(a0 as i32), name, satp: a2 };
                self.process_hint(view, who, |at, who| Record::ProcSwitched { at, who });
            }
            Hint::Execed => {
                let name = Some(RawName::read(view.ram(), a1).text().into());
                let who = Who { pid: Some(a0 as i32), name, ..self.who(view) };
                self.process_hint(view, who, |at, who| Record::Execed { at, who });
            }
            Hint::Forked => self.forked(view, a1 as i32),
            Hint::Exited => {
                let who = Who { pid: Some(a0 as i32), ..self.who(view) };
                self.exited(view, who, a1 as i32);
            }
            Hint::FrameAllocated => self.frame_allocated(view, (a0, a1), self.back(view, pc)),
            Hint::FrameFreed => self.frame_freed(view, (a0, a1), self.back(view, pc)),
            Hint::FrameRefs => {
                let old = |pa: u64| pa & !0xfff == a0;
                if let Some(open) = self.handled(view).filter(|o| o.before.pa.is_some_and(old)) {
                    open.refs.get_or_insert(a1 as u32);
                }
            }
            Hint::FaultBegan => {
                let access = [Access::Load, Access::Store, Access::Fetch].get(a1 as usize).copied();
                // Only a system call begins one without a trap.
                if let Some(access) = access {
                    self.open_soft(view, a0, a2, access);
                }
            }
            Hint::FaultClassified => {
                if let Some(open) = self.handled(view) {
                    open.fault.class = class_name(a1);
                }
                self.close_soft(view);
            }
            Hint::Mark => {
                let (at, who) = (self.moment(view), self.who(view));
                self.emit(Record::Mark { at, who, values: [a0, a1, a2] });
            }
            // Known from the traps themselves.
            Hint::SyscallEntered | Hint::SyscallReturned => {}
        }
    }

    /// Where the ledger of frames, at `pc`, returns to: it has several functions of its own.
    fn back(&self, view: &View, pc: u64) -> u64 {
        const DEEPEST: usize = 4;
        let Some(kernel) = self.guest.kernel.as_ref().filter(|_| self.kinds.frames) else {
            return 0;
        };
        let (mut at, mut back, mut sp) = (pc, view.hart.x(1), view.hart.x(2));
        for depth in 0..DEEPEST {
            let Some(step) = kernel.step(at).filter(|step| depth == 0 || step.in_ledger) else {
                break;
            };
            sp = sp.wrapping_add(step.up);
            back = match step.back.map(|offset| view.ram().read(sp.wrapping_add_signed(offset))) {
                Some(Ok(back)) => back,
                None if depth == 0 => back,
                _ => break,
            };
            at = back;
        }
        back
    }

    fn process_hint(&mut self, view: &View, who: Who, record: impl Fn(Moment, Who) -> Record) {
        self.harts[view.hart.id].hinted(who.clone());
        if self.kinds.proc {
            let at = self.moment(view);
            self.emit(record(at, who));
        }
    }
}
