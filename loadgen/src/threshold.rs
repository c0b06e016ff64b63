//! Demands on the result, as a command line gives them: `p99<20ms`, `lost<=0`, `rate>=99%`. Parses
//! and checks them; a miss sets the exit code. Knows every name that can be demanded of; asked by
//! the report.

use std::str::FromStr;

use hdrhistogram::Histogram;

use crate::report::{QUANTILES, Report, quantile_ns};

/// One demand.
///
/// ```
/// use loadgen::threshold::Threshold;
///
/// let threshold: Threshold = "p99 < 20ms".parse().unwrap();
/// assert_eq!(threshold.text(), "p99<20ms");
/// let error = "p98<20ms".parse::<Threshold>().unwrap_err();
/// assert!(error.starts_with("unknown name p98; known are p50, p90,"));
/// ```
#[derive(Clone, Debug)]
pub struct Threshold {
    text: String,
    metric: &'static Metric,
    relation: Relation,
    /// In the metric's unit; for a percentage, a share of 1.
    limit: f64,
    is_share: bool,
}

/// A demand held against a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// As it was given, without spaces.
    pub text: String,
    /// What was measured, with its unit; none if the run does not tell.
    pub value: Option<String>,
    /// Whether the demand is met. What is not known meets none.
    pub is_met: bool,
}

/// Something that can be demanded of.
#[derive(Debug)]
struct Metric {
    name: &'static str,
    unit: Unit,
    value: fn(&Report) -> Option<f64>,
    /// Of which a percentage is meant, where one makes sense.
    whole: Option<fn(&Report) -> f64>,
}

/// What a limit is given in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// `ns`, `us`, `ms` or `s`; kept in nanoseconds.
    Time,
    /// A plain number.
    Count,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
}

/// The longer signs first: one is the beginning of the other.
const RELATIONS: [(&str, Relation); 6] = [
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("==", Relation::Equal),
    ("<", Relation::Less),
    (">", Relation::More),
    ("=", Relation::Equal),
];

const TIMES: [(&str, f64); 5] = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];

static METRICS: [Metric; 43] = [
    time("p50", |report| quantile(&report.latency, 0)),
    time("p90", |report| quantile(&report.latency, 1)),
    time("p99", |report| quantile(&report.latency, 2)),
    time("p99.9", |report| quantile(&report.latency, 3)),
    time("max", |report| highest(&report.latency)),
    time("net.p50", |report| quantile(&report.parts.net, 0)),
    time("net.p90", |report| quantile(&report.parts.net, 1)),
    time("net.p99", |report| quantile(&report.parts.net, 2)),
    time("net.p99.9", |report| quantile(&report.parts.net, 3)),
    time("net.max", |report| highest(&report.parts.net)),
    time("own.p50", |report| quantile(&report.parts.own, 0)),
    time("own.p90", |report| quantile(&report.parts.own, 1)),
    time("own.p99", |report| quantile(&report.parts.own, 2)),
    time("own.p99.9", |report| quantile(&report.parts.own, 3)),
    time("own.max", |report| highest(&report.parts.own)),
    time("first.p50", |report| quantile(&report.spread.first, 0)),
    time("first.p90", |report| quantile(&report.spread.first, 1)),
    time("first.p99", |report| quantile(&report.spread.first, 2)),
    time("first.p99.9", |report| quantile(&report.spread.first, 3)),
    time("first.max", |report| highest(&report.spread.first)),
    time("last.p50", |report| quantile(&report.spread.last, 0)),
    time("last.p90", |report| quantile(&report.spread.last, 1)),
    time("last.p99", |report| quantile(&report.spread.last, 2)),
    time("last.p99.9", |report| quantile(&report.spread.last, 3)),
    time("last.max", |report| highest(&report.spread.last)),
    time("late.p50", |report| quantile(&report.lag, 0)),
    time("late.p90", |report| quantile(&report.lag, 1)),
    time("late.p99", |report| quantile(&report.lag, 2)),
    time("late.p99.9", |report| quantile(&report.lag, 3)),
    time("late.max", |report| highest(&report.lag)),
    count("delivered", |report| Some(report.totals.delivered as f64), Some(expected)),
    count("lost", |report| Some(report.totals.lost as f64), Some(expected)),
    count("duplicated", |report| Some(report.totals.duplicated as f64), Some(expected)),
    count("out_of_order", |report| Some(report.totals.out_of_order as f64), Some(expected)),
    count("rate", |report| Some(report.achieved_rate), Some(Report::planned_rate)),
    count("delivered_rate", |report| Some(report.delivered_rate), None),
    count("connected", |report| Some(report.course.ready as f64), Some(connections)),
    count("closed", |report| Some(report.closes.sum() as f64), Some(connections)),
    count("connect_rate", |report| Some(report.connect_rate()), None),
    time("connect_time", |report| Some(report.connecting_ns as f64)),
    time("target_cpu", |report| report.watched.target_cpu_ns_per_delivery()),
    count("target_cores", |report| report.watched.target_cores(), None),
    count("target_rss", |report| report.watched.target_rss_bytes_per_connection(), None),
];

impl Threshold {
    /// As it was given, without spaces.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Holds the demand against a result.
    #[must_use]
    pub fn check(&self, report: &Report) -> Checked {
        let value = (self.metric.value)(report);
        let whole = self.metric.whole.filter(|_| self.is_share).map(|whole| whole(report));
        let value = match whole {
            Some(whole) => value.filter(|_| whole > 0.0).map(|value| value / whole),
            None => value,
        };
        Checked {
            text: self.text.clone(),
            value: value.map(|value| self.shown(value)),
            is_met: value.is_some_and(|value| self.relation.holds(value, self.limit)),
        }
    }

