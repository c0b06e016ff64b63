//! Finding topics and filters: one filter against one topic, all filters that match a topic, and a
//! topic in the directory; by how many there are. Look-ups go round over many names, so that a
//! large map is not read from the caches alone.

use std::hint::black_box;

use bench::inputs::{TOPIC, is_measured};
use broker::config::Config;
use broker::config::rules::Rules;
use broker::hub::directory::Directory;
use broker::hub::trie::Trie;
use broker_proto::topic::{Filter, Topic};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const COUNTS: [u32; 4] = [10, 1_000, 100_000, 1_000_000];

/// The name of a number.
type Name = fn(u32) -> String;

fn counts() -> &'static [u32] {
    if is_measured() { &COUNTS } else { &COUNTS[..2] }
}

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("match one");
    group.throughput(Throughput::Elements(1));
    let topic = Topic::new("site/berlin/hall/3/press/17/temperature").expect("a valid topic");
    for (text, matches) in [
        ("site/berlin/hall/3/press/17/temperature", true),
        ("site/+/hall/+/press/+/temperature", true),
        ("site/berlin/#", true),
        ("site/+/hall/+/press/+/pressure", false),
    ] {
        let filter = Filter::new(text).expect("a valid filter");
        group.bench_function(text, |bencher| {
            bencher.iter(|| {
                assert_eq!(black_box(filter).matches(black_box(topic)), matches);
            });
        });
    }
    group.bench_function("check a topic", |bencher| {
        bencher.iter(|| Topic::new(black_box(TOPIC)));
    });
    group.finish();
}

/// Names in an order that has nothing to do with that of their making; at most so many that going
/// through them takes long enough.
fn names(count: u32, name: impl Fn(u32) -> String) -> Vec<String> {
    let step = 7919; // a prime
    (0..count.min(100_000))
        .map(|at| name((u64::from(at) * step % u64::from(count)) as u32))
        .collect()
}

fn among_filters(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("match all");
    group.throughput(Throughput::Elements(1));
    for &count in counts() {
        let kinds: [(&str, Name); 3] = [
            ("exact", |at| format!("plant/{}/press/{at}", at % 100)),
            ("plus", |at| format!("plant/+/press/{at}")),
            ("hash", |at| format!("plant/{}/{at}/#", at % 100)),
        ];
        for (kind, filter) in kinds {
            let mut trie = Trie::default();
            for at in 0..count {
                let text = filter(at);
                trie.get_or_insert_with(Filter::new(&text).expect("a valid filter"), || at);
            }
            let topic = |at| filter(at).replace('+', "7").replace('#', "temperature");
            let topics = names(count, topic);
            let mut next = topics.iter().cycle();
            group.bench_function(BenchmarkId::new(kind, count), |bencher| {
                bencher.iter(|| {
                    let name = next.next().expect("it goes round");
                    let mut matches = 0;
                    let topic = Topic::new(name).expect("a valid topic");
                    trie.each_match(topic, &mut |_| matches += 1);
                    assert_eq!(matches, 1);
                });
            });
        }
    }
    group.finish();
}

fn directory(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("directory");
    group.throughput(Throughput::Elements(1));
    for &count in counts() {
        let directory = Directory::new(u64::from(count), 0, Rules::new(&Config::default()));
        let name = |at| format!("user/{at}/notices");
        for at in 0..count {
            let text = name(at);
            let topic = Topic::new(&text).expect("a valid topic");
            directory.find_or_create(topic, 0).expect("there is room");
        }
        let topics = names(count, name);
        let mut next = topics.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                let name = next.next().expect("it goes round");
                let topic = Topic::new(name).expect("a valid topic");
                let found = directory.find_or_create(topic, 0);
                assert!(matches!(found, Ok((_, false))));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, matching, among_filters, directory);
criterion_main!(benches);
