//! What a scraper relies on: it parses, every family is described, nothing is counted twice.

use std::collections::{HashMap, HashSet};

use super::*;

fn scrape(metrics: Metrics) -> String {
    Exposition::new(Arc::new(metrics)).render().unwrap()
}

/// Series and values, by the grammar of the text format: `name{label="value",…} number`.
fn parse(text: &str) -> HashMap<String, u64> {
    let mut described = HashMap::new();
    let mut series = HashMap::new();
    for line in text.strip_suffix("# EOF\n").expect("the end is marked").lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let (keyword, rest) = comment.split_once(' ').expect("keyword and name");
            let (name, _) = rest.split_once(' ').expect("name and text");
            described.entry(name.to_owned()).or_insert_with(HashSet::new).insert(keyword);
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("series and value");
        let family = name.split('{').next().expect("a name");
        let family = family.trim_end_matches("_total").trim_end_matches("_info");
        let keywords = described.get(family).unwrap_or_else(|| panic!("{family} is described"));
        assert!(keywords.contains("HELP") && keywords.contains("TYPE"), "{family}");
        let value = value.parse().unwrap_or_else(|_| panic!("{line} has a number"));
        assert!(series.insert(name.to_owned(), value).is_none(), "{name} stands twice");
    }
    series
}

#[test]
fn the_text_parses_and_every_family_is_described() {
    let series = parse(&scrape(Metrics::new(2)));
    let names: HashSet<_> = series.keys().map(|name| name.split('{').next().unwrap()).collect();
    assert!(names.iter().all(|name| name.starts_with("altavoz_")));
    assert!(names.len() >= PER_WORKER.len() + 6, "{names:?}");
}

#[test]
fn each_counter_has_its_own_series() {
    let metrics = Metrics::new(1);
    for (number, metric) in PER_WORKER.iter().enumerate() {
        (metric.counter)(&metrics.workers[0]).add(1000 + number as u64);
    }
    let series = parse(&scrape(metrics));
    let values: HashSet<_> =
        series.values().copied().filter(|v| (1000..2000).contains(v)).collect();
    assert!(values.len() >= PER_WORKER.len());
    assert_eq!(series["altavoz_connections{worker=\"0\"}"], 1000);
    assert_eq!(series["altavoz_received_bytes_total{worker=\"0\"}"], 1005);
}

#[test]
fn closes_and_refusals_are_labelled() {
    let metrics = Metrics::new(2);
    metrics.workers[1].count_close(CloseReason::TooSlow);
    metrics.workers[1].count_refusal(426);
    metrics.workers[1].count_refusal(418);
    let series = parse(&scrape(metrics));
    assert_eq!(series["altavoz_closes_total{worker=\"1\",reason=\"too_slow\"}"], 1);
    assert_eq!(series["altavoz_closes_total{worker=\"0\",reason=\"too_slow\"}"], 0);
    assert_eq!(series["altavoz_refusals_total{worker=\"1\",status=\"426\"}"], 1);
    assert_eq!(series["altavoz_refusals_total{worker=\"1\",status=\"other\"}"], 1);
}

#[test]
fn gauges_of_the_whole_broker_are_there() {
    let metrics = Metrics::new(1);
    metrics.topics.store(3, Ordering::Relaxed);
    metrics.backlog_total.store(99, Ordering::Relaxed);
    let series = parse(&scrape(metrics));
    assert_eq!(series["altavoz_topics"], 3);
    assert_eq!(series["altavoz_backlog_total_bytes"], 99);
    assert_eq!(
        series[&format!("altavoz_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))],
        1
    );
}

#[cfg(target_os = "linux")]
#[test]
fn open_files_follow_what_is_open() {
    // Other tests of this process open files too, so only ours are certain to count.
    let files: Vec<_> = (0..50).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    assert!(open_files().unwrap() >= 50 + 3);
    drop(files);
}
