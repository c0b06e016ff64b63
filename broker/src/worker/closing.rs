//! Ending a connection: the closing handshake begun by either side, the cut of one that is too
//! slow, and the removal of one that is gone.

use std::borrow::Cow;
use std::sync::Arc;

use broker_proto::ws::{CloseCode, Opcode, close_payload};

use super::Worker;
use super::connection::{Connection, NEVER, Phase};
use crate::hub::Disconnect;
use crate::hub::backlog::Waiting;
use crate::hub::message::Message;
use crate::metrics::CloseReason;

impl Worker {
    /// Says that we close, and why. Nothing is delivered from now on.
    pub(super) fn close(&mut self, slot: usize, disconnect: &Disconnect) {
        let Disconnect { code, message, reason } = disconnect;
        if !self.begin_close(slot, *code, message, *reason) {
            return;
        }
        self.core.hub.send(slot as u32, Opcode::Close, close_payload(*code, message).as_slice());
        if ends_at_once(*code) || self.connections[slot].cursor.is_some() {
            // RFC 6455 §7.1.7: whoever breaks the protocol is not waited for, nor who only reads.
            self.connections[slot].phase = Phase::Finishing;
        }
        self.arm(slot);
    }

    /// The peer's close frame came: answers it if we have not closed first, then ends.
    pub(super) fn handle_close(&mut self, slot: usize, code: Option<CloseCode>) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let answers = connection.closing.handle_close();
        connection.reason.get_or_insert(CloseReason::Normal);
        connection.phase = Phase::Finishing;
        connection.since = self.now;
        self.core.hub.unsubscribe_all(slot as u32);
        if answers {
            let payload = code.map(|code| close_payload(code, ""));
            let payload = payload.as_ref().map_or(&[][..], |payload| payload.as_slice());
            self.core.hub.send(slot as u32, Opcode::Close, payload);
        }
        self.arm(slot);
        let nothing_left = self.connections[slot].backlog.is_none();
        if nothing_left && !self.core.hub.has_pending(slot as u32) {
            self.finish(slot);
        }
    }

    /// Ends an open connection whose backlog is too large: all but what is partly out or next is
    /// dropped, and the close frame says which message is the last that arrives.
    pub(super) fn cut(&mut self, slot: usize, reason: CloseReason) {
        let Some(last) = self.cut_backlog(slot) else { return };
        let (code, what) = match reason {
            CloseReason::Overloaded => (CloseCode::OVERLOADED, "overloaded"),
            _ => (CloseCode::TOO_SLOW, "too slow"),
        };
        let message = match last {
            Some(last) => {
                format!("{what}, last seq {} of {}", last.seq(), last.topic().as_str())
            }
            None => format!("{what}, answers not read"),
        };
        self.close_behind(slot, &Disconnect { code, message: message.into(), reason });
    }

    /// Ends the sessions whose token has expired.
    pub(super) fn end_sessions(&mut self) {
        for (slot, why) in self.core.hub.take_ended() {
            self.end_session(slot as usize, &why);
        }
    }

    /// Ends a session that may get nothing more: what waits for it is dropped.
    pub(super) fn end_session(&mut self, slot: usize, why: &Disconnect) {
        if !self.connections.get(slot).is_some_and(Connection::is_open) {
            return;
        }
        self.core.hub.take_pending(slot as u32);
        match self.cut_backlog(slot) {
            Some(_) => self.close_behind(slot, why),
            None => self.close(slot, why),
        }
    }

    /// Drops what waits for a connection but for what is partly out or next; None if nothing waits.
    /// Otherwise the message that will be the last, if there is one.
    fn cut_backlog(&mut self, slot: usize) -> Option<Option<Arc<Message>>> {
        self.core.hub.take_pending(slot as u32);
        let backlog = self.connections.get_mut(slot)?.backlog.as_mut()?;
        let before = backlog.bytes();
        let last = backlog.cut();
        let after = backlog.bytes();
        self.account_backlog(before, after);
        Some(last)
    }

    /// Puts our close frame behind what is left of a backlog.
    fn close_behind(&mut self, slot: usize, why: &Disconnect) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(backlog) = &mut connection.backlog else { return };
        let Disconnect { code, message, reason } = why;
        let before = backlog.bytes();
        let mut frame = Vec::new();
        let payload = close_payload(*code, message);
        backlog.protocol().encode_own(&mut frame, Opcode::Close, payload.as_slice());
        backlog.push(Waiting::Own(frame.into()), 0);
        let after = backlog.bytes();
        self.account_backlog(before, after);
        self.begin_close(slot, *code, message, *reason);
        if let Some(connection) = self.connections.get_mut(slot)
            && connection.cursor.is_some()
        {
            connection.phase = Phase::Finishing;
        }
        self.arm(slot);
    }

    /// Everything is out: ends our side, and reads on for a moment.
    pub(super) fn finish(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.socket.shutdown_write();
        if connection.ended {
            self.remove(slot, CloseReason::Normal);
            return;
        }
        connection.phase = Phase::Lingering;
        connection.since = self.now;
        self.arm(slot);
    }

    /// Forgets a connection and closes its socket. `reason` counts unless one is known already.
    pub(super) fn remove(&mut self, slot: usize, reason: CloseReason) {
        let was_websocket = self.core.hub.session(slot as u32).is_some();
        let Some(connection) = self.detach(slot) else { return };
        if was_websocket {
            let reason = connection.reason.unwrap_or(reason);
            self.core.counters().count_close(reason);
        }
    }

    /// Takes a connection out of all the worker's books.
    pub(super) fn detach(&mut self, slot: usize) -> Option<Connection> {
        let connection = self.connections.remove(slot)?;
        self.core.hub.close(slot as u32);
        self.deadlines[slot] = NEVER;
        if let Some(backlog) = &connection.backlog {
            self.account_backlog(backlog.bytes(), 0);
            self.core.counters().backlogged.sub(1);
        }
        self.core.counters().connections.sub(1);
        self.forget_handshake(connection.handshaking);
        self.let_out(connection.let_in, &connection.place);
        Some(connection)
    }

    /// Marks a connection as being closed by us; false if it was already.
    fn begin_close(
        &mut self,
        slot: usize,
        code: CloseCode,
        message: &str,
        reason: CloseReason,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        if !connection.is_open() || !connection.closing.send_close() {
            return false;
        }
        connection.since = self.now;
        connection.reason = Some(reason);
        let peer = connection.address();
        self.core.hub.unsubscribe_all(slot as u32);
        if self.may_log() {
            tracing::info!(peer, code = code.value(), reason = message, "closing a connection");
        }
        true
    }
}

/// A disconnect for a deadline or a limit that was passed.
pub(super) fn policy(message: impl Into<Cow<'static, str>>, reason: CloseReason) -> Disconnect {
    Disconnect { code: CloseCode::POLICY, message: message.into(), reason }
}

fn ends_at_once(code: CloseCode) -> bool {
    matches!(code, CloseCode::PROTOCOL_ERROR | CloseCode::INVALID_PAYLOAD | CloseCode::TOO_LARGE)
}
