//! permessage-deflate (RFC 7692): what two ends can agree on, and compressing and inflating single
//! messages under it.
//!
//! Sans-IO, and no frames are read here: [`Decoder::decode_deflated`](super::Decoder) finds the
//! compressed messages and has them inflated. The handshake offers and answers with an [`Offer`]
//! and an [`Agreement`]; the broker's workers and the load generator keep an [`Inflater`] and a
//! [`Deflater`], one per connection where context is taken over, otherwise one for all.

mod deflater;
mod inflater;
mod negotiate;

use std::fmt;

pub use deflater::{Deflater, LEVEL_DEFAULT, encode_deflated_frame, encode_masked_deflated_frame};
pub use inflater::Inflater;
pub use negotiate::{AnswerError, Offer, select};

/// The name of the extension (RFC 7692 §7).
pub const EXTENSION: &str = "permessage-deflate";

/// What a flushed message ends with, and goes without on the wire (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// How far back a compressor may refer: 2 to this power bytes, from 8 to 15 (RFC 7692 §7.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 256 bytes.
    pub const MIN: Self = Self(8);
    /// 32 KiB, which holds where nothing else was agreed on.
    pub const MAX: Self = Self(15);

    /// `None` unless `bits` is 8 to 15.
    ///
    /// ```
    /// use broker_proto::ws::deflate::WindowBits;
    ///
    /// assert_eq!(WindowBits::new(15), Some(WindowBits::MAX));
    /// assert_eq!(WindowBits::new(16), None);
    /// ```
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        match bits {
            8..=15 => Some(Self(bits)),
            _ => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }
}

/// How one end compresses what it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Each message stands on its own: nothing in it refers to one before. Then one inflater is
    /// enough for all connections; without, each needs its own.
    pub no_context_takeover: bool,
    /// How far back it refers at most; `None` where that was not named, and 15 holds.
    pub window_bits_max: Option<WindowBits>,
}

impl Terms {
    /// The largest window that these terms allow.
    #[must_use]
    pub fn window_bits(self) -> WindowBits {
        self.window_bits_max.unwrap_or(WindowBits::MAX)
    }
}

/// How much was compressed or inflated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Bytes of messages as they are meant.
    pub message_bytes: u64,
    /// Bytes of their compressed payloads, as they travel.
    pub wire_bytes: u64,
}

/// What both ends agreed on, and at once the server's answer to the offer (RFC 7692 §5.1): its
/// `Display` is the value of Sec-WebSocket-Extensions.
///
/// ```
/// use broker_proto::ws::deflate::{Agreement, Terms, WindowBits};
///
/// let server = Terms { no_context_takeover: true, window_bits_max: WindowBits::new(12) };
/// let agreement = Agreement { server, client: Terms::default() };
/// assert_eq!(
///     agreement.to_string(),
///     "permessage-deflate; server_no_context_takeover; server_max_window_bits=12"
/// );
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// How the server compresses.
    pub server: Terms,
    /// How the client compresses.
    pub client: Terms,
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXTENSION)?;
        negotiate::write_terms(f, "server", self.server)?;
        negotiate::write_terms(f, "client", self.client)
    }
}
