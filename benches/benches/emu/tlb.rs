//! The modelled TLB: what an access costs that hits, and one that misses, by policy.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use emu::trace::tlb_model::{PageNumbers, TlbModel, Translation};

/// Accesses of a round.
const ACCESSES: u64 = 1000;

/// Hits and misses of the model.
pub fn model(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("modelled TLB");
    group.throughput(Throughput::Elements(ACCESSES));
    for policy in ["fifo", "random", "lru"] {
        for (title, pages) in [("hit", 32), ("miss", 4096)] {
            let config = format!("64x4,{policy}").parse().expect("a configuration");
            let (mut model, mut numbers) = (TlbModel::new(config), PageNumbers::default());
            group.bench_function(format!("{policy}, {title}"), |bencher| {
                bencher.iter(|| {
                    for access in 0..ACCESSES {
                        let vpn = access % pages;
                        let walked = Translation { vpn, asid: 0, level: 0, pte: vpn << 10 | 0xcf };
                        let number = numbers.of(&walked, model.is_tagged());
                        black_box(model.access(walked, number));
                    }
                });
            });
        }
    }
}
