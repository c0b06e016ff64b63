//! Accepting connections, and what happens when there are no descriptors left.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use broker_proto::handshake::Refusal;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;

use super::admission::{Entry, Place};
use super::connection::{Connection, Phase};
use super::{Worker, token_of};
use crate::tls::Keyring;
use crate::transport::Socket;

/// Connections accepted in one turn; the rest wait for the next.
const ACCEPTS_PER_TURN: usize = 64;
/// The first pause when descriptors run out; doubled up to [`PAUSE_MAX`] while it goes on.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A listener of a worker, and what is spoken on what it accepts.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    keyring: Option<Arc<Keyring>>,
    is_admin: bool,
    accepting: Accepting,
    pause: Duration,
}

/// When to accept again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    /// When the listener says so.
    OnEvent,
    /// In the next turn: there may be more.
    NextTurn,
    /// Not before this time of the broker's clock: descriptors have run out.
    PausedUntil(u64),
}

impl Door {
    /// Accepts from `listener`; TLS is spoken if there is a keyring for it.
    pub fn new(listener: TcpListener, keyring: Option<Arc<Keyring>>) -> Self {
        let accepting = Accepting::OnEvent;
        Self { listener, keyring, is_admin: false, accepting, pause: Duration::ZERO }
    }

    /// The same for operators alone.
    pub fn for_operators(self) -> Self {
        Self { is_admin: true, ..self }
    }

    /// Asks for an event when someone waits.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.listener, token, Interest::READABLE)
    }

    /// When it has to be looked at without an event.
    pub(super) fn accepting(&self) -> Accepting {
        self.accepting
    }
}

impl Worker {
    /// Accepts where no event will tell that someone waits.
    pub(super) fn accept_again(&mut self) {
        for door in 0..self.doors.len() {
            match self.doors[door].accepting {
                Accepting::OnEvent => {}
                Accepting::PausedUntil(at_ms) if self.core.now_ms < at_ms => {}
                Accepting::NextTurn | Accepting::PausedUntil(_) => self.accept(door),
            }
        }
    }

    /// Accepts what waits at a door, as far as one turn goes.
    pub(super) fn accept(&mut self, door: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(open) = self.doors.get_mut(door) else { return };
            if let Accepting::PausedUntil(at_ms) = open.accepting
                && self.core.now_ms < at_ms
            {
                return;
            }
            match open.listener.accept() {
                Ok((stream, peer)) => self.admit(door, stream, peer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    open.accepting = Accepting::OnEvent;
                    open.pause = Duration::ZERO;
                    return;
                }
                Err(error) if has_run_out(&error) => {
                    self.pause_accepting(door, &error);
                    return;
                }
                // The peer was gone before we came to it.
                Err(_) => self.core.counters().accept_errors.add(1),
            }
        }
        if let Some(open) = self.doors.get_mut(door) {
            open.pause = Duration::ZERO;
            open.accepting = Accepting::NextTurn;
        }
    }

    fn let_in(&self, peer: SocketAddr) -> Result<(Entry, Place), Refusal> {
        // A proxy that is trusted speaks for many: its clients are counted when they are known.
        let place = match self.proxies.trusts(peer.ip()) {
            true => Place::default(),
            false => self.place_of(peer.ip())?,
        };
        match self.admission.enter() {
            Ok(entry) => Ok((entry, place)),
            Err(refusal) => {
                self.admission.give_back(&place);
                Err(refusal)
            }
        }
    }

    /// A place among the connections of an address, if it may have one more now.
    pub(super) fn place_of(&self, address: IpAddr) -> Result<Place, Refusal> {
        let address = address.to_canonical();
        let place = self.admission.count(address)?;
        match self.admission.pace(address, self.core.now_ms) {
            Ok(()) => Ok(place),
            Err(refusal) => {
                self.admission.give_back(&place);
                Err(refusal)
            }
        }
    }

    /// A connection that was let in is gone.
    pub(super) fn let_out(&self, entry: Entry, place: &Place) {
        self.admission.leave(entry);
        self.admission.give_back(place);
    }

    fn admit(&mut self, door: usize, stream: TcpStream, peer: SocketAddr) {
        self.core.counters().accepted.add(1);
        let Door { is_admin, ref keyring, .. } = self.doors[door];
        let keyring = keyring.clone();
        let (let_in, place) = match self.let_in(peer) {
            Ok(found) => found,
            Err(refusal) => {
                // Under TLS nothing can be said yet.
                match keyring {
                    None => self.turn_away(Socket::new(stream, None), &refusal),
                    Some(_) => self.core.counters().count_refusal(refusal.status()),
                }
                return;
            }
        };
        let session = match keyring.map(|keyring| keyring.session()).transpose() {
            Ok(session) => session.map(Box::new),
            Err(error) => {
                tracing::error!(%error, %peer, "no TLS session could be begun");
                self.let_out(let_in, &place);
                self.core.counters().accept_errors.add(1);
                return;
            }
        };
        let has_tls = session.is_some();
        self.next_generation = self.next_generation.wrapping_add(1);
        let generation = self.next_generation;
        let slot = self.connections.next_place();
        let mut socket = Socket::new(stream, session);
        if let Err(error) = socket.register(self.poll.registry(), token_of(slot, generation)) {
            tracing::warn!(%error, %peer, "could not watch a new connection");
            self.let_out(let_in, &place);
            self.core.counters().accept_errors.add(1);
            return;
        }
        let max = self.core.config.message_bytes_max;
        let connection = Connection::new(socket, generation, self.now, max);
        let phase = match !is_admin && self.proxies.must_send_header(peer.ip()) {
            true => Phase::Proxied,
            false => connection.phase,
        };
        self.connections.insert(Connection { let_in, place, phase, is_admin, ..connection });
        self.arm(slot);
        self.core.counters().connections.add(1);
        if has_tls {
            self.begin_handshake(slot, generation);
        }
    }

    fn pause_accepting(&mut self, door: usize, error: &io::Error) {
        self.core.counters().accept_errors.add(1);
        let now_ms = self.core.now_ms;
        let door = &mut self.doors[door];
        if door.pause.is_zero() {
            tracing::warn!(%error, "can't accept: out of descriptors or memory; trying again");
        }
        door.pause = (door.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        door.accepting = Accepting::PausedUntil(now_ms + door.pause.as_millis() as u64);
    }
}

fn has_run_out(error: &io::Error) -> bool {
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS];
    lacking.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
