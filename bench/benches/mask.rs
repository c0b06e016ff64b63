//! Masking against fastwebsockets' and the bytewise definition, and checking UTF-8 against the standard library; both
//! against a plain copy, the speed of memory.

use std::hint::black_box;

use bench::inputs::{KEY, ascii, is_measured};
use broker_proto::ws::mask;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const LENGTHS: [usize; 6] = [16, 64, 128, 1024, 4096, 65_536];

fn masking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for length in LENGTHS {
        group.throughput(Throughput::Bytes(length as u64));
        let mut bytes = ascii(length);
        group.bench_function(BenchmarkId::new("ours", length), |bencher| {
            bencher.iter(|| mask::apply(black_box(KEY), 0, black_box(&mut bytes)));
        });
        group.bench_function(BenchmarkId::new("fastwebsockets", length), |bencher| {
            bencher.iter(|| fastwebsockets::unmask(black_box(&mut bytes), black_box(KEY)));
        });
        group.bench_function(BenchmarkId::new("bytewise", length), |bencher| {
            bencher.iter(|| mask_bytewise(black_box(KEY), black_box(&mut bytes)));
        });
        let source = ascii(length);
        group.bench_function(BenchmarkId::new("memcpy", length), |bencher| {
            bencher.iter(|| black_box(&mut bytes).copy_from_slice(black_box(&source)));
        });
    }
    group.finish();
}

/// RFC 6455 §5.3 as it is written, kept from being vectorised.
fn mask_bytewise(key: [u8; 4], bytes: &mut [u8]) {
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = black_box(*byte ^ key[i % 4]);
    }
}

fn utf8(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("utf8");
    let lengths: &[usize] = if is_measured() { &LENGTHS } else { &LENGTHS[..3] };
    for &length in lengths {
        let mixed = "Zürich 東京 €".repeat(length / 16 + 1);
        let mixed = &mixed[..mixed.floor_char_boundary(length)];
        for (kind, bytes) in [("ascii", ascii(length)), ("mixed", mixed.into())] {
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            let id = |library: &str| BenchmarkId::new(format!("{library} {kind}"), length);
            group.bench_function(id("simdutf8"), |bencher| {
                bencher.iter(|| simdutf8::basic::from_utf8(black_box(&bytes)).is_ok());
            });
            group.bench_function(id("std"), |bencher| {
                bencher.iter(|| std::str::from_utf8(black_box(&bytes)).is_ok());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, masking, utf8);
criterion_main!(benches);
