//! Set-up, tests and benches in one command.
fn main() {}
