//! The opening handshake on a worker: the request head is collected, and the connection becomes a
//! WebSocket, is handed to the control plane with the bytes already read, or is refused.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_proto::handshake::{HeadLimits, HeadScanner, Refusal, Request, Upgrade};

use super::Worker;
use super::admission::Entry;
use super::codec::Compression;
use super::connection::{Head, Phase};
use super::credentials::{token_of, token_of_stream};
use super::events::Asked;
use crate::auth::Grants;
use crate::config::Config;
use crate::control::Handed;
use crate::hub::protocol::Protocol;
use crate::metrics::Pressure;
use crate::transport::Socket;

/// The path of the broker's protocols.
pub(super) const WS_PATH: &str = "/ws";
/// Where it is told how the broker is, even if it is full.
const PROBE_PATHS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// The path of server-sent events.
const EVENTS_PATH: &str = "/sse";
/// The path that echoes, if the setting `echo` is on.
pub(super) const ECHO_PATH: &str = "/echo";

const JSON_PROTOCOL: &str = "altavoz.v1.json";
const BIN_PROTOCOL: &str = "altavoz.v1.bin";

/// How long after its start a node that reads from NATS lets nobody in, and one that has not found
/// NATS yet.
const READING_MS: u64 = 30_000;
const JOINING_MS: u64 = 1_000;

/// What becomes of a connection with a complete head.
enum Opening {
    Upgrade(Protocol, Option<Arc<Grants>>, Compression),
    Events(Asked, Option<Arc<Grants>>),
    Http,
}

impl Worker {
    /// Takes bytes of a request head. What follows a head that asks for a WebSocket in the same
    /// bytes is its first frames.
    pub(super) fn handle_head(&mut self, slot: usize, bytes: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Phase::Head(collected) = &mut connection.phase else { return };
        let limits = self.head_limits;
        let Some(mut head) = collected.take() else {
            let mut scanner = HeadScanner::default();
            match scanner.scan(bytes, &limits) {
                Ok(Some(len)) => self.open(slot, bytes, len),
                Ok(None) => {
                    let head = Box::new(Head { bytes: bytes.to_vec(), scanner });
                    *collected = Some(head);
                }
                Err(refusal) => self.refuse(slot, &refusal),
            }
            return;
        };
        head.bytes.extend_from_slice(bytes);
        match head.scanner.scan(&head.bytes, &limits) {
            Ok(Some(len)) => self.open(slot, &mut head.bytes, len),
            Ok(None) => *collected = Some(head),
            Err(refusal) => self.refuse(slot, &refusal),
        }
    }

    fn open(&mut self, slot: usize, bytes: &mut [u8], head_len: usize) {
        let (head, rest) = bytes.split_at_mut(head_len);
        self.response.clear();
        let is_probe = self.connections.get(slot).is_some_and(|found| found.let_in == Entry::Probe);
        match self.decide(slot, head, is_probe) {
            Ok(Opening::Upgrade(protocol, grants, compression)) => {
                self.upgrade(slot, protocol, grants, compression);
                self.handle_frames(slot, rest);
            }
            Ok(Opening::Events(asked, grants)) => self.open_stream(slot, &asked, grants),
            Ok(Opening::Http) => self.hand_to_control(slot, bytes),
            Err(refusal) => self.refuse(slot, &refusal),
        }
    }

    /// Reads the head; the answer to an upgrade is left in `self.response`.
    fn decide(&mut self, slot: usize, head: &[u8], is_probe: bool) -> Result<Opening, Refusal> {
        self.core.alone = true;
        let parsed = Request::parse(head, &self.head_limits);
        self.core.alone = false;
        let request = parsed?;
        self.recognise(slot, &request)?;
        if is_probe && !PROBE_PATHS.contains(&request.path()) {
            return Err(self.admission.full());
        }
        if !request.wants_websocket() {
            request.check_framing()?;
            if (request.method(), request.path()) == ("GET", EVENTS_PATH) {
                let cookie = &self.core.config.auth_cookie;
                let asked = Asked::read(&request, &self.origins, !cookie.is_empty())?;
                self.check_read()?;
                let token = token_of_stream(&request, cookie)?;
                return Ok(Opening::Events(asked, self.check_token(token)?));
            }
            return Ok(Opening::Http);
        }
        let upgrade = Upgrade::from_request(&request)?;
        let is_echo = match request.path() {
            WS_PATH => false,
            ECHO_PATH if self.core.config.echo => true,
            path => {
                let message = format!("no WebSocket at {path}; it is at {WS_PATH}");
                return Err(Refusal::not_found(message));
            }
        };
        if !self.origins.allows(upgrade.origin()) {
            let origin = upgrade.origin().unwrap_or_default();
            let message = format!("origin {origin} is not among those in allow_origin");
            return Err(Refusal::forbidden(message));
        }
        if self.core.metrics.pressure.get() >= Pressure::Refuse {
            return Err(Refusal::unavailable("memory is short (memory_bytes_max)"));
        }
        self.check_read()?;
        let grants = match !is_echo && self.core.hub.shared().verifier.is_active() {
            true => {
                let token = token_of(&request, &upgrade, &self.core.config.auth_cookie)?;
                self.check_token(token)?
            }
            false => None,
        };
        let name = upgrade.select_protocol(&[JSON_PROTOCOL, BIN_PROTOCOL]);
        let agreement = self.codec.agree(upgrade.offers(), grants.is_some());
        upgrade.write_response(&mut self.response, name, agreement.as_ref());
        let protocol = match name {
            _ if is_echo => Protocol::Echo,
            Some(BIN_PROTOCOL) => Protocol::Bin,
            _ => Protocol::Json,
        };
        Ok(Opening::Upgrade(protocol, grants, Compression::of(agreement.as_ref())))
    }

