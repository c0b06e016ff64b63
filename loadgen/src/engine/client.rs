//! One connection, from the first byte of the handshake to the last close frame: reads, decodes,
//! answers pings, and hands messages to the ledger. Small while idle: buffers exist only while
//! something is incomplete or unsent. Owns its socket; decides nothing about the run. Called by
//! the worker with what the poll reports.

mod bare;
mod close_text;
mod compression;
mod frames;
mod group_talk;
mod http;
mod incoming;
mod socket;
mod upgrading;
mod wishes;

use std::io;

use broker_proto::ws::{CloseCode, Decoder, Opcode, Role, close_payload, encode_masked_frame};
use mio::net::TcpStream;

use super::receive::Receiver;
use super::{Ledger, Plan};
use crate::sys;
use crate::target::{MESSAGE_BYTES_MAX, Wait};
use crate::tls::Connector;
use http::Http;
use incoming::{Partial, Talk};
use socket::Socket;
use upgrading::{Upgraded, Upgrading};

pub(super) use compression::{Codecs, Compression};
pub(super) use wishes::group_wish;

/// Reads in a row from one socket; after these the others have their turn.
const READS_MAX: usize = 4;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// Subscribes; the first of its accounts in the worker's ledger is `account`, one per topic.
    Subscribe { subscriber: u32, account: u32 },
    /// Only publishes, as the publisher with this number.
    Publish { publisher: u32 },
}

/// One connection.
pub(super) struct Client {
    socket: Option<Socket>,
    duty: Duty,
    stage: Stage,
    framing: Framing,
    /// Where messages may be compressed.
    compression: Option<Box<Compression>>,
    /// What came of a command that is not complete.
    partial: Option<Box<Partial>>,
    /// What the socket would not take yet.
    unsent: Option<Box<Unsent>>,
}

/// What its messages travel in.
enum Framing {
    /// The frames of a WebSocket.
    Frames(Decoder),
    /// The body of responses.
    Http(Box<Http>),
    /// Nothing: the protocol's own bytes.
    Bare,
}

enum Stage {
    Connecting,
    Upgrading(Box<Upgrading>),
    /// The server must say hello before there is anything to ask for.
    Greeting,
    /// What opens the session is sent, `left` of its answers have not come yet.
    Subscribing {
        left: u32,
    },
    Ready,
    /// Our close frame is sent; `is_answered` once the peer's is here.
    Closing {
        is_answered: bool,
    },
}

#[derive(Default)]
struct Unsent {
    bytes: Vec<u8>,
    written: usize,
}

impl Stage {
    /// What to be in while that has not come.
    fn until(wait: Wait) -> Self {
        match wait {
            Wait::Hello => Self::Greeting,
            Wait::Answers(0) => Self::Ready,
            Wait::Answers(left) => Self::Subscribing { left },
        }
    }

    /// What it means if the connection ends here without a word.
    fn end_text(&self) -> &'static str {
        match self {
            Self::Connecting | Self::Upgrading(_) => {
                "the connection ended before the handshake was answered"
            }
            _ => "the connection ended without a close frame",
        }
    }
}

/// What the worker must know of after a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// There may be more to read, but others come first.
    More,
    /// The connection is over, and the socket gone.
    Ended(End),
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Before it was ready: why.
    Failed(String),
    /// Later, and not by us: the close code and reason, or what else happened.
    Closed(String),
    /// After our close frame; `cleanly` if the peer answered it.
    Finished { cleanly: bool },
    /// Between two polls: another can be made for the next.
    Idle,
}

/// What a client works with that is not its own.
pub(super) struct Desk<'a> {
    pub(super) plan: &'a Plan,
    pub(super) ledger: &'a mut Ledger,
    /// One receive buffer for all clients of a worker.
    pub(super) buffer: &'a mut [u8],
    /// Reads for all clients of a worker.
    pub(super) receiver: &'a mut Receiver,
    pub(super) codecs: &'a mut Codecs,
    /// Messages intended from this time on are timed.
    pub(super) measured_from_ns: u64,
}

impl Client {
    /// A connection that was started on `socket`; None if it will be given one later.
    pub(super) fn new(duty: Duty) -> Self {
        let decoder = Decoder::new(Role::Client, MESSAGE_BYTES_MAX);
        Self {
            socket: None,
            duty,
            stage: Stage::Connecting,
            framing: Framing::Frames(decoder),
            compression: None,
            partial: None,
            unsent: None,
        }
    }

