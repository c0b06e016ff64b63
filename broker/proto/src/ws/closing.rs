//! The closing handshake (RFC 6455 §7.1): who has sent a close frame, and until when to wait.
//!
//! Sans-IO: the time comes in, and the caller sends the frames and closes the socket. One per
//! connection, in the worker and in the load generator.

/// Where the closing handshake stands.
///
/// Close the socket once [`is_done`](Self::is_done) and what is queued was written, or when
/// [`deadline_ms`](Self::deadline_ms) has passed, whatever the peer does (RFC 6455 §7.1.1). A
/// client waits for the server to close first, up to the same deadline.
///
/// ```
/// use broker_proto::ws::Closing;
///
/// let mut closing = Closing::new();
/// assert!(closing.send_close(10_000, 5_000)); // send a close frame now
/// assert_eq!(closing.deadline_ms(), Some(15_000));
/// assert!(!closing.handle_close(10_040, 5_000)); // the peer's answer needs none
/// assert!(closing.is_done());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Closing {
    /// Neither side has sent a close frame.
    #[default]
    Open,
    /// We have sent ours and wait for the peer's. Send nothing more.
    Sent {
        /// When to stop waiting.
        deadline_ms: u64,
    },
    /// Both sides have sent theirs.
    Done {
        /// When to close the socket even if not all was written.
        deadline_ms: u64,
    },
}

impl Closing {
    /// An open connection.
    #[must_use]
    pub const fn new() -> Self {
        Self::Open
    }

    /// We want to close. `true`: a close frame is to be sent; `false`: one was sent already.
    pub fn send_close(&mut self, now_ms: u64, timeout_ms: u64) -> bool {
        match self {
            Self::Open => {
                *self = Self::Sent { deadline_ms: now_ms.saturating_add(timeout_ms) };
                true
            }
            Self::Sent { .. } | Self::Done { .. } => false,
        }
    }

    /// The peer's close frame came. `true`: it is to be answered with a close frame, which counts
    /// as sent. The deadline set by our own close frame stays.
    pub fn handle_close(&mut self, now_ms: u64, timeout_ms: u64) -> bool {
        match *self {
            Self::Open => {
                *self = Self::Done { deadline_ms: now_ms.saturating_add(timeout_ms) };
                true
            }
            Self::Sent { deadline_ms } => {
                *self = Self::Done { deadline_ms };
                false
            }
            Self::Done { .. } => false,
        }
    }

    /// No close frame in either direction: messages may be sent.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Both close frames were sent: the socket is to be closed (by the server first).
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done { .. })
    }

    /// When the socket is to be closed whatever happened, in the clock that was passed in.
    #[must_use]
    pub const fn deadline_ms(&self) -> Option<u64> {
        match *self {
            Self::Open => None,
            Self::Sent { deadline_ms } | Self::Done { deadline_ms } => Some(deadline_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_closes_first() {
        let mut closing = Closing::new();
        assert!(closing.is_open());
        assert_eq!(closing.deadline_ms(), None);
        assert!(closing.handle_close(100, 5000));
        assert!(closing.is_done());
        assert_eq!(closing.deadline_ms(), Some(5100));
        assert!(!closing.send_close(200, 5000));
    }

    #[test]
    fn we_close_first_and_the_answer_does_not_move_the_deadline() {
        let mut closing = Closing::new();
        assert!(closing.send_close(100, 5000));
        assert!(!closing.is_open() && !closing.is_done());
        assert!(!closing.handle_close(4000, 5000));
        assert!(closing.is_done());
        assert_eq!(closing.deadline_ms(), Some(5100));
    }

    #[test]
    fn one_close_frame_is_sent_however_often_it_is_asked_for() {
        let mut closing = Closing::new();
        assert!(closing.send_close(0, 5000));
        assert!(!closing.send_close(9000, 5000));
        assert!(!closing.handle_close(9000, 5000));
        assert!(!closing.handle_close(9000, 5000));
        assert_eq!(closing.deadline_ms(), Some(5000));
    }
}
