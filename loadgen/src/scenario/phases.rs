//! Takes a run through its phases, from the first connection to the last arrival, and says where
//! it stands. Sleeps between looks at the engine's gauges; touches no connection itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::Console;
use crate::agents::Load;
use crate::engine::{Phase, Plan, Progress};
use crate::report::{Course, grouped};
use crate::sys;

const SECOND_NS: u64 = 1_000_000_000;

/// How often the gauges are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// With so many failures and not one success, the rest is not tried.
const HOPELESS: u64 = 64;

/// The rest between the last answer to a subscribe and the first message.
const SETTLE_NS: u64 = SECOND_NS / 2;

/// How long after the end of the schedule late messages may still be sent.
const OVERRUN_NS: u64 = 2 * SECOND_NS;

/// After the last expected message, duplicates have so long to show up.
const LINGER_NS: u64 = 3 * SECOND_NS / 10;

/// The same where it is told who joins and leaves, which a server may do once a second.
const PRESENCE_LINGER_NS: u64 = 3 * SECOND_NS / 2;

/// Drives the engine up to the end of draining; closing is left to its `finish`. While messages
/// are missing, draining ends when nothing new has come for `drain_ns`.
pub(super) fn drive(
    engine: &Load,
    plan: &Plan,
    interrupted: &AtomicBool,
    drain_ns: u64,
    console: Console,
) -> Course {
    let told_ns = sys::now_ns();
    let mut drive = Drive { engine, plan, interrupted, drain_ns, console, told_ns };
    let mut course = drive.connect();
    if course.ready == plan.connections() && drive.settle() {
        course.start_ns = drive.publish();
        drive.drain();
    }
    let lost_before = engine.progress().closed;
    if course.start_ns == 0 {
        course.ready = course.ready.saturating_sub(lost_before);
    }
    course.is_interrupted = interrupted.load(Ordering::Relaxed);
    drive.console.progress("closing");
    course
}

struct Drive<'a> {
    engine: &'a Load,
    plan: &'a Plan,
    interrupted: &'a AtomicBool,
    drain_ns: u64,
    console: Console,
    /// When the last progress line was printed.
    told_ns: u64,
}

impl Drive<'_> {
    fn connect(&mut self) -> Course {
        let asked = self.plan.connections();
        let servers = self.plan.target.servers.all().iter();
        let addresses: Vec<_> = servers.map(|server| server.address.to_string()).collect();
        self.tell(&format!("connecting {} to {}", grouped(asked), addresses.join(", ")));
        loop {
            let Progress { ready, failed, .. } = self.engine.progress();
            let is_hopeless = ready == 0 && failed >= HOPELESS;
            if ready + failed >= asked || is_hopeless || self.must_stop() {
                if ready == asked {
                    self.tell(&format!("connected {}, subscriptions answered", grouped(ready)));
                }
                return Course { ready, begun_ns: self.engine.begun_ns(), ..Course::default() };
            }
            self.tell_each_second(|| {
                format!("connecting {}/{}", grouped(ready), grouped(asked)) + &failures(failed)
            });
            thread::sleep(LOOK);
        }
    }

    /// Whether all connections are still there afterwards.
    fn settle(&mut self) -> bool {
        self.engine.enter(Phase::Settle);
        self.tell("settling");
        let until_ns = sys::now_ns() + SETTLE_NS;
        while sys::now_ns() < until_ns && !self.must_stop() {
            thread::sleep(LOOK);
        }
        self.engine.progress().closed == 0 && !self.must_stop()
    }

    /// Returns when message 0 was due.
    fn publish(&mut self) -> u64 {
        let schedule = &self.plan.schedule;
        let start_ns = sys::now_ns() + self.engine.notice_ns();
        let measured_from_ns = start_ns + schedule.measured_after_ns();
        let end_ns = start_ns + schedule.duration_ns();
        self.engine.publish(start_ns);
        let mut name = "warming up";
        if schedule.warmup_messages() > 0 {
            self.tell(name);
        }
        loop {
            let now_ns = sys::now_ns();
            if name == "warming up" && now_ns >= measured_from_ns {
                name = "measuring";
                self.tell(name);
            }
            let progress = self.engine.progress();
            let is_sent = now_ns >= end_ns && progress.to_send == 0;
            if is_sent || now_ns >= end_ns + OVERRUN_NS || self.must_stop() {
                return start_ns;
            }
            self.tell_each_second(|| {
                let left_s = end_ns.saturating_sub(now_ns).div_ceil(SECOND_NS);
                format!("{name}, {left_s} s left: {}", deliveries(&progress))
            });
            thread::sleep(LOOK);
        }
    }

    fn drain(&mut self) {
        self.engine.enter(Phase::Drain);
        self.tell("draining");
        let mut last = self.engine.progress();
        let mut changed_ns = sys::now_ns();
        loop {
            let progress = self.engine.progress();
            let now_ns = sys::now_ns();
            if progress != last {
                (last, changed_ns) = (progress, now_ns);
            }
            let is_whole = progress.delivered.saturating_add(progress.missed) >= progress.expected;
            let quiet_ns = if is_whole { self.linger_ns() } else { self.drain_ns.max(LINGER_NS) };
            if now_ns >= changed_ns + quiet_ns || self.engine.has_stopped() {
                return;
            }
            self.tell_each_second(|| format!("draining: {}", deliveries(&progress)));
            thread::sleep(LOOK);
        }
    }

    fn linger_ns(&self) -> u64 {
        let is_told = self.plan.layout.as_ref().is_some_and(|layout| layout.presence);
        if is_told { PRESENCE_LINGER_NS } else { LINGER_NS }
    }

    fn must_stop(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.engine.has_stopped()
    }

    fn tell(&mut self, line: &str) {
        self.console.progress(line);
        self.told_ns = sys::now_ns();
    }

    fn tell_each_second(&mut self, line: impl FnOnce() -> String) {
        if sys::now_ns() >= self.told_ns + SECOND_NS {
            self.tell(&line());
        }
    }
}

fn deliveries(progress: &Progress) -> String {
    format!(
        "{} sent, {} of {} delivered",
        grouped(progress.sent),
        grouped(progress.delivered),
        grouped(progress.expected)
    )
}

fn failures(failed: u64) -> String {
    if failed == 0 { String::new() } else { format!(", {} failed", grouped(failed)) }
}
