//! `loadgen doctor`: whether this machine is fit to measure with, and what to do where it is not.
//! Reads limits and settings, changes none; called by the scenarios' dispatch.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::thread;
use std::time::Duration;

use crate::host::{HostCpu, numbers_in};
use crate::report::grouped;
use crate::sys;

/// Enough open files for the connections most people ask for.
const FILES_GOOD: u64 = 100_000;

/// Ephemeral ports below this run out early.
const PORTS_GOOD: u64 = 28_000;

/// A shorter accept queue overflows when many connect at once.
const BACKLOG_GOOD: u64 = 1024;

/// Clocks that are read without a system call.
const QUICK_CLOCKS: [&str; 4] =
    ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];

/// One core for the target, one for the load generator.
const CORES_GOOD: u64 = 2;

/// More than this share stolen by the host blurs latencies.
const STOLEN_GOOD: f64 = 0.01;

/// How long stolen time is watched.
const STEAL_WATCH: Duration = Duration::from_secs(1);

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub name: &'static str,
    /// What it is.
    pub found: String,
    /// What to do about it; none if it is fine.
    pub advice: Option<String>,
}

/// What the machine says; None where it does not.
#[derive(Clone, Debug, Default)]
struct Machine {
    open_files: u64,
    ports: Option<u64>,
    accept_queue: Option<u64>,
    clock: Option<String>,
    cores: u64,
    stolen_share: Option<f64>,
}

/// Prints every finding and returns the exit code: 0 if all is fine, else 1. Takes a second, in
/// which it watches how much processor time is stolen.
#[must_use]
pub fn run() -> u8 {
    let findings = examine(&Machine::look());
    let _ = io::stdout().lock().write_all(shown(&findings).as_bytes());
    u8::from(findings.iter().any(|finding| finding.advice.is_some()))
}

impl Machine {
    fn look() -> Self {
        let before = HostCpu::read();
        thread::sleep(STEAL_WATCH);
        let stolen = before.zip(HostCpu::read());
        let clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let ports = numbers_in("/proc/sys/net/ipv4/ip_local_port_range");
        Self {
            open_files: sys::raise_open_files(),
            ports: ports.get(1).map(|last| (last + 1).saturating_sub(ports[0])),
            accept_queue: numbers_in("/proc/sys/net/core/somaxconn").first().copied(),
            clock: fs::read_to_string(clock).ok().map(|name| name.trim().to_owned()),
            cores: thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
            stolen_share: stolen.map(|(before, after)| after.stolen_share_since(before)),
        }
    }
}

fn examine(machine: &Machine) -> Vec<Finding> {
    let mut findings = vec![open_files(machine.open_files)];
    findings.extend(machine.ports.map(ports));
    findings.extend(machine.accept_queue.map(accept_queue));
    findings.extend(machine.clock.as_deref().map(clock));
    findings.push(cores(machine.cores));
    findings.extend(machine.stolen_share.map(steal));
    findings
}

fn open_files(limit: u64) -> Finding {
    let found = match limit {
        u64::MAX => "no limit".to_owned(),
        _ => format!("{}, one for each connection", grouped(limit)),
    };
    let advice = "raise the hard limit: ulimit -Hn 1048576 as root, LimitNOFILE=1048576 in a \
                  systemd unit, or --ulimit nofile=1048576 for a container; or run with \
                  --processes auto";
    finding("open files", found, limit < FILES_GOOD, advice)
}

fn ports(count: u64) -> Finding {
    let found = format!("{}; half of them are used from each source address", grouped(count));
    let advice = "widen the range: sysctl -w net.ipv4.ip_local_port_range='1024 65535'";
    finding("ports", found, count < PORTS_GOOD, advice)
}

fn accept_queue(limit: u64) -> Finding {
    let found = format!("{} connections can wait to be accepted", grouped(limit));
    let advice = "let a target on this machine queue more: sysctl -w net.core.somaxconn=4096";
    finding("somaxconn", found, limit < BACKLOG_GOOD, advice)
}

fn clock(name: &str) -> Finding {
    let advice = "every look at this clock is a system call; if the machine offers it: echo tsc > \
                  /sys/devices/system/clocksource/clocksource0/current_clocksource";
    finding("clock", name.to_owned(), !QUICK_CLOCKS.contains(&name), advice)
}

fn cores(count: u64) -> Finding {
    let advice = "target and load generator would take turns on one core: use another machine for \
                  one of them";
    finding("cores", grouped(count), count < CORES_GOOD, advice)
}

fn steal(share: f64) -> Finding {
    let found =
        format!("{:.1} % of the last second's processor time went to others", share * 100.0);
    let advice = "other guests of this host take processor time: measure when they rest, or on a \
                  machine of its own";
    finding("steal", found, share > STOLEN_GOOD, advice)
}

fn finding(name: &'static str, found: String, is_bad: bool, advice: &str) -> Finding {
    Finding { name, found, advice: is_bad.then(|| advice.to_owned()) }
}

fn shown(findings: &[Finding]) -> String {
    let mut out = String::new();
    for Finding { name, found, advice } in findings {
        let sign = if advice.is_some() { "POOR" } else { "fine" };
        let _ = writeln!(out, "{name:>12}  {sign}  {found}");
        if let Some(advice) = advice {
            let _ = writeln!(out, "{:>12}        {advice}", "");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit() -> Machine {
        Machine {
            open_files: 1 << 20,
            ports: Some(64_512),
            accept_queue: Some(4096),
            clock: Some("tsc".into()),
            cores: 4,
            stolen_share: Some(0.0),
        }
    }

    #[test]
    fn a_fit_machine_needs_no_advice() {
        let findings = examine(&fit());
        assert_eq!(findings.len(), 6);
        assert!(findings.iter().all(|finding| finding.advice.is_none()));
        assert!(shown(&findings).contains("       clock  fine  tsc\n"));
    }

    #[test]
    fn each_weakness_is_found_and_comes_with_what_to_do() {
        let weak = [
            ("open files", Machine { open_files: 1024, ..fit() }, "LimitNOFILE="),
            ("ports", Machine { ports: Some(9000), ..fit() }, "ip_local_port_range"),
            ("somaxconn", Machine { accept_queue: Some(128), ..fit() }, "net.core.somaxconn"),
            ("clock", Machine { clock: Some("hpet".into()), ..fit() }, "tsc"),
            ("cores", Machine { cores: 1, ..fit() }, "another machine"),
            ("steal", Machine { stolen_share: Some(0.3), ..fit() }, "other guests"),
        ];
        for (name, machine, advice) in weak {
            let findings = examine(&machine);
            let mut poor = findings.iter().filter(|finding| finding.advice.is_some());
            let found = poor.next().unwrap();
            assert_eq!((found.name, poor.count()), (name, 0));
            assert!(found.advice.as_deref().unwrap().contains(advice), "{found:?}");
        }
    }

    #[test]
    fn what_the_system_does_not_tell_is_not_judged() {
        let silent = Machine { open_files: u64::MAX, cores: 8, ..Machine::default() };
        let findings = examine(&silent);
        assert_eq!(
            findings.iter().map(|one| one.name).collect::<Vec<_>>(),
            ["open files", "cores"]
        );
    }
}
