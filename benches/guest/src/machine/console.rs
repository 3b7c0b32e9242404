//! The serial line and the test finisher.

/// The 16550A: transmit register, and the line status that says when it is free.
pub const UART: u64 = 0x1000_0000;
const LINE_STATUS: u64 = UART + 5;
const TRANSMIT_EMPTY: u8 = 1 << 5;
/// SiFive's test finisher.
pub const FINISHER: u64 = 0x10_0000;

/// Prints bytes.
pub fn print(bytes: &[u8]) {
    for byte in bytes {
        // SAFETY: the registers of the board's serial line, mapped or reached without translation.
        unsafe {
            while (LINE_STATUS as *const u8).read_volatile() & TRANSMIT_EMPTY == 0 {}
            (UART as *mut u8).write_volatile(*byte);
        }
    }
}

/// Prints a decimal number.
pub fn print_number(value: u64) {
    if value >= 10 {
        print_number(value / 10);
    }
    print(&[b'0' + (value % 10) as u8]);
}

/// Prints 16 hexadecimal digits.
pub fn print_hex(value: u64) {
    for digit in (0..16).rev() {
        print(&[b"0123456789abcdef"[(value >> (4 * digit) & 15) as usize]]);
    }
}

/// Ends the machine with an exit status.
pub fn finish(status: u32) -> ! {
    let word = if status == 0 { 0x5555 } else { status << 16 | 0x3333 };
    // SAFETY: the test finisher's only register.
    unsafe { (FINISHER as *mut u32).write_volatile(word) };
    loop {
        core::hint::spin_loop();
    }
}
