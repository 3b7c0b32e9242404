//! Device registers. The kernel maps devices at their physical addresses.

macro_rules! mmio {
    ($read:ident $write:ident $type:ty, $width:literal) => {
        #[doc = concat!("Reads a ", $width, "-wide device register.")]
        #[inline(always)]
        pub fn $read(address: u64) -> $type {
            // SAFETY: callers name registers of the board's devices, which are no Rust memory.
            unsafe { (address as *const $type).read_volatile() }
        }

        #[doc = concat!("Writes a ", $width, "-wide device register.")]
        #[inline(always)]
        pub fn $write(address: u64, value: $type) {
            // SAFETY: callers name registers of the board's devices, which are no Rust memory;
            // what a device does to memory is between it and its driver.
            unsafe { (address as *mut $type).write_volatile(value) };
        }
    };
}

mmio!(mmio_read8 mmio_write8 u8, "byte");
mmio!(mmio_read32 mmio_write32 u32, "word");
