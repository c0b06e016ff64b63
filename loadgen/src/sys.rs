//! What is asked of the operating system: clocks, limits, ports, the alarm of a worker and the
//! interrupt key. No sockets (that is `engine::connect`) and nothing that knows of load.
//! Called by the engine and the scenarios.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, Timespec, clock_gettime};
use signal_hook::consts::{SIGINT, SIGTERM};

pub use alarm::Alarm;

/// The share of the ephemeral ports that one source address may use: 1 in so many. The rest stays
/// free for ports that wait in TIME_WAIT and for whatever else runs on the machine.
const PORT_SHARE: u32 = 2;

/// What an agent on another host adds to its clock.
static CLOCK_OFFSET_NS: AtomicI64 = AtomicI64::new(0);

/// Nanoseconds of the run's clock: the monotonic one of the machine that steers the run, the same
/// for all its processes; for those on other hosts, as well as it is known.
#[must_use]
pub fn now_ns() -> u64 {
    machine_ns().wrapping_add_signed(CLOCK_OFFSET_NS.load(Ordering::Relaxed))
}

/// Nanoseconds of this machine's monotonic clock, without what was added to it.
#[must_use]
pub fn machine_ns() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// Nanoseconds of the realtime clock, which the kernel's timestamps are on: since 1970, and set
/// anew by whoever may.
#[must_use]
pub fn realtime_ns() -> u64 {
    nanos(clock_gettime(ClockId::Realtime))
}

/// Makes this machine's clock the run's by adding so much from now on, for the whole process.
pub fn set_clock_offset(offset_ns: i64) {
    CLOCK_OFFSET_NS.store(offset_ns, Ordering::Relaxed);
}

/// Names the clock of this machine: where the name is the same, so is the clock. None where the
/// system does not tell.
#[must_use]
pub fn clock_name() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/time").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// Nanoseconds of processor time that the calling thread has used.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    nanos(clock_gettime(ClockId::ThreadCPUTime))
}

/// Nanoseconds of processor time that this process has used, all threads together.
#[must_use]
pub fn process_cpu_ns() -> u64 {
    nanos(clock_gettime(ClockId::ProcessCPUTime))
}

/// Raises the soft limit of open files to the hard one and returns what holds then; `u64::MAX`
/// where there is no limit. A refusal leaves the soft limit as it was.
#[must_use]
pub fn raise_open_files() -> u64 {
    let found = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: found.maximum, maximum: found.maximum };
    if found.current != found.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        return found.current.unwrap_or(u64::MAX);
    }
    found.maximum.unwrap_or(u64::MAX)
}

/// How many connections one source address carries: half of the ephemeral ports.
#[must_use]
pub fn ports_per_source() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let ports = text.ok().and_then(|text| port_count(&text));
    // IANA's dynamic ports, RFC 6335 §6, where the system does not tell.
    ports.unwrap_or(16_384) / PORT_SHARE
}

/// The interrupt key sets `interrupted`, and ends the process at once with code 130 if `is_armed` was
/// set before. With one flag for both, that is the second time.
///
/// # Errors
///
/// If the system does not let the signal be caught.
pub fn watch_interrupt(
    interrupted: &Arc<AtomicBool>,
    is_armed: &Arc<AtomicBool>,
) -> io::Result<()> {
    // In this order, or the first signal would find what it has just armed.
    signal_hook::flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(is_armed))?;
    signal_hook::flag::register(SIGINT, Arc::clone(interrupted))?;
    Ok(())
}

/// A flag that SIGTERM and the interrupt key set; the second time, the process ends at once.
///
/// # Errors
///
/// If the system does not let the signals be caught.
pub fn watch_end() -> io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    watch_interrupt(&flag, &flag)?;
    signal_hook::flag::register_conditional_shutdown(SIGTERM, 143, Arc::clone(&flag))?;
    signal_hook::flag::register(SIGTERM, Arc::clone(&flag))?;
    Ok(flag)
}

fn nanos(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

fn port_count(text: &str) -> Option<u32> {
    let mut bounds = text.split_whitespace().map(str::parse::<u32>);
    let (first, last) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    (last > first).then(|| last - first + 1)
}

#[cfg(target_os = "linux")]
mod alarm {
    use std::io;
    use std::os::fd::{AsRawFd as _, OwnedFd};

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    /// Wakes a poll at a nanosecond; its own timeout only knows milliseconds.
    pub struct Alarm(OwnedFd);

    impl Alarm {
        /// An alarm that wakes the poll behind `registry` with `token`.
        ///
        /// # Errors
        ///
        /// If no file is free or the system knows no such timer.
        pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self(timer))
        }

        /// Wakes at `at_ns` of [`now_ns`](super::now_ns), at once if that is past. Replaces what
        /// was set before.
        ///
        /// # Errors
        ///
        /// None that is known for a valid time.
        pub fn set(&self, at_ns: u64) -> io::Result<()> {
            let offset_ns = super::CLOCK_OFFSET_NS.load(super::Ordering::Relaxed);
            let at_ns = at_ns.saturating_sub_signed(offset_ns).max(1); // zero would switch it off
            let it_value = Timespec {
                tv_sec: i64::try_from(at_ns / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: (at_ns % 1_000_000_000) as _,
            };
            let once = Timespec { tv_sec: 0, tv_nsec: 0 };
            let when = Itimerspec { it_interval: once, it_value };
            timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &when)?;
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod alarm {
    use std::io;

    use mio::{Registry, Token};

    /// Does nothing here: the poll's own timeout wakes the worker, to the millisecond.
    pub struct Alarm;

    impl Alarm {
        /// An alarm that never rings.
        ///
        /// # Errors
        ///
        /// None.
        pub fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
            Ok(Self)
        }

        /// Does nothing.
        ///
        /// # Errors
        ///
        /// None.
        pub fn set(&self, _at_ns: u64) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_range_is_read_as_the_kernel_writes_it() {
        assert_eq!(port_count("32768\t60999\n"), Some(28_232));
        assert_eq!(port_count("32768\n"), None);
        assert_eq!(port_count("60999 32768"), None);
    }

    #[test]
    fn the_soft_limit_of_open_files_reaches_the_hard_one() {
        let limit = raise_open_files();
        let found = getrlimit(Resource::Nofile);
        assert_eq!(found.current, found.maximum);
        assert_eq!(limit, found.maximum.unwrap_or(u64::MAX));
    }
}
