//! The command line: what was asked for, and what becomes of it.

pub mod args;
pub mod failure;
pub mod qemu_compat;
pub mod report;
pub mod run;
pub mod setup;
pub mod trace_args;
pub mod watch;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser};

use args::Args;
use failure::Failure;
use report::ReportArgs;

/// The `emu` command.
pub fn main() -> ExitCode {
    match words().and_then(carry_out) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            crate::term::restore();
            let text = failure.to_string();
            if !text.is_empty() {
                eprintln!("emu: {text}");
            }
            ExitCode::from(failure.status())
        }
    }
}

/// The words of the command line.
fn words() -> Result<Vec<String>, Failure> {
    let words = std::env::args_os().map(|word| {
        word.into_string()
            .map_err(|word| Failure::Usage(format!("{} is not UTF-8", word.to_string_lossy())))
    });
    words.collect()
}

/// `emu report …`, or a run.
fn carry_out(mut words: Vec<String>) -> Result<u8, Failure> {
    if words.get(1).is_some_and(|word| word == "report") {
        words.remove(1);
        return match ReportArgs::try_parse_from(words) {
            Ok(args) => report::run(&args),
            Err(error) if error.kind() == ErrorKind::DisplayHelp => {
                print(&error.to_string());
                Ok(0)
            }
            Err(error) => Err(Failure::Usage(one_line("emu report", &error))),
        };
    }
    parse(words)?.map_or(Ok(0), |args| run::run(&args))
}

/// The command line of a run; `None` when it only asked for help or the version.
fn parse(words: Vec<String>) -> Result<Option<Args>, Failure> {
    // The parser's own two options, which the translation does not know.
    let asked = |names: &[&str]| words.iter().skip(1).any(|word| names.contains(&word.as_str()));
    let mut command = Args::command();
    if asked(&["-h", "-help", "--help"]) {
        print(&command.render_long_help().to_string());
        return Ok(None);
    }
    if asked(&["-version", "--version", "-V"]) {
        print(&command.render_version());
        return Ok(None);
    }
    let words = qemu_compat::translate(words, &command).map_err(Failure::Usage)?;
    match command.try_get_matches_from(words).and_then(|m| Args::from_arg_matches(&m)) {
        Ok(args) => Ok(Some(args)),
        Err(error) => Err(Failure::Usage(one_line("emu", &error))),
    }
}

/// The first line of what the parser says, with what else belongs into it.
fn one_line(command: &str, error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let listed = |kind| match error.get(kind) {
        Some(ContextValue::Strings(words)) if !words.is_empty() => Some(words.join(", ")),
        _ => None,
    };
    if let Some(values) = listed(ContextKind::ValidValue) {
        return format!("{line}; {values} are there");
    }
    match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            let missing = listed(ContextKind::InvalidArg).unwrap_or_default();
            format!("{missing} is missing; see {command} --help")
        }
        ErrorKind::UnknownArgument | ErrorKind::InvalidValue => {
            format!("{line}; see {command} --help")
        }
        _ => line.to_owned(),
    }
}

/// Prints help. Nobody reading it any more is no error.
fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}
