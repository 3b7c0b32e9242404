//! What the machine costs: `cargo bench`. The guest must be built (`cargo xtask guest`).

mod faults;
mod kernel;
mod machine;
mod tlb;

use std::time::Duration;

use criterion::Criterion;

/// Short, because there are many: the whole takes a minute or two.
fn brief() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
}

fn main() {
    let mut criterion = brief().configure_from_args();
    faults::faults(&mut criterion);
    machine::system(&mut criterion);
    machine::compute(&mut criterion);
    tlb::model(&mut criterion);
    kernel::kernel(&mut criterion);
    kernel::tracing(&mut criterion);
    criterion.final_summary();
}
