//! Looks on while a run is under way: once a second, and where measuring begins and ends, it notes
//! what was sent and delivered and what processor time both sides used. Changes nothing about the
//! run and shares no thread with it; started by the scenarios beside the phases.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::agents::Load;
use crate::engine::{Progress, Schedule};
use crate::host::HostCpu;
use crate::seconds::SECOND_NS;
use crate::sys;
use crate::target_process::{MetricsPage, Usage};

/// The longest sleep: how late the begin of publishing and the end of the run may be noticed.
const NAP: Duration = Duration::from_millis(10);

/// The most samples kept: a day's. Later ones are not taken.
const SAMPLES_MAX: usize = 86_400;

/// What is looked at besides the engine.
#[derive(Clone, Debug)]
pub struct Watch {
    target_pid: Option<u32>,
    metrics: Option<MetricsPage>,
    before: Option<Usage>,
}

/// Everything seen during a run.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// What the target had used before the first connection, if it is watched.
    pub before: Option<Usage>,
    /// At the begin, once a second, and at the end. The seconds are counted from the begin of
    /// measuring, backwards too.
    pub samples: Vec<Sample>,
    /// When measuring began, once it did.
    pub begin: Option<Mark>,
    /// When measuring ended: after the schedule's last message, or when the run was interrupted.
    pub end: Option<Mark>,
}

/// One look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// When.
    pub at_ns: u64,
    /// What the engine had reached.
    pub progress: Progress,
    /// Processor time of the load generator since its start.
    pub own_cpu_ns: u64,
    /// What the target had used, if it is watched and still runs.
    pub target: Option<Usage>,
}

/// A closer look at the begin or the end of measuring.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    /// As every second.
    pub sample: Sample,
    /// The machine's processor time.
    pub host: Option<HostCpu>,
    /// What the target had written, if it tells.
    pub sends: Option<Sends>,
}

/// What the target said of its writes to sockets. Its answer may take a while on a busy machine, so
/// it is set against what was delivered when the answer came, not when it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sends {
    /// Writes since the target's start.
    pub count: u64,
    /// What the engine had counted by then.
    pub delivered: u64,
}

impl Watch {
    /// Watches the process under load, if it runs on this machine, and its metrics, if it has
    /// some. To be made before the engine is started: what the target holds now is what it held
    /// without connections.
    #[must_use]
    pub fn new(target_pid: Option<u32>, metrics: Option<MetricsPage>) -> Self {
        Self { target_pid, metrics, before: target_pid.and_then(Usage::of) }
    }

    /// Looks on until `is_over`, and until the target has answered what it was asked. Neither the
    /// looks nor the run wait for that.
    pub fn run(&self, engine: &Load, schedule: &Schedule, is_over: &AtomicBool) -> Watched {
        thread::scope(|scope| {
            let ask = || {
                let page = self.metrics.as_ref()?;
                Some(scope.spawn(|| Sends::ask(page, engine)))
            };
            let (mut watched, asked) = self.look_on(engine, schedule, is_over, ask);
            for (mark, answer) in [&mut watched.begin, &mut watched.end].into_iter().zip(asked) {
                if let (Some(mark), Some(answer)) = (mark, answer) {
                    mark.sends = answer.join().ok().flatten();
                }
            }
            watched
        })
    }

