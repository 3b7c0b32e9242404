//! Rows of the bare-metal image: traps, fences, walks, address spaces; and plain computing in
//! both engines.

use std::path::Path;
use std::time::Duration;

use abi::hint::Hint;
use benches::{Marks, Setup, guest, run_to_end};
use criterion::{Criterion, Throughput};

/// Iterations that count as one, so that the first guesses are no noise.
const BATCH: u64 = 1000;

/// Time and instructions of a workload without what is around it.
fn measure(image: &Path, name: &str, n: u64, options: &[&str]) -> (Duration, u64) {
    let append = format!("--append={name} {n}");
    let options: Vec<&str> = options.iter().copied().chain([append.as_str()]).collect();
    let mut machine = Setup::new(image, &options).machine(Marks::of(Hint::Mark));
    run_to_end(&mut machine);
    let (time, insns, pieces) = machine.events.span().expect("the image marks its workload");
    assert_eq!(pieces, 1);
    (time, insns)
}

/// Traps, page-table walks and address spaces.
pub fn system(criterion: &mut Criterion) {
    const ROWS: [(&str, &str); 10] = [
        ("system call", "syscall"),
        ("system call, satp switched twice", "syscall-satp"),
        ("timer interrupt", "timer"),
        ("sfence.vma and a load", "fence-load"),
        ("satp write and a load", "satp"),
        ("satp write, sfence.vma, 16 loads", "satp-touch"),
        ("walk of 3 levels", "walk-4k"),
        ("walk of 2 levels", "walk-2m"),
        ("walk of 1 level", "walk-1g"),
        ("random load, 64 MiB", "random"),
    ];
    let Some(image) = guest("bench.elf") else { return };
    let mut group = criterion.benchmark_group("machine");
    for (title, name) in ROWS {
        // An iteration of `random` is 1000 loads already.
        let batch = if name == "random" { 1 } else { BATCH };
        group.throughput(Throughput::Elements(BATCH));
        group.bench_function(title, |bencher| {
            bencher.iter_custom(|n| measure(&image, name, n * batch, &[]).0);
        });
    }
}

/// Instructions a second.
pub fn compute(criterion: &mut Criterion) {
    let Some(image) = guest("bench.elf") else { return };
    for engine in ["interp", "jit"] {
        let mut group = criterion.benchmark_group(format!("engine/{engine}"));
        for (name, batch) in [("mix", 10), ("dhry", BATCH), ("fib", 10), ("nbody", BATCH)] {
            let options = [format!("--engine={engine}")];
            let options = options.each_ref().map(String::as_str);
            let insns = |n| measure(&image, name, n, &options).1;
            group.throughput(Throughput::Elements(insns(2 * batch) - insns(batch)));
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|n| measure(&image, name, n * batch, &options).0);
            });
        }
    }
}