    fn shown(&self, value: f64) -> String {
        if self.is_share {
            return format!("{} %", short(value * 100.0));
        }
        match self.metric.unit {
            Unit::Count => short(value),
            Unit::Time if value < 1e6 => format!("{} µs", short(value / 1e3)),
            Unit::Time if value < 1e9 => format!("{} ms", short(value / 1e6)),
            Unit::Time => format!("{} s", short(value / 1e9)),
        }
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let at = text.find(['<', '>', '=']).ok_or(
            "no <, <=, >, >= or = in it; a threshold is a name, a relation and a limit, as in \
             p99<20ms",
        )?;
        let (name, rest) = text.split_at(at);
        let metric = METRICS.iter().find(|metric| metric.name == name).ok_or_else(|| {
            let names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
            format!("unknown name {name}; known are {}", names.join(", "))
        })?;
        let (limit, relation) = RELATIONS
            .iter()
            .find_map(|&(sign, relation)| Some((rest.strip_prefix(sign)?, relation)))
            .ok_or("no relation in it")?;
        let (limit, is_share) = metric.limit(limit)?;
        Ok(Self { metric, relation, limit, is_share, text })
    }
}

impl Metric {
    /// The limit in the metric's unit, and whether it is a share.
    fn limit(&self, text: &str) -> Result<(f64, bool), String> {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().map_err(|_| format!("{text:?} is no limit"))?;
        let time = TIMES.iter().find(|(name, _)| *name == unit);
        match (self.unit, unit, time) {
            (Unit::Time, _, Some((_, factor))) => Ok((number * factor, false)),
            (Unit::Time, ..) => Err(format!("{} needs a time in ns, us, ms or s", self.name)),
            (Unit::Count, "", _) => Ok((number, false)),
            (Unit::Count, "%", _) if self.whole.is_some() => Ok((number / 100.0, true)),
            (Unit::Count, ..) => {
                let or = if self.whole.is_some() { " or a percentage" } else { "" };
                Err(format!("{} needs a plain number{or}", self.name))
            }
        }
    }
}

impl Relation {
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Less => value < limit,
            Self::AtMost => value <= limit,
            Self::More => value > limit,
            Self::AtLeast => value >= limit,
            Self::Equal => value == limit,
        }
    }
}

const fn time(name: &'static str, value: fn(&Report) -> Option<f64>) -> Metric {
    Metric { name, unit: Unit::Time, value, whole: None }
}

const fn count(
    name: &'static str,
    value: fn(&Report) -> Option<f64>,
    whole: Option<fn(&Report) -> f64>,
) -> Metric {
    Metric { name, unit: Unit::Count, value, whole }
}

fn quantile(histogram: &Histogram<u64>, index: usize) -> Option<f64> {
    quantile_ns(histogram, QUANTILES[index].1).map(|nanos| nanos as f64)
}

fn highest(histogram: &Histogram<u64>) -> Option<f64> {
    (!histogram.is_empty()).then(|| histogram.max() as f64)
}

fn expected(report: &Report) -> f64 {
    report.totals.expected as f64
}

fn connections(report: &Report) -> f64 {
    report.plan.connections() as f64
}

/// A number with at most three decimals.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    fn check(text: &str, report: &Report) -> (Option<String>, bool) {
        let checked = text.parse::<Threshold>().unwrap().check(report);
        assert_eq!(checked.text, text);
        (checked.value, checked.is_met)
    }

    #[test]
    fn times_are_compared_in_any_unit() {
        let mut report = report(3, 0);
        report.latency.record_n(1_500_000, 2000).unwrap();
        for met in ["p99<2ms", "p99<=1600us", "p99>1000000ns", "max<0.01s", "p50>=1ms"] {
            assert!(check(met, &report).1, "{met}");
        }
        for missed in ["p99<1ms", "p99>2ms", "max<1500us", "late.p99<1s"] {
            assert!(!check(missed, &report).1, "{missed}");
        }
    }

    #[test]
    fn what_the_samples_cannot_support_meets_no_demand() {
        let mut report = report(3, 0);
        report.latency.record_n(1_000_000, 500).unwrap();
        assert_eq!(check("p99<1s", &report), (None, false));
        assert_eq!(check("target_cpu<1s", &report), (None, false));
    }

    #[test]
    fn counts_are_plain_or_a_share_of_their_whole() {
        let report = report(10, 1);
        assert_eq!(check("lost<=1", &report), (Some("1".into()), true));
        assert_eq!(check("lost<1%", &report), (Some("1 %".into()), false));
        assert_eq!(check("delivered>=99%", &report), (Some("99 %".into()), true));
        assert_eq!(check("lost=0", &report), (Some("1".into()), false));
    }

    #[test]
    fn a_wrong_expression_is_told_what_would_be_right() {
        let error = |text: &str| text.parse::<Threshold>().unwrap_err();
        assert!(error("p99").starts_with("no <, <=, >"));
        assert!(error("p98<1ms").contains("p99.9"));
        assert_eq!(error("p99<20"), "p99 needs a time in ns, us, ms or s");
        assert_eq!(error("lost<1ms"), "lost needs a plain number or a percentage");
        assert_eq!(error("connect_rate>5%"), "connect_rate needs a plain number");
        assert_eq!(error("p99<fast"), "\"fast\" is no limit");
        assert_eq!(error("p99<-1ms"), "\"-1ms\" is no limit");
    }
}
