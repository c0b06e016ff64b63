//! Deadlines: one number per connection, in a dense array that is swept once a second. A deadline
//! that moves later is not written; the sweep finds it not due and looks again.

use broker_proto::handshake::Refusal;
use broker_proto::ws::{CloseCode, Opcode};

use super::Worker;
use super::closing::policy;
use super::connection::{Connection, Due, NEVER, Phase};
use crate::hub::Disconnect;
use crate::metrics::CloseReason;
use crate::slots;

impl Worker {
    /// Notes a connection's next deadline; called when one may have moved nearer.
    pub(super) fn arm(&mut self, slot: usize) {
        let Some(connection) = self.connections.get(slot) else { return };
        if self.deadlines.len() <= slot {
            self.deadlines.resize(slot + 1, NEVER);
        }
        self.deadlines[slot] = connection.deadline(&self.core.config).0;
    }

    /// Acts on every deadline that has passed.
    pub(super) fn sweep(&mut self) {
        for slot in 0..self.deadlines.len() {
            if self.deadlines[slot] > self.now {
                continue;
            }
            let Some(connection) = self.connections.get(slot) else {
                self.deadlines[slot] = NEVER;
                continue;
            };
            let (at, due) = connection.deadline(&self.core.config);
            if at <= self.now {
                self.handle_due(slot, due);
            }
            self.arm(slot);
        }
        self.shed();
        self.give_back();
    }

    /// What a burst of connections needed is given back, once few are left.
    fn give_back(&mut self) {
        self.connections.shrink();
        self.deadlines.truncate(self.connections.end());
        slots::shrink(&mut self.deadlines);
    }

    fn handle_due(&mut self, slot: usize, due: Due) {
        match due {
            Due::Handshake => self.handle_silence(slot),
            Due::FirstCommand if self.connections[slot].needs_token => self.handle_no_token(slot),
            Due::FirstCommand => {
                let message = "no command came in time (first_command_timeout_ms)";
                self.close(slot, &policy(message, CloseReason::FirstCommandTimeout));
            }
            Due::Message => {
                let message = "a message was not complete in time (message_timeout_ms)";
                self.close(slot, &policy(message, CloseReason::MessageTimeout));
            }
            Due::Ping => self.ping(slot),
            Due::Write => self.handle_stall(slot),
            Due::Pong => self.give_up(slot, CloseReason::PongTimeout),
            Due::Close | Due::Linger => self.remove(slot, CloseReason::CloseTimeout),
        }
    }

    /// No whole request in time. Browsers open spare connections that never say a word; those are
    /// not worth an answer or a line in the log.
    fn handle_silence(&mut self, slot: usize) {
        let Some(connection) = self.connections.get(slot) else { return };
        let refusal = Refusal::request_timeout();
        if matches!(connection.phase, Phase::Proxied | Phase::Head(None)) {
            self.core.counters().count_refusal(refusal.status());
            self.remove(slot, CloseReason::HandshakeTimeout);
        } else {
            self.refuse(slot, &refusal);
        }
    }

    /// Whoever must show a token had time to. If it has, this was its deadline's last time.
    fn handle_no_token(&mut self, slot: usize) {
        self.connections[slot].needs_token = false;
        if self.core.hub.needs_token(slot as u32) {
            let why = Disconnect {
                code: CloseCode::UNAUTHORIZED,
                message: "no token came in time (first_command_timeout_ms)".into(),
                reason: CloseReason::Unauthorized,
            };
            self.close(slot, &why);
        }
    }

    fn ping(&mut self, slot: usize) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.is_out_of_hearing() {
            connection.heard = now;
            connection.pinged = NEVER;
            return;
        }
        // Whoever only reads events has no way to answer.
        connection.pinged = if connection.cursor.is_some() { NEVER } else { now };
        connection.heard = if connection.cursor.is_some() { now } else { connection.heard };
        self.core.hub.send(slot as u32, Opcode::Ping, &[]);
        self.core.counters().pings.add(1);
    }

    /// Nothing of a backlog went out for long. The kernel tells of room only when there is much of
    /// it, which takes a slow reader a while: it gets a try before it is given up.
    fn handle_stall(&mut self, slot: usize) {
        self.flush_backlog(slot);
        let Some(connection) = self.connections.get(slot) else { return };
        let (at, due) = connection.deadline(&self.core.config);
        if at <= self.now && due == Due::Write {
            self.give_up(slot, CloseReason::WriteTimeout);
        }
    }

    /// Drops a connection whose peer can't be reached: a close frame would not arrive.
    fn give_up(&mut self, slot: usize, reason: CloseReason) {
        if self.may_log() {
            let peer = self.connections.get(slot).map(Connection::address);
            tracing::info!(peer, reason = reason.label(), "dropping a connection");
        }
        self.remove(slot, reason);
    }
}
