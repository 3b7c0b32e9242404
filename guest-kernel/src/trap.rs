//! Traps: system calls, faults and interrupts, from user mode and from the kernel itself.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::layout::{UART0_IRQ, VIRTIO_SLOTS, VIRTIO0_IRQ};
use isa::trap::{Cause, Exception, Interrupt};

use crate::arch::{self, Trap};
use crate::dev::{plic, uart, virtio_blk};
use crate::mm::{Access, Kill};
use crate::proc::{self, OwnGuard, me, wakeup, yield_now};
use crate::sync::SpinLock;
use crate::syscall::{self, Next};
use crate::{boot, console, println};

/// Timer ticks between two timer interrupts: a tenth of a second.
const TICK: u64 = 1_000_000;

/// Timer interrupts of hart 0 since boot.
static TICKS: AtomicU32 = AtomicU32::new(0);
/// The condition lock of those who wait for a tick.
static TICKED: SpinLock<()> = SpinLock::new("ticks", ());

/// Lets this hart take traps and timer interrupts.
pub fn init_hart() {
    arch::traps_to_kernel();
    arch::set_timer(arch::time() + TICK);
}

/// Ticks since boot.
pub fn ticks() -> u32 {
    TICKS.load(Relaxed)
}

/// What a process sleeps on until a tick: no address, so that each tick wakes whom it concerns.
fn tick_channel(tick: u32) -> usize {
    1 << 63 | tick as usize
}

/// Sleeps for a number of ticks; `None` when killed.
pub fn pause(ticks_to_wait: u32) -> Option<()> {
    let mut guard = TICKED.lock();
    let start = ticks();
    while ticks().wrapping_sub(start) < ticks_to_wait {
        if proc::killed() {
            return None;
        }
        let channel = tick_channel(start.wrapping_add(ticks_to_wait));
        guard = proc::sleep_unless_killed(channel, guard);
    }
    Some(())
}

/// Where a new process's kernel thread begins: on its way to user mode, as if from a fork.
pub extern "C" fn first_return() -> ! {
    release_own_state();
    return_to_user(me().own())
}

/// The scheduler switched here with the process's state locked; there is no guard for it yet.
pub fn release_own_state() {
    // SAFETY: this is the first thing that a new thread does, so the lock is held and this
    // thread has no guard.
    unsafe { me().state.release() };
}

/// Goes (back) to user mode.
pub fn return_to_user(mut own: OwnGuard) -> ! {
    // From here to SRET, a trap would be taken for one from user mode.
    arch::interrupts_off();
    let satp = own.space().satp();
    let stack = own.proc().stack_top();
    let registers = &raw mut *own.registers();
    drop(own);
    // SAFETY: the registers are in the process's trap frame, which lives as long as it does;
    // the kernel's thread ends here, and the next trap begins it anew.
    unsafe { arch::enter_user(&mut *registers, satp, stack, user_trap) }
}

/// A trap from user mode; interrupts are off.
extern "C" fn user_trap() -> ! {
    let trap = arch::read_trap();
    assert!(trap.from_user(), "user_trap: not from user mode");
    arch::traps_to_kernel();
    let me = me();
    let mut own = me.own();
    own.registers().epc = trap.pc;

    match Cause::from_bits(trap.cause) {
        Some(Cause::Exception(Exception::EcallU)) => own = system_call(own),
        Some(Cause::Exception(exception)) => {
            // What the registers said about the trap is in `trap`.
            arch::interrupts_on();
            if let Err(reason) = resolve(&mut own, exception, trap.value) {
                report(&trap, me.pid(), reason);
                me.set_killed();
            }
        }
        _ => match device_interrupt(&trap) {
            None => {
                report(&trap, me.pid(), None);
                me.set_killed();
            }
            Some(Served::Device) => {}
            Some(Served::Timer) => yield_now(),
        },
    }
    if me.is_killed() {
        proc::exit(own, -1);
    }
    return_to_user(own)
}

