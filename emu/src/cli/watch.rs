//! From the command line to the tracer: where it writes, and what it knows of the guest.

use std::path::{Path, PathBuf};

use super::args::Args;
use super::failure::Failure;
use super::setup;
use super::trace_args::TraceArgs;
use crate::check::{self, Checker, Checks};
use crate::symbols::Symbols;
use crate::trace::awareness::ProcReader;
use crate::trace::courier::Courier;
use crate::trace::kinds::Kinds;
use crate::trace::outputs::{Format, OutputError, Outputs};
use crate::trace::programs::{Programs, read};
use crate::trace::tlb::TlbWatch;
use crate::trace::tracer::{Guest, Tracer};

/// The tracer that the command line asks for; `None` when nothing is to be watched.
pub fn tracer(args: &Args, kernel: &Path, beside: bool) -> Result<Option<Tracer>, Failure> {
    let wanted = &args.trace;
    if !wanted.any() {
        return if wanted.show.filter == Default::default() && wanted.symbols.is_empty() {
            Ok(None)
        } else {
            Err(Failure::Usage("-e and --symbols are for a trace: add --trace".to_owned()))
        };
    }
    let guest = guest(args, kernel, beside)?;
    let outputs = outputs(wanted).map_err(output_failure)?;
    let outputs =
        Courier::new(outputs).map_err(|error| Failure::host("cannot start a thread", error))?;
    let mut tracer = Tracer::new(guest, args.smp, outputs);
    let name = kernel.file_name().unwrap_or_default().to_string_lossy();
    tracer.begin(&name, args.memory);
    Ok(Some(tracer))
}

/// Whether every instruction and every access has to be looked at.
pub fn needs_every_access(args: &Args) -> bool {
    let insn = args.trace.trace.and_then(|traced| traced.0).is_some_and(|kinds| kinds.insn);
    insn || wants_tlb(args) && args.trace.tlb.unwrap_or_default().needs_every_access()
}

fn wants_tlb(args: &Args) -> bool {
    let listed = args.trace.trace.and_then(|traced| traced.0).is_some_and(|kinds| kinds.tlb);
    listed || args.trace.tlb.is_some()
}

/// The modelled TLBs that the command line asks for.
pub fn tlb(args: &Args) -> Option<TlbWatch> {
    let config = args.trace.tlb.unwrap_or_default();
    wants_tlb(args).then(|| TlbWatch::new(config, args.smp, needs_every_access(args)))
}

/// The checkers that the command line asks for.
pub fn checker(args: &Args, kernel: &Path) -> Option<Checker> {
    let mut wanted = args.trace.check.unwrap_or_default();
    // A modelled TLB may hold stale entries.
    wanted.tlb |= wants_tlb(args);
    if wanted == Checks::default() {
        return None;
    }
    let symbols = read(kernel).and_then(|elf| Symbols::from_elf(&elf).ok());
    let reader = symbols.as_ref().and_then(ProcReader::from_symbols);
    Some(Checker::new(wanted, check::Kernel { symbols, reader }, args.smp, args.memory))
}

fn outputs(wanted: &TraceArgs) -> Result<Outputs, OutputError> {
    let mut outputs = Outputs::new(wanted.show.filter.clone(), !wanted.show.summary);
    // A model or a checker alone speaks for itself.
    let only = wanted.trace.is_none() && !wanted.show.summary && wanted.show.output.is_empty();
    let listed = wanted.trace.and_then(|traced| traced.0).or(only.then(Kinds::default));
    // What the summary counts; free pages are in the trace's end.
    let summed = Kinds { faults: true, tlb: true, ..Kinds::default() };
    let text_kinds = |kinds: Kinds| if wanted.show.summary { kinds | summed } else { kinds };
    for path in &wanted.show.output {
        let format = Format::of(path)?;
        let kinds = listed.unwrap_or(format.usual_kinds());
        let kinds = if format == Format::Text { text_kinds(kinds) } else { kinds };
        outputs.add_file(path, kinds)?;
    }
    if wanted.show.output.is_empty() {
        let kinds = listed.unwrap_or(Format::Text.usual_kinds());
        outputs.add_stderr(text_kinds(kinds));
    }
    Ok(outputs)
}

/// A failure of an output before the run.
pub fn output_failure(error: OutputError) -> Failure {
    match error {
        OutputError::Ending(_) => Failure::Usage(error.to_string()),
        OutputError::Create { path, error } => Failure::file("cannot write", &path, error),
        OutputError::Write { .. } => Failure::Output(error.to_string()),
    }
}

/// What the kernel's file, the folders of programs and the disk image say.
fn guest(args: &Args, kernel: &Path, beside: bool) -> Result<Guest, Failure> {
    // Not every kernel is an ELF file, and not every ELF file has symbols.
    let kernel_symbols = read(kernel).and_then(|elf| Symbols::from_elf(&elf).ok());
    let reader = kernel_symbols.as_ref().and_then(ProcReader::from_symbols);
    let mut programs = Programs::default();
    for folder in &args.trace.symbols {
        let entries = std::fs::read_dir(folder)
            .map_err(|error| Failure::file("cannot read", folder, error))?;
        add_folder(&mut programs, entries);
    }
    for folder in folders_of_programs(kernel) {
        if let Ok(entries) = std::fs::read_dir(folder) {
            add_folder(&mut programs, entries);
        }
    }
    for image in setup::images(args, kernel, beside) {
        add_image(&mut programs, &image);
    }
    Ok(Guest { kernel: kernel_symbols, reader, programs })
}

/// Where builds of xv6 leave the programs: in `user`, beside the kernel or beside its folder.
fn folders_of_programs(kernel: &Path) -> impl Iterator<Item = PathBuf> {
    let beside = kernel.parent().map(Path::to_owned);
    let above = beside.as_deref().and_then(Path::parent).map(Path::to_owned);
    let above =
        above.filter(|_| beside.as_deref().is_some_and(|folder| folder.ends_with("kernel")));
    beside.into_iter().chain(above).map(|folder| folder.join("user"))
}

fn add_folder(programs: &mut Programs, entries: std::fs::ReadDir) {
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().for_each(|path| programs.add_file(path));
}

/// The programs in an image of xv6's file system.
fn add_image(programs: &mut Programs, image: &Path) {
    let Some(image) = read(image).and_then(|bytes| fs_image::Image::open(bytes).ok()) else {
        return;
    };
    for entry in image.list("/").unwrap_or_default() {
        let name = String::from_utf8_lossy(&entry.name);
        if let Ok(elf) = image.get(&name) {
            programs.add_bytes(elf);
        }
    }
}
