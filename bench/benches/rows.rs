//! The times of all rows, for people at home: `cargo bench -p sio-bench --features criterion [-- ROW]`.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "the macros of Criterion make public functions")]
#![expect(clippy::disallowed_methods, reason = "this program measures times")]

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use sio_bench::{Row, rows};

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, row: &Row) {
    let mut case = (row.make)();
    group.throughput(Throughput::Elements(row.operations));
    group.bench_function(row.name, |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                for step in 0..case.steps() {
                    case.prepare(step);
                    let begin = std::time::Instant::now();
                    case.run(step);
                    spent += begin.elapsed();
                }
            }
            spent
        });
    });
}

fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rows");
    group
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    for row in rows() {
        measure(&mut group, &row);
    }
    group.finish();
}

criterion_group!(benches, all);
criterion_main!(benches);
