//! A fault of our own while a connection's bytes are read: where nothing but these bytes was being
//! worked on, in the decoder, the parser or the reader of a request's head, it ends this connection
//! with 1011 and no other. Anywhere else it may have left a topic or a list half changed, and the
//! process ends, to start anew, rather than go on with what may be wrong.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use broker_proto::handshake::Refusal;
use broker_proto::json;
use broker_proto::ws::CloseCode;

use super::Worker;
use super::connection::Phase;
use crate::hub::Disconnect;
use crate::metrics::CloseReason;

impl Worker {
    /// Takes the bytes of a connection, and a panic on the way.
    pub(super) fn handle_guarded(&mut self, slot: usize, bytes: &mut [u8]) {
        let handled = catch_unwind(AssertUnwindSafe(|| self.handle_bytes(slot, bytes)));
        let Err(panic) = handled else { return };
        if !std::mem::take(&mut self.core.alone) {
            resume_unwind(panic);
        }
        // What the parser was in the midst of is unknown.
        self.core.parser = json::Parser::new();
        self.core.counters().panics.add(1);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let peer = connection.address();
        tracing::error!(peer, "a fault of our own ends a connection");
        if matches!(connection.phase, Phase::Head(_)) {
            return self.refuse(slot, &Refusal::internal("a fault of the broker"));
        }
        let message = "a fault of the broker".into();
        let (code, reason) = (CloseCode::INTERNAL, CloseReason::Internal);
        self.close(slot, &Disconnect { code, message, reason });
        // Its decoder is not to be asked again, not even for the peer's close frame.
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.phase = Phase::Finishing;
        }
    }
}

#[cfg(test)]
mod tests;
