//! One connection of the sink: its socket, the opening handshake, and the bytes that wait to be
//! written, now or later. Knows no topic and no fault; owned by the exchange, which stages whole
//! frames, and written by the loop once a turn.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};

use broker_proto::handshake::{HeadLimits, HeadScanner, Refusal, Request, Upgrade};
use broker_proto::ws::{Decoder, Opcode, Role};
use mio::net::TcpStream;

/// The longest message taken: more than the load generator publishes.
const MESSAGE_BYTES_MAX: u32 = 65 << 20;

/// The most bytes that may wait for one connection; with more it is cut.
pub(super) const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// A buffer that is empty keeps no more than this.
const KEPT_BYTES_MAX: usize = 256 << 10;

const JSON: &str = "altavoz.v1.json";
const BIN: &str = "altavoz.v1.bin";

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `altavoz.v1.json`, also where no subprotocol was asked for.
    Json,
    /// `altavoz.v1.bin`.
    Bin,
    /// Every message is sent back.
    Echo,
}

/// How an opening handshake stands.
pub(super) enum Upgraded {
    Incomplete,
    /// Accepted; these bytes came after the request's head.
    Done(Vec<u8>),
    /// Refused; the connection ends once the response is written.
    Refused,
}

/// One connection.
pub(super) struct Connection {
    socket: TcpStream,
    scanner: HeadScanner,
    head: Vec<u8>,
    /// What is spoken, once the handshake is done.
    pub(super) kind: Option<Kind>,
    /// Taken out while its bytes are decoded.
    pub(super) decoder: Option<Decoder>,
    out: Vec<u8>,
    written: usize,
    /// Frames that are held back, with when each is due; in this order.
    later: VecDeque<(u64, Vec<u8>)>,
    later_bytes: usize,
    /// It is in the list of those to be written in this turn.
    pub(super) is_touched: bool,
    /// Its topics.
    pub(super) subscriptions: Vec<u32>,
    /// Deliveries that wait for the next of their topic, with when they were to go out.
    pub(super) held: Vec<(u32, u64, Vec<u8>)>,
    /// Deliveries meant for it.
    pub(super) deliveries: u64,
    /// A close frame is staged: nothing follows it.
    pub(super) is_closing: bool,
    /// The socket is to be closed once everything is written.
    pub(super) ends_when_written: bool,
}

impl Kind {
    /// The frames that answers and messages travel in.
    pub(super) fn opcode(self) -> Opcode {
        if self == Self::Json { Opcode::Text } else { Opcode::Binary }
    }
}

impl Connection {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            scanner: HeadScanner::default(),
            head: Vec::new(),
            kind: None,
            decoder: None,
            out: Vec::new(),
            written: 0,
            later: VecDeque::new(),
            later_bytes: 0,
            is_touched: false,
            subscriptions: Vec::new(),
            held: Vec::new(),
            deliveries: 0,
            is_closing: false,
            ends_when_written: false,
        }
    }

    /// One read; none if there is nothing to read now.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.socket.read(buffer) {
                Ok(length) => return Ok(Some(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Bytes of the request came; `is_wanted` is asked once about a handshake that is in order.
    pub(super) fn upgrade(&mut self, bytes: &[u8], is_wanted: impl FnOnce() -> bool) -> Upgraded {
        self.head.extend_from_slice(bytes);
        let limits = HeadLimits::default();
        let length = match self.scanner.scan(&self.head, &limits) {
            Ok(None) => return Upgraded::Incomplete,
            Ok(Some(length)) => length,
            Err(refusal) => return self.refuse(&refusal),
        };
        let head = std::mem::take(&mut self.head);
        let accepted = accept(&head[..length], &limits, is_wanted);
        match accepted {
            Ok((kind, response)) => {
                self.kind = Some(kind);
                self.decoder = Some(Decoder::new(Role::Server, MESSAGE_BYTES_MAX));
                self.out.extend_from_slice(&response);
                Upgraded::Done(head[length..].to_vec())
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn refuse(&mut self, refusal: &Refusal) -> Upgraded {
        refusal.write_response(&mut self.out);
        self.is_closing = true;
        self.ends_when_written = true;
        Upgraded::Refused
    }

    /// Whether frames may still be staged.
    pub(super) fn is_open(&self) -> bool {
        self.kind.is_some() && !self.is_closing
    }

    /// A frame goes out with this turn, but not before those that are held back.
    pub(super) fn stage(&mut self, frame: &[u8]) {
        match self.later.back() {
            Some(&(due_ns, _)) => self.push_later(due_ns, frame),
            None => self.out.extend_from_slice(frame),
        }
    }

    /// A frame goes out at `due_ns`, but not before those that came earlier. Returns when, if it
    /// is the first that waits.
    pub(super) fn stage_at(&mut self, due_ns: u64, frame: &[u8]) -> Option<u64> {
        let is_first = self.later.is_empty();
        let due_ns = self.later.back().map_or(due_ns, |&(last_ns, _)| due_ns.max(last_ns));
        self.push_later(due_ns, frame);
        is_first.then_some(due_ns)
    }

    fn push_later(&mut self, due_ns: u64, frame: &[u8]) {
        self.later_bytes += frame.len();
        self.later.push_back((due_ns, frame.to_vec()));
    }

    /// What is due goes out with this turn. Returns when the next is due.
    pub(super) fn release(&mut self, now_ns: u64) -> Option<u64> {
        while let Some((due_ns, frame)) = self.later.front() {
            if *due_ns > now_ns {
                return Some(*due_ns);
            }
            self.out.extend_from_slice(frame);
            self.later_bytes -= frame.len();
            self.later.pop_front();
        }
        None
    }

    /// Whether more waits than may.
    pub(super) fn is_overfull(&self) -> bool {
        self.out.len() - self.written + self.later_bytes > BACKLOG_BYTES_MAX
    }

    /// Whether it is over: closed by both sides, and everything written.
    pub(super) fn is_done(&self) -> bool {
        self.ends_when_written && self.out.is_empty() && self.later.is_empty()
    }

    /// Writes what the socket takes; returns how many system calls that were.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub(super) fn write(&mut self) -> io::Result<u64> {
        let mut writes = 0;
        while self.written < self.out.len() {
            writes += 1;
            match self.socket.write(&self.out[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // The written part goes once it is the larger one, so that moving the rest costs little.
        if self.written * 2 > self.out.len() || self.written == self.out.len() {
            self.out.drain(..self.written);
            self.written = 0;
        }
        if self.out.is_empty() && self.out.capacity() > KEPT_BYTES_MAX {
            self.out = Vec::new();
        }
        Ok(writes)
    }
}

/// What is spoken, and the response to this request.
fn accept(
    head: &[u8],
    limits: &HeadLimits,
    is_wanted: impl FnOnce() -> bool,
) -> Result<(Kind, Vec<u8>), Refusal> {
    let request = Request::parse(head, limits)?;
    let is_echo = match request.path() {
        "/ws" => false,
        "/echo" => true,
        _ => return Err(Refusal::not_found("there are /ws and /echo")),
    };
    let upgrade = Upgrade::from_request(&request)?;
    if !is_wanted() {
        return Err(Refusal::unavailable("refused by --refuse-percent"));
    }
    let protocol = if is_echo { None } else { upgrade.select_protocol(&[JSON, BIN]) };
    let kind = match protocol {
        _ if is_echo => Kind::Echo,
        Some(BIN) => Kind::Bin,
        _ => Kind::Json,
    };
    let mut response = Vec::new();
    upgrade.write_response(&mut response, protocol, None);
    Ok((kind, response))
}
