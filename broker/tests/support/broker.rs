//! The broker as a process of its own on a free port, and what can be seen of it from outside:
//! its metrics, memory, descriptors and threads. Killed when dropped; its log is shown if the test
//! fails.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::http;
use super::process::Running;

const START_LIMIT: Duration = Duration::from_secs(30);

/// A running broker.
pub(crate) struct Broker {
    process: Running,
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    admin_address: Option<SocketAddr>,
}

impl Broker {
    /// Starts it on a free port of 127.0.0.1, with `arguments` besides, and returns when it
    /// listens. The environment's `ALTAVOZ_…` settings do not reach it.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, |_| {})
    }

    /// Like [`start`](Self::start), with a last hand on the command.
    pub(crate) fn start_with(arguments: &[&str], adjust: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
        command.args(["--listen", "127.0.0.1:0"]);
        adjust(&mut command);
        Self::start_by(command, arguments)
    }

    /// Starts it by a command that says where it listens, with `arguments` besides.
    pub(crate) fn start_by(mut command: Command, arguments: &[&str]) -> Self {
        command.args(arguments);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("ALTAVOZ_") {
                command.env_remove(name);
            }
        }
        let mut process = Running::start(&mut command).expect("the broker can be run");
        let Some(address) = process.wait_for_output(START_LIMIT, listening_address) else {
            let (stdout, stderr) = (process.stdout.text(), process.stderr.text());
            panic!("the broker does not listen\nstdout: {stdout}\nstderr: {stderr}");
        };
        let tls_address = match arguments.iter().any(|flag| flag.starts_with("--tls-")) {
            true => process.wait_for_output(START_LIMIT, tls_address),
            false => None,
        };
        let admin_address = match arguments.contains(&"--admin-listen") {
            true => process.wait_for_output(START_LIMIT, admin_address),
            false => None,
        };
        Self { process, address, tls_address, admin_address }
    }

    /// Where operators are let in.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin_address.expect("it was asked for")
    }

    /// Where it speaks TLS.
    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.tls_address.expect("TLS was asked for")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `ws://…` with `path`, such as `/ws`.
    pub(crate) fn ws_url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    /// What it wrote to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.process.stdout.text()
    }

    /// Its log so far.
    pub(crate) fn stderr(&self) -> String {
        self.process.stderr.text()
    }

    /// A metric as `/metrics` shows it now, summed over all its label sets (workers, say), or over
    /// those that hold the given labels: `name{reason="slow"}`. 0 if there is none.
    pub(crate) fn metrics(&self, sample: &str) -> f64 {
        let response = http::get(self.address, "/metrics").expect("the broker answers");
        assert_eq!(response.status, 200, "{}", response.text());
        sum_samples(&response.text(), sample)
    }

    /// Waits until [`metrics`](Self::metrics) of `sample` is `wanted`.
    pub(crate) fn wait_for_metric(&self, sample: &str, wanted: f64, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let value = self.metrics(sample);
            if value == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{sample} is {value}, not {wanted}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether its log has this text, or gets it within a while: it comes through a pipe.
    pub(crate) fn logs(&self, text: &str, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !self.stderr().contains(text) {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// Resident memory, in bytes.
    pub(crate) fn rss_bytes(&self) -> u64 {
        self.status_field("VmRSS:") * 1024
    }

    /// Its threads but those of the allocator, which come when there is something to give back.
    pub(crate) fn threads(&self) -> u64 {
        let folder = format!("/proc/{}/task", self.process.id());
        let tasks = fs::read_dir(folder).expect("the broker runs").flatten();
        let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| !name.starts_with("jemalloc_bg")).count() as u64
    }

    pub(crate) fn open_fds(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.process.id());
        fs::read_dir(folder).expect("the broker runs").count()
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Makes it stand still (SIGSTOP), and returns when all of its threads do: on a busy machine that
    /// takes a while.
    pub(crate) fn freeze(&self) {
        self.process.signal(Signal::STOP);
        let folder = format!("/proc/{}/task", self.process.id());
        let stands = |task: &fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The name in parentheses may hold spaces; the state follows it.
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
        };
        let deadline = Instant::now() + START_LIMIT;
        while !fs::read_dir(&folder).expect("it runs").flatten().all(|task| stands(&task)) {
            assert!(Instant::now() < deadline, "it does not stop");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Asks it to stop (SIGTERM) without waiting.
    pub(crate) fn send_sigterm(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Asks it to read its settings again (SIGHUP) without waiting.
    pub(crate) fn send_sighup(&self) {
        self.process.signal(Signal::HUP);
    }

    /// Waits for it to end by itself; `None` if it still runs after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.process.wait(limit)
    }

    /// Asks it to stop and waits; fails if it has not ended within `limit`.
    pub(crate) fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.send_sigterm();
        self.wait(limit).expect("the broker ends within the limit")
    }

    fn status_field(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))
            .expect("the broker runs");
        status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok())
            .expect("Linux tells it of every process")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the broker's log:\n{}", self.stderr());
        }
    }
}

/// Reads `altavoz VERSION listening on http://ADDRESS (ws://ADDRESS/ws), N workers`.
fn listening_address(stdout: &str) -> Option<SocketAddr> {
    let (line, _) = stdout.split_once('\n')?;
    let rest = line.strip_prefix("altavoz ")?.split_once(" listening on http://")?.1;
    rest.split_once(" (ws://")?.0.parse().ok()
}

/// Reads `altavoz VERSION listening on https://ADDRESS (wss://…`.
fn tls_address(stdout: &str) -> Option<SocketAddr> {
    let (_, rest) = stdout.split_once(" listening on https://")?;
    rest.split_once(" (wss://")?.0.parse().ok()
}

/// Reads `altavoz VERSION for operators on http://ADDRESS`.
fn admin_address(stdout: &str) -> Option<SocketAddr> {
    let (_, rest) = stdout.split_once(" for operators on http://")?;
    rest.split_once('\n')?.0.parse().ok()
}

fn sum_samples(exposition: &str, sample: &str) -> f64 {
    let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
    let labels: Vec<&str> =
        labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).collect();
    exposition
        .lines()
        .filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
        })
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}
