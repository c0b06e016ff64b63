//! The names of a run's metrics and how each is read from a moment. Read at the time of a scrape;
//! docs/LOADGEN.md lists the names. Serves nothing.

use std::fmt;
use std::sync::PoisonError;

use hdrhistogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::Board;
use crate::engine::Progress;
use crate::live::{About, Moment, Stage};
use crate::report::{QUANTILES, quantile_ns};
use crate::verdict::Trust;

/// Before every name.
const PREFIX: &str = "loadgen";

/// The upper bounds of the latency histogram's buckets, in seconds: 1, 2.5 and 5 in each decade.
const BOUNDS: [f64; 16] = [
    50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 0.5,
    1.0, 2.5, 10.0,
];

/// What only grows.
struct Count {
    name: &'static str,
    help: &'static str,
    read: fn(&Progress) -> u64,
}

const fn count(name: &'static str, help: &'static str, read: fn(&Progress) -> u64) -> Count {
    Count { name, help, read }
}

const COUNTS: [Count; 9] = [
    count("connections_ready", "Connections made, their subscriptions answered", |p| p.ready),
    count("connections_failed", "Connections that failed before they were ready", |p| p.failed),
    count("connections_lost", "Connections that ended without our doing", |p| p.closed),
    count("messages_sent", "Messages published, the warm-up's included", |p| p.sent),
    count("deliveries_expected", "Deliveries that the sent messages must lead to", |p| p.expected),
    count("deliveries", "Deliveries that arrived, each counted once", |p| p.delivered),
    count("deliveries_missed", "Deliveries whose subscriber was away by plan", |p| p.missed),
    count("deliveries_duplicated", "Arrivals of what had come before", |p| p.duplicated),
    count("deliveries_out_of_order", "Arrivals after a later one of their topic", |p| {
        p.out_of_order
    }),
];

/// Everything there is to scrape, read from the board.
pub(super) fn registry(about: About, board: Board) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Scrape { about, board }));
    registry
}

/// The page as it is now.
pub(super) fn text(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).expect("writing to a string cannot fail");
    text
}

#[derive(Debug)]
struct Scrape {
    about: About,
    board: Board,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let moment = self.board.lock().unwrap_or_else(PoisonError::into_inner).clone();
        encode_about(&mut encoder, &self.about)?;
        moment.map_or(Ok(()), |moment| encode_moment(&mut encoder, &moment))
    }
}

fn encode_about(encoder: &mut DescriptorEncoder<'_>, about: &About) -> fmt::Result {
    let labels = [("scenario", about.scenario), ("url", &about.url), ("protocol", about.protocol)];
    encoder
        .encode_descriptor("run", "What is run against what", None, MetricType::Info)?
        .encode_info(&labels)?;
    let help = "Connections that are to be made";
    gauge(encoder, "connections_wanted", help, None, about.connections as f64)?;
    gauge(encoder, "messages_per_second_wanted", "The rate asked for", None, about.schedule.rate())
}

fn encode_moment(encoder: &mut DescriptorEncoder<'_>, moment: &Moment) -> fmt::Result {
    let stages = Stage::ALL.map(|stage| ([("stage", stage.name())], stage == moment.stage));
    one_of(encoder, "stage", "Where the run stands: 1 for that stage", &stages)?;
    let elapsed_s = moment.elapsed_ns as f64 / 1e9;
    gauge(encoder, "elapsed", "Time since connecting began", Some(&Unit::Seconds), elapsed_s)?;
    for Count { name, help, read } in &COUNTS {
        encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, u64, u64>(&read(&moment.progress), None)?;
    }
    let help = "Messages that have not come although later ones of their topic have";
    gauge(encoder, "deliveries_missing", help, None, moment.progress.missing as f64)?;
    encode_latency(encoder, moment)?;
    encode_generator(encoder, moment)?;
    if let Some(target) = &moment.target {
        gauge(encoder, "target_cores", "Cores that the target uses", None, target.cores)?;
        let help = "Memory of the target that is in use and resident";
        gauge(encoder, "target_resident", help, Some(&Unit::Bytes), target.rss_bytes as f64)?;
    }
    Ok(())
}

