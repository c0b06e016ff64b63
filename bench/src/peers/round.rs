//! One server under one load: starts it, lets the load generator at it, reads what came of it, and
//! ends it. Both are processes of their own on cores of their own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use loadgen::target_process::Usage;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;

use super::contender::Contender;
use super::scenario::Scenario;
use super::tools::Tools;

const START_LIMIT: Duration = Duration::from_secs(15);
/// How long a server is watched without a connection, to know what it uses anyway.
const IDLE: Duration = Duration::from_secs(1);
/// Beyond the time to measure: connecting, warm-up, drain.
const RUN_LIMIT: Duration = Duration::from_secs(60);
const NAP: Duration = Duration::from_millis(20);

/// What every round needs.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Where the programs are.
    pub tools: Tools,
    server_cores: CpuSet,
    generator_cores: CpuSet,
    seconds: u32,
    idle_connections: u32,
}

/// What one round gave; times in microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Why the rest says nothing: a message was lost, or the server did not stand it.
    pub fault: Option<String>,
    /// The server's processor time, user and system, per delivery, less what it uses without any.
    pub cpu_us: Option<f64>,
    /// Deliveries a second.
    pub deliveries_per_s: Option<f64>,
    /// Half of the deliveries came within this time of the moment at which they were due.
    pub p50_us: Option<f64>,
    /// All but a hundredth did.
    pub p99_us: Option<f64>,
    /// Writes to sockets per delivery, if the server tells.
    pub sends: Option<f64>,
    /// By how much resident memory grew per connection, in bytes.
    pub bytes_per_connection: Option<f64>,
    /// Processor time per connection: handshake and subscribe.
    pub connect_us: Option<f64>,
    /// Connections made a second.
    pub connects_per_s: Option<f64>,
    /// The share of its core that the load generator used.
    pub generator_share: Option<f64>,
    /// What the load generator thinks of its measurement.
    pub trust: Option<String>,
}

impl Bench {
    /// Builds our programs, and finds two cores.
    ///
    /// # Errors
    /// If they don't build, or there is one core only.
    pub fn prepare(seconds: u32, idle_connections: u32) -> anyhow::Result<Self> {
        Self::with(Tools::prepare()?, seconds, idle_connections)
    }

    /// The same for tests: what is there is not built again.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn at_hand() -> anyhow::Result<Self> {
        Self::with(Tools::at_hand()?, 1, 0)
    }

    fn with(tools: Tools, seconds: u32, idle_connections: u32) -> anyhow::Result<Self> {
        let [server_core, generator_core, ..] = broker::sys::cores()[..] else {
            bail!("two cores are needed, one for the server and one for the load");
        };
        // Inherited by the servers; some do not raise it themselves.
        broker::sys::raise_descriptor_limit();
        let (server_cores, generator_cores) = (set_of(&[server_core]), set_of(&[generator_core]));
        Ok(Self { tools, server_cores, generator_cores, seconds, idle_connections })
    }

    /// The same with server and load generator on all cores, wherever the system puts them: they
    /// take them from each other.
    #[must_use]
    pub fn on_all_cores(self) -> Self {
        let all = set_of(&broker::sys::cores());
        Self { server_cores: all, generator_cores: all, ..self }
    }

    /// A round.
    ///
    /// # Errors
    /// If a program does not start, or the load generator does not come to a result.
    pub fn run(&self, contender: Contender, scenario: Scenario) -> anyhow::Result<Figures> {
        let port = free_port()?;
        let server = self.start(&mut contender.command(&self.tools, port)?, port)?;
        let idle_us = server.idle_us()?;
        let target = Target { url: contender.url(port), flags: contender.loadgen_flags(port) };
        let load = scenario.flags(self.idle_connections);
        let result = self.load(&server, &target, &load, f64::from(self.seconds))?;
        Ok(Figures::read(&result, idle_us))
    }

    /// The broker as it is started by `command` but for its address, under the load generator with
    /// these flags: the result, and the processor time that it uses in a second without connections,
    /// in microseconds.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_broker(&self, command: &mut Command, load: &str) -> anyhow::Result<(Value, f64)> {
        let (broker, port) = self.start_broker(command)?;
        let idle_us = broker.idle_us()?;
        let result = self.load(&broker, &Target::broker(port), load, f64::from(self.seconds))?;
        Ok((result, idle_us))
    }

    /// The same broker under the load generator for so many seconds; these may be parts of one.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn load_broker(
        &self,
        command: &mut Command,
        load: &str,
        seconds: f64,
    ) -> anyhow::Result<Value> {
        let (broker, port) = self.start_broker(command)?;
        self.load(&broker, &Target::broker(port), load, seconds)
    }

    /// The broker as it is started by `command` but for its address, listening on the port.
    pub(crate) fn start_broker(&self, command: &mut Command) -> anyhow::Result<(Process, u16)> {
        let port = free_port()?;
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        Ok((self.start(command, port)?, port))
    }

    /// The cores for the load.
    pub(crate) fn generator_cores(&self) -> CpuSet {
        self.generator_cores
    }

    /// A server that listens on the port.
    fn start(&self, command: &mut Command, port: u16) -> anyhow::Result<Process> {
        let mut server = Process::start(command, self.server_cores, self.tools.said("server"))?;
        server.wait_for_port(port)?;
        Ok(server)
    }

    /// The load generator's result; `load` is its subcommand with flags.
    fn load(
        &self,
        server: &Process,
        target: &Target,
        load: &str,
        seconds: f64,
    ) -> anyhow::Result<Value> {
        let path = self.tools.result();
        let mut words = load.split(' ');
        let mut command = Command::new(self.tools.own("loadgen"));
        command
            .args(words.next())
            .args(["--quiet", "--allow-invalid", "--threads", "1"])
            .args(["--seconds", &seconds.to_string()])
            .args(["--url", &target.url])
            .args(["--target-pid", &server.id().to_string()])
            .args(&target.flags)
            .args(words)
            .arg("--json")
            .arg(&path);
        let said = self.tools.said("loadgen");
        let mut generator = Process::start(&mut command, self.generator_cores, said)?;
        generator.wait(RUN_LIMIT + Duration::from_secs_f64(seconds))?;
        let text = fs::read_to_string(&path).context("the load generator left no result")?;
        fs::remove_file(&path)?;
        if text.is_empty() {
            bail!("the server did not take the connections: {}", generator.last_words());
        }
        Ok(serde_json::from_str(&text)?)
    }
}

