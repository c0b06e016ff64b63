//! Commands in both encodings, against serde_json and against simd-json, which is below ours, used
//! plainly; and the encoding of messages.

use std::hint::black_box;

use bench::inputs::{DATA, PUBLISH, TOPIC};
use broker_proto::command::{Command, Payload, Request};
use broker_proto::topic::Topic;
use broker_proto::{bin, json};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Of a command, what a server must know; everything is checked to be JSON.
#[derive(Deserialize)]
struct Publish<'a> {
    op: &'a str,
    topic: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse json");
    let mut parser = json::Parser::new();
    let large =
        publish_of(&format!("{{\"rows\":[{}]}}", [r#"{"p":101.5,"q":"bid"}"#; 180].join(",")));
    for (name, text) in [("publish", PUBLISH), ("publish of 4 KB", &large)] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("ours", name), |bencher| {
            bencher.iter(|| parser.parse(black_box(text), demand_publish));
        });
        // It writes into its input, so it gets a copy, as ours makes one.
        let mut bytes = Vec::new();
        group.bench_function(BenchmarkId::new("simd-json, as a tape", name), |bencher| {
            bencher.iter(|| {
                bytes.clear();
                bytes.extend_from_slice(black_box(text).as_bytes());
                simd_json::to_tape(&mut bytes).expect("it is JSON").0.len()
            });
        });
        group.bench_function(BenchmarkId::new("serde_json, raw data", name), |bencher| {
            bencher.iter(|| {
                let publish: Publish<'_> =
                    serde_json::from_str(black_box(text)).expect("it is a publish");
                (publish.op.len(), publish.topic.len(), publish.data.get().len())
            });
        });
        group.bench_function(BenchmarkId::new("serde_json, as a value", name), |bencher| {
            bencher.iter(|| {
                let value: serde_json::Value =
                    serde_json::from_str(black_box(text)).expect("it is JSON");
                value["topic"].is_string()
            });
        });
    }
    let batch = format!("[{}]", [PUBLISH; 20].join(","));
    group.throughput(Throughput::Bytes(batch.len() as u64));
    group.bench_function(BenchmarkId::new("ours", "batch of 20 publishes"), |bencher| {
        bencher.iter(|| parser.parse(black_box(&batch), demand_publish));
    });
    group.finish();
}

fn parsing_binary(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse bin");
    let mut parser = json::Parser::new();
    let topic = Topic::new(TOPIC).expect("a valid topic");
    for (name, payload) in
        [("publish of JSON", Payload::Json(DATA)), ("publish of bytes", Payload::Opaque(DATA))]
    {
        let mut command = Vec::new();
        let publish = Command::Publish { topic, payload, count: false, msg_id: None };
        bin::encode_command(&mut command, None, &publish);
        group.throughput(Throughput::Bytes(command.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| bin::parse(black_box(&command), &mut parser, demand_publish));
        });
    }
    group.finish();
}

fn publish_of(data: &str) -> String {
    format!(r#"{{"op":"publish","topic":"{TOPIC}","data":{data}}}"#)
}

fn demand_publish(request: Request<'_>) {
    assert!(matches!(black_box(request).command, Ok(Command::Publish { .. })));
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message");
    let topic = Topic::new(TOPIC).expect("a valid topic");
    let mut out = Vec::with_capacity(1024);
    group.throughput(Throughput::Elements(1));
    group.bench_function("json", |bencher| {
        bencher.iter(|| {
            out.clear();
            json::encode_message(&mut out, black_box(topic), 12_345, Payload::Json(DATA));
            black_box(&out);
        });
    });
    group.bench_function("bin", |bencher| {
        bencher.iter(|| {
            out.clear();
            bin::encode_message(&mut out, black_box(topic), 12_345, Payload::Opaque(DATA));
            black_box(&out);
        });
    });
    group.finish();
}

criterion_group!(benches, parsing, parsing_binary, encoding);
criterion_main!(benches);