fn encode_latency(encoder: &mut DescriptorEncoder<'_>, moment: &Moment) -> fmt::Result {
    let whole = &moment.whole;
    let buckets = BOUNDS.iter().scan(0, |before, &bound| {
        let below = whole.count_between(0, (bound * 1e9) as u64);
        let here = below - *before;
        *before = below;
        Some((bound, here))
    });
    let mut buckets: Vec<(f64, u64)> = buckets.collect();
    let below = buckets.iter().map(|&(_, count)| count).sum::<u64>();
    buckets.push((f64::INFINITY, whole.len() - below));
    let sum_s = whole.mean() * whole.len() as f64 / 1e9;
    let help = "From the intended send to the arrival, since measuring began";
    encoder
        .encode_descriptor("latency", help, Some(&Unit::Seconds), MetricType::Histogram)?
        .encode_histogram::<NoLabelSet>(sum_s, whole.len(), &buckets, None)?;
    let help =
        "Quantiles of that, of the whole run so far and of the last second; 1 is the longest";
    let mut family = encoder.encode_descriptor(
        "latency_quantile",
        help,
        Some(&Unit::Seconds),
        MetricType::Gauge,
    )?;
    for (over, histogram) in [("run", whole), ("second", &moment.recent)] {
        for (quantile, value_ns) in quantiles(histogram) {
            let labels = ([("over", over)], [("quantile", quantile)]);
            family.encode_family(&labels)?.encode_gauge(&(value_ns as f64 / 1e9))?;
        }
    }
    Ok(())
}

/// Those that the samples support, and the maximum, if there is any sample.
fn quantiles(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    let known = QUANTILES.iter().filter_map(|&(_, quantile)| {
        quantile_ns(histogram, quantile).map(|value_ns| (quantile, value_ns))
    });
    known.chain((!histogram.is_empty()).then(|| (1.0, histogram.max()))).collect()
}

fn encode_generator(encoder: &mut DescriptorEncoder<'_>, moment: &Moment) -> fmt::Result {
    let lag_s = moment.lag_ns as f64 / 1e9;
    let help = "How late messages were sent at the 99th percentile, since measuring began";
    gauge(encoder, "send_lag_p99", help, Some(&Unit::Seconds), lag_s)?;
    gauge(
        encoder,
        "generator_cores",
        "Cores that the load generator uses",
        None,
        moment.own_cores,
    )?;
    let help = "Processor time of the busiest thread since measuring began, as a share of the time";
    gauge(encoder, "busiest_thread_share", help, None, moment.busiest_share)?;
    let help = "The part of the load generator's cores that goes into looking on";
    gauge(encoder, "looking_share", help, None, moment.looking_share)?;
    let Some(judgement) = &moment.judgement else { return Ok(()) };
    let all = [Trust::Valid, Trust::Suspect, Trust::Invalid];
    let all = all.map(|trust| ([("trust", trust.name())], trust == judgement.trust));
    one_of(encoder, "measurement", "Whether the measurement can be trusted so far", &all)
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: f64,
) -> fmt::Result {
    encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&value)
}

/// A family of which one member is 1 and the others are 0.
fn one_of(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    members: &[(impl EncodeLabelSet, bool)],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, is_it) in members {
        family.encode_family(labels)?.encode_gauge(&i64::from(*is_it))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Phase;
    use crate::live::Live;
    use crate::live::tests::{about, look};

    #[test]
    fn a_moment_becomes_metrics_with_all_its_numbers() {
        let board = Board::default();
        let registry = registry(about(), Board::clone(&board));
        assert!(text(&registry).contains("loadgen_run_info{scenario=\"fanout\","));
        let mut live = Live::new(about());
        live.handle_look(look(1.0, Phase::Publish, 0));
        *board.lock().unwrap() = Some(live.handle_look(look(3.0, Phase::Publish, 5_000)));
        let page = text(&registry);
        for line in [
            "loadgen_connections_wanted 10.0",
            "loadgen_stage{stage=\"measuring\"} 1",
            "loadgen_stage{stage=\"draining\"} 0",
            "loadgen_elapsed_seconds 4.0",
            "loadgen_messages_sent_total 300",
            "loadgen_deliveries_total 5000",
            "loadgen_deliveries_missing 0.0",
            "loadgen_latency_seconds_bucket{le=\"0.0005\"} 0",
            "loadgen_latency_seconds_bucket{le=\"0.0025\"} 5000",
            "loadgen_latency_seconds_bucket{le=\"+Inf\"} 5000",
            "loadgen_latency_seconds_count 5000",
            "loadgen_target_resident_bytes 1048576.0",
            "loadgen_measurement{trust=\"VALID\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "no {line} in\n{page}");
        }
        let quantile = "loadgen_latency_quantile_seconds{over=\"run\",quantile=\"0.99\"} 0.001";
        assert!(page.contains(quantile), "{page}");
        assert!(!page.contains("quantile=\"0.999\""), "5,000 samples do not tell of 0.999");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }
}
