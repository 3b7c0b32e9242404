//! The trap frame: a user thread's registers while the kernel runs.

/// A page of every process, mapped at `TRAPFRAME`. The layout is MIT's.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct TrapFrame {
    /// The kernel's page table.
    pub kernel_satp: u64,
    /// Top of the process's kernel stack.
    pub kernel_sp: u64,
    /// The kernel's handler.
    pub kernel_trap: u64,
    /// The user's pc.
    pub epc: u64,
    /// The hart the process runs on.
    pub kernel_hart: u64,
    /// Registers x1 to x31.
    pub x: [u64; 31],
    /// Whether the way into the kernel leaves the TLB alone: a mistake.
    #[cfg(feature = "mutants")]
    pub keep_tlb: u64,
}

impl TrapFrame {
    /// Register number `n`, 1 to 31.
    pub fn reg(&mut self, n: usize) -> &mut u64 {
        &mut self.x[n - 1]
    }

    /// Argument register `n`, 0 to 7; a0 is also the result.
    pub fn arg(&mut self, n: usize) -> &mut u64 {
        self.reg(10 + n)
    }

    /// The stack pointer.
    pub fn sp(&mut self) -> &mut u64 {
        self.reg(2)
    }
}
