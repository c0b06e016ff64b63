//! Looks after the broker that is attacked: what it holds before and after, and what it told of
//! it. Also puts up the scene for most attacks: broker, guard and canary.

use std::fs;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::canary::Canary;
use crate::support::broker::Broker;
use crate::support::http;
use crate::support::ws_client::{PATIENCE, WsClient};

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;

/// Memory that may stay with the allocator of the broker after an attack.
const KEPT_BYTES_MAX: u64 = 48 * MIB;
/// Memory that may still be in use, in tables that have grown.
const IN_USE_BYTES_MAX: u64 = 2 * MIB;
const POLL: Duration = Duration::from_millis(50);

/// Attacks that load the machine take turns with all others.
static FLOOR: RwLock<()> = RwLock::new(());

/// Room for one attack beside others that are light too.
pub(crate) fn beside_others() -> RwLockReadGuard<'static, ()> {
    FLOOR.read().unwrap_or_else(PoisonError::into_inner)
}

/// Room for one attack alone.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    FLOOR.write().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a light attack: see [`stage`].
pub(crate) fn attack<const N: usize>(
    arguments: &[&str],
    attack: impl FnOnce(&Broker) -> [Told; N],
) {
    let _room = beside_others();
    stage(arguments, |broker, _| attack(broker));
}

