//! Keys of the terminal, read as the bytes that they send. By hand, because a terminal can go away
//! while it is waited for, and then nothing may wait or ask again and again. Knows two keys; asked
//! by the view.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read};

/// Ctrl-C where the terminal does not make a signal of it.
const INTERRUPT: u8 = 0x03;

/// Begins what a key sends that has no letter of its own.
const ESCAPE: u8 = 0x1b;

/// Where keys come from: the standard input, or the terminal itself where that is something else.
#[derive(Debug)]
pub(super) struct Keys(OwnedFd);

/// What came in while it was waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Heard {
    /// No key, or none that means something.
    Nothing,
    /// `q` or Ctrl-C.
    End,
    /// The terminal is gone: there will be no keys.
    Gone,
}

impl Keys {
    pub(super) fn open() -> io::Result<Self> {
        let input = io::stdin();
        let is_terminal = input.is_terminal();
        let keys = if is_terminal { input.as_fd().try_clone_to_owned()? } else { terminal()? };
        Ok(Self(keys))
    }

    /// Waits so long for a key; less if the terminal is gone.
    pub(super) fn wait(&self, wait: Duration) -> Heard {
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        let wait = Timespec::try_from(wait).ok();
        match poll(&mut polled, wait.as_ref()) {
            Ok(1..) => self.read(),
            Ok(0) | Err(Errno::INTR | Errno::AGAIN) => Heard::Nothing,
            Err(_) => Heard::Gone,
        }
    }

    fn read(&self) -> Heard {
        let mut bytes = [0; 64];
        match read(&self.0, &mut bytes) {
            Ok(length @ 1..) => heard(&bytes[..length]),
            Err(Errno::INTR | Errno::AGAIN) => Heard::Nothing,
            // The end of a terminal is none that passes: it would be read for ever.
            Ok(0) | Err(_) => Heard::Gone,
        }
    }
}

fn terminal() -> io::Result<OwnedFd> {
    Ok(File::open("/dev/tty")?.into())
}

fn heard(bytes: &[u8]) -> Heard {
    let is_letters = bytes.first() != Some(&ESCAPE);
    let ends = is_letters && bytes.iter().any(|byte| matches!(byte, b'q' | &INTERRUPT));
    if ends { Heard::End } else { Heard::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    #[test]
    fn only_two_keys_mean_something() {
        assert_eq!(heard(b"q"), Heard::End);
        assert_eq!(heard(b"xq"), Heard::End);
        assert_eq!(heard(b"\x03"), Heard::End);
        for other in [&b"x"[..], b"\r", b"Q", b"\x1b[A", b"\x1bOq"] {
            assert_eq!(heard(other), Heard::Nothing, "{other:?}");
        }
    }

    #[test]
    fn an_input_that_ends_is_gone_at_once() {
        let (input, output) = io::pipe().unwrap();
        let keys = Keys(input.into());
        rustix::io::write(&output, b"q").unwrap();
        assert_eq!(keys.wait(WAIT), Heard::End);
        assert_eq!(keys.wait(Duration::from_millis(1)), Heard::Nothing);
        drop(output);
        assert_eq!(keys.wait(WAIT), Heard::Gone);
    }
}