    /// What was seen, and what came of asking at the begin and at the end of measuring.
    fn look_on<T>(
        &self,
        engine: &Load,
        schedule: &Schedule,
        is_over: &AtomicBool,
        ask: impl Fn() -> Option<T>,
    ) -> (Watched, [Option<T>; 2]) {
        let mut asked = [None, None];
        let samples = vec![self.sample(engine)];
        let mut watched = Watched { before: self.before, samples, ..Watched::default() };
        while !is_over.load(Ordering::Acquire) {
            let now_ns = sys::now_ns();
            let start_ns = engine.start_ns();
            let measured_ns = start_ns + schedule.measured_after_ns();
            if start_ns != 0 && watched.begin.is_none() && now_ns >= measured_ns {
                watched.begin = Some(self.mark(engine));
                asked[0] = ask();
            }
            let end_ns = start_ns + schedule.duration_ns();
            if watched.begin.is_some() && watched.end.is_none() && now_ns >= end_ns {
                watched.end = Some(self.mark(engine));
                asked[1] = ask();
            }
            let origin_ns = if start_ns == 0 { engine.begun_ns() } else { measured_ns };
            let last_ns = watched.samples.last().map_or(0, |sample| sample.at_ns);
            let is_due = second_of(now_ns, origin_ns) > second_of(last_ns, origin_ns);
            if is_due && watched.samples.len() < SAMPLES_MAX {
                watched.samples.push(self.sample(engine));
            }
            thread::sleep(NAP.min(until_next_second(now_ns, origin_ns)));
        }
        watched.samples.push(self.sample(engine));
        if watched.begin.is_some() && watched.end.is_none() {
            watched.end = Some(self.mark(engine));
            asked[1] = ask();
        }
        (watched, asked)
    }

    fn sample(&self, engine: &Load) -> Sample {
        Sample {
            at_ns: sys::now_ns(),
            progress: engine.progress(),
            own_cpu_ns: engine.cpu_ns(),
            target: self.target_pid.and_then(Usage::of),
        }
    }

    fn mark(&self, engine: &Load) -> Mark {
        Mark { sample: self.sample(engine), host: HostCpu::read(), sends: None }
    }
}

impl Sends {
    fn ask(page: &MetricsPage, engine: &Load) -> Option<Self> {
        let count = page.sends()?;
        Some(Self { count, delivered: engine.progress().delivered })
    }
}

impl Watched {
    /// Begin and end of measuring, if it began.
    #[must_use]
    pub fn measured(&self) -> Option<(&Mark, &Mark)> {
        self.begin.as_ref().zip(self.end.as_ref())
    }

    /// The share of the machine's processor time that its host gave to others while measuring.
    #[must_use]
    pub fn stolen_share(&self) -> Option<f64> {
        let (begin, end) = self.measured()?;
        Some(end.host?.stolen_share_since(begin.host?))
    }

    /// How many cores the load generator used on average while measuring.
    #[must_use]
    pub fn own_cores(&self) -> Option<f64> {
        let (begin, end) = self.measured()?;
        cores(&begin.sample, &end.sample, |sample| Some(sample.own_cpu_ns))
    }

    /// How many cores the target used on average while measuring.
    #[must_use]
    pub fn target_cores(&self) -> Option<f64> {
        let (begin, end) = self.measured()?;
        cores(&begin.sample, &end.sample, |sample| sample.target.map(|usage| usage.cpu_ns))
    }

    /// The target's processor time per delivery while measuring, in nanoseconds.
    #[must_use]
    pub fn target_cpu_ns_per_delivery(&self) -> Option<f64> {
        let (begin, end) = self.measured()?;
        let used_ns = end.sample.target?.cpu_ns.saturating_sub(begin.sample.target?.cpu_ns);
        per_delivery(used_ns, begin, end)
    }

    /// The target's writes to sockets per delivery while measuring.
    #[must_use]
    pub fn sends_per_delivery(&self) -> Option<f64> {
        let (begin, end) = self.measured()?;
        let (begin, end) = (begin.sends?, end.sends?);
        let delivered = end.delivered.saturating_sub(begin.delivered);
        let count = end.count.saturating_sub(begin.count);
        (delivered > 0).then(|| count as f64 / delivered as f64)
    }

    /// The target's processor time from before the first connection to the begin of measuring, per
    /// connection, in nanoseconds: what connecting and subscribing cost it, if nothing was
    /// published before measuring.
    #[must_use]
    pub fn target_cpu_ns_per_connection(&self) -> Option<f64> {
        let begin = &self.begin.as_ref()?.sample;
        let used = begin.target?.cpu_ns.saturating_sub(self.before?.cpu_ns);
        (begin.progress.ready > 0).then(|| used as f64 / begin.progress.ready as f64)
    }