    /// Forgets the connection that was, so that another can be made.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.duty);
    }

    /// The connection is under way on this socket.
    ///
    /// # Errors
    ///
    /// If no TLS session can begin there.
    pub(super) fn handle_opened(
        &mut self,
        stream: TcpStream,
        connector: Option<&Connector>,
    ) -> io::Result<()> {
        self.socket = Some(Socket::new(stream, connector)?);
        Ok(())
    }

    /// What was agreed on for messages, if they may be compressed.
    pub(super) fn compression(&self) -> Option<&Compression> {
        self.compression.as_deref()
    }

    /// Whether it is there to subscribe.
    pub(super) fn is_subscriber(&self) -> bool {
        matches!(self.duty, Duty::Subscribe { .. })
    }

    /// The place of its first account in the worker's ledger; 0 for who has none.
    pub(super) fn first_account(&self) -> u32 {
        match self.duty {
            Duty::Subscribe { account, .. } => account,
            Duty::Publish { .. } => 0,
        }
    }

    /// The number of the server that it is connected to.
    pub(super) fn server(&self, plan: &Plan) -> usize {
        plan.server_of(self.duty)
    }

    /// Whether it polls, was ready, and has no connection now.
    pub(super) fn is_idle(&self) -> bool {
        let is_over = matches!(self.stage, Stage::Ready) && !self.is_open();
        is_over && self.is_between_polls()
    }

    /// Whether the server may end the connection without harm.
    fn is_between_polls(&self) -> bool {
        matches!(&self.framing, Framing::Http(http) if http.is_between_polls())
    }

    /// Whether there is a socket.
    pub(super) fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// Whether handshake and subscription are done and nothing is closed.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready) && self.is_open()
    }

    /// Whether everything given to [`send`](Self::send) is with the kernel.
    pub(super) fn is_flushed(&self) -> bool {
        self.unsent.is_none() && self.socket.as_ref().is_none_or(Socket::is_flushed)
    }

    /// Gives up: the socket is closed without a word.
    pub(super) fn abort(&mut self, why: String) -> Change {
        self.end(why)
    }

    /// The socket takes bytes, or its connection was made or has failed.
    pub(super) fn handle_writable(&mut self, desk: &mut Desk<'_>) -> Change {
        let result = match self.stage {
            Stage::Connecting => self.begin_upgrade(desk),
            _ => self.flush(),
        };
        match result {
            Ok(()) => Change::None,
            Err(error) => self.end(error.to_string()),
        }
    }

    /// The socket has bytes.
    pub(super) fn handle_readable(&mut self, desk: &mut Desk<'_>) -> Change {
        self.read(READS_MAX, desk)
    }

    /// It is time to read once, no more than the desk's buffer holds.
    pub(super) fn read_once(&mut self, desk: &mut Desk<'_>) -> Change {
        self.read(1, desk)
    }

    fn read(&mut self, reads_max: usize, desk: &mut Desk<'_>) -> Change {
        let mut more = true;
        for _ in 0..reads_max {
            let Some(socket) = &mut self.socket else { return Change::None };
            let result = socket.read(desk.receiver, desk.buffer);
            let now_ns = sys::now_ns();
            let outcome = match result {
                Ok(0) => Err(self.stage.end_text().to_owned()),
                Ok(length) => {
                    if matches!(self.duty, Duty::Subscribe { .. }) {
                        desk.ledger.wire.traffic.handle_received(length);
                    }
                    // A short read has emptied the socket: the next bytes are a new event.
                    more = length == desk.buffer.len();
                    self.handle_bytes(length, now_ns, desk)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Change::None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error.to_string()),
            };
            match outcome {
                Err(why) => return self.end(why),
                Ok(()) if !more => break,
                Ok(()) => {}
            }
        }
        if more { Change::More } else { Change::None }
    }

    /// Sends whole frames, or keeps what the socket does not take until it is writable.
    ///
    /// # Errors
    ///
    /// If the connection is broken; its end will be reported on the next read.
    pub(super) fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        if let Some(unsent) = &mut self.unsent {
            unsent.bytes.extend_from_slice(frames);
            return Ok(());
        }
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let written = socket.write(frames)?;
        if written < frames.len() {
            let bytes = frames[written..].to_vec();
            self.unsent = Some(Box::new(Unsent { bytes, written: 0 }));
        }
        Ok(())
    }

    /// Begins the closing handshake with code 1000. One that was never opened is just dropped.
    pub(super) fn close(&mut self) -> Change {
        if let Some(change) = self.close_at_once() {
            return change;
        }
        if !self.is_ready() {
            self.stage = Stage::Closing { is_answered: false };
            return match self.is_open() {
                true => self.end(String::new()),
                false => Change::None,
            };
        }
        self.stage = Stage::Closing { is_answered: false };
        let payload = close_payload(CloseCode::NORMAL, "");
        match self.send_control(Opcode::Close, payload.as_slice()) {
            Ok(()) => Change::None,
            Err(error) => self.end(error.to_string()),
        }
    }

    fn begin_upgrade(&mut self, desk: &mut Desk<'_>) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        if !socket.is_connected()? {
            return Ok(());
        }
        if self.begin_bare(desk)? || self.begin_http(desk)? {
            return Ok(());
        }
        let target = &desk.plan.target;
        let server = &target.servers.all()[desk.plan.server_of(self.duty)];
        let topic = desk.plan.names_of(self.duty).next().unwrap_or_default();
        let is_publisher = !self.is_subscriber();
        let resource = target.protocol.resource(&server.resource, topic, is_publisher);
        let (upgrading, request) = Upgrading::begin(target, &server.host, &resource);
        self.stage = Stage::Upgrading(Box::new(upgrading));
        self.send(&request)
    }

    /// `length` bytes came into the desk's buffer. The error says why the connection must end.
    fn handle_bytes(
        &mut self,
        length: usize,
        now_ns: u64,
        desk: &mut Desk<'_>,
    ) -> Result<(), String> {
        if let Stage::Upgrading(upgrading) = &mut self.stage {
            let Some(mut upgraded) =
                upgrading.handle_bytes(&desk.buffer[..length], &desk.plan.target)?
            else {
                return Ok(());
            };
            self.handle_upgraded(&upgraded, desk).map_err(|error| error.to_string())?;
            return self.decode(&mut upgraded.rest, now_ns, desk);
        }
        // The desk's other parts are needed while the bytes are borrowed.
        let buffer = std::mem::take(&mut desk.buffer);
        let outcome = self.decode(&mut buffer[..length], now_ns, desk);
        desk.buffer = buffer;
        outcome
    }

    fn handle_upgraded(&mut self, upgraded: &Upgraded, desk: &mut Desk<'_>) -> io::Result<()> {
        let Desk { plan, ledger, codecs, .. } = desk;
        self.compression = upgraded.deflate.map(|agreed| Box::new(Compression::new(agreed)));
        ledger.wire.handle_upgraded(
            self.socket.as_ref().and_then(Socket::tls),
            plan.target.wire.deflates.then_some(upgraded.deflate),
        );
        let wishes = plan.wishes_for(self.duty, ledger);
        let (mut frames, opcode) = (Vec::new(), plan.target.protocol.opcode());
        let compression = self.compression.as_deref();
        let send = |command: &[u8]| {
            codecs.encode(compression, &mut frames, opcode, command, &mut ledger.wire);
        };
        let wait = match wishes {
            Some(wishes) => {
                let asks_number = plan.layout.as_ref().is_some_and(|layout| layout.presence);
                plan.target.open_with(&wishes, asks_number, send)
            }
            None => plan.target.open(&plan.names_for(self.duty), send),
        };
        self.stage = Stage::until(wait);
        self.send(&frames)
    }

    fn send_control(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        self.send(&frame_of(opcode, payload))
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        socket.flush()?;
        let Some(unsent) = &mut self.unsent else { return Ok(()) };
        unsent.written += socket.write(&unsent.bytes[unsent.written..])?;
        if unsent.written == unsent.bytes.len() {
            self.unsent = None;
        }
        Ok(())
    }

    fn end(&mut self, why: String) -> Change {
        if let Some(mut socket) = self.socket.take() {
            socket.close();
        }
        self.compression = None;
        self.unsent = None;
        Change::Ended(match self.stage {
            Stage::Ready if self.is_between_polls() => End::Idle,
            Stage::Ready => End::Closed(why),
            Stage::Closing { is_answered } => End::Finished { cleanly: is_answered },
            _ => End::Failed(why),
        })
    }
}

/// A frame of its own for one command or control message.
pub(super) fn frame_of(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_masked_frame(&mut frame, opcode, payload, mask_key());
    frame
}

/// A new key for each frame (RFC 6455 §5.3).
pub(super) fn mask_key() -> [u8; 4] {
    fastrand::u32(..).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Account;

    #[test]
    fn an_idle_client_with_its_account_takes_at_most_128_bytes() {
        // In development, mio adds a check of its own to every socket.
        let check = if cfg!(debug_assertions) { size_of::<usize>() } else { 0 };
        assert!(size_of::<Client>() + size_of::<(u32, Account)>() - check <= 128);
    }
}