fn system_call(mut own: OwnGuard) -> OwnGuard {
    if own.proc().is_killed() {
        proc::exit(own, -1);
    }
    // Behind the ECALL.
    own.registers().epc += 4;
    arch::interrupts_on();
    match syscall::system_call(&mut own) {
        Next::Return => own,
        Next::Exit(status) => proc::exit(own, status),
    }
}

/// Repairs what a page fault complains about. Otherwise says why the process must be killed, if
/// there is more to say than what the exception is.
fn resolve(own: &mut OwnGuard, exception: Exception, va: u64) -> Result<(), Option<Kill>> {
    let access = match exception {
        Exception::InstPageFault => Access::Execute,
        Exception::LoadPageFault => Access::Read,
        Exception::StorePageFault => Access::Write,
        _ => return Err(None),
    };
    match own.space().fault(va, access) {
        // Without the first process the machine would end. It tries again when others have run,
        // one of which may have ended.
        Err(Kill::OutOfMemory) if own.proc().is_init() => yield_now(),
        result => drop(result.map_err(Some)?),
    }
    Ok(())
}

/// Tells the console why a process is killed: MIT's two lines, which graders compare, and with
/// the boot flag `explain=1` the fault's class in a third one.
fn report(trap: &Trap, pid: i32, reason: Option<Kill>) {
    println!("usertrap(): unexpected scause {:#x} pid={}", trap.cause, pid);
    println!("            sepc={:#x} stval={:#x}", trap.pc, trap.value);
    if let Some(kill) = reason
        && boot::args().explain
    {
        println!("            {}", kill.reason());
    }
}

/// A trap from the kernel, called by the assembly code; interrupts are off.
pub extern "C" fn kernel_trap() {
    let trap = arch::read_trap();
    assert!(!trap.from_user(), "kernel_trap: not from supervisor mode");
    assert!(!arch::interrupts_enabled(), "kernel_trap: interrupts enabled");
    match device_interrupt(&trap) {
        None => {
            println!("scause={:#x} sepc={:#x} stval={:#x}", trap.cause, trap.pc, trap.value);
            panic!("kerneltrap");
        }
        Some(Served::Device) => {}
        Some(Served::Timer) => yield_now(),
    }
    // SAFETY: the assembly code returns with SRET; other traps may have come while yielding.
    unsafe { arch::restore_trap(&trap) };
}

/// What kind of interrupt was served.
enum Served {
    Device,
    Timer,
}

/// Serves an interrupt; `None` if the trap is something else.
fn device_interrupt(trap: &Trap) -> Option<Served> {
    match Cause::from_bits(trap.cause)? {
        Cause::Interrupt(Interrupt::SupervisorExternal) => {
            external_interrupt();
            Some(Served::Device)
        }
        Cause::Interrupt(Interrupt::SupervisorTimer) => {
            timer_interrupt();
            Some(Served::Timer)
        }
        _ => None,
    }
}

fn external_interrupt() {
    const FIRST_VIRTIO: u32 = VIRTIO0_IRQ;
    const LAST_VIRTIO: u32 = VIRTIO0_IRQ + VIRTIO_SLOTS as u32 - 1;
    // Another hart may have been quicker.
    let Some(line) = plic::claim() else { return };
    match line {
        UART0_IRQ => uart::interrupt(console::received),
        FIRST_VIRTIO..=LAST_VIRTIO => virtio_blk::interrupt(),
        _ => println!("unexpected interrupt irq={line}"),
    }
    plic::complete(line);
}

fn timer_interrupt() {
    if arch::hart_id() == 0 {
        let guard = TICKED.lock();
        let now = ticks().wrapping_add(1);
        TICKS.store(now, Relaxed);
        drop(guard);
        wakeup(tick_channel(now));
    }
    arch::set_timer(arch::time() + TICK);
}