    /// By how much the target's resident memory grew from before the first connection to the
    /// begin of measuring, per connection. Zero if it did not grow.
    #[must_use]
    pub fn target_rss_bytes_per_connection(&self) -> Option<f64> {
        let begin = &self.begin.as_ref()?.sample;
        let grown = begin.target?.rss_bytes.saturating_sub(self.before?.rss_bytes);
        (begin.progress.ready > 0).then(|| grown as f64 / begin.progress.ready as f64)
    }
}

/// How many cores were used on average between two samples.
#[must_use]
pub fn cores(from: &Sample, to: &Sample, cpu_ns: fn(&Sample) -> Option<u64>) -> Option<f64> {
    let used_ns = cpu_ns(to)?.saturating_sub(cpu_ns(from)?);
    let passed_ns = to.at_ns.saturating_sub(from.at_ns);
    (passed_ns > 0).then(|| used_ns as f64 / passed_ns as f64)
}

/// The number of the second after `origin_ns` that a time is in; negative before it.
#[must_use]
pub fn second_of(at_ns: u64, origin_ns: u64) -> i64 {
    let since_ns = at_ns.cast_signed().wrapping_sub(origin_ns.cast_signed());
    since_ns.div_euclid(SECOND_NS.cast_signed())
}

fn until_next_second(now_ns: u64, origin_ns: u64) -> Duration {
    let since_ns = now_ns.cast_signed().wrapping_sub(origin_ns.cast_signed());
    let passed_ns = since_ns.rem_euclid(SECOND_NS.cast_signed());
    Duration::from_nanos(SECOND_NS - passed_ns.cast_unsigned())
}

fn per_delivery(count: u64, begin: &Mark, end: &Mark) -> Option<f64> {
    let (before, after) = (begin.sample.progress.delivered, end.sample.progress.delivered);
    let delivered = after.saturating_sub(before);
    (delivered > 0).then(|| count as f64 / delivered as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(at_ns: u64, delivered: u64, cpu_ns: u64, rss_bytes: u64) -> Mark {
        let progress = Progress { ready: 10, delivered, ..Progress::default() };
        let target = Some(Usage { cpu_ns, rss_bytes });
        let sample = Sample { at_ns, progress, own_cpu_ns: 2 * cpu_ns, target };
        Mark { sample, host: None, sends: Some(Sends { count: delivered / 2, delivered }) }
    }

    #[test]
    fn what_the_target_used_is_shared_out_over_deliveries_and_connections() {
        let watched = Watched {
            before: Some(Usage { cpu_ns: 0, rss_bytes: 1000 }),
            samples: Vec::new(),
            begin: Some(mark(1_000, 100, 50, 6000)),
            end: Some(mark(2_000, 300, 250, 7000)),
        };
        assert_eq!(watched.target_cpu_ns_per_delivery(), Some(1.0));
        assert_eq!(watched.sends_per_delivery(), Some(0.5));
        assert_eq!(watched.target_rss_bytes_per_connection(), Some(500.0));
        assert_eq!((watched.target_cores(), watched.own_cores()), (Some(0.2), Some(0.4)));
        assert_eq!(watched.stolen_share(), None);
    }

    #[test]
    fn seconds_are_counted_from_the_origin_in_both_directions() {
        let seconds = [4_999_999_999, 5_000_000_000, 6_000_000_000, 3_999_999_999];
        assert_eq!(seconds.map(|at_ns| second_of(at_ns, 5_000_000_000)), [-1, 0, 1, -2]);
        let left = |now_ns| until_next_second(now_ns, 5_000_000_000).as_nanos();
        assert_eq!((left(4_999_999_999), left(5_000_000_000)), (1, 1_000_000_000));
    }

    #[test]
    fn a_run_that_was_never_measured_has_no_numbers() {
        let watched = Watched::default();
        assert_eq!(watched.target_cpu_ns_per_delivery(), None);
        assert_eq!(watched.own_cores(), None);
    }
}
