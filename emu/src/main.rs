//! The `emu` command.

fn main() -> std::process::ExitCode {
    emu::cli::main()
}
