//! What speaks against a measurement where it was made on several machines: the worst of them counts,
//! and their clocks are not one. Asked by the report for its evidence.

use super::{Report, quantile_ns};
use crate::verdict::ClockError;

impl Report {
    /// The largest share of processor time that a host took from one of the machines.
    pub(super) fn stolen_share(&self) -> Option<f64> {
        let theirs = self.agents.iter().filter_map(|agent| agent.stolen_share);
        theirs.chain(self.watched.stolen_share()).reduce(f64::max)
    }

    /// How wrong a latency between two agents may be, against the median; none if all have one
    /// clock or too little was timed.
    pub(super) fn clock_error(&self) -> Option<ClockError> {
        let latency_ns = quantile_ns(&self.latency, 0.5)?;
        let clocks = self.agents.iter().filter_map(|agent| agent.clock);
        let mut errors: Vec<u64> = clocks.map(|clock| clock.error_ns).collect();
        errors.sort_unstable_by(|one, other| other.cmp(one));
        let error_ns = errors.iter().take(2).copied().reduce(u64::saturating_add)?;
        Some(ClockError { error_ns, latency_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use crate::agents::{AgentSeen, ClockQuality};

    fn agent(error_ns: Option<u64>, stolen_share: Option<f64>) -> AgentSeen {
        let quality = |error_ns| ClockQuality { error_ns, ..ClockQuality::default() };
        AgentSeen {
            name: "agent".into(),
            pid: 1,
            threads: 1,
            connections: 1,
            busiest_share: 0.0,
            clock: error_ns.map(quality),
            stolen_share,
        }
    }

    #[test]
    fn the_two_worst_clocks_and_the_machine_that_lost_most_time_count() {
        let mut report = report(2, 0);
        assert!(report.clock_error().is_none() && report.stolen_share().is_none());
        report.latency.record_n(1_000_000, 100).unwrap();
        report.agents = vec![agent(None, Some(0.1)), agent(Some(7), Some(0.3))];
        assert_eq!(report.clock_error().unwrap().error_ns, 7);
        report.agents.extend([agent(Some(30), None), agent(Some(500), Some(0.2))]);
        assert_eq!(report.clock_error().unwrap().error_ns, 530);
        assert_eq!(report.stolen_share(), Some(0.3));
    }
}
