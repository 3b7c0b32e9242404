//! Records of what others than the tracer saw: the modelled TLBs and the checkers.

use isa::Priv;

use super::Tracer;
use crate::check::Finding;
use crate::events::View;
use crate::trace::record::{MissCause, Record};
use crate::trace::tlb::{Miss, TlbWatch};

impl Tracer {
    /// A checker found something at this instruction, in this mode.
    pub fn found(&mut self, view: &View, (pc, from): (u64, Priv), finding: Finding) {
        let (at, who) = (self.moment(view), self.who(view));
        let spot = self.spot(view.ram(), pc, who.satp, from == Priv::User);
        let place = self.guest.place(spot);
        let (check, message) = (finding.check.to_owned(), finding.message);
        self.emit(Record::Finding { at, who, check, message, place });
    }

    /// The modelled TLB missed.
    pub fn missed(&mut self, view: &View, miss: &Miss) {
        if self.kinds.tlb {
            let (at, who) = (self.moment(view), self.who(view));
            let Miss { access, va, cause } = *miss;
            self.emit(Record::TlbMissed { at, who, access, va, cause });
        }
    }

    /// The modelled TLB was flushed.
    pub fn flushed(&mut self, view: &View, entries: u32, cause: MissCause) {
        if self.kinds.tlb && entries > 0 {
            let (at, who) = (self.moment(view), self.who(view));
            self.emit(Record::TlbFlushed { at, who, entries, cause });
        }
    }

    /// What the modelled TLBs were used for in the run.
    pub fn counted(&mut self, tlb: &TlbWatch) {
        for (config, insts, data) in tlb.tallies() {
            let (at, config) = (self.last, config.to_string());
            self.emit(Record::TlbCounted { at, config, insts, data });
        }
    }
}
