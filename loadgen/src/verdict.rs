//! Whether a measurement can be trusted: looks at the load generator itself, not at the target. A
//! number taken by a generator that was too slow, late or not running says more about it than
//! about the server. Pure; the report asks it once a run is over.

use crate::engine::Hiccups;

/// How far a measurement can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Nothing speaks against it.
    Valid,
    /// The numbers are roughly right; the reasons say what may have blurred them.
    Suspect,
    /// The numbers say more about the load generator or its machine than about the target.
    Invalid,
}

/// A judgement with everything that speaks against the measurement, worst first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The worst of the reasons, or [`Trust::Valid`] without any.
    pub trust: Trust,
    /// How bad each finding is, and what it is.
    pub reasons: Vec<(Trust, String)>,
}

/// What the judgement rests on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence {
    /// The processor time of the busiest thread, as a share of the time passed.
    pub busiest_share: f64,
    /// The rate that was reached, as a share of the rate that was asked for.
    pub rate_share: f64,
    /// How late sends were, against the latency measured.
    pub lateness: Option<Lateness>,
    /// How long deliveries lay in the generator's own kernel until they were counted, against the
    /// latency measured; none where the kernel gives no times.
    pub own: Option<Lateness>,
    /// Sleeps that ended late.
    pub hiccups: Hiccups,
    /// Their sum as a share of the time measured, all threads together.
    pub hiccup_share: f64,
    /// The share of the machine's processor time that its host gave to others.
    pub stolen_share: Option<f64>,
    /// How wrong latencies may be because hosts have clocks of their own.
    pub clock: Option<ClockError>,
}

/// What is not known of the clocks of two hosts.
#[derive(Clone, Copy, Debug)]
pub struct ClockError {
    /// The most that a latency between them can be wrong by.
    pub error_ns: u64,
    /// The median latency.
    pub latency_ns: u64,
}

/// One quantile of two histograms.
#[derive(Clone, Copy, Debug)]
pub struct Lateness {
    /// Which quantile: the highest that both counts support, at most the 99th percentile.
    pub quantile: &'static str,
    /// What is the generator's own: from the intended to the actual send, or from the kernel's
    /// receipt to the count.
    pub lag_ns: u64,
    /// From the intended send to the arrival.
    pub latency_ns: u64,
}

/// From which value on something makes a measurement suspect, and from which invalid.
struct Bounds {
    suspect: f64,
    invalid: f64,
}

/// A thread that is busy for so large a share of the time reads and stamps late.
const BUSY: Bounds = Bounds { suspect: 0.7, invalid: 0.9 };

/// The share of the asked rate that was missed.
const MISSED: Bounds = Bounds { suspect: 0.02, invalid: 0.1 };

/// The share of the measured latency that is the generator's own lateness in sending.
const LATE: Bounds = Bounds { suspect: 0.2, invalid: 0.5 };

/// The share of the measured latency that is the generator's own lag in receiving. More than for
/// sends: that part is known by itself, and the network's and the target's beside it is sound.
const OWN: Bounds = Bounds { suspect: 0.3, invalid: 0.7 };

/// Lateness below this blurs nothing that matters: 100 µs.
const LATE_SUSPECT_NS: u64 = 100_000;

/// Lateness below this never makes a measurement invalid: 1 ms.
const LATE_INVALID_NS: u64 = 1_000_000;

/// The share of the time that threads were kept from running though their timer had gone off.
const HICCUP: Bounds = Bounds { suspect: 0.001, invalid: 0.05 };

/// The share of processor time stolen.
const STOLEN: Bounds = Bounds { suspect: 0.01, invalid: 0.1 };

/// The share of the median latency that is not known for lack of a common clock.
const CLOCK: Bounds = Bounds { suspect: 0.2, invalid: 1.0 };

impl Trust {
    /// `VALID`, `SUSPECT` or `INVALID`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Suspect => "SUSPECT",
            Self::Invalid => "INVALID",
        }
    }
}

impl Bounds {
    fn judge(&self, value: f64) -> Trust {
        match value {
            value if value >= self.invalid => Trust::Invalid,
            value if value >= self.suspect => Trust::Suspect,
            _ => Trust::Valid,
        }
    }
}

