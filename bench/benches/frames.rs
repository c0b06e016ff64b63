//! Masking against its bytewise definition and against a plain copy (the speed of memory), and
//! decoding of frames as clients send them.

use std::hint::black_box;

use bench::inputs::{KEY, PUBLISH, ascii, client_frames};
use broker_proto::ws::{Decoder, Event, Opcode, Role, encode_frame, mask};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const LENGTHS: [usize; 5] = [16, 128, 1024, 4096, 65_536];
const FRAMES: usize = 100;

fn masking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for length in LENGTHS {
        group.throughput(Throughput::Bytes(length as u64));
        let mut bytes = ascii(length);
        group.bench_function(BenchmarkId::new("ours", length), |bencher| {
            bencher.iter(|| mask::apply(black_box(KEY), 0, black_box(&mut bytes)));
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

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    let small = client_frames(FRAMES, PUBLISH.as_bytes());
    let large = client_frames(1, &ascii(60_000));
    for (name, stream, frames, chunk) in [
        ("100 frames in one read", &small, FRAMES, small.len()),
        ("100 frames in reads of 100 bytes", &small, FRAMES, 100),
        ("60 KB in one read", &large, 1, large.len()),
        ("60 KB in reads of 1460 bytes", &large, 1, 1460),
    ] {
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || stream.clone(),
                |stream| assert_eq!(count_messages(stream, chunk), frames),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Decodes a stream that comes in reads of `chunk` bytes; how many messages it held.
fn count_messages(stream: &mut [u8], chunk: usize) -> usize {
    let mut decoder = Decoder::new(Role::Server, 65_536);
    let mut messages = 0;
    for mut input in stream.chunks_mut(chunk) {
        loop {
            let (used, event) = decoder.decode(input).expect("the frames are valid");
            match event {
                Some(Event::Text(text)) => {
                    black_box(text);
                    messages += 1;
                }
                Some(_) => {}
                None => break,
            }
            input = &mut input[used..];
        }
    }
    messages
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    let mut out = Vec::with_capacity(65_536 + 16);
    for length in LENGTHS {
        let payload = ascii(length);
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode_frame(&mut out, Opcode::Text, black_box(&payload));
                black_box(&out);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, masking, decoding, encoding);
criterion_main!(benches);
