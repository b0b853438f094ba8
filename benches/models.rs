//! Forward passes and training steps of small published models: `model/work/cpu/f32`. `drg bench cpu` times all of them, and
//! PyTorch beside.
//!
//! `cargo bench --bench models -- --quick`

#![allow(missing_docs, reason = "criterion_group writes public functions without documentation")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing else to do")]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use drg::engine::bench::{Case, Work};
use drg::model::ZooName;

const BATCH: usize = 4;

fn bench(c: &mut Criterion) {
    for model in [ZooName::Drg600, ZooName::SeqToFunc251, ZooName::Bpnet2114] {
        let mut group = c.benchmark_group(model.name());
        group.throughput(Throughput::Elements(BATCH as u64));
        for &work in Work::ALL {
            group.bench_function(format!("{}/cpu/f32", work.name()), |b| {
                let mut case = Case::new(model, work, BATCH).unwrap();
                b.iter(|| case.run().unwrap());
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(500));
    targets = bench
}
criterion_main!(all);
