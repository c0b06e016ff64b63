//! Connections without a WebSocket: those that speak a protocol over TCP as it is, and how they and
//! those of HTTP end. Part of the client, which owns the socket and the stage.

use super::{Change, Client, Desk, Framing, Stage, Talk};

impl Client {
    /// The TCP connection is there: opens the session, if the protocol needs no WebSocket. Returns
    /// whether this is one.
    pub(super) fn begin_bare(&mut self, desk: &Desk<'_>) -> std::io::Result<bool> {
        let target = &desk.plan.target;
        if target.protocol.has_frames() {
            return Ok(false);
        }
        self.framing = Framing::Bare;
        let mut commands = Vec::new();
        let names = desk.plan.names_for(self.duty);
        let wait = target.open(&names, |command| commands.extend_from_slice(command));
        self.stage = Stage::until(wait);
        self.send(&commands).map(|()| true)
    }

    /// Bytes of the protocol came. The error says why the connection must end.
    pub(super) fn decode_bare(
        &mut self,
        bytes: &[u8],
        now_ns: u64,
        desk: &mut Desk<'_>,
    ) -> Result<(), String> {
        // Several messages may end in one read.
        desk.receiver.receipt().is_last = false;
        let (duty, stage, partial) = (self.duty, &mut self.stage, &mut self.partial);
        let talk = Talk { duty, stage, partial, now_ns };
        talk.handle_message(bytes, desk).map(drop)
    }

    /// Ends a connection that has no closing handshake; none for one that has.
    pub(super) fn close_at_once(&mut self) -> Option<Change> {
        let has_handshake = matches!(self.framing, Framing::Frames(_));
        (!has_handshake && self.is_ready()).then(|| {
            self.stage = Stage::Closing { is_answered: true };
            self.end(String::new())
        })
    }
}
