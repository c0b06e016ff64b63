//! `loadgen agent --listen` as a process of its own on a free port of the loopback; it ends with
//! the value.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// The token of all agents here.
pub(crate) const TOKEN: &str = "correct-horse";

/// An agent that waits for runs.
pub(crate) struct Listening {
    child: Child,
    pub(crate) address: String,
}

impl Listening {
    /// Starts one, by way of another program if one is named.
    pub(crate) fn start(by: &[&str]) -> Self {
        let words = by.iter().chain(&[env!("CARGO_BIN_EXE_loadgen")]);
        let words: Vec<_> = words.chain(&["agent", "--listen", "127.0.0.1:0"]).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .env("LOADGEN_AGENT_TOKEN", TOKEN)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}"));
        Self { address: address.to_owned(), child }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
