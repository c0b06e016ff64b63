//! Reading: bytes from a socket to frames, frames to requests, requests to the hub. At most one
//! buffer per connection and turn, so that nobody's flood keeps the others waiting.

use broker_proto::bin;
use broker_proto::command::Request;
use broker_proto::ws::{CloseCode, Event, Opcode, ProtocolError, encode_frame};

use super::codec::Codec;
use super::connection::{Connection, NEVER, Phase};
use super::{Core, Worker};
use crate::hub::protocol::Protocol;
use crate::hub::{Disconnect, Hub};
use crate::metrics::CloseReason;
use crate::tls::Refused;
use crate::transport::Input;

/// Bytes read from one connection in one turn.
pub(super) const READ_BYTES_MAX: usize = 64 * 1024;

/// A message of which tests of faults make one.
#[cfg(test)]
pub(super) const FAULT: &str = "fault, please";

/// What a frame calls for, beyond what was done about it already.
enum Next {
    Go,
    PeerClosed(Option<CloseCode>),
    Disconnect(Disconnect),
}

impl Worker {
    /// Reads what a connection has, as far as one turn goes.
    pub(super) fn read(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.queued = false;
        if connection.paused || connection.choked {
            return;
        }
        if self.core.hub.is_blocked() {
            // Whoever it is may publish into the full mailbox; nobody adds to it now.
            self.pause(slot);
            return;
        }
        if connection.handshaking && !self.handshakes.take_read() {
            self.read_again(slot);
            return;
        }
        if matches!(connection.phase, Phase::Proxied) {
            self.read_proxy_header(slot);
            return;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        match connection.socket.read(&mut buffer, &mut self.sealed) {
            Input::Bytes { len, more } => {
                connection.heard = self.now;
                connection.pinged = NEVER;
                self.core.counters().bytes_in.add(len as u64);
                self.check_handshake(slot);
                if len > 0 {
                    self.handle_guarded(slot, &mut buffer[..len]);
                }
                // A short read has emptied the socket, and an event will tell of more: not of
                // the end, though, if that has come in the same event as the bytes.
                let hung_up = self.connections.get(slot).is_some_and(|open| open.hung_up);
                if more || hung_up {
                    self.read_again(slot);
                }
            }
            Input::WouldBlock => {}
            Input::Ended => self.handle_end(slot),
            Input::Truncated => self.handle_truncation(slot),
            Input::Refused(refused) => self.handle_refused_tls(slot, &refused),
        }
        self.buffer = buffer;
    }

    /// Puts a connection last among those to be read in the next turn.
    pub(super) fn read_again(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !connection.queued && !connection.paused && !connection.choked {
            connection.queued = true;
            self.run_queue.push_back((slot, connection.generation));
        }
    }

    /// Takes the bytes of an open WebSocket.
    pub(super) fn handle_frames(&mut self, slot: usize, bytes: &mut [u8]) {
        let mut at = 0;
        loop {
            let Some(connection) = self.connections.get_mut(slot) else { return };
            if !matches!(connection.phase, Phase::Open) {
                break;
            }
            let (used, next) =
                self.core.handle_frame(slot as u32, connection, &mut self.codec, &mut bytes[at..]);
            at += used;
            match next {
                Some(Next::Go) => self.end_message(slot),
                Some(Next::PeerClosed(code)) => self.handle_close(slot, code),
                Some(Next::Disconnect(disconnect)) => self.close(slot, &disconnect),
                None => break,
            }
        }
        self.after_frames(slot);
    }

    pub(super) fn handle_bytes(&mut self, slot: usize, bytes: &mut [u8]) {
        match self.connections[slot].phase {
            Phase::Head(_) => self.handle_head(slot, bytes),
            // Whoever reads events has nothing to say.
            Phase::Open if self.connections[slot].cursor.is_some() => {}
            Phase::Open => self.handle_frames(slot, bytes),
            Phase::Proxied | Phase::Finishing | Phase::Lingering => {}
        }
    }

    /// Looks at what the frames of one read have left behind.
    fn after_frames(&mut self, slot: usize) {
        let publisher_paused = self.core.hub.take_publisher_paused();
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let was_mid_message = connection.mid_message != NEVER;
        if !connection.decoder.is_mid_message() {
            connection.mid_message = NEVER;
        } else if !was_mid_message {
            connection.mid_message = self.now;
            self.arm(slot);
        }
        if publisher_paused {
            self.pause(slot);
        }
    }

    /// A message that is complete ends its deadline; the next one has its own.
    fn end_message(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot)
            && !connection.decoder.is_mid_message()
        {
            connection.mid_message = NEVER;
        }
    }