impl Verdict {
    /// The judgement on this evidence.
    ///
    /// ```
    /// use loadgen::verdict::{Evidence, Trust, Verdict};
    ///
    /// let calm = Evidence { busiest_share: 0.2, rate_share: 1.0, ..Evidence::default() };
    /// assert_eq!(Verdict::on(&calm).trust, Trust::Valid);
    ///
    /// let busy = Evidence { busiest_share: 0.95, ..calm };
    /// let verdict = Verdict::on(&busy);
    /// assert_eq!(verdict.trust, Trust::Invalid);
    /// assert_eq!(verdict.reasons[0].1, "the busiest generator thread was busy 95 % of the time");
    /// ```
    #[must_use]
    pub fn on(evidence: &Evidence) -> Self {
        let findings = [busy(evidence), missed(evidence), late(evidence), hiccups(evidence)];
        let mut reasons: Vec<_> = findings
            .into_iter()
            .chain([own(evidence), stolen(evidence), clocks(evidence)])
            .filter(|(trust, _)| *trust > Trust::Valid)
            .collect();
        reasons.sort_by_key(|&(trust, _)| std::cmp::Reverse(trust));
        let trust = reasons.first().map_or(Trust::Valid, |&(trust, _)| trust);
        Self { trust, reasons }
    }

    /// The name and the reasons in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let reasons: Vec<&str> = self.reasons.iter().map(|(_, text)| text.as_str()).collect();
        match reasons.is_empty() {
            true => self.trust.name().to_owned(),
            false => format!("{}: {}", self.trust.name(), reasons.join("; ")),
        }
    }
}

fn busy(evidence: &Evidence) -> (Trust, String) {
    let share = percent(evidence.busiest_share);
    let text = format!("the busiest generator thread was busy {share} of the time");
    (BUSY.judge(evidence.busiest_share), text)
}

fn missed(evidence: &Evidence) -> (Trust, String) {
    let text = format!("{} of the asked rate was reached", percent(evidence.rate_share));
    (MISSED.judge(1.0 - evidence.rate_share), text)
}

fn late(evidence: &Evidence) -> (Trust, String) {
    let Some(Lateness { quantile, lag_ns, latency_ns }) = evidence.lateness else {
        return (Trust::Valid, String::new());
    };
    let share = lag_ns as f64 / latency_ns.max(1) as f64;
    let (lag_ms, latency_ms) = (lag_ns as f64 / 1e6, latency_ns as f64 / 1e6);
    let text = format!(
        "at {quantile} messages were sent {lag_ms:.2} ms late, {} of the latency of \
         {latency_ms:.2} ms",
        percent(share)
    );
    (LATE.judge(share).min(worst_for(lag_ns)), text)
}

fn own(evidence: &Evidence) -> (Trust, String) {
    let Some(Lateness { quantile, lag_ns, latency_ns }) = evidence.own else {
        return (Trust::Valid, String::new());
    };
    let share = lag_ns as f64 / latency_ns.max(1) as f64;
    let (lag_ms, latency_ms) = (lag_ns as f64 / 1e6, latency_ns as f64 / 1e6);
    let text = format!(
        "at {quantile} the generator's own lag in receiving was {lag_ms:.2} ms, {} of the latency \
         of {latency_ms:.2} ms",
        percent(share)
    );
    (OWN.judge(share).min(worst_for(lag_ns)), text)
}

/// The most that so short a lag can mean, whatever share of the latency it is.
fn worst_for(lag_ns: u64) -> Trust {
    match lag_ns {
        0..LATE_SUSPECT_NS => Trust::Valid,
        LATE_SUSPECT_NS..LATE_INVALID_NS => Trust::Suspect,
        _ => Trust::Invalid,
    }
}

fn hiccups(evidence: &Evidence) -> (Trust, String) {
    let Hiccups { count, sum_ns, longest_ns } = evidence.hiccups;
    let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
    let text = format!(
        "generator threads were woken late {times}, by {:.0} ms in all and at most {:.0} ms",
        sum_ns as f64 / 1e6,
        longest_ns as f64 / 1e6
    );
    (HICCUP.judge(evidence.hiccup_share), text)
}

fn stolen(evidence: &Evidence) -> (Trust, String) {
    let share = evidence.stolen_share.unwrap_or(0.0);
    let text = format!("the host took {} of the processor time from this machine", percent(share));
    (STOLEN.judge(share), text)
}

