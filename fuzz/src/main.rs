//! The command behind `cargo xtask fuzz`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use fuzz::case::Case;
use fuzz::generate::for_engines;
use fuzz::lockstep::{self, ENGINES};
use fuzz::qemu::{self, BATCH, Ready};
use fuzz::show::Show;
use fuzz::shrink::shrink;

#[derive(Parser)]
#[command(name = "cargo xtask fuzz", about = "Compare the engines on random streams")]
struct Args {
    /// The first seed; the others follow it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many streams.
    #[arg(long, default_value_t = 1000, conflicts_with = "seconds")]
    runs: u64,
    /// Go on for that long instead.
    #[arg(long)]
    seconds: Option<u64>,
    /// Seconds to make a stream that fails smaller.
    #[arg(long, default_value_t = 60)]
    shrink: u64,
    /// Compare with QEMU instead, on streams that leave implementations no choice.
    #[arg(long)]
    qemu: bool,
    /// Go on after a difference.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = if args.qemu { with_qemu(&args) } else { with_engines(&args) };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("fuzz: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Whether to go on, after that many streams since `start`.
fn more(args: &Args, streams: u64, start: Instant) -> bool {
    match args.seconds {
        Some(seconds) => start.elapsed() < Duration::from_secs(seconds),
        None => streams < args.runs,
    }
}

/// Says how far it is, now and then.
fn so_far(streams: u64, said: &mut Instant) {
    const PATIENCE: Duration = Duration::from_secs(10);
    if said.elapsed() >= PATIENCE {
        eprintln!("fuzz: {streams} streams so far");
        *said = Instant::now();
    }
}

fn summary(streams: u64, start: Instant, failed: u64) {
    println!("fuzz: {streams} streams in {} s, {failed} differ", start.elapsed().as_secs());
}

/// Compares the engines; returns how many streams differ.
fn with_engines(args: &Args) -> Result<u64, String> {
    let start = Instant::now();
    let (mut streams, mut failed, mut said) = (0, 0, start);
    while more(args, streams, start) && (failed == 0 || args.keep_going) {
        so_far(streams, &mut said);
        failed += u64::from(!engines_agree(args.seed + streams, args));
        streams += 1;
    }
    summary(streams, start, failed);
    Ok(failed)
}

fn engines_agree(seed: u64, args: &Args) -> bool {
    let case = for_engines(seed);
    let Some(first) = lockstep::run(&case, &ENGINES) else { return true };
    let (engine, insns) = (first.engine, first.insns);
    println!("fuzz: seed {seed}: {engine:?} after {insns} instructions: {}", first.what);
    let fails = |case: &Case| lockstep::run(case, &[engine]).is_some();
    let insns = first.insns + case.turn;
    let small = shrink(&Case { insns, ..case }, Duration::from_secs(args.shrink), fails);
    if let Some(now) = lockstep::run(&small, &[engine]) {
        println!("made smaller: after {} instructions: {}", now.insns, now.what);
    }
    print!("{}", Show(&small));
    println!("again with: cargo xtask fuzz --seed {seed} --runs 1");
    false
}

/// Compares with QEMU, in batches; returns how many streams differ.
fn with_qemu(args: &Args) -> Result<u64, String> {
    if !qemu::is_there() {
        return Err("qemu-system-riscv64 is not installed (Debian: qemu-system-misc)".to_owned());
    }
    let start = Instant::now();
    let (mut seed, mut streams, mut failed, mut said) = (args.seed, 0, 0, start);
    while more(args, streams, start) && (failed == 0 || args.keep_going) {
        so_far(streams, &mut said);
        let mut batch = Vec::new();
        while batch.len() < BATCH && more(args, streams, start) {
            // A stream that does not end by itself cannot be compared.
            batch.extend(qemu::prepare(seed, batch.len()));
            (seed, streams) = (seed + 1, streams + 1);
        }
        failed += compare(&batch, args)?;
    }
    summary(streams, start, failed);
    Ok(failed)
}

/// Runs a batch, and again without those that differ; returns how many do.
fn compare(batch: &[Ready], args: &Args) -> Result<u64, String> {
    let Some(difference) = qemu::run(batch)? else { return Ok(0) };
    let mut failed = 0;
    let suspects = difference.number.map_or(0..batch.len(), |number| number..batch.len());
    for ready in &batch[suspects] {
        let fails = |case: &Case| {
            let again = Ready::new(case.clone(), ready.number);
            again.and_then(|ready| qemu::run(&[ready]).ok().flatten())
        };
        let Some(first) = fails(&ready.case) else { continue };
        let seed = ready.case.seed;
        println!("fuzz: seed {seed}: QEMU: {}", first.what);
        let limit = Duration::from_secs(args.shrink);
        // Parts of units may do what implementations do as they like: only the same sort counts.
        let same = |case: &Case| fails(case).is_some_and(|now| now.sort == first.sort);
        let small = shrink(&ready.case, limit, same);
        if let Some(now) = fails(&small) {
            println!("made smaller: {}", now.what);
        }
        print!("{}", Show(&small));
        println!("again with: cargo xtask fuzz --qemu --seed {seed} --runs 1");
        failed += 1;
        if !args.keep_going {
            break;
        }
    }
    // Something that only happens in company is a difference, too.
    if failed == 0 {
        println!("fuzz: {} in a batch from seed {}", difference.what, batch[0].case.seed);
    }
    Ok(failed.max(1))
}