    /// Reads no more from a connection until the mailboxes that are full have room.
    fn pause(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.paused = true;
        self.paused.push((slot, connection.generation));
        self.core.counters().read_pauses.add(1);
    }

    fn handle_end(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        // A peer that has ended its side after its close frame may still read ours.
        connection.ended = true;
        if matches!(connection.phase, Phase::Finishing) {
            return;
        }
        let has_backlog = connection.backlog.is_some();
        if !has_backlog && !self.core.hub.has_pending(slot as u32) {
            self.remove(slot, CloseReason::Lost);
            return;
        }
        // Or what its last bytes asked for.
        connection.phase = Phase::Finishing;
        connection.since = self.now;
        connection.reason.get_or_insert(CloseReason::Lost);
        self.core.hub.unsubscribe_all(slot as u32);
        self.arm(slot);
    }
}

impl Worker {
    /// A TLS stream ended without a word. Between us and the peer somebody may have cut it, so
    /// nothing is made of it; only who was closing anyway is let go in peace.
    fn handle_truncation(&mut self, slot: usize) {
        self.core.counters().tls_truncated.add(1);
        match self.connections.get(slot).map(|connection| &connection.phase) {
            Some(Phase::Finishing | Phase::Lingering) => self.handle_end(slot),
            _ => self.remove(slot, CloseReason::Lost),
        }
    }

    /// What came is no TLS, or broken. The alert is out; the peer gets a moment to read it.
    fn handle_refused_tls(&mut self, slot: usize, refused: &Refused) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let was_handshaking = std::mem::take(&mut connection.handshaking);
        connection.phase = Phase::Lingering;
        connection.since = self.now;
        connection.socket.shutdown_write();
        connection.reason.get_or_insert(CloseReason::Protocol);
        let peer = connection.address();
        self.forget_handshake(was_handshaking);
        self.core.hub.unsubscribe_all(slot as u32);
        self.core.counters().tls_failures.add(1);
        if self.may_log() {
            tracing::info!(peer, reason = %refused, "refused a TLS session");
        }
        self.arm(slot);
    }
}

impl Core {
    /// Takes one frame off the front of `bytes`; how many bytes it took, and what it calls for.
    fn handle_frame(
        &mut self,
        slot: u32,
        connection: &mut Connection,
        codec: &mut Codec,
        bytes: &mut [u8],
    ) -> (usize, Option<Next>) {
        let Connection { decoder, compression, closing, backlog, budget, commanded, .. } =
            connection;
        self.alone = true;
        #[cfg(test)]
        assert!(!bytes.ends_with(FAULT.as_bytes()), "a fault made on purpose");
        let decoded = codec.decode(decoder, *compression, bytes);
        self.alone = false;
        let (used, event) = match decoded {
            Ok((used, Some(event))) => (used, event),
            Ok((used, None)) => return (used, None),
            Err(error) => return (0, Some(Next::Disconnect(violation(&error)))),
        };
        if let Event::Close(frame) = event {
            return (used, Some(Next::PeerClosed(frame.map(|frame| frame.code))));
        }
        if !closing.is_open() {
            // We have said that we close: only the peer's close frame counts now.
            return (used, Some(Next::Go));
        }
        let done = match event {
            Event::Text(text) => {
                *commanded = true;
                self.handle_text(slot, text)
            }
            Event::Binary(bytes) => {
                *commanded = true;
                self.handle_binary(slot, bytes)
            }
            Event::Ping(payload) if self.may_control(budget) => {
                match backlog {
                    Some(backlog) => {
                        let mut frame = Vec::new();
                        encode_frame(&mut frame, Opcode::Pong, payload);
                        backlog.replace_pong(&frame);
                    }
                    None => self.hub.send(slot, Opcode::Pong, payload),
                }
                Ok(())
            }
            Event::Pong(_) if self.may_control(budget) => Ok(()),
            Event::Ping(_) | Event::Pong(_) => Err(Disconnect {
                code: CloseCode::POLICY,
                message: "too many control frames a second (control_frames_per_second_max)".into(),
                reason: CloseReason::RateLimited,
            }),
            Event::Close(_) => Ok(()),
        };
        (used, Some(done.map_or_else(Next::Disconnect, |()| Next::Go)))
    }

