//! A backlog: what the kernel did not take from a connection's flush, in order, to be sent when
//! the socket is writable again. Shared frames stay shared; only private ones are copied.
//!
//! It counts its bytes; what happens at the limit is decided by whoever flushes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::message::Message;
use super::protocol::Protocol;

/// Frames that wait for a socket, the first of them perhaps sent in part.
#[derive(Debug)]
pub struct Backlog {
    frames: VecDeque<Waiting>,
    protocol: Protocol,
    /// How much of the first frame was sent.
    offset: usize,
    bytes: u64,
    /// What was taken off the frames, but waits sealed by TLS.
    sealed: u64,
    own_bytes: u64,
    messages: u32,
    /// The answer to the newest ping, until no other answer is among the frames.
    pong: Option<Box<[u8]>>,
    pong_is_queued: bool,
    /// Messages of a stream of events that are out, until they are taken.
    out: Vec<Arc<Message>>,
}

/// A frame that waits.
#[derive(Debug)]
pub enum Waiting {
    /// A message for many.
    Shared(Arc<Message>),
    /// One that is sent compressed; it must have been compressed already.
    Deflated(Arc<Message>),
    /// A frame for this connection alone.
    Own(Box<[u8]>),
    /// The answer to a ping.
    Pong(Box<[u8]>),
}

impl Backlog {
    /// An empty backlog of a connection that speaks `protocol`.
    pub fn new(protocol: Protocol) -> Self {
        let frames = VecDeque::new();
        Self {
            frames,
            protocol,
            offset: 0,
            bytes: 0,
            sealed: 0,
            own_bytes: 0,
            messages: 0,
            pong: None,
            pong_is_queued: false,
            out: Vec::new(),
        }
    }

    /// Puts a frame first, before the others have begun.
    pub fn push_first(&mut self, frame: Waiting) {
        let len = frame.bytes(self.protocol).len() as u64;
        if len == 0 {
            return;
        }
        debug_assert!(self.offset == 0 && !matches!(frame, Waiting::Shared(_)));
        self.bytes += len;
        self.own_bytes += len;
        self.frames.push_front(frame);
        self.check();
    }

    /// Moves out the messages that are out since the last call, of a stream of events alone.
    pub fn take_out(&mut self) -> Vec<Arc<Message>> {
        std::mem::take(&mut self.out)
    }

    /// Puts a frame last; `sent` bytes of it are out already, which only a first frame can have.
    pub fn push(&mut self, frame: Waiting, sent: usize) {
        debug_assert!(sent == 0 || self.frames.is_empty());
        let len = frame.bytes(self.protocol).len();
        self.bytes += (len - sent) as u64;
        match frame {
            Waiting::Own(_) | Waiting::Pong(_) => self.own_bytes += (len - sent) as u64,
            Waiting::Shared(_) | Waiting::Deflated(_) => self.messages += 1,
        }
        if self.frames.is_empty() {
            self.offset = sent;
        }
        self.frames.push_back(frame);
        self.check();
    }

    /// Keeps the answer to a ping; an older one that still waits is dropped (RFC 6455 §5.5.3).
    pub fn replace_pong(&mut self, frame: &[u8]) {
        self.pong = Some(frame.into());
    }

    /// Moves the answer to the newest ping behind the frames, if no answer is among them.
    pub fn queue_pong(&mut self) {
        if self.pong_is_queued {
            return;
        }
        if let Some(pong) = self.pong.take() {
            self.pong_is_queued = true;
            self.push(Waiting::Pong(pong), 0);
        }
    }

    /// What the connection speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Bytes that wait, sealed or not, without a pong that is not queued.
    pub fn bytes(&self) -> u64 {
        self.bytes + self.sealed
    }

    /// Bytes of them that are no frames any more: TLS has sealed them, and nothing can be taken
    /// back.
    pub fn sealed(&self) -> u64 {
        self.sealed
    }

    /// Notes how many bytes wait sealed now.
    pub fn set_sealed(&mut self, sealed: usize) {
        self.sealed = sealed as u64;
    }

    /// Bytes of them that are no shared message.
    pub fn own_bytes(&self) -> u64 {
        self.own_bytes
    }

