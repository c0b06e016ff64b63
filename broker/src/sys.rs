//! What is asked of the operating system beyond sockets: descriptor limits, cores, the end of the
//! process, and many sends in one call. The only module in which `unsafe` may stand, and there only in [`ring`].

pub mod ring;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How a process ends that has found a fault of its own: `EX_SOFTWARE` of sysexits.h.
const EXIT_SOFTWARE: i32 = 70;

/// Runs what the broker is of no use without. If it fails or panics, the process ends with exit
/// code 70, to be started anew: what was being worked on may be half changed.
pub fn run_or_exit(thread: &str, run: impl FnOnce() -> io::Result<()>) {
    let ended = catch_unwind(AssertUnwindSafe(run));
    if !matches!(ended, Ok(Ok(()))) {
        tracing::error!(thread, ?ended, "a thread has failed; ending the process");
        process::exit(EXIT_SOFTWARE);
    }
}

/// Raises the soft limit of open files to the hard one. Returns the limit in force.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        // Refused only where a supervisor forbids it; the old limit then stands and is reported.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The cores that this process may run on, by number.
pub fn cores() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect(),
        Err(_) => (0..std::thread::available_parallelism().map_or(1, usize::from)).collect(),
    }
}

/// Pins the calling thread to one core; false if the system refuses.
pub fn pin_to(core: usize) -> bool {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).is_ok()
}

/// The machine's name, as far as it is letters, digits, dots and dashes; empty if none is.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).take(40).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_thread_that_panics_or_fails_ends_the_process_with_70() {
        for how in ["panics", "fails"] {
            let test = format!("sys::tests::one_{how}");
            let mut again = Command::new(std::env::current_exe().unwrap());
            let ended = again.args(["--exact", "--ignored", &test]).output().unwrap();
            assert_eq!(ended.status.code(), Some(70), "{how}: {ended:?}");
        }
        run_or_exit("well", || Ok(()));
    }

    #[test]
    #[ignore = "it ends the process; run by the test above"]
    fn one_panics() {
        run_or_exit("ill", || panic!("as it should"));
    }

    #[test]
    #[ignore = "it ends the process; run by the test above"]
    fn one_fails() {
        run_or_exit("ill", || Err(io::ErrorKind::Other.into()));
    }
}
