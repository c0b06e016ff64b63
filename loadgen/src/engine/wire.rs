//! What the handshakes agreed on below the protocol, what compression came to, and how many bytes
//! travelled. Counts only;
//! each worker keeps one, the report adds them up.

use broker_proto::ws::deflate::{Agreement, Volume};
use serde::{Deserialize, Serialize};

use super::{Tally, Traffic};

/// One worker's notes on TLS and compression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct WireBook {
    /// TLS sessions by version, key exchange and cipher suite.
    pub tls: Tally,
    /// Of these, how many went on from an earlier one.
    pub tls_resumed: u64,
    /// What came of the offer of compression: what was agreed on, or that the server declined.
    pub deflate: Tally,
    /// What came compressed.
    pub inflated: Amount,
    /// What was sent compressed.
    pub deflated: Amount,
    /// What went over the subscribers' connections while measuring.
    pub traffic: Traffic,
}

/// How much travelled compressed, without the headers of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Amount {
    /// Bytes of messages as they are meant.
    pub message_bytes: u64,
    /// Bytes of their compressed form.
    pub wire_bytes: u64,
}

impl WireBook {
    /// A connection was opened: with this TLS session, if any, which went on from an earlier one or
    /// not, and this answer to the offer of compression, if there was one.
    pub(super) fn handle_upgraded(
        &mut self,
        tls: Option<(String, bool)>,
        deflate: Option<Option<Agreement>>,
    ) {
        if let Some((what, is_resumed)) = tls {
            self.tls.add(what);
            self.tls_resumed += u64::from(is_resumed);
        }
        if let Some(answer) = deflate {
            self.deflate.add(answer.map_or("declined".to_owned(), |agreed| agreed.to_string()));
        }
    }

    /// Adds another worker's.
    pub fn add(&mut self, other: Self) {
        self.tls.merge(other.tls);
        self.tls_resumed += other.tls_resumed;
        self.deflate.merge(other.deflate);
        self.inflated.add(other.inflated);
        self.deflated.add(other.deflated);
        self.traffic.add(&other.traffic);
    }
}

impl Amount {
    /// How many times smaller it travelled; none if nothing did.
    #[must_use]
    pub fn factor(&self) -> Option<f64> {
        (self.wire_bytes > 0).then(|| self.message_bytes as f64 / self.wire_bytes as f64)
    }

    /// Adds what a codec did between two looks at it.
    pub(super) fn add_since(&mut self, before: Volume, after: Volume) {
        self.message_bytes += after.message_bytes - before.message_bytes;
        self.wire_bytes += after.wire_bytes - before.wire_bytes;
    }

    fn add(&mut self, other: Self) {
        self.message_bytes += other.message_bytes;
        self.wire_bytes += other.wire_bytes;
    }
}