    /// Messages that wait, the one that is partly out among them.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.pong.is_none() && self.sealed == 0
    }

    /// The slices to be sent next, in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let (offset, protocol) = (self.offset, self.protocol);
        self.frames.iter().enumerate().map(move |(at, frame)| {
            let bytes = frame.bytes(protocol);
            if at == 0 { &bytes[offset..] } else { bytes }
        })
    }

    /// The next `sent` bytes are out.
    pub fn advance(&mut self, mut sent: usize) {
        self.bytes -= sent as u64;
        while let Some(frame) = self.frames.front() {
            let left = frame.bytes(self.protocol).len() - self.offset;
            if frame.message().is_none() {
                self.own_bytes -= left.min(sent) as u64;
            }
            if sent < left {
                self.offset += sent;
                break;
            }
            match frame {
                Waiting::Shared(message) | Waiting::Deflated(message) => {
                    self.messages -= 1;
                    if self.protocol == Protocol::Sse {
                        self.out.push(message.clone());
                    }
                }
                Waiting::Pong(_) => self.pong_is_queued = false,
                Waiting::Own(_) => {}
            }
            sent -= left;
            self.offset = 0;
            self.frames.pop_front();
        }
        self.check();
    }

    /// Takes out the messages that `may_go`, in order, but never a frame that is partly out, nor
    /// what stands before an answer or a notice: that says what is true of what comes after it.
    pub fn take_messages(&mut self, may_go: impl Fn(&Message) -> bool) -> Vec<Arc<Message>> {
        let (mut taken, mut at) = (Vec::new(), 0);
        let own = self.frames.iter().rposition(|frame| frame.message().is_none());
        let free_from = own.map_or(usize::from(self.offset > 0), |own| own + 1);
        let protocol = self.protocol;
        let mut bytes = 0;
        self.frames.retain(|frame| {
            at += 1;
            match frame.message() {
                Some(message) if at > free_from && may_go(message) => {
                    bytes += frame.bytes(protocol).len() as u64;
                    taken.push(message.clone());
                    false
                }
                _ => true,
            }
        });
        self.bytes -= bytes;
        self.messages -= taken.len() as u32;
        self.frames.shrink_to_fit();
        self.check();
        taken
    }

    /// Drops everything behind the first message, because the connection is too slow. What is
    /// left is sent before the close frame, so its topic and seq are the last that arrive.
    pub fn cut(&mut self) -> Option<Arc<Message>> {
        let keep = self.frames.iter().position(|frame| frame.message().is_some());
        let kept = keep.map_or(usize::from(self.offset > 0), |at| at + 1);
        self.frames.truncate(kept);
        self.pong = None;
        self.pong_is_queued = true;
        self.bytes = 0;
        self.own_bytes = 0;
        for (at, frame) in self.frames.iter().enumerate() {
            let left = frame.bytes(self.protocol).len() - if at == 0 { self.offset } else { 0 };
            self.bytes += left as u64;
            if frame.message().is_none() {
                self.own_bytes += left as u64;
            }
        }
        self.frames.shrink_to_fit();
        self.messages = u32::from(keep.is_some());
        self.frames.back().and_then(Waiting::message).cloned()
    }

    #[cfg(not(debug_assertions))]
    fn check(&self) {}

    /// offset < len(first frame); bytes == sum of all - offset
    #[cfg(debug_assertions)]
    fn check(&self) {
        let sum: usize = self.frames.iter().take(64).map(|f| f.bytes(self.protocol).len()).sum();
        if self.frames.len() <= 64 {
            assert_eq!(self.bytes, (sum - self.offset) as u64);
        }
        let first = self.frames.front().map_or(1, |frame| frame.bytes(self.protocol).len());
        assert!(self.offset < first);
        assert!(self.own_bytes <= self.bytes);
    }
}

impl Waiting {
    fn message(&self) -> Option<&Arc<Message>> {
        match self {
            Self::Shared(message) | Self::Deflated(message) => Some(message),
            Self::Own(_) | Self::Pong(_) => None,
        }
    }

    fn bytes(&self, protocol: Protocol) -> &[u8] {
        match self {
            Self::Shared(message) => message.frame(protocol),
            Self::Deflated(message) => {
                message.deflated(protocol).expect("it was compressed before it had to wait")
            }
            Self::Own(bytes) | Self::Pong(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(backlog: &Backlog) -> Vec<u8> {
        backlog.slices().flatten().copied().collect()
    }

    #[test]
    fn what_was_sent_is_gone_and_the_rest_follows_in_order() {
        let mut backlog = Backlog::new(Protocol::Json);
        backlog.push(Waiting::Own(Box::from(*b"hello")), 2);
        backlog.push(Waiting::Own(Box::from(*b"world")), 0);
        assert_eq!(backlog.bytes(), 8);
        assert_eq!(waiting(&backlog), b"lloworld");
        backlog.advance(1);
        backlog.advance(3);
        assert_eq!(waiting(&backlog), b"orld");
        backlog.advance(4);
        assert!(backlog.is_empty());
    }

    #[test]
    fn of_the_pongs_that_wait_only_the_newest_is_kept() {
        let mut backlog = Backlog::new(Protocol::Json);
        backlog.push(Waiting::Own(Box::from(*b"x")), 0);
        backlog.replace_pong(b"old");
        backlog.replace_pong(b"new");
        assert_eq!(waiting(&backlog), b"x");
        backlog.queue_pong();
        backlog.replace_pong(b"next");
        backlog.push(Waiting::Own(Box::from(*b"y")), 0);
        backlog.queue_pong();
        assert_eq!(waiting(&backlog), b"xnewy", "one answer at a time");
        backlog.advance(5);
        assert!(!backlog.is_empty());
        backlog.queue_pong();
        assert_eq!(waiting(&backlog), b"next");
        backlog.advance(4);
        assert!(backlog.is_empty());
    }

    #[test]
    fn a_cut_never_tears_a_frame_that_is_partly_out() {
        let mut backlog = Backlog::new(Protocol::Json);
        backlog.push(Waiting::Own(Box::from(*b"partly")), 3);
        backlog.push(Waiting::Own(Box::from(*b"later")), 0);
        assert!(backlog.cut().is_none());
        assert_eq!(waiting(&backlog), b"tly");
        assert_eq!((backlog.bytes(), backlog.own_bytes()), (3, 3));
    }
}