/// Where the load goes, and how a server of its kind is spoken to.
struct Target {
    url: String,
    flags: Vec<String>,
}

impl Target {
    fn broker(port: u16) -> Self {
        Self { url: format!("ws://127.0.0.1:{port}/ws"), flags: Vec::new() }
    }
}

impl Figures {
    /// Those of a server that did not come to any.
    #[must_use]
    pub fn failed(why: String) -> Self {
        Self { fault: Some(why), ..Self::default() }
    }

    /// From the load generator's result; `idle_us` is what the server uses in a second without
    /// connections.
    #[must_use]
    pub fn read(result: &Value, idle_us: f64) -> Self {
        let number = |path: &str| result.pointer(path).and_then(Value::as_f64);
        let deliveries_per_s = number("/deliveries/per_second").filter(|rate| *rate > 0.0);
        let cpu_us = number("/target/process/cpu_us_per_delivery")
            .zip(deliveries_per_s)
            .map(|(cpu_us, rate)| (cpu_us - idle_us / rate).max(0.0));
        let text = |path: &str| result.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let figures = Self {
            fault: fault(result),
            cpu_us,
            deliveries_per_s,
            p50_us: number("/latency_us/p50"),
            p99_us: number("/latency_us/p99"),
            sends: number("/target/process/sends_per_delivery"),
            bytes_per_connection: number("/target/process/rss_bytes_per_connection"),
            connect_us: number("/target/process/cpu_us_per_connection"),
            connects_per_s: number("/connections/per_second"),
            generator_share: number("/generator/busiest_thread_share"),
            trust: text("/verdict/measurement"),
        };
        match figures.fault {
            Some(fault) => Self::failed(fault),
            None => figures,
        }
    }

    /// What a reader must know of the round; none if all was well.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        let weak = self.trust.as_deref().filter(|trust| *trust != "VALID");
        self.fault.as_deref().or(weak)
    }

    /// In one line, for who waits.
    #[must_use]
    pub fn line(&self) -> String {
        if let Some(fault) = &self.fault {
            return fault.clone();
        }
        let show = |value: Option<f64>| value.map_or("?".into(), |value| format!("{value:.3}"));
        format!(
            "{} µs a delivery, p99 {} µs, {} deliveries a second, generator {}, {}",
            show(self.cpu_us),
            show(self.p99_us),
            show(self.deliveries_per_s),
            show(self.generator_share),
            self.trust.as_deref().unwrap_or_default()
        )
    }
}

