//! A real nats-server on a free port, in a folder of its own; ended by its id when dropped. Or three
//! that are one cluster.
//!
//! A file that needs it takes it in with `#[path = "support/nats.rs"] mod nats;` beside `support`.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::process::Running;
use crate::support::tools;

const START_LIMIT: Duration = Duration::from_secs(20);

/// A running server with JetStream.
pub(crate) struct NatsServer {
    process: Option<Running>,
    address: SocketAddr,
    arguments: Vec<String>,
    has_streams: bool,
    folder: TempDir,
}

impl NatsServer {
    /// Starts one; `None` where it can't be had.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same without JetStream, until [`enable_streams`](Self::enable_streams).
    pub(crate) fn start_without_streams() -> Option<Self> {
        Self::start_as(&[], false)
    }

    /// The same, with these arguments besides.
    pub(crate) fn start_with(arguments: &[&str]) -> Option<Self> {
        Self::start_as(arguments, true)
    }

    /// Starts three that know each other, so that JetStream can store everything on all; `None` where
    /// they can't be had.
    pub(crate) fn start_cluster() -> Option<[Self; 3]> {
        tools::nats_server()?;
        let between: [SocketAddr; 3] = free_addresses();
        let routes = between.map(|address| format!("nats://{address}")).join(",");
        let start = |(at, own): (usize, &SocketAddr)| {
            let (name, own) = (format!("n{at}"), format!("nats://{own}"));
            let cluster = ["--cluster_name", "test", "--cluster", &own, "--routes", &routes];
            Self::start_with(&[&["--name", &name][..], &cluster].concat()).expect("the first did")
        };
        let servers: Vec<Self> = between.iter().enumerate().map(start).collect();
        servers.try_into().ok()
    }

    /// Starts it again, with JetStream.
    pub(crate) fn enable_streams(&mut self) {
        self.kill();
        self.has_streams = true;
        self.resume();
    }

    fn start_as(arguments: &[&str], has_streams: bool) -> Option<Self> {
        tools::nats_server()?;
        let [address] = free_addresses();
        let folder = tempfile::tempdir().expect("a folder");
        let arguments = arguments.iter().map(|&text| text.to_owned()).collect();
        let mut server = Self { process: None, address, arguments, has_streams, folder };
        server.resume();
        Some(server)
    }

    /// Starts it again, on the same port and with what it has stored.
    pub(crate) fn resume(&mut self) {
        let program = tools::nats_server().expect("it was there before");
        let mut command = Command::new(program);
        command.args(["--addr", "127.0.0.1", "--port", &self.address.port().to_string()]);
        if self.has_streams {
            command.arg("--jetstream").arg("--store_dir").arg(self.folder.path());
        }
        command.args(&self.arguments);
        let mut process = Running::start(&mut command).expect("nats-server can be run");
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(self.address).is_err() {
            assert!(process.wait(Duration::ZERO).is_none(), "{}", process.stderr.text());
            assert!(Instant::now() < deadline, "nats-server does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        self.process = Some(process);
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        drop(self.process.take());
    }

    /// Kills it, and starts it again without anything that it had stored.
    pub(crate) fn lose_disk(&mut self) {
        self.kill();
        self.folder = tempfile::tempdir().expect("a folder");
        self.resume();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a setting.
    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }
}

/// Different ones, where nobody listens.
fn free_addresses<const COUNT: usize>() -> [SocketAddr; COUNT] {
    let free = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    free.map(|listener| listener.local_addr().expect("it is bound"))
}
