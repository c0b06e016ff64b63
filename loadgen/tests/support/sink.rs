//! `loadgen sink` as a process of its own on a free port. Stopped, it tells what it injected; it
//! ends with the value in any case.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A running sink.
pub(crate) struct Sink {
    child: Child,
    out: BufReader<ChildStdout>,
    address: Value,
}

/// What a sink did.
pub(crate) struct Injected(Value);

impl Sink {
    /// Starts one with these flags.
    pub(crate) fn start(flags: &str) -> Self {
        Self::with(&flags.split_whitespace().collect::<Vec<_>>())
    }

    /// Starts one with flags that may hold spaces.
    pub(crate) fn with(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["sink", "--listen", "127.0.0.1:0", "--json"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let address = line(&mut out);
        Self { child, out, address }
    }

    pub(crate) fn url(&self) -> String {
        self.address["url"].as_str().unwrap().to_owned()
    }

    /// Ends it with SIGTERM.
    pub(crate) fn stop(mut self) -> Injected {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let injected = line(&mut self.out);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        eprintln!("injected {injected}");
        Injected(injected)
    }
}

impl Injected {
    /// A count by its name.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(out: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
}
