//! A run of the built load generator from outside: flags in, exit code, lines and result out.

use std::process::{Command, Output};

use serde_json::Value;

/// A finished run: exit code, standard output, and the result as JSON.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    /// The standard error.
    pub(crate) err: String,
    pub(crate) json: Value,
}

impl Run {
    pub(crate) fn last_line(&self) -> &str {
        self.out.lines().last().unwrap_or_default()
    }

    /// A number of the result by its JSON pointer.
    pub(crate) fn number(&self, pointer: &str) -> u64 {
        let value = self.json.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("no number at {pointer} in {:#}", self.json))
    }

    /// A number of the accounts.
    pub(crate) fn of(&self, name: &str) -> u64 {
        self.number(&format!("/deliveries/{name}"))
    }

    /// Expected, delivered, lost, duplicated, out of order.
    pub(crate) fn account(&self) -> [u64; 5] {
        ["expected", "delivered", "lost", "duplicated", "out_of_order"].map(|name| self.of(name))
    }
}

/// `fanout` against `url` with these flags: 200 subscribers and 20 messages in 0.4 s unless they
/// say otherwise.
pub(crate) fn fanout(url: &str, flags: &str) -> Run {
    let usual = "--subscribers 200 --rate 50 --seconds 0.4 --warmup 0 --threads 2 --drain 1";
    run("fanout", url, usual, flags)
}

/// A scenario with the flags that are usual, unless the others name them too.
pub(crate) fn run(scenario: &str, url: &str, usual: &str, flags: &str) -> Run {
    let file = tempfile::NamedTempFile::new().unwrap();
    let given: Vec<_> = flags.split_whitespace().collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    // Deliveries are looked at here, on a machine that may be busy with other tests.
    command.args([scenario, "--allow-invalid", "--url", url]).arg("--json").arg(file.path());
    for pair in usual.split_whitespace().collect::<Vec<_>>().chunks(2) {
        if !given.contains(&pair[0]) {
            command.args(pair);
        }
    }
    let Output { status, stdout, stderr } = command.args(given).output().unwrap();
    let json = std::fs::read(file.path()).unwrap();
    let run = Run {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
        json: serde_json::from_slice(&json).unwrap_or_default(),
    };
    eprintln!("{}\n{}", run.err, run.out);
    run
}