/// Runs an attack that takes the machine for itself: see [`stage`].
pub(crate) fn attack_alone<const N: usize>(
    arguments: &[&str],
    attack: impl FnOnce(&Broker, &Guard<'_>) -> [Told; N],
) {
    let _room = alone();
    stage(arguments, attack);
}

/// Starts a broker with a guard and a canary, lets `attack` at it, and then demands that the
/// bystanders noticed nothing, that the broker told of the attack as `attack` returns it, and
/// that all is as it was before.
fn stage<const N: usize>(
    arguments: &[&str],
    attack: impl FnOnce(&Broker, &Guard<'_>) -> [Told; N],
) {
    let arguments = [&["--workers", "2", "--pin", "false", "--log-format", "json"], arguments];
    let broker = Broker::start(&arguments.concat());
    let guard = Guard::new(&broker);
    let canary = Canary::start(&broker);
    let told = attack(&broker, &guard);
    canary.finish();
    for told in told {
        told.demand(&broker);
    }
    guard.check();
}

/// What the broker has to say about an attack: a counter, and a line in its log.
#[derive(Debug)]
pub(crate) struct Told {
    sample: String,
    count: usize,
    is_least: bool,
    log: Option<String>,
}

/// So many requests were refused with this HTTP status.
pub(crate) fn refused(status: u16, count: usize) -> Told {
    let sample = format!("altavoz_refusals_total{{status=\"{status}\"}}");
    Told { sample, count, is_least: false, log: Some(format!(r#""status":{status}"#)) }
}

/// So many WebSockets were closed by the broker for this reason, with this code.
pub(crate) fn closed(reason: &str, code: u16, count: usize) -> Told {
    let log = Some(format!(r#""code":{code}"#));
    Told { log, ..counted(&format!("altavoz_closes_total{{reason=\"{reason}\"}}"), count) }
}

/// A sample of the metrics has come to this value; there is no line in the log.
pub(crate) fn counted(sample: &str, count: usize) -> Told {
    Told { sample: sample.to_owned(), count, is_least: false, log: None }
}

impl Told {
    /// More is fine too.
    pub(crate) fn at_least(self) -> Self {
        Self { is_least: true, ..self }
    }

    fn demand(&self, broker: &Broker) {
        let wanted = self.count as f64;
        let deadline = Instant::now() + PATIENCE;
        let value = loop {
            let value = broker.metrics(&self.sample);
            if value >= wanted || Instant::now() > deadline {
                break value;
            }
            thread::sleep(POLL);
        };
        assert!(
            value == wanted || (self.is_least && value > wanted),
            "{value} instead of {self:?}"
        );
        if let Some(line) = &self.log {
            assert!(broker.logs(line, PATIENCE), "no line with {line} in the log");
        }
    }
}

/// What a broker held before an attack.
pub(crate) struct Guard<'b> {
    broker: &'b Broker,
    before: Footprint,
}

/// What it holds. Of everything but memory, not one more may be left over.
#[derive(Clone, Debug, PartialEq)]
struct Footprint {
    connections: f64,
    subscriptions: f64,
    backlog_bytes: f64,
    descriptors: usize,
    threads: u64,
    in_use_bytes: u64,
    resident_bytes: u64,
}

impl<'b> Guard<'b> {
    /// Takes down what a broker holds that is at rest.
    pub(crate) fn new(broker: &'b Broker) -> Self {
        // What is made on first use is there before the attack.
        greet(broker);
        let before = await_that(|| {
            let (first, second) = (Footprint::of(broker), Footprint::of(broker));
            (first.connections == 0.0 && first.descriptors == second.descriptors)
                .then_some(second)
                .ok_or(first)
        });
        Self { broker, before }
    }

    /// Memory in use beyond what was before, in bytes.
    pub(crate) fn growth_bytes(&self) -> u64 {
        Footprint::of(self.broker).in_use_bytes.saturating_sub(self.before.in_use_bytes)
    }

    /// The most memory that was resident at once, beyond what was before, in bytes.
    pub(crate) fn peak_growth_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.broker.process_id());
        let status = fs::read_to_string(path).expect("the broker runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        (peak.expect("Linux tells it") * KIB).saturating_sub(self.before.resident_bytes)
    }

    /// Demands that everything is given back, that the broker blames nothing on itself, and that
    /// it still takes clients.
    pub(crate) fn check(self) {
        greet(self.broker);
        let before = &self.before;
        await_that(|| {
            let now = Footprint::of(self.broker);
            let is_back = now.connections <= before.connections
                && now.subscriptions <= before.subscriptions
                && now.backlog_bytes <= before.backlog_bytes
                && now.descriptors <= before.descriptors
                && now.threads <= before.threads
                && now.in_use_bytes <= before.in_use_bytes + IN_USE_BYTES_MAX
                && now.resident_bytes <= before.resident_bytes + KEPT_BYTES_MAX;
            if is_back { Ok(()) } else { Err((now, before)) }
        });
        for never in ["altavoz_panics_total", "altavoz_closes_total{reason=\"internal\"}"] {
            assert_eq!(self.broker.metrics(never), 0.0, "{never}");
        }
    }
}

impl Footprint {
    fn of(broker: &Broker) -> Self {
        let text = http::get(broker.address(), "/metrics").expect("the broker answers").text();
        let sum = |name: &str| -> f64 {
            let lines = text.lines().filter_map(|line| line.strip_prefix(name));
            let samples = lines.filter(|rest| rest.starts_with(['{', ' ']));
            samples.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        Self {
            connections: sum("altavoz_connections"),
            subscriptions: sum("altavoz_subscriptions"),
            backlog_bytes: sum("altavoz_backlog_total_bytes"),
            descriptors: broker.open_fds(),
            threads: broker.threads(),
            in_use_bytes: sum("altavoz_allocated_bytes") as u64,
            resident_bytes: broker.rss_bytes(),
        }
    }
}

/// Demands that a fresh client is taken and answered.
fn greet(broker: &Broker) {
    let client = WsClient::connect(broker.address(), "/ws", &["altavoz.v1.json"]);
    let answer = client.expect("it upgrades").command(r#"{"id":1,"op":"ping"}"#);
    assert_eq!(answer, r#"{"id":1,"ok":{}}"#);
}

/// Asks again until it is so; fails with what was the case last.
fn await_that<T, E: std::fmt::Debug>(mut is_so: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match is_so() {
            Ok(value) => return value,
            Err(found) => assert!(Instant::now() < deadline, "still {found:#?}"),
        }
        thread::sleep(POLL);
    }
}
