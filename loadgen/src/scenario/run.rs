//! What all scenarios have in common: from flags and a plan to a run, its report and the exit
//! code. Called by each scenario with its plan.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, anyhow};

use super::follow::Follow;
use super::{Console, UNREACHABLE, USAGE, phases};
use crate::agents::Load;
use crate::engine::{Part, Plan};
use crate::exposition::Exposition;
use crate::live::{About, Look};
use crate::options::{Conduct, WireFlags};
use crate::report::{Report, complaints, summary, verdict};
use crate::seconds::SECOND_NS;
use crate::sys;
use crate::target::{Target, TargetError, Transport};
use crate::target_process::Usage;

/// A scenario, ready to be planned.
pub(super) struct Scenario<'a> {
    /// The subcommand.
    pub(super) name: &'static str,
    pub(super) conduct: &'a Conduct,
    /// How long to wait for missing messages, in seconds.
    pub(super) drain: f64,
    /// What is wrong with the flags, if anything.
    pub(super) checked: Result<(), String>,
}

impl Scenario<'_> {
    /// Runs it as planned for its target and returns the exit code.
    pub(super) fn run(self, plan: impl FnOnce(Target) -> Plan) -> anyhow::Result<u8> {
        let console = Console { is_quiet: self.conduct.following.quiet };
        if let Err(why) = &self.checked {
            console.complain(why);
            return Ok(USAGE);
        }
        let target = match self.target() {
            Ok(target) => target,
            Err((why, code)) => {
                console.complain(&why);
                return Ok(code);
            }
        };
        // Before the run: a result that can't be kept is better known early.
        let files = match self.conduct.outputs.open() {
            Ok(files) => files,
            Err(why) => {
                console.complain(&why);
                return Ok(USAGE);
            }
        };
        let plan = plan(target);
        if let Some(why) = unfit(&plan) {
            console.complain(&why);
            return Ok(USAGE);
        }
        let follow = match self.follow(&plan, console) {
            Ok(follow) => follow,
            Err(why) => {
                console.complain(&why);
                return Ok(USAGE);
            }
        };
        // Served until the result is told.
        let _exposition = follow.exposition.clone();
        let report = match self.measure(plan, follow, console)? {
            Ok(report) => report,
            Err(why) => {
                console.verdict(&why);
                return Ok(UNREACHABLE);
            }
        };
        files.write(&report).context("cannot write the result")?;
        console.summary(&summary(&report));
        console.decided_by(&complaints(&report));
        console.verdict(&verdict(&report));
        Ok(report.exit_code())
    }

    /// The target, or why there is none, with the exit code for that.
    pub(super) fn target(&self) -> Result<Target, (String, u8)> {
        let protocol = self.conduct.protocol;
        let access = self.conduct.access.access(protocol).map_err(|why| (why, USAGE))?;
        self.conduct.to.check().map_err(|why| (why, USAGE))?;
        let mut target = self.conduct.to.resolve(protocol).map_err(|error| {
            let is_unknown = matches!(error, TargetError::Resolve { .. });
            (error.to_string(), if is_unknown { UNREACHABLE } else { USAGE })
        })?;
        self.conduct.wire.apply(&mut target).map_err(|why| (why, USAGE))?;
        Ok(Target { access, ..target })
    }

    /// Why the limit of open files makes the plan impossible, if that is known beforehand.
    pub(super) fn forbidden(&self, plan: &Plan) -> Option<String> {
        let spread = &self.conduct.spread;
        let is_known = spread.agents.is_empty();
        is_known.then(|| spread.processes(plan, sys::raise_open_files()).err())?
    }

    /// Who looks on; who wants nothing printed gets no screen. The error is a sentence for the user.
    pub(super) fn follow(&self, plan: &Plan, console: Console) -> Result<Follow, String> {
        let flags = &self.conduct.following;
        let about = About::new(self.name, &self.conduct.to.text(), plan);
        let serve = |address| {
            let exposition = Exposition::start(address, about.clone())
                .map_err(|error| format!("--prometheus {address}: {error}"))?;
            console.progress(&format!("metrics at {}", exposition.url()));
            Ok::<_, String>(Arc::new(exposition))
        };
        let exposition = flags.prometheus.map(serve).transpose()?;
        let view = if console.is_quiet || flags.plain { None } else { Follow::open_view() };
        Ok(Follow { about, view, exposition })
    }

    /// One run as planned. Where it can't be begun, a sentence for the user says why, with `FAILED`
    /// before it.
    pub(super) fn measure(
        &self,
        mut plan: Plan,
        follow: Follow,
        console: Console,
    ) -> anyhow::Result<Result<Report, String>> {
        plan.kernel_timestamps = self.conduct.kernel_timestamps;
        self.conduct.wire.settle(&mut plan);
        let Conduct { outputs, spread, threads, .. } = self.conduct;
        let interrupted = Arc::new(AtomicBool::new(false));
        // On the screen the key is read as a key; whoever kills us there gets the terminal back.
        let is_armed =
            if follow.view.is_some() { Arc::default() } else { Arc::clone(&interrupted) };
        sys::watch_interrupt(&interrupted, &is_armed).context("cannot watch the interrupt key")?;
        let memory_before = own_memory();
        let watch = outputs.watch();
        let load = match Load::start(&plan, spread, *threads) {
            Ok(load) => load,
            Err(why) => return Ok(Err(why)),
        };
        // Who polls may see the last message an interval after it was sent.
        let poll_ns = match plan.target.wire.transport {
            Transport::Poll(polling) => polling.every_ns + SECOND_NS,
            Transport::Ws | Transport::Sse => 0,
        };
        let drain_ns = ((self.drain * 1e9) as u64).max(poll_ns);
        let is_over = AtomicBool::new(false);
        let (mut course, watched) = thread::scope(|scope| {
            let watching = scope.spawn(|| watch.run(&load, &plan.schedule, &is_over));
            let look = || Look::at(&load, outputs.target_pid);
            let [over, asked, armed] = [&is_over, &interrupted, &is_armed];
            let following = scope.spawn(move || follow.run(look, over, asked, armed));
            let course = phases::drive(&load, &plan, &interrupted, drain_ns, console);
            is_over.store(true, Ordering::Release);
            // A screen that failed is no reason to lose the result.
            let _ = following.join();
            (course, watching.join())
        });
        let grown = own_memory().zip(memory_before).map(|(now, then)| now.saturating_sub(then));
        plan.part = Part::whole(load.workers());
        let harvest = load.finish().context("a thread failed")?;
        course.is_partial = harvest.fault.is_some();
        let mut report =
            Report::new(self.name, &self.conduct.to.text(), plan, course, harvest.ledgers);
        report.watched = watched.map_err(|_| anyhow!("the watch failed"))?;
        let grown = grown.map(|bytes| bytes + harvest.rss_grown_bytes);
        report.own_rss_bytes_per_connection =
            grown.and_then(|bytes| bytes.checked_div(report.course.ready));
        report.agents = harvest.agents;
        report.fault = harvest.fault;
        report.thresholds.clone_from(&outputs.threshold);
        report.allows_invalid = outputs.allow_invalid;
        Ok(Ok(report))
    }
}

