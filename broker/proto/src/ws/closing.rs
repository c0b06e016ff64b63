//! The closing handshake (RFC 6455 §7.1): who has sent a close frame.
//!
//! Sans-IO and without a clock: the caller sends the frames, knows how long to wait, and closes the
//! socket. One per connection, in the worker, so it is one byte.

/// Where the closing handshake stands.
///
/// Close the socket once [`is_done`](Self::is_done) and what is queued was written, or some time
/// after the first of the close frames, whatever the peer does (RFC 6455 §7.1.1). A client waits for
/// the server to close first, up to the same deadline.
///
/// ```
/// use broker_proto::ws::Closing;
///
/// let mut closing = Closing::new();
/// assert!(closing.send_close()); // send a close frame now
/// assert!(!closing.handle_close()); // the peer's answer needs none
/// assert!(closing.is_done());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Closing {
    /// Neither side has sent a close frame.
    #[default]
    Open,
    /// We have sent ours and wait for the peer's. Send nothing more.
    Sent,
    /// Both sides have sent theirs.
    Done,
}

impl Closing {
    /// An open connection.
    #[must_use]
    pub const fn new() -> Self {
        Self::Open
    }

    /// We want to close. `true`: a close frame is to be sent; `false`: one was sent already.
    pub fn send_close(&mut self) -> bool {
        let is_first = self.is_open();
        if is_first {
            *self = Self::Sent;
        }
        is_first
    }

    /// The peer's close frame came. `true`: it is to be answered with a close frame, which counts
    /// as sent.
    pub fn handle_close(&mut self) -> bool {
        let is_first = self.is_open();
        *self = Self::Done;
        is_first
    }

    /// No close frame in either direction: messages may be sent.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Both close frames were sent: the socket is to be closed (by the server first).
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_closes_first() {
        let mut closing = Closing::new();
        assert!(closing.is_open());
        assert!(closing.handle_close());
        assert!(closing.is_done());
        assert!(!closing.send_close());
        assert!(closing.is_done());
    }

    #[test]
    fn we_close_first_and_the_answer_needs_none() {
        let mut closing = Closing::new();
        assert!(closing.send_close());
        assert!(!closing.is_open() && !closing.is_done());
        assert!(!closing.handle_close());
        assert!(closing.is_done());
    }

    #[test]
    fn one_close_frame_is_sent_however_often_it_is_asked_for() {
        let mut closing = Closing::new();
        assert!(closing.send_close());
        assert!(!closing.send_close());
        assert!(!closing.handle_close());
        assert!(!closing.handle_close());
    }
}
