//! One connection, from the first byte of the handshake to the last close frame: reads, decodes,
//! answers pings, and hands messages to the ledger. Small while idle: buffers exist only while
//! something is incomplete or unsent. Owns its socket; decides nothing about the run. Called by
//! the worker with what the poll reports.

mod group_talk;
mod incoming;
mod upgrading;
mod wishes;

use std::io::{self, Write as _};

use broker_proto::ws::{
    CloseCode, CloseFrame, Decoder, Event, Opcode, Role, close_payload, encode_masked_frame,
};
use mio::net::TcpStream;

use super::receive::Receiver;
use super::{Ledger, Plan};
use crate::sys;
use crate::target::{MESSAGE_BYTES_MAX, Wait};
use incoming::{Partial, Talk};
use upgrading::Upgrading;
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
    socket: Option<TcpStream>,
    duty: Duty,
    stage: Stage,
    decoder: Decoder,
    /// What came of a command that is not complete.
    partial: Option<Box<Partial>>,
    /// What the socket would not take yet.
    unsent: Option<Box<Unsent>>,
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
}

/// What a client works with that is not its own.
pub(super) struct Desk<'a> {
    pub(super) plan: &'a Plan,
    pub(super) ledger: &'a mut Ledger,
    /// One receive buffer for all clients of a worker.
    pub(super) buffer: &'a mut [u8],
    /// Reads for all clients of a worker.
    pub(super) receiver: &'a mut Receiver,
    /// Messages intended from this time on are timed.
    pub(super) measured_from_ns: u64,
}

impl Client {
    /// A connection that was started on `socket`; None if it will be given one later.
    pub(super) fn new(duty: Duty) -> Self {
        let decoder = Decoder::new(Role::Client, MESSAGE_BYTES_MAX);
        Self { socket: None, duty, stage: Stage::Connecting, decoder, partial: None, unsent: None }
    }