    fn handle_text(&mut self, slot: u32, text: &str) -> Result<(), Disconnect> {
        self.counters().messages_in.add(1);
        match self.protocol(slot) {
            Protocol::Json => {
                let alone = &mut self.alone;
                let mut requests = Requests::new(slot, self.now_ms, &mut self.hub);
                *alone = true;
                self.parser.parse(text, |request| {
                    *alone = false;
                    requests.handle(&request);
                    *alone = true;
                });
                *alone = false;
                requests.ended
            }
            Protocol::Bin => Err(unsupported("altavoz.v1.bin is spoken in binary messages")),
            Protocol::Echo => {
                self.echo(slot, Opcode::Text, text.as_bytes());
                Ok(())
            }
            Protocol::Sse => Ok(()),
        }
    }

    fn handle_binary(&mut self, slot: u32, bytes: &[u8]) -> Result<(), Disconnect> {
        self.counters().messages_in.add(1);
        match self.protocol(slot) {
            Protocol::Bin => {
                let alone = &mut self.alone;
                let mut requests = Requests::new(slot, self.now_ms, &mut self.hub);
                *alone = true;
                bin::parse(bytes, &mut self.parser, |request| {
                    *alone = false;
                    requests.handle(&request);
                    *alone = true;
                });
                *alone = false;
                requests.ended
            }
            Protocol::Json => Err(unsupported("altavoz.v1.json is spoken in text messages")),
            Protocol::Echo => {
                self.echo(slot, Opcode::Binary, bytes);
                Ok(())
            }
            Protocol::Sse => Ok(()),
        }
    }

    fn echo(&mut self, slot: u32, opcode: Opcode, payload: &[u8]) {
        self.hub.send(slot, opcode, payload);
        self.counters().messages_out.add(1);
    }

    fn protocol(&mut self, slot: u32) -> Protocol {
        self.hub.session(slot).map_or(Protocol::Json, |session| session.protocol)
    }

    fn may_control(&self, budget: &mut crate::hub::session::Budget) -> bool {
        let rate = self.config.control_frames_per_second_max;
        budget.take(self.now_ms, rate, rate.saturating_mul(10))
    }
}

/// Hands the requests of one message to the hub, until one of them ends the session.
struct Requests<'h> {
    slot: u32,
    now_ms: u64,
    hub: &'h mut Hub,
    ended: Result<(), Disconnect>,
}

impl<'h> Requests<'h> {
    fn new(slot: u32, now_ms: u64, hub: &'h mut Hub) -> Self {
        Self { slot, now_ms, hub, ended: Ok(()) }
    }

    fn handle(&mut self, request: &Request<'_>) {
        if self.ended.is_ok() {
            self.ended = self.hub.handle_request(self.slot, request, self.now_ms);
        }
    }
}

fn unsupported(message: &'static str) -> Disconnect {
    let reason = CloseReason::Unsupported;
    Disconnect { code: CloseCode::UNSUPPORTED, message: message.into(), reason }
}

fn violation(error: &ProtocolError) -> Disconnect {
    let code = error.close_code();
    let reason = match code {
        CloseCode::INVALID_PAYLOAD => CloseReason::InvalidPayload,
        CloseCode::TOO_LARGE => CloseReason::TooLarge,
        _ => CloseReason::Protocol,
    };
    Disconnect { code, message: error.to_string().into(), reason }
}
