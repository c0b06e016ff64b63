//! Child processes that cannot outlive their test: run to the end within a limit, or keep running
//! while both outputs are collected. Knows nothing of the broker.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(5);
const LAST_OUTPUT_LIMIT: Duration = Duration::from_secs(2);

/// What a process has written so far, filled by a thread of its own.
#[derive(Clone, Default)]
pub(crate) struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    is_complete: Arc<AtomicBool>,
}

impl Output {
    /// Collects `stream` until it ends.
    pub(crate) fn collect(mut stream: impl Read + Send + 'static) -> Self {
        let output = Self::default();
        let sink = output.clone();
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut chunk) {
                sink.bytes.lock().unwrap_or_else(PoisonError::into_inner).extend(&chunk[..length]);
            }
            sink.is_complete.store(true, Ordering::Release);
        });
        output
    }

    /// Waits for the end of the stream, which is near when the process has ended; a child of it
    /// that lives on may hold it open.
    fn wait_until_complete(&self) {
        let deadline = Instant::now() + LAST_OUTPUT_LIMIT;
        while !self.is_complete.load(Ordering::Acquire) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
            .into_owned()
    }
}

/// A running process, killed and reaped when dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

impl Running {
    /// Starts `command` with no input and both outputs collected.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::other(format!("{command:?}: {error}")))?;
        let stdout = Output::collect(child.stdout.take().expect("it is piped"));
        let stderr = Output::collect(child.stderr.take().expect("it is piped"));
        Ok(Self { child, stdout, stderr })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal`, such as `TERM`.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .expect("the child is not reaped yet, so its id is its own");
    }

    /// Waits until it ends by itself; `None` if it still runs after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.child.try_wait().expect("a child can be waited for");
            if status.is_some() || Instant::now() >= deadline {
                return status;
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until `found` finds something in what was written to standard output, until the
    /// process ends, or until `limit`.
    pub(crate) fn wait_for_output<T>(
        &mut self,
        limit: Duration,
        found: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + limit;
        loop {
            let has_ended = self.wait(Duration::ZERO).is_some();
            if let Some(value) = found(&self.stdout.text()) {
                return Some(value);
            }
            if has_ended || Instant::now() >= deadline {
                return None;
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end and returns what it wrote to standard output. An error names the
/// command and holds what it wrote, also if it did not end within `limit`.
pub(crate) fn run(command: &mut Command, limit: Duration) -> io::Result<String> {
    let mut running = Running::start(command)?;
    let status = running.wait(limit);
    if status.is_some() {
        running.stdout.wait_until_complete();
        running.stderr.wait_until_complete();
    }
    let (stdout, stderr) = (running.stdout.text(), running.stderr.text());
    match status {
        Some(status) if status.success() => Ok(stdout),
        Some(status) => Err(io::Error::other(format!("{command:?}: {status}\n{stdout}\n{stderr}"))),
        None => Err(io::Error::other(format!(
            "{command:?}: still running after {} s\n{stdout}\n{stderr}",
            limit.as_secs()
        ))),
    }
}
