//! Reads from sockets together with the time at which the kernel received what is read
//! (`SO_TIMESTAMPING`, where there is one), and notes since when the worker had not looked. Decides
//! nothing about either; [`Split`](super::Split) does. One per worker, used by all its clients.

use std::io;

use mio::net::TcpStream;

use super::realtime::Realtime;

/// A poll that took so long had nothing to report when it was called.
const BLOCKED_NS: u64 = 100_000;

/// A poll may return so long after its timeout: it knows milliseconds only.
const POLL_LATE_NS: u64 = 2_000_000;

/// What is known of when the bytes of a read came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Receipt {
    /// When the kernel received the last segment of the read, on the clock of
    /// [`now_ns`](crate::sys::now_ns); none if it did not say.
    pub(super) kernel_ns: Option<u64>,
    /// Everything in the read came after this time: before, the worker had looked and found the
    /// socket empty.
    pub(super) unseen_since_ns: u64,
    /// Whether the message in question ends where the read ends, so that its last segment is that
    /// of the read.
    pub(super) is_last: bool,
}

/// Reads for one worker.
#[derive(Debug)]
pub(super) struct Receiver {
    /// Room for the kernel's times; none if they are not asked for.
    control: Option<Vec<u8>>,
    realtime: Realtime,
    receipt: Receipt,
    /// When the last poll returned, and whether it may have had more to report.
    woke_ns: u64,
    was_full: bool,
}

/// How a poll went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Polled {
    /// When it was called.
    pub(super) began_ns: u64,
    /// When it was to return at the latest.
    pub(super) until_ns: u64,
    /// When it returned.
    pub(super) woke_ns: u64,
    /// Whether it reported as much as it could hold.
    pub(super) is_full: bool,
}

impl Receiver {
    /// With or without the kernel's times.
    pub(super) fn new(has_times: bool) -> Self {
        Self {
            control: has_times.then(kernel::control),
            realtime: Realtime::new(),
            receipt: Receipt::default(),
            woke_ns: 0,
            was_full: false,
        }
    }

    /// Asks the kernel for its times of what comes on this socket. Where it has none, the reads
    /// will tell.
    pub(super) fn prepare(&self, socket: &TcpStream) {
        if self.control.is_some() {
            kernel::request(socket);
        }
    }

    /// As `read` of the socket; what is known of the time is then in [`receipt`](Self::receipt).
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub(super) fn read(&mut self, socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        self.receipt.kernel_ns = None;
        let Some(control) = &mut self.control else { return io::Read::read(socket, buffer) };
        let (length, real_ns) = kernel::read(socket, buffer, control)?;
        self.receipt.kernel_ns = real_ns.map(|real_ns| self.realtime.to_monotonic(real_ns));
        Ok(length)
    }

    /// What is known of the last read.
    pub(super) fn receipt(&mut self) -> &mut Receipt {
        &mut self.receipt
    }

    /// A poll is over. What it reports came after the one before had returned, unless that could
    /// not report everything; if it had to wait, it came just now.
    pub(super) fn handle_poll(&mut self, polled: Polled) {
        let Polled { began_ns, until_ns, woke_ns, is_full } = polled;
        if !self.was_full {
            self.receipt.unseen_since_ns = match woke_ns.saturating_sub(began_ns) {
                0..BLOCKED_NS => self.woke_ns,
                // Somebody else had the core, nobody knows since when.
                _ if woke_ns > until_ns + POLL_LATE_NS => began_ns,
                _ => woke_ns,
            };
        }
        (self.woke_ns, self.was_full) = (woke_ns, is_full);
    }

    /// Whether the realtime clock was set, so that times may be wrong. Looks once a second.
    pub(super) fn has_stepped(&mut self, now_ns: u64) -> bool {
        self.control.is_some() && self.realtime.has_stepped(now_ns)
    }

    /// The same, for what came since the last look.
    pub(super) fn has_stepped_by_now(&mut self) -> bool {
        self.control.is_some() && self.realtime.has_stepped_by_now()
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::io::{self, IoSliceMut};
    use std::os::fd::AsRawFd as _;

    use mio::net::TcpStream;
    use nix::cmsg_space;
    use nix::sys::socket::{
        ControlMessageOwned, MsgFlags, TimestampingFlag, Timestamps, recvmsg, setsockopt, sockopt,
    };

    pub(super) fn control() -> Vec<u8> {
        cmsg_space!(Timestamps)
    }

    pub(super) fn request(socket: &TcpStream) {
        let flags = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
        let _ = setsockopt(socket, sockopt::Timestamping, &flags);
    }

    /// How many bytes, and when the last of their segments came.
    pub(super) fn read(
        socket: &TcpStream,
        buffer: &mut [u8],
        control: &mut [u8],
    ) -> io::Result<(usize, Option<u64>)> {
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::empty();
        let read = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(control), flags)?;
        let mut messages = read.cmsgs()?;
        let real_ns = messages.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampsns(times) => {
                let seconds = u64::try_from(times.system.tv_sec()).ok()?;
                let nanos = u64::try_from(times.system.tv_nsec()).ok()?;
                Some(seconds * 1_000_000_000 + nanos).filter(|&real_ns| real_ns > 0)
            }
            _ => None,
        });
        Ok((read.bytes, real_ns))
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::io::{self, Read as _};

    use mio::net::TcpStream;

    pub(super) fn control() -> Vec<u8> {
        Vec::new()
    }

    pub(super) fn request(_socket: &TcpStream) {}

    pub(super) fn read(
        mut socket: &TcpStream,
        buffer: &mut [u8],
        _control: &mut [u8],
    ) -> io::Result<(usize, Option<u64>)> {
        Ok((socket.read(buffer)?, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_poll_reports_came_since_the_one_before_unless_it_had_to_wait() {
        let mut receiver = Receiver::new(false);
        let mut since = |[began_ns, woke_ns]: [u64; 2], is_full| {
            let until_ns = began_ns + 20_000_000;
            receiver.handle_poll(Polled { began_ns, until_ns, woke_ns, is_full });
            receiver.receipt().unseen_since_ns
        };
        // It waited: whatever there is came now.
        assert_eq!(since([1_000_000, 9_000_000], false), 9_000_000);
        // It did not: anything may have come while the events of the last one were handled.
        assert_eq!(since([600_000_000, 600_010_000], true), 9_000_000);
        // That had more than it could report; this one may report what was left out.
        assert_eq!(since([601_000_000, 601_010_000], false), 9_000_000);
        assert_eq!(since([602_000_000, 602_010_000], false), 601_010_000);
        // Woken long after its timeout: kept from running at some time since the call.
        assert_eq!(since([603_000_000, 900_000_000], false), 603_000_000);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_read_that_comes_late_still_tells_when_the_kernel_received() {
        use std::io::Write as _;
        use std::time::Duration;

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let mut near = TcpStream::from_std(near);
        let mut receiver = Receiver::new(true);
        receiver.prepare(&near);
        std::thread::sleep(Duration::from_millis(20)); // until the kernel stamps, it says nothing
        let sent_ns = crate::sys::now_ns();
        far.write_all(b"hello").unwrap();
        while near.peek(&mut [0; 5]).unwrap() < 5 {}
        let here_ns = crate::sys::now_ns();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(receiver.read(&mut near, &mut [0; 64]).unwrap(), 5);
        let kernel_ns = receiver.receipt().kernel_ns.expect("Linux stamps what is received");
        // The clocks are held against each other to well within a tenth of a millisecond.
        assert!(kernel_ns + 100_000 > sent_ns && kernel_ns < here_ns + 100_000);
    }
}
