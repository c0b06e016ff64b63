//! Streams of frames as clients send them, decoded by our codec and by those of other crates; and
//! frames encoded. All decoders unmask, check UTF-8 and hand out whole messages.

use std::hint::black_box;
use std::io::Cursor;

use bench::inputs::{ascii, client_frames};
use broker_proto::ws::{Decoder, Event, Opcode, Role, encode_frame};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastwebsockets::{FragmentCollector, OpCode};

const LENGTHS: [usize; 3] = [64, 512, 4096];
const FRAMES: usize = 100;
const MESSAGE_BYTES_MAX: u32 = 65_536;

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("no threads needed");
    for length in LENGTHS {
        let stream = client_frames(FRAMES, &ascii(length));
        group.throughput(Throughput::Bytes((FRAMES * length) as u64));
        // Whole: as one read brings them. Split: as segments of Ethernet's size do.
        for (name, chunk) in [("ours, whole", stream.len()), ("ours, split at 1460", 1460)] {
            group.bench_function(BenchmarkId::new(name, length), |bencher| {
                bencher.iter_batched_ref(
                    || stream.clone(),
                    |stream| assert_eq!(decode(stream, chunk), FRAMES),
                    BatchSize::SmallInput,
                );
            });
        }
        group.bench_function(BenchmarkId::new("tungstenite", length), |bencher| {
            bencher.iter_batched_ref(
                || from_tungstenite(&stream),
                |socket| {
                    for _ in 0..FRAMES {
                        black_box(socket.read().expect("the frames are valid"));
                    }
                },
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("fastwebsockets", length), |bencher| {
            bencher.iter_batched_ref(
                || from_fastwebsockets(&stream),
                |socket| runtime.block_on(read_fastwebsockets(socket)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Decodes a stream that comes in reads of `chunk` bytes; how many messages it held.
fn decode(stream: &mut [u8], chunk: usize) -> usize {
    let mut decoder = Decoder::new(Role::Server, MESSAGE_BYTES_MAX);
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

fn from_tungstenite(stream: &[u8]) -> tungstenite::WebSocket<Cursor<Vec<u8>>> {
    let role = tungstenite::protocol::Role::Server;
    tungstenite::WebSocket::from_raw_socket(Cursor::new(stream.to_vec()), role, None)
}

fn from_fastwebsockets(stream: &[u8]) -> FragmentCollector<Cursor<Vec<u8>>> {
    let role = fastwebsockets::Role::Server;
    let stream = Cursor::new(stream.to_vec());
    FragmentCollector::new(fastwebsockets::WebSocket::after_handshake(stream, role))
}

async fn read_fastwebsockets(socket: &mut FragmentCollector<Cursor<Vec<u8>>>) {
    for _ in 0..FRAMES {
        let frame = socket.read_frame().await.expect("the frames are valid");
        assert!(frame.opcode == OpCode::Text && frame.is_utf8());
    }
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    let mut out = Vec::with_capacity(65_536 + 16);
    for length in [16, 128, 1024, 4096, 65_536] {
        let payload = ascii(length);
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::new("ours", length), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode_frame(&mut out, Opcode::Text, black_box(&payload));
                black_box(&out);
            });
        });
        group.bench_function(BenchmarkId::new("tungstenite", length), |bencher| {
            use tungstenite::protocol::frame::Frame;
            use tungstenite::protocol::frame::coding::{Data, OpCode};
            let payload = tungstenite::Bytes::from(payload.clone());
            bencher.iter(|| {
                out.clear();
                let frame =
                    Frame::message(black_box(payload.clone()), OpCode::Data(Data::Text), true);
                frame.format(&mut out).expect("a vector takes all");
                black_box(&out);
            });
        });
        group.bench_function(BenchmarkId::new("fastwebsockets", length), |bencher| {
            use fastwebsockets::{Frame, Payload};
            bencher.iter(|| {
                let mut frame = Frame::text(Payload::Borrowed(black_box(&payload)));
                black_box(frame.write(&mut out).len())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decoding, encoding);
criterion_main!(benches);
