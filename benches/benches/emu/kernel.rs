//! Our kernel as a whole: boot to the prompt, fork and exec, and what tracing costs.

use abi::hint::Hint;
use benches::{Marks, Setup, guest, run_to_end, run_to_prompt};
use criterion::Criterion;
use emu::events::NoEvents;

/// Processes that are not counted: those that boot makes.
const FIRST: usize = 1;

/// Boot to the prompt; fork, exec, exit and wait.
pub fn kernel(criterion: &mut Criterion) {
    let Some(kernel) = guest("kernel.elf") else { return };
    let mut group = criterion.benchmark_group("kernel");
    let setup = Setup::new(&kernel, &[]);
    group.bench_function("boot to the prompt", |bencher| {
        bencher.iter_custom(|n| (0..n).map(|_| run_to_prompt(&mut setup.machine(NoEvents))).sum());
    });
    group.bench_function("fork, exec, exit, wait", |bencher| {
        bencher.iter_custom(|n| {
            let append = format!("--append=run=\"forkexec {}\"", n + 1);
            let mut machine = Setup::new(&kernel, &[&append]).machine(Marks::of(Hint::Forked));
            run_to_end(&mut machine);
            machine.events.moments.drain(..FIRST);
            let (time, _, rounds) = machine.events.span().expect("processes were made");
            assert!(rounds as u64 >= n, "{rounds} of {n} processes");
            time.mul_f64(n as f64 / rounds as f64)
        });
    });
}

/// The same run watched more and more closely.
pub fn tracing(criterion: &mut Criterion) {
    const APPEND: &str = "--append=run=\"usertests -q mem\"";
    const WATCHED: [(&str, &[&str]); 4] = [
        ("off", &[]),
        ("faults", &["--trace=faults"]),
        ("faults, frames", &["--trace=faults,frames"]),
        ("all but tlb", &["--trace=faults,frames,proc,sys,traps"]),
    ];
    let Some(kernel) = guest("kernel.elf") else { return };
    let mut group = criterion.benchmark_group("tracing");
    let file = std::env::temp_dir().join(format!("emu-bench-{}.txt", std::process::id()));
    let output = format!("--output={}", file.display());
    for (title, options) in WATCHED {
        let to_file = (!options.is_empty()).then_some(output.as_str());
        let options = options.iter().copied().chain(to_file).chain([APPEND]);
        let options: Vec<&str> = options.collect();
        let setup = Setup::new(&kernel, &options);
        group.bench_function(title, |bencher| {
            bencher.iter_custom(|n| {
                let once = |_| match setup.observer() {
                    Some(observer) => run_to_end(&mut setup.machine(observer)),
                    None => run_to_end(&mut setup.machine(NoEvents)),
                };
                (0..n).map(once).sum()
            });
        });
    }
    let _ = std::fs::remove_file(file);
}