fn clocks(evidence: &Evidence) -> (Trust, String) {
    let Some(ClockError { error_ns, latency_ns }) = evidence.clock else {
        return (Trust::Valid, String::new());
    };
    let share = error_ns as f64 / latency_ns.max(1) as f64;
    let text = format!(
        "the clocks of the agents' hosts are known to {:.3} ms, {} of the median latency",
        error_ns as f64 / 1e6,
        percent(share)
    );
    (CLOCK.judge(share), text)
}

fn percent(share: f64) -> String {
    let decimals = usize::from(share < 0.1);
    format!("{:.decimals$} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calm() -> Evidence {
        Evidence { busiest_share: 0.3, rate_share: 1.0, ..Evidence::default() }
    }

    fn lateness(lag_ns: u64, latency_ns: u64) -> Evidence {
        Evidence { lateness: Some(Lateness { quantile: "p99", lag_ns, latency_ns }), ..calm() }
    }

    fn clocks(error_ns: u64) -> Evidence {
        Evidence { clock: Some(ClockError { error_ns, latency_ns: 1_000_000 }), ..calm() }
    }

    #[test]
    fn each_finding_counts_for_itself_and_is_named() {
        let hiccups = Hiccups { count: 2, sum_ns: 80_000_000, longest_ns: 60_000_000 };
        let cases = [
            (Evidence { busiest_share: 0.7, ..calm() }, "SUSPECT: the busiest generator thread"),
            (Evidence { busiest_share: 0.9, ..calm() }, "INVALID: the busiest generator thread"),
            (Evidence { rate_share: 0.97, ..calm() }, "SUSPECT: 97 % of the asked rate"),
            (Evidence { rate_share: 0.89, ..calm() }, "INVALID: 89 % of the asked rate"),
            (Evidence { hiccups, hiccup_share: 0.002, ..calm() }, "SUSPECT: generator threads"),
            (Evidence { hiccups, hiccup_share: 0.06, ..calm() }, "INVALID: generator threads"),
            (Evidence { stolen_share: Some(0.02), ..calm() }, "SUSPECT: the host took 2.0 %"),
            (Evidence { stolen_share: Some(0.2), ..calm() }, "INVALID: the host took 20 %"),
            (clocks(190_000), "VALID"),
            (clocks(200_000), "SUSPECT: the clocks of the agents' hosts are known to 0.200 ms"),
            (clocks(1_000_000), "INVALID: the clocks"),
        ];
        for (evidence, expected) in cases {
            let line = Verdict::on(&evidence).line();
            assert!(line.starts_with(expected), "{line}");
        }
        assert_eq!(Verdict::on(&calm()).line(), "VALID");
    }

    #[test]
    fn late_sends_count_against_the_latency_they_are_part_of() {
        let trust = |lag_ns, latency_ns| Verdict::on(&lateness(lag_ns, latency_ns)).trust;
        assert_eq!(trust(2_000_000, 100_000_000), Trust::Valid);
        assert_eq!(trust(2_000_000, 8_000_000), Trust::Suspect);
        assert_eq!(trust(2_000_000, 3_000_000), Trust::Invalid);
        // Against a very quick target a few microseconds are a large share, and still no matter.
        assert_eq!(trust(200_000, 300_000), Trust::Suspect);
        assert_eq!(trust(60_000, 80_000), Trust::Valid);
    }

    #[test]
    fn the_generators_own_lag_counts_against_the_latency_it_is_part_of() {
        let line = |lag_ns, latency_ns| {
            let own = Some(Lateness { quantile: "p99", lag_ns, latency_ns });
            Verdict::on(&Evidence { own, ..calm() }).line()
        };
        assert_eq!(line(2_000_000, 8_000_000), "VALID");
        let suspect = "SUSPECT: at p99 the generator's own lag in receiving was 3.00 ms, 38 % of";
        assert!(line(3_000_000, 8_000_000).starts_with(suspect));
        assert!(line(6_000_000, 8_000_000).starts_with("INVALID: at p99 the generator's own lag"));
        assert!(line(600_000, 800_000).starts_with("SUSPECT: "));
        assert_eq!(line(60_000, 80_000), "VALID");
    }

    #[test]
    fn the_worst_reason_comes_first_and_decides() {
        let verdict = Verdict::on(&Evidence { busiest_share: 0.75, rate_share: 0.5, ..calm() });
        assert_eq!(verdict.trust, Trust::Invalid);
        assert_eq!(verdict.reasons.len(), 2);
        assert!(verdict.line().starts_with("INVALID: 50 % of the asked rate was reached; the"));
    }
}
