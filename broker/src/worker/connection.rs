//! One connection as its worker sees it: the socket, the decoder, where it is in its life, and
//! since when. Knows nothing of topics; the hub's session in the same slot does.

use broker_proto::forwarded::ClientAddress;
use broker_proto::handshake::HeadScanner;
use broker_proto::ws::{Closing, Decoder, Role};

use super::admission::{Entry, Place};
use super::codec::Compression;
use super::events::Cursor;
use crate::config::Config;
use crate::hub::backlog::Backlog;
use crate::hub::session::Budget;
use crate::metrics::CloseReason;
use crate::transport::Socket;

/// Time in tenths of a second since the broker started; wraps after 13 years.
pub type Ticks = u32;

/// Never due, or not begun.
pub const NEVER: Ticks = Ticks::MAX;

/// How long an ended connection is read on, so that the peer gets our last bytes and no reset.
const LINGER_MS: u64 = 1_000;

/// A connection on this worker. What a send looks at stands first, and stays together.
#[repr(C)]
pub struct Connection {
    /// Its socket.
    pub socket: Socket,
    /// What the kernel did not take.
    pub backlog: Option<Box<Backlog>>,
    /// Where it is in its life.
    pub phase: Phase,
    /// What of it is compressed.
    pub(super) compression: Compression,
    /// Where it is in the closing handshake.
    pub closing: Closing,
    /// It stands in the run queue.
    pub queued: bool,
    /// Not read, because a mailbox it publishes into is full.
    pub paused: bool,
    /// Not read, because it does not read its answers.
    pub choked: bool,
    /// The kernel has told that no more comes than what it holds, and will not tell again.
    pub hung_up: bool,
    /// Its place among those that were let in.
    pub place: Place,
    /// Whom it is from, if a proxy that is trusted has said so.
    pub client: Option<Box<ClientAddress>>,
    /// Its stream of frames.
    pub decoder: Decoder,
    /// Tells it from earlier connections in the same slot.
    pub generation: u32,
    /// When the phase, or the closing handshake, began.
    pub since: Ticks,
    /// When bytes last came.
    pub heard: Ticks,
    /// When a ping went out, if nothing has come since: any byte shows that the peer lives. Else
    /// [`NEVER`].
    pub pinged: Ticks,
    /// When the message began that is not complete yet; [`NEVER`] if none is.
    pub mid_message: Ticks,
    /// When the kernel last took something of the backlog.
    pub progress: Ticks,
    /// Where the reader is, if this is a stream of events.
    pub cursor: Option<Box<Cursor>>,
    /// The allowance for control frames.
    pub budget: Budget,
    /// Why it is being closed.
    pub reason: Option<CloseReason>,
    /// It has sent a message since it opened.
    pub commanded: bool,
    /// It can do nothing before it has shown a token.
    pub needs_token: bool,
    /// It came in where operators do.
    pub is_admin: bool,
    /// What it was let in for.
    pub let_in: Entry,
    /// It is among the worker's TLS handshakes.
    pub handshaking: bool,
    /// The peer has ended its side.
    pub ended: bool,
}

/// The life of a connection.
#[derive(Debug)]
pub enum Phase {
    /// A header of the PROXY protocol must come first, and is not complete. Nothing of it was taken
    /// off the socket.
    Proxied,
    /// The request head is not complete; what came of it, once it came in more than one piece.
    Head(Option<Box<Head>>),
    /// A WebSocket.
    Open,
    /// Nothing more is read or queued; when all is out, our side is ended.
    Finishing,
    /// Our side is ended; what still comes is thrown away until the peer ends too.
    Lingering,
}

/// An incomplete request head.
#[derive(Debug, Default)]
pub struct Head {
    /// What came so far.
    pub bytes: Vec<u8>,
    /// How far it was looked at.
    pub scanner: HeadScanner,
}

/// What a connection's deadline calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Refuse it: the head is not complete.
    Handshake,
    /// Close it: no command came, or no token.
    FirstCommand,
    /// Close it: a message is not complete.
    Message,
    /// Drop it: nothing of the backlog could be sent.
    Write,
    /// Send a ping.
    Ping,
    /// Drop it: the ping was not answered.
    Pong,
    /// Drop it: our close frame was not answered, or what was left could not be sent.
    Close,
    /// Drop it: it was only lingering.
    Linger,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(socket: Socket, generation: u32, now: Ticks, message_bytes_max: u32) -> Self {
        Self {
            socket,
            place: Place::default(),
            client: None,
            decoder: Decoder::new(Role::Server, message_bytes_max),
            compression: Compression::default(),
            phase: Phase::Head(None),
            closing: Closing::new(),
            backlog: None,
            generation,
            since: now,
            heard: now,
            pinged: NEVER,
            mid_message: NEVER,
            progress: now,
            cursor: None,
            budget: Budget::default(),
            reason: None,
            commanded: false,
            needs_token: false,
            is_admin: false,
            let_in: Entry::Client,
            queued: false,
            handshaking: false,
            paused: false,
            choked: false,
            ended: false,
            hung_up: false,
        }
    }

    /// The address of the client, for logs and lists; empty if the connection is broken.
    pub fn address(&self) -> String {
        self.client.as_ref().map_or_else(|| self.socket.peer(), ToString::to_string)
    }

    /// Whether it is a WebSocket on which neither side has begun to close.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.closing.is_open()
    }

    /// Whether a ping could not be answered now, however alive the peer is.
    pub fn is_out_of_hearing(&self) -> bool {
        self.paused || self.choked || self.backlog.is_some()
    }

    /// The earliest of its deadlines, and what it calls for.
    pub fn deadline(&self, config: &Config) -> (Ticks, Due) {
        let after = |start: Ticks, ms: u64| start.saturating_add(ms.div_ceil(100) as Ticks);
        match self.phase {
            Phase::Proxied | Phase::Head(_) => {
                return (after(self.since, config.handshake_timeout_ms), Due::Handshake);
            }
            Phase::Lingering => return (after(self.since, LINGER_MS), Due::Linger),
            Phase::Open if self.closing.is_open() => {}
            Phase::Open | Phase::Finishing => {
                return (after(self.since, config.close_timeout_ms), Due::Close);
            }
        }
        let mut first = (NEVER, Due::Ping);
        let mut consider = |at: Ticks, due: Due| {
            if at < first.0 {
                first = (at, due);
            }
        };
        if (!self.commanded || self.needs_token) && config.first_command_timeout_ms > 0 {
            consider(after(self.since, config.first_command_timeout_ms), Due::FirstCommand);
        }
        if self.mid_message != NEVER {
            consider(after(self.mid_message, config.message_timeout_ms), Due::Message);
        }
        if self.backlog.is_some() {
            consider(after(self.progress, config.write_timeout_ms), Due::Write);
        }
        match self.pinged {
            // Whoever is not read can't be heard, and who has not read what was sent before can't
            // have seen a ping; the write deadline or the resume ends that.
            _ if self.is_out_of_hearing() => {
                consider(after(self.heard, config.ping_interval_ms), Due::Ping);
            }
            NEVER => consider(after(self.heard, config.ping_interval_ms), Due::Ping),
            pinged => consider(after(pinged, config.pong_timeout_ms), Due::Pong),
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_short() {
        // On machines of 64 bits; there may be a million of them. 16 bytes are the socket's, which
        // has more in debug builds.
        let bytes = size_of::<Option<Connection>>() - size_of::<Socket>();
        assert!(bytes <= 112, "{bytes}");
    }
}
