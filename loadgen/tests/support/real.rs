//! The broker of this workspace as a process of its own on a free port; it ends with the value.
//! Built first where it is missing.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// A running broker.
pub(crate) struct RealBroker {
    child: Child,
    address: String,
}

impl RealBroker {
    /// Starts it with these flags, besides those for the port.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(["--listen", "127.0.0.1:0"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split_once(' '));
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}")).0.to_owned();
        Self { child, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for RealBroker {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Beside the load generator, and built only where it is missing: an old one is not replaced.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let loadgen = Path::new(env!("CARGO_BIN_EXE_loadgen"));
        let broker = loadgen.with_file_name(format!("broker{}", std::env::consts::EXE_SUFFIX));
        if !broker.exists() {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            build.args(["build", "--quiet", "-p", "broker", "--bin", "broker"]);
            if loadgen.parent().is_some_and(|folder| folder.ends_with("release")) {
                build.arg("--release");
            }
            assert!(build.status().unwrap().success(), "the broker cannot be built");
        }
        broker
    })
}
