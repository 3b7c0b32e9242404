//! The real-time clock: nanoseconds since 1970, and one alarm.
//!
//! Source: the Goldfish RTC of Android's virtual platform, as QEMU's `virt` board has it. It
//! follows the machine's time from a fixed date on, so that runs repeat, unless the machine's
//! time is the host's.

use super::{Ctx, Device};

/// Nanoseconds in a tick of the time base.
const TICK_NS: u64 = 100;
/// What the clock shows when virtual time begins: 2025-01-01 00:00:00 UTC.
pub const FIXED_START_NS: u64 = 1_735_689_600 * 1_000_000_000;

#[derive(Clone, Copy)]
enum Register {
    TimeLow,
    TimeHigh,
    AlarmLow,
    AlarmHigh,
    IrqEnabled,
    ClearAlarm,
    AlarmStatus,
    ClearInterrupt,
}

/// State of the clock.
#[derive(Clone, Debug)]
pub struct Rtc {
    /// Nanoseconds since 1970 at the machine's time 0.
    start_ns: u64,
    /// The high half as of the last read of the low one.
    time_high: u32,
    /// The high half that the next write of the low one goes with.
    new_high: u32,
    alarm_high: u32,
    /// Machine time, in ticks, at which the alarm goes off.
    alarm: Option<u64>,
    irq_enabled: bool,
    irq_pending: bool,
    signal: bool,
}

impl Rtc {
    /// A clock that shows `start_ns` at the machine's time 0.
    pub fn new(start_ns: u64) -> Rtc {
        Rtc {
            start_ns,
            time_high: 0,
            new_high: 0,
            alarm_high: 0,
            alarm: None,
            irq_enabled: false,
            irq_pending: false,
            signal: false,
        }
    }

    /// When [`Rtc::poll`] is due.
    pub fn deadline(&self) -> Option<u64> {
        self.alarm
    }

    /// Lets the alarm go off when its time has come.
    pub fn poll(&mut self, now: u64) {
        if self.alarm.is_some_and(|alarm| alarm <= now) {
            self.alarm = None;
            self.irq_pending = true;
            self.signal = true;
        }
    }

    /// The level of the interrupt line.
    fn irq(&self) -> bool {
        self.irq_enabled && self.irq_pending
    }

    fn time_ns(&self, now: u64) -> u64 {
        self.start_ns.wrapping_add(now.wrapping_mul(TICK_NS))
    }

    fn decode(offset: u64, size: u8) -> Option<Register> {
        match (size, offset) {
            (4, 0x00) => Some(Register::TimeLow),
            (4, 0x04) => Some(Register::TimeHigh),
            (4, 0x08) => Some(Register::AlarmLow),
            (4, 0x0c) => Some(Register::AlarmHigh),
            (4, 0x10) => Some(Register::IrqEnabled),
            (4, 0x14) => Some(Register::ClearAlarm),
            (4, 0x18) => Some(Register::AlarmStatus),
            (4, 0x1c) => Some(Register::ClearInterrupt),
            _ => None,
        }
    }

    /// Arms the alarm for a wall-clock time; one in the past goes off at once.
    fn set_alarm(&mut self, ns: u64, now: u64) {
        let ahead = ns.saturating_sub(self.time_ns(now)).div_ceil(TICK_NS);
        self.alarm = Some(now.saturating_add(ahead));
        self.poll(now);
    }
}

impl Device for Rtc {
    fn read(&mut self, offset: u64, size: u8, ctx: &mut Ctx) -> Option<u64> {
        let alarm_ns = self.alarm.map_or(0, |alarm| self.time_ns(alarm));
        Some(match Rtc::decode(offset, size)? {
            Register::TimeLow => {
                let time = self.time_ns(ctx.now);
                self.time_high = (time >> 32) as u32;
                time & 0xffff_ffff
            }
            Register::TimeHigh => self.time_high.into(),
            Register::AlarmLow => alarm_ns & 0xffff_ffff,
            Register::AlarmHigh => alarm_ns >> 32,
            Register::IrqEnabled => self.irq_enabled.into(),
            Register::AlarmStatus => self.alarm.is_some().into(),
            Register::ClearAlarm | Register::ClearInterrupt => 0,
        })
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, ctx: &mut Ctx) -> Option<()> {
        self.signal = true;
        let value = value & 0xffff_ffff;
        match Rtc::decode(offset, size)? {
            Register::TimeLow => {
                let time = u64::from(self.new_high) << 32 | value;
                self.start_ns = time.wrapping_sub(ctx.now.wrapping_mul(TICK_NS));
            }
            Register::TimeHigh => self.new_high = value as u32,
            Register::AlarmLow => {
                self.set_alarm(u64::from(self.alarm_high) << 32 | value, ctx.now);
            }
            Register::AlarmHigh => self.alarm_high = value as u32,
            Register::IrqEnabled => self.irq_enabled = value & 1 != 0,
            Register::ClearAlarm => self.alarm = None,
            Register::ClearInterrupt => self.irq_pending = false,
            Register::AlarmStatus => {}
        }
        Some(())
    }

    fn take_signal(&mut self) -> Option<bool> {
        std::mem::take(&mut self.signal).then(|| self.irq())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::testing::Pages;

    fn read(rtc: &mut Rtc, offset: u64, now: u64) -> u64 {
        rtc.read(offset, 4, &mut Ctx { now, mem: &mut Pages::new(0) }).expect("a register")
    }

    fn write(rtc: &mut Rtc, offset: u64, value: u64, now: u64) {
        rtc.write(offset, 4, value, &mut Ctx { now, mem: &mut Pages::new(0) }).expect("a register");
    }

    #[test]
    fn low_half_latches_the_high_one() {
        let mut rtc = Rtc::new(0x1_ffff_ffff);
        assert_eq!(read(&mut rtc, 0, 0), 0xffff_ffff);
        assert_eq!(read(&mut rtc, 4, 1000), 1);
        assert_eq!(read(&mut rtc, 0, 1), 99);
        assert_eq!(read(&mut rtc, 4, 1), 2);
    }

    #[test]
    fn time_can_be_set() {
        let mut rtc = Rtc::new(FIXED_START_NS);
        write(&mut rtc, 4, 2, 10);
        write(&mut rtc, 0, 5, 10);
        assert_eq!(read(&mut rtc, 0, 11), 105);
        assert_eq!(read(&mut rtc, 4, 11), 2);
    }

    #[test]
    fn alarm_raises_the_line_when_enabled() {
        let mut rtc = Rtc::new(0);
        write(&mut rtc, 0x0c, 0, 0);
        write(&mut rtc, 0x08, 1000, 0);
        assert_eq!((rtc.deadline(), read(&mut rtc, 0x18, 0)), (Some(10), 1));
        rtc.poll(10);
        assert!(!rtc.irq());
        write(&mut rtc, 0x10, 1, 10);
        assert!(rtc.irq());
        write(&mut rtc, 0x1c, 1, 10);
        assert!(!rtc.irq() && rtc.deadline().is_none());
        write(&mut rtc, 0x08, 1, 10);
        assert!(rtc.irq(), "an alarm in the past goes off at once");
    }
}