fn own_memory() -> Option<u64> {
    Usage::of(std::process::id()).map(|usage| usage.rss_bytes)
}

/// Why the target's protocol can't do what the plan asks for, if it can't.
pub(super) fn unfit(plan: &Plan) -> Option<String> {
    let (protocol, name) = (plan.target.protocol, plan.target.protocol.name());
    if !protocol.has_topics() && !plan.is_round_trip && !plan.is_holding() {
        return Some(format!("{name} has no topics: it can do the scenarios connect and echo"));
    }
    if !protocol.returns_to_sender() && plan.is_round_trip {
        return Some(format!("{name} sends nothing back to its sender: it can't do echo"));
    }
    let has_publishers = !plan.is_round_trip && !plan.is_holding();
    if plan.target.servers.are_published_apart() && !has_publishers {
        return Some(
            "--publish-to is for scenarios that have publishers: leave it out, and say with --url or \
             --targets where the connections go"
                .to_owned(),
        );
    }
    let is_single = plan.topics_each == 1 && plan.layout.is_none();
    let has_each_its_own = plan.publishers as usize == plan.topics.len();
    if protocol.has_topic_in_url() && !(is_single && has_each_its_own) {
        return Some(format!(
            "{name} has one topic for each connection: it takes as many --publishers as topics, and \
             subscribers of one topic"
        ));
    }
    if let Some(why) = WireFlags::unfit(plan) {
        return Some(why);
    }
    let has_absent = plan.churn.is_some() || plan.storm.is_some();
    (!protocol.numbers_messages() && has_absent).then(|| {
        format!("{name} does not number messages: what was missed can't be told from what was lost")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Churn, Schedule};
    use crate::target::Protocol;

    #[test]
    fn a_protocol_is_not_asked_for_what_it_cannot_do() {
        let plan = |protocol| {
            let target = Target::resolve("ws://127.0.0.1:1/", protocol).unwrap();
            Plan::new(target, [1, 1, 1], Schedule::new(1.0, 0.0, 1.0, 1), 64, 1)
        };
        let churn = Some(Churn { subscribers: 1, per_second: 1.0, away_ns: 1 });
        assert_eq!(unfit(&plan(Protocol::Mqtt)), None);
        assert_eq!(unfit(&Plan { churn, ..plan(Protocol::Json) }), None);
        assert!(unfit(&Plan { churn, ..plan(Protocol::Nats) }).is_some());
        assert!(unfit(&plan(Protocol::Echo)).is_some());
        assert_eq!(unfit(&Plan { is_round_trip: true, ..plan(Protocol::Echo) }), None);
        assert_eq!(unfit(&Plan { topics_each: 0, ..plan(Protocol::Echo) }), None);
        assert!(unfit(&Plan { is_round_trip: true, ..plan(Protocol::Pusher) }).is_some());
        assert_eq!(unfit(&plan(Protocol::Nchan)), None);
        assert!(unfit(&Plan { publishers: 2, ..plan(Protocol::Nchan) }).is_some());
    }

    #[test]
    fn a_server_for_publishers_is_for_scenarios_that_have_some() {
        let mut target = Target::resolve("ws://127.0.0.1:1/", Protocol::Json).unwrap();
        target.publish_to("ws://127.0.0.1:2/").unwrap();
        let schedule = Schedule::new(1.0, 0.0, 1.0, 1);
        let fanout = Plan::new(target, [1, 1, 1], schedule, 64, 1);
        assert_eq!(unfit(&fanout), None);
        let echo = Plan { is_round_trip: true, ..fanout.clone() };
        let connect = Plan { topics_each: 0, ..fanout };
        for plan in [echo, connect] {
            assert!(unfit(&plan).unwrap().contains("--publish-to is for scenarios that have"));
        }
    }
}
