//! Many sends in one system call, by io_uring. Sends only: who may be read or written is epoll's to
//! tell. The one place of the broker where `unsafe` stands, because the kernel is given addresses
//! whose life it knows nothing of; the call returns when the kernel is done with all of them.

#![allow(unsafe_code, reason = "the kernel is given addresses; see `SendRing::send_all`")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::types::Fd;
use io_uring::{IoUring, opcode};
use rustix::io::Errno;

/// Sends that go to the kernel in one call.
const ENTRIES: u32 = 1024;
/// `MSG_DONTWAIT | MSG_NOSIGNAL`: what a full socket does not take is not waited for.
const FLAGS: i32 = 0x40 | 0x4000;

/// A queue of sends between this thread and the kernel; used by the thread that made it.
pub struct SendRing {
    ring: IoUring,
}

impl SendRing {
    /// A ring for this thread.
    ///
    /// # Errors
    /// The kernel is older than 6.1, or does not allow io_uring here, as many containers.
    pub fn new() -> io::Result<Self> {
        let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(ENTRIES)?;
        Ok(Self { ring })
    }

    /// Sends from each of the slices to its socket what the socket takes now. `results` are, in the
    /// same order, how many bytes that were, or why none could be sent.
    pub fn send_all<'b>(
        &mut self,
        mut sends: impl Iterator<Item = (BorrowedFd<'b>, &'b [u8])>,
        results: &mut Vec<Result<usize, Errno>>,
    ) {
        results.clear();
        loop {
            let first = results.len();
            for (fd, bytes) in sends.by_ref().take(ENTRIES as usize) {
                let length = bytes.len().min(u32::MAX as usize) as u32;
                let send = opcode::Send::new(Fd(fd.as_raw_fd()), bytes.as_ptr(), length);
                let send = send.flags(FLAGS).build().user_data(results.len() as u64);
                results.push(Err(Errno::CANCELED));
                // SAFETY: the descriptor and the bytes are borrowed for 'b, which outlives this
                // call, and this call does not end before the kernel is done with them.
                let pushed = unsafe { self.ring.submission().push(&send) };
                pushed.expect("the queue has room for as many as are taken, and was empty");
            }
            if results.len() == first {
                return;
            }
            self.wait_for(first, results);
        }
    }

    /// Submits what is queued and waits for all of it; the results from `first` on are those.
    fn wait_for(&mut self, first: usize, results: &mut [Result<usize, Errno>]) {
        let mut missing = results.len() - first;
        while missing > 0 {
            match self.ring.submit_and_wait(missing) {
                Ok(_) => {}
                Err(error) if is_passing(&error) => {}
                // The kernel may still read what it was given: nothing of it may be freed, as it
                // would be by going on or unwinding.
                Err(_) => std::process::abort(),
            }
            for done in self.ring.completion() {
                missing -= 1;
                results[done.user_data() as usize] = match done.result() {
                    error @ ..0 => Err(Errno::from_raw_os_error(-error)),
                    sent => Ok(sent as usize),
                };
            }
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, ResourceBusy, WouldBlock};
    matches!(error.kind(), Interrupted | ResourceBusy | WouldBlock)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn each_socket_gets_its_own_bytes_and_a_full_or_closed_one_says_so() {
        let Ok(mut ring) = SendRing::new() else { return eprintln!("no io_uring here: skipped") };
        let count = ENTRIES as usize + 7;
        let pairs: Vec<_> = (0..100).map(|_| UnixStream::pair().unwrap()).collect();
        let texts: Vec<String> = (0..count).map(|number| format!("{number},")).collect();
        let sends = texts.iter().enumerate();
        let sends = sends.map(|(at, text)| (pairs[at % 100].0.as_fd(), text.as_bytes()));
        let mut results = vec![Ok(9)];
        ring.send_all(sends, &mut results);
        assert!(results.iter().zip(&texts).all(|(sent, text)| *sent == Ok(text.len())));
        for (at, (ours, theirs)) in pairs.iter().enumerate() {
            ours.shutdown(std::net::Shutdown::Write).unwrap();
            let (mut text, mut theirs) = (String::new(), theirs);
            theirs.read_to_string(&mut text).unwrap();
            let expected: String = texts.iter().skip(at).step_by(100).cloned().collect();
            assert_eq!(text, expected);
        }

        let (ours, theirs) = UnixStream::pair().unwrap();
        let bytes = vec![0; 64 << 20];
        ring.send_all([(ours.as_fd(), &bytes[..]); 2].into_iter(), &mut results);
        assert!(matches!(results[0], Ok(sent) if sent < bytes.len()), "{results:?}");
        assert_eq!(results[1], Err(Errno::AGAIN));
        drop(theirs);
        ring.send_all([(ours.as_fd(), &b"x"[..])].into_iter(), &mut results);
        assert_eq!(results, [Err(Errno::PIPE)]);
    }
}