    /// While a node that has just started reads what its cluster keeps, that would come to
    /// subscribers as new: nobody is let in, for a while.
    fn check_read(&self) -> Result<(), Refusal> {
        let stream = &self.core.metrics.stream;
        let is_barred = stream.trouble.load(Ordering::Relaxed) != 0;
        if stream.is_behind.load(Ordering::Relaxed) == 0 || is_barred {
            return Ok(());
        }
        let is_up = self.core.metrics.cluster.is_up.load(Ordering::Relaxed) != 0;
        let limit_ms = if is_up { READING_MS } else { JOINING_MS };
        match self.core.now_ms < limit_ms {
            true => Err(Refusal::unavailable("the node reads what its cluster keeps, try again")),
            false => Ok(()),
        }
    }

    /// What the token allows that a handshake shows, if it shows one and tokens are looked at.
    fn check_token(&mut self, token: Option<&str>) -> Result<Option<Arc<Grants>>, Refusal> {
        let is_active = self.core.hub.shared().verifier.is_active();
        let Some(token) = token.filter(|_| is_active) else { return Ok(None) };
        let verified = self.core.hub.verify(token);
        verified.map(Some).map_err(|error| Refusal::unauthorized(error.to_string()))
    }

    fn upgrade(
        &mut self,
        slot: usize,
        protocol: Protocol,
        grants: Option<Arc<Grants>>,
        compression: Compression,
    ) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.compression = compression;
        connection.phase = Phase::Open;
        connection.since = self.now;
        // An echo connection has no commands that could be waited for.
        connection.commanded = protocol == Protocol::Echo;
        self.last_session += 1;
        self.core.hub.open(slot as u32, self.last_session, protocol);
        self.core.hub.send_raw(slot as u32, &self.response);
        if let Some(grants) = grants {
            self.core.hub.admit(slot as u32, grants);
        }
        let needs_token = protocol != Protocol::Echo && self.core.hub.needs_token(slot as u32);
        self.connections[slot].needs_token = needs_token;
        self.core.counters().handshakes.add(1);
        self.arm(slot);
    }

    fn hand_to_control(&mut self, slot: usize, read: &[u8]) {
        let Some(connection) = self.detach(slot) else { return };
        self.core.counters().http_requests.add(1);
        let (socket, tls) = connection.socket.into_parts(self.poll.registry());
        let peer = socket.peer_addr().unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let is_named = self.proxies.must_send_header(peer.ip());
        // Where it is the requests that name their clients, each may name another.
        let named = connection.client.filter(|_| is_named);
        let peer = named.map_or_else(|| peer.into(), |client| *client);
        let is_admin = connection.is_admin;
        let handed = Handed { socket, tls, is_admin, peer, read: read.to_vec() };
        if let Err(handed) = self.control.try_hand(handed) {
            let refusal = Refusal::unavailable("too many HTTP requests wait");
            let stream = mio::net::TcpStream::from_std(handed.socket);
            self.turn_away(Socket::new(stream, handed.tls), &refusal);
        }
    }

    /// Answers with an HTTP status and ends the connection.
    pub(super) fn refuse(&mut self, slot: usize, refusal: &Refusal) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.phase = Phase::Lingering;
        connection.since = self.now;
        respond(&mut connection.socket, refusal);
        let peer = connection.address();
        self.core.counters().count_refusal(refusal.status());
        if self.may_log() {
            let (status, reason) = (refusal.status(), refusal.message());
            tracing::info!(peer, status, reason, "refused a request");
        }
        self.arm(slot);
    }

    /// Answers with an HTTP status on a socket that is dropped then.
    pub(super) fn turn_away(&mut self, mut socket: Socket, refusal: &Refusal) {
        respond(&mut socket, refusal);
        self.core.counters().count_refusal(refusal.status());
        if self.may_log() {
            let (peer, status, reason) = (socket.peer(), refusal.status(), refusal.message());
            tracing::info!(peer, status, reason, "turned a connection away");
        }
    }
}

fn respond(socket: &mut Socket, refusal: &Refusal) {
    let mut response = Vec::new();
    refusal.write_response(&mut response);
    // A refusal is short and the first thing that is sent, so the kernel takes it whole.
    let _ = socket.write(&response);
    socket.shutdown_write();
}

/// The limits on a request head, from the settings.
pub(super) fn head_limits(config: &Config) -> HeadLimits {
    HeadLimits {
        head_bytes_max: config.head_bytes_max as usize,
        headers_max: config.headers_max as usize,
    }
}
