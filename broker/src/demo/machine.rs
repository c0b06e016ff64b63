//! What this machine does, once a second, as Linux tells it under `/proc`: processors, memory, load
//! and network. On other systems there is no such feed. Called by `demo`.

use std::fs;

use serde_json::json;

use super::{Now, Publish};

const EVERY_MS: u64 = 1_000;

#[derive(Default)]
pub(super) struct Machine {
    seconds: u64,
    before: Option<Sample>,
}

/// Numbers that only grow, from which rates follow.
struct Sample {
    running_ms: u64,
    /// Of all processors first, then of each: ticks in all, and ticks without work.
    processors: Vec<(u64, u64)>,
    received_bytes: u64,
    sent_bytes: u64,
}

impl Machine {
    pub(super) fn advance(&mut self, now: Now, publish: &mut Publish<'_>) {
        let due = now.running_ms / EVERY_MS;
        if due == self.seconds {
            return;
        }
        self.seconds = due;
        let Some(sample) = Sample::read(now.running_ms) else { return };
        if let Some(before) = self.before.replace(sample)
            && let Some(sample) = &self.before
            && let Some(payload) = describe(&before, sample, now)
        {
            publish("demo/machine", payload.as_bytes());
        }
    }
}

impl Sample {
    fn read(running_ms: u64) -> Option<Self> {
        let processors = processors(&fs::read_to_string("/proc/stat").ok()?);
        let (received_bytes, sent_bytes) = network(&fs::read_to_string("/proc/net/dev").ok()?);
        Some(Self { running_ms, processors, received_bytes, sent_bytes })
    }
}

fn describe(before: &Sample, now: &Sample, moment: Now) -> Option<String> {
    let seconds = now.running_ms.saturating_sub(before.running_ms) as f64 / 1_000.0;
    let rate = |before: u64, now: u64| (now.saturating_sub(before) as f64 / seconds).round();
    let mut busy = before.processors.iter().zip(&now.processors).map(|(before, now)| {
        let (all, idle) = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
        (1.0 - idle as f64 / all.max(1) as f64).clamp(0.0, 1.0)
    });
    let rounded = |share: f64| (share * 1_000.0).round() / 1_000.0;
    let busy_all = rounded(busy.next()?);
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    let total_bytes = kibibytes(&memory, "MemTotal:")?;
    let payload = json!({
        "at_ms": moment.unix_ms,
        "busy": busy_all,
        "processors": busy.map(rounded).collect::<Vec<_>>(),
        "memory_bytes": total_bytes - kibibytes(&memory, "MemAvailable:")?.min(total_bytes),
        "memory_total_bytes": total_bytes,
        "load": load.split_whitespace().next()?.parse::<f64>().ok()?,
        "received_bytes_per_s": rate(before.received_bytes, now.received_bytes),
        "sent_bytes_per_s": rate(before.sent_bytes, now.sent_bytes),
    });
    Some(payload.to_string())
}

/// The lines `cpu`, `cpu0` … of `/proc/stat`.
fn processors(stat: &str) -> Vec<(u64, u64)> {
    stat.lines()
        .take_while(|line| line.starts_with("cpu"))
        .map(|line| {
            // user nice system idle iowait irq softirq steal; what follows is in user already.
            let ticks: Vec<u64> =
                line.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
            (ticks.iter().sum(), ticks.iter().skip(3).take(2).sum())
        })
        .collect()
}

/// Bytes received and sent by all interfaces, those of `/proc/net/dev`.
fn network(dev: &str) -> (u64, u64) {
    dev.lines().filter_map(|line| line.split_once(':')).fold((0, 0), |sums, (_, numbers)| {
        let mut numbers = numbers.split_whitespace().map(|n| n.parse().unwrap_or(0));
        (sums.0 + numbers.next().unwrap_or(0), sums.1 + numbers.nth(7).unwrap_or(0))
    })
}

fn kibibytes(meminfo: &str, field: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix(field))?;
    rest.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux_are_read_as_they_are_written() {
        let stat = "cpu  10 0 10 70 10 0 0 0 5 0\ncpu0 1 2 3 4 5 6 7 8 9 9\nintr 7 7\n";
        assert_eq!(processors(stat), [(100, 80), (36, 9)]);
        let dev = "Inter-|   Receive  |  Transmit\n face |bytes packets\n\
                   lo: 100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\n\
                   eth0: 5 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n";
        assert_eq!(network(dev), (105, 207));
        assert_eq!(kibibytes("MemTotal:  8 kB\nMemFree: 1 kB\n", "MemTotal:"), Some(8192));
    }
}
