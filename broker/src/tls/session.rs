//! One client's TLS session: sealed bytes in, plain bytes out, and the other way. No socket; reading
//! and sending never wait.
//!
//! The transport drives it for as long as a worker has the connection, the control plane after it
//! was handed over.

use std::io::{self, ErrorKind, Read as _, Write};
use std::sync::Arc;

use rustls::{HandshakeKind, ServerConfig, ServerConnection};

/// Plain bytes that can come of a call beyond the sealed ones it was given: the rest of a record
/// of which all but the last byte came before.
pub const UNSEALED_SURPLUS_BYTES_MAX: usize = 17 * 1024;

/// A session with a client.
pub struct Session {
    connection: ServerConnection,
    is_ended: bool,
    has_said_end: bool,
    has_failed: bool,
}

/// The peer does not speak TLS as it is spoken here: what came is something else, breaks the
/// rules, asks for too much work, or the two have nothing in common. It has been told, by an alert
/// that waits to be sent; nothing else can be done with the session.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Refused(#[from] rustls::Error);

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let connection = ServerConnection::new(config)?;
        Ok(Self { connection, is_ended: false, has_said_end: false, has_failed: false })
    }

    /// Takes sealed bytes, all of them, and puts what they say to the front of `plain`, which must
    /// be [`UNSEALED_SURPLUS_BYTES_MAX`] longer. Returns how much that is; nothing for a part of a
    /// record, and for what TLS has to say to itself, the answer to which waits to be
    /// [sent](Self::send).
    ///
    /// # Errors
    ///
    /// [`Refused`], once. Whatever comes afterwards is thrown away.
    pub fn unseal(&mut self, mut sealed: &[u8], plain: &mut [u8]) -> Result<usize, Refused> {
        let mut filled = 0;
        while !sealed.is_empty() && !self.has_failed && !self.is_ended() {
            let ready = self.take(&mut sealed)?;
            let room = &mut plain[filled..filled + ready];
            self.connection.reader().read_exact(room).expect("so much is ready");
            filled += ready;
        }
        Ok(filled)
    }

    /// Seals as many of these bytes as may wait at once, and returns how many: none before the
    /// handshake is over or after a failure.
    pub fn seal(&mut self, plain: &[u8]) -> usize {
        if self.has_failed || self.is_handshaking() {
            return 0;
        }
        self.connection.writer().write(plain).unwrap_or(0)
    }

    /// Sends what waits. True if nothing is left, false if `out` takes no more for now.
    ///
    /// # Errors
    ///
    /// What `out` says, except that it would have to wait.
    pub fn send(&mut self, out: &mut dyn Write) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(out) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Sealed bytes that wait to be sent.
    pub fn unsent(&mut self) -> usize {
        if !self.connection.wants_write() {
            return 0;
        }
        // Looks at no new bytes, for there are none, and so can't find any fault.
        self.connection.process_new_packets().map_or(1, |state| state.tls_bytes_to_write().max(1))
    }

    /// Whether the handshake goes on.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the handshake went on from an earlier session; it then cost neither side a
    /// signature.
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether the peer has said that it sends no more. Without that the end of the stream is one
    /// that anybody on the way may have brought about.
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Whether what comes is thrown away, because the session was refused.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Says that we send no more, once; that waits to be sent too.
    pub fn end(&mut self) {
        if !self.has_failed && !self.has_said_end {
            self.has_said_end = true;
            self.connection.send_close_notify();
        }
    }

    /// Takes some bytes; how many plain ones are ready then.
    fn take(&mut self, sealed: &mut &[u8]) -> Result<usize, Refused> {
        let taken = self.connection.read_tls(sealed);
        let state = match taken {
            Ok(0) => Err(rustls::Error::General("a record of an impossible length".into())),
            Ok(_) => self.connection.process_new_packets(),
            Err(error) => Err(rustls::Error::General(error.to_string())),
        };
        match state {
            Ok(state) => {
                self.is_ended = state.peer_has_closed();
                Ok(state.plaintext_bytes_to_read())
            }
            Err(error) => {
                self.has_failed = true;
                Err(error.into())
            }
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("is_ended", &self.is_ended)
            .field("has_failed", &self.has_failed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
