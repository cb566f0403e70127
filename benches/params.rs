//! Benchmark of the parameter page: publishing a version of the weights, and fetching it.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use impala_rl::params::{ParamPublisher, ParamReader, Refresh, page_words};
use impala_rl::sync::{AtomicU64, ReadWord};

fn page(c: &mut Criterion) {
    let mut group = c.benchmark_group("params");
    for len in [4_611, 100_000, 1_700_000] {
        let words: Vec<AtomicU64> = (0..page_words(len)).map(|_| AtomicU64::new(0)).collect();
        let mut publisher = ParamPublisher::new(&words, len, 1).expect("a zeroed page");
        let mut reader = ParamReader::new(ReadWord::of(&words), len, 1).expect("laid out");
        let values = vec![0.5; len];
        let mut out = vec![0.0; len];
        group.throughput(Throughput::Bytes(4 * len as u64));
        let mut version = 0;
        group.bench_function(BenchmarkId::new("publish", len), |b| {
            b.iter(|| {
                version += 1;
                publisher.publish(version, &values).expect("finite");
            });
        });
        group.bench_function(BenchmarkId::new("refresh", len), |b| {
            b.iter(|| assert_eq!(reader.refresh(0, &mut out), Refresh::New(version)));
        });
        group.bench_function(BenchmarkId::new("refresh_unchanged", len), |b| {
            b.iter(|| assert_eq!(reader.refresh(version, &mut out), Refresh::Unchanged));
        });
    }
    group.finish();
}

criterion_group!(benches, page);
criterion_main!(benches);