    /// Forgets the connection that was, so that another can be made.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.duty);
    }

    /// The connection is under way on this socket.
    pub(super) fn handle_opened(&mut self, socket: TcpStream) {
        self.socket = Some(socket);
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
        self.unsent.is_none()
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
            let result = desk.receiver.read(socket, desk.buffer);
            let now_ns = sys::now_ns();
            let outcome = match result {
                Ok(0) => Err("the connection ended without a close frame".to_owned()),
                Ok(length) => {
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
        let written = write_some(socket, frames)?;
        if written < frames.len() {
            let bytes = frames[written..].to_vec();
            self.unsent = Some(Box::new(Unsent { bytes, written: 0 }));
        }
        Ok(())
    }

    /// Begins the closing handshake with code 1000. One that was never opened is just dropped.
    pub(super) fn close(&mut self) -> Change {
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

    fn begin_upgrade(&mut self, desk: &Desk<'_>) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
            other => other?,
        };
        let (upgrading, request) = Upgrading::begin(&desk.plan.target);
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
            let Some(mut rest) =
                upgrading.handle_bytes(&desk.buffer[..length], &desk.plan.target)?
            else {
                return Ok(());
            };
            self.handle_upgraded(desk).map_err(|error| error.to_string())?;
            return self.decode(&mut rest, now_ns, desk);
        }
        // The desk's other parts are needed while the bytes are borrowed.
        let buffer = std::mem::take(&mut desk.buffer);
        let outcome = self.decode(&mut buffer[..length], now_ns, desk);
        desk.buffer = buffer;
        outcome
    }

    fn handle_upgraded(&mut self, desk: &Desk<'_>) -> io::Result<()> {
        let plan = desk.plan;
        let (mut frames, opcode) = (Vec::new(), plan.target.protocol.opcode());
        let send = |command: &[u8]| {
            encode_masked_frame(&mut frames, opcode, command, mask_key());
        };
        let wait = match plan.wishes_for(self.duty, desk.ledger) {
            Some(wishes) => {
                let asks_number = plan.layout.as_ref().is_some_and(|layout| layout.presence);
                plan.target.open_with(&wishes, asks_number, send)
            }
            None => plan.target.open(&plan.names_for(self.duty), send),
        };
        self.stage = Stage::until(wait);
        self.send(&frames)
    }

    fn decode(&mut self, bytes: &mut [u8], now_ns: u64, desk: &mut Desk<'_>) -> Result<(), String> {
        let (mut at, length) = (0, bytes.len());
        loop {
            let step = self.decoder.decode(&mut bytes[at..]);
            let (used, event) = step.map_err(|error| {
                let why = format!("protocol error: {error}");
                note_end(self.duty, CloseCode::PROTOCOL_ERROR, &why, desk);
                why
            })?;
            at += used;
            desk.receiver.receipt().is_last = at == length;
            let talk = Talk {
                duty: self.duty,
                stage: &mut self.stage,
                partial: &mut self.partial,
                now_ns,
            };
            let answer = match event {
                None => return Ok(()),
                Some(Event::Text(text)) => talk.handle_message(text.as_bytes(), desk)?,
                Some(Event::Binary(bytes)) => talk.handle_message(bytes, desk)?,
                Some(Event::Ping(payload)) => {
                    desk.ledger.pings += 1;
                    frame_of(Opcode::Pong, payload)
                }
                Some(Event::Pong(_)) => Vec::new(),
                Some(Event::Close(frame)) => {
                    let code = frame.map_or(CloseCode::NORMAL, |frame| frame.code);
                    let why = frame.map_or("no close code".to_owned(), |frame| close_text(&frame));
                    if let Stage::Closing { is_answered } = &mut self.stage {
                        // The server closes the connection first (RFC 6455 §7.1.1).
                        *is_answered = true;
                        return Ok(());
                    }
                    let reason = frame.map_or("", |frame| frame.reason);
                    note_end(self.duty, code, reason, desk);
                    let echo = close_payload(code, "");
                    let _ = self.send_control(Opcode::Close, echo.as_slice());
                    return Err(why);
                }
            };
            if !answer.is_empty() {
                self.send(&answer).map_err(|error| error.to_string())?;
            }
        }
    }

    fn send_control(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        self.send(&frame_of(opcode, payload))
    }

    fn flush(&mut self) -> io::Result<()> {
        let (Some(socket), Some(unsent)) = (&mut self.socket, &mut self.unsent) else {
            return Ok(());
        };
        unsent.written += write_some(socket, &unsent.bytes[unsent.written..])?;
        if unsent.written == unsent.bytes.len() {
            self.unsent = None;
        }
        Ok(())
    }

    fn end(&mut self, why: String) -> Change {
        self.socket = None;
        self.unsent = None;
        Change::Ended(match self.stage {
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

/// For the account: why the connection is about to end.
fn note_end(duty: Duty, code: CloseCode, reason: &str, desk: &mut Desk<'_>) {
    if let Duty::Subscribe { account, .. } = duty
        && desk.plan.topics_each > 0
    {
        desk.ledger.handle_close_frame(account, code, reason);
    }
}

/// Code and reason. Where the protocol puts a number into the reason that differs from connection
/// to connection (when to come back, the last seq), an `N` stands for it, so that they add up.
fn close_text(frame: &CloseFrame<'_>) -> String {
    let mut reason = frame.reason.to_owned();
    if matches!(frame.code, CloseCode::GOING_AWAY | CloseCode::TOO_SLOW | CloseCode::OVERLOADED) {
        let mut folded = String::with_capacity(reason.len());
        for char in reason.chars() {
            match char.is_ascii_digit() {
                false => folded.push(char),
                true if folded.ends_with('N') => {}
                true => folded.push('N'),
            }
        }
        reason = folded;
    }
    format!("{} {reason}", frame.code).trim_end().to_owned()
}

/// A new key for each frame (RFC 6455 §5.3).
pub(super) fn mask_key() -> [u8; 4] {
    fastrand::u32(..).to_ne_bytes()
}

fn write_some(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match socket.write(&bytes[written..]) {
            Ok(length) => written += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Account;

    #[test]
    fn reasons_that_differ_only_in_a_number_of_the_protocol_add_up() {
        let text = |code, reason| close_text(&CloseFrame { code, reason });
        assert_eq!(text(CloseCode::GOING_AWAY, "reconnect in 950 ms"), "1001 reconnect in N ms");
        assert_eq!(text(CloseCode::TOO_SLOW, "t at 7"), "4408 t at N");
        assert_eq!(text(CloseCode::TOO_SLOW, "12, 345"), "4408 N, N");
        assert_eq!(
            text(CloseCode::OVERLOADED, "overloaded, last seq 9 of t"),
            "1013 overloaded, last seq N of t"
        );
        assert_eq!(text(CloseCode::TOO_LARGE, "limit 65536"), "1009 limit 65536");
        assert_eq!(text(CloseCode::NORMAL, ""), "1000");
    }

    #[test]
    fn an_idle_client_with_its_account_takes_at_most_128_bytes() {
        assert!(size_of::<Client>() + size_of::<(u32, Account)>() <= 128);
    }
}
