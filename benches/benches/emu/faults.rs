//! Page faults of our kernel by class: from the trap to the return to user mode.

use abi::hint::FaultClass;
use benches::{Faults, Setup, guest, run_to_end};
use criterion::Criterion;

/// The classes, as `faultstorm` calls them; the last one ends processes.
const CLASSES: [(&str, &str, Option<FaultClass>); 6] = [
    ("lazy, zeroed", "lazy", Some(FaultClass::Lazy)),
    ("cow, copied", "cow", Some(FaultClass::CowCopy)),
    ("cow, last reference", "last", Some(FaultClass::CowLast)),
    ("shared, joined", "join", Some(FaultClass::SharedJoin)),
    ("filled from a file", "file", Some(FaultClass::FileFill)),
    ("killed", "kill", None),
];

/// Host time of a page fault; guest instructions are printed.
pub fn faults(criterion: &mut Criterion) {
    let Some(kernel) = guest("kernel.elf") else { return };
    let mut group = criterion.benchmark_group("page fault");
    for (title, word, class) in CLASSES {
        let mut insns = None;
        group.bench_function(title, |bencher| {
            bencher.iter_custom(|n| {
                let append = format!("--append=run=\"faultstorm {word} {n}\"");
                let mut machine = Setup::new(&kernel, &[&append]).machine(Faults::of(class));
                run_to_end(&mut machine);
                let seen = &machine.events;
                assert!(seen.count >= n, "{} of {n} faults: {word}", seen.count);
                insns = Some(seen.insns / seen.count);
                seen.time.mul_f64(n as f64 / seen.count as f64)
            });
        });
        if let Some(insns) = insns {
            eprintln!("page fault/{title}: {insns} guest instructions");
        }
    }
}
