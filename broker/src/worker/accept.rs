//! Accepting connections, and what happens when there are no descriptors left.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use rustix::io::Errno;

use super::connection::Connection;
use super::{Worker, token_of};
use crate::transport::Socket;

/// Connections accepted in one turn; the rest wait for the next.
const ACCEPTS_PER_TURN: usize = 64;
/// The first pause when descriptors run out; doubled up to [`PAUSE_MAX`] while it goes on.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// When to accept again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    /// When the listener says so.
    OnEvent,
    /// In the next turn: there may be more.
    NextTurn,
    /// Not before this time of the broker's clock: descriptors have run out.
    PausedUntil(u64),
    /// Never again: the broker is stopping.
    Stopped,
}

impl Worker {
    /// Accepts what waits, as far as one turn goes.
    pub(super) fn accept(&mut self) {
        if let Accepting::PausedUntil(at_ms) = self.accepting
            && self.core.now_ms < at_ms
        {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.accepting = Accepting::OnEvent;
                    self.accept_pause = Duration::ZERO;
                    return;
                }
                Err(error) if has_run_out(&error) => {
                    self.pause_accepting(&error);
                    return;
                }
                // The peer was gone before we came to it.
                Err(_) => self.core.counters().accept_errors.add(1),
            }
        }
        self.accept_pause = Duration::ZERO;
        self.accepting = Accepting::NextTurn;
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        self.core.counters().accepted.add(1);
        if let Err(refusal) = self.admission.enter(peer.ip(), self.core.now_ms) {
            self.turn_away(stream, &refusal);
            return;
        }
        self.next_generation = self.next_generation.wrapping_add(1);
        let generation = self.next_generation;
        let entry = self.connections.vacant_entry();
        let slot = entry.key();
        let mut socket = Socket::new(stream);
        if let Err(error) = socket.register(self.poll.registry(), token_of(slot, generation)) {
            tracing::warn!(%error, %peer, "could not watch a new connection");
            self.admission.leave();
            self.core.counters().accept_errors.add(1);
            return;
        }
        let max = self.core.config.message_bytes_max;
        entry.insert(Connection::new(socket, generation, self.now, max));
        self.arm(slot);
        self.core.counters().connections.add(1);
    }

    fn pause_accepting(&mut self, error: &std::io::Error) {
        self.core.counters().accept_errors.add(1);
        if self.accept_pause.is_zero() {
            tracing::warn!(%error, "can't accept: out of descriptors or memory; trying again");
        }
        self.accept_pause = (self.accept_pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        self.accepting =
            Accepting::PausedUntil(self.core.now_ms + self.accept_pause.as_millis() as u64);
    }
}

fn has_run_out(error: &std::io::Error) -> bool {
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS];
    lacking.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
