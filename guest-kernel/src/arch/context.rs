//! A kernel thread that is not running: what the calling convention says a call preserves.

/// Where a kernel thread goes on.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Where to return to.
    pub ra: u64,
    /// The stack pointer.
    pub sp: u64,
    /// Registers s0 to s11.
    pub s: [u64; 12],
}

impl Context {
    /// Nothing to go on with yet.
    pub const EMPTY: Context = Context { ra: 0, sp: 0, s: [0; 12] };

    /// A thread that will begin with a call of `entry` on the stack below `stack_top`.
    pub fn new(entry: extern "C" fn() -> !, stack_top: u64) -> Context {
        Context { ra: entry as *const () as u64, sp: stack_top, s: [0; 12] }
    }
}
