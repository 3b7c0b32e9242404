//! The command behind `cargo xtask fuzz`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use fuzz::case::{Case, Kind};
use fuzz::generate::generate;
use fuzz::lockstep::{self, ENGINES};
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
    /// Go on after a difference.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let start = Instant::now();
    let (mut seed, mut failed) = (args.seed, 0);
    let more = |seed: u64| match args.seconds {
        Some(seconds) => start.elapsed() < Duration::from_secs(seconds),
        None => seed - args.seed < args.runs,
    };
    while more(seed) {
        if !engines_agree(seed, &args) {
            failed += 1;
            if !args.keep_going {
                return ExitCode::FAILURE;
            }
        }
        seed += 1;
    }
    let (streams, seconds) = (seed - args.seed, start.elapsed().as_secs());
    println!("fuzz: {streams} streams in {seconds} s, {failed} differ");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn engines_agree(seed: u64, args: &Args) -> bool {
    let case = generate(seed, Kind::Ours);
    let Some(first) = lockstep::run(&case, &ENGINES) else { return true };
    println!(
        "fuzz: seed {seed}: {:?} after {} instructions: {}",
        first.engine, first.insns, first.what
    );
    let engines = [first.engine];
    let fails = |case: &Case| lockstep::run(case, &engines).is_some();
    let insns = first.insns + case.turn;
    let small = shrink(&Case { insns, ..case }, Duration::from_secs(args.shrink), fails);
    if let Some(now) = lockstep::run(&small, &engines) {
        println!("made smaller: after {} instructions: {}", now.insns, now.what);
    }
    print!("{}", Show(&small));
    println!("again with: cargo xtask fuzz --seed {seed} --runs 1");
    false
}