/// What makes a result worthless for comparing: it is not the same work.
fn fault(result: &Value) -> Option<String> {
    let count = |path: &str| result.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let faults = [
        ("lost", count("/deliveries/lost")),
        ("duplicated", count("/deliveries/duplicated")),
        ("out of order", count("/deliveries/out_of_order")),
        ("not sent", count("/messages/unsent")),
    ];
    let found = faults.iter().filter(|(_, count)| *count > 0);
    let mut words: Vec<String> = found.map(|(what, count)| format!("{count} {what}")).collect();
    let (asked, ready) = (count("/connections/asked"), count("/connections/ready"));
    if ready < asked {
        words.push(format!("{ready} of {asked} connected"));
    }
    if words.is_empty() && count("/verdict/exit_code") != 0 {
        let said = result.pointer("/verdict/text").and_then(Value::as_str);
        words.push(said.unwrap_or("the run failed").to_owned());
    }
    (!words.is_empty()).then(|| words.join(", "))
}

fn set_of(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    cores.iter().for_each(|&core| set.set(core));
    set
}

/// A running program on its cores, ended when dropped. What it complains of goes to a file.
pub(crate) struct Process {
    child: Child,
    name: String,
    said: PathBuf,
}

impl Process {
    fn start(command: &mut Command, cores: CpuSet, said: PathBuf) -> anyhow::Result<Self> {
        let complaints = fs::File::create(&said).with_context(|| said.display().to_string())?;
        // A child begins on the cores of the thread that started it.
        let own = sched_getaffinity(None)?;
        sched_setaffinity(None, &cores)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints);
        let started = command.spawn();
        sched_setaffinity(None, &own)?;
        // Without its folder: what is told of it may go into a page.
        let program = Path::new(command.get_program());
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { child: started.with_context(|| name.clone())?, name, said })
    }

    /// The last line of its complaints.
    fn last_words(&self) -> String {
        let all = fs::read(&self.said).unwrap_or_default();
        let all = String::from_utf8_lossy(&all);
        let last = all.lines().rev().find(|line| !line.trim().is_empty());
        last.map_or("it said nothing", str::trim).to_owned()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The processor time that it uses in a second without connections, in microseconds.
    fn idle_us(&self) -> anyhow::Result<f64> {
        sleep(NAP);
        let before = Usage::of(self.id()).context("the server has ended")?;
        sleep(IDLE);
        let after = Usage::of(self.id()).context("the server has ended")?;
        let idle_ns = after.cpu_ns.saturating_sub(before.cpu_ns) as f64 / IDLE.as_secs_f64();
        Ok(idle_ns / 1e3)
    }

    fn wait_for_port(&mut self, port: u16) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended: {status}: {}", self.name, self.last_words());
            }
            if Instant::now() > deadline {
                bail!("{} did not listen within {} s", self.name, START_LIMIT.as_secs());
            }
            sleep(NAP);
        }
        Ok(())
    }

    fn wait(&mut self, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("{} still ran after {} s", self.name, limit.as_secs());
            }
            sleep(NAP);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // All fail only if it has ended already, or the file is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.said);
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_that_lost_something_has_no_figures() {
        let mut result = json!({
            "connections": {"asked": 2, "ready": 2},
            "messages": {"unsent": 0},
            "deliveries": {"lost": 0, "per_second": 1000.0},
            "target": {"process": {"cpu_us_per_delivery": 2.5}},
            "latency_us": {"p50": 90.0},
            "verdict": {"exit_code": 0, "measurement": "VALID"},
        });
        let figures = Figures::read(&result, 500.0);
        assert_eq!((figures.cpu_us, figures.p50_us, figures.p99_us), (Some(2.0), Some(90.0), None));
        result["deliveries"]["lost"] = 3.into();
        result["connections"]["ready"] = 1.into();
        let figures = Figures::read(&result, 0.0);
        assert_eq!(figures, Figures::failed("3 lost, 1 of 2 connected".into()));
        result = json!({"verdict": {"exit_code": 5, "text": "BROKEN: 2 seq breaks"}});
        assert_eq!(Figures::read(&result, 0.0).fault.as_deref(), Some("BROKEN: 2 seq breaks"));
    }
}
