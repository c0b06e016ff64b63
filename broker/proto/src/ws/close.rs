//! Close codes and the payload of close frames (RFC 6455 §5.5.1, §7.4).
//!
//! When to send one is not decided here: see [`Closing`](super::Closing) and the worker.

use std::fmt;

use super::ProtocolError;
use super::header::CONTROL_BYTES_MAX;

/// The longest reason in a close frame: what the code leaves of a control frame's 125 bytes.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - size_of::<CloseCode>();

/// Why a connection is closed (RFC 6455 §7.4; 4000–4999 are Altavoz's own).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server shuts down, or the client leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// Text where binary was agreed on, or the reverse.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A limit or a rule other than size was broken.
    pub const POLICY: Self = Self(1008);
    /// A message over the limit.
    pub const TOO_LARGE: Self = Self(1009);
    /// A fault on our side.
    pub const INTERNAL: Self = Self(1011);
    /// Overloaded; try again later.
    pub const OVERLOADED: Self = Self(1013);
    /// No valid token, or the token expired.
    pub const UNAUTHORIZED: Self = Self(4401);
    /// The token does not allow it.
    pub const FORBIDDEN: Self = Self(4403);
    /// The peer did not read fast enough and its backlog passed the limit.
    pub const TOO_SLOW: Self = Self(4408);

    /// The code of this number, whether it may be sent or not.
    #[must_use]
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Whether a peer may send it: 1000–1003, 1007–1014 and 3000–4999 (RFC 6455 §7.4 and the IANA
    /// registry). The others are reserved, or only for a program's own use.
    #[must_use]
    pub const fn may_be_received(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a received close frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// A code that [may be received](CloseCode::may_be_received).
    pub code: CloseCode,
    /// The peer's reason, at most 123 bytes, often empty. For logs, never for decisions.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// Reads a close frame's payload; `None` if it is empty, which is allowed.
    pub(super) fn from_payload(payload: &'a [u8]) -> Result<Option<Self>, ProtocolError> {
        let Some((&code, reason)) = payload.split_first_chunk() else {
            return match payload {
                [] => Ok(None),
                _ => Err(ProtocolError::TruncatedCloseCode),
            };
        };
        let code = CloseCode(u16::from_be_bytes(code));
        if !code.may_be_received() {
            return Err(ProtocolError::InvalidCloseCode(code));
        }
        match std::str::from_utf8(reason) {
            Ok(reason) => Ok(Some(Self { code, reason })),
            Err(error) => Err(ProtocolError::InvalidCloseReason(error.valid_up_to())),
        }
    }
}

/// The payload of a close frame to send, held inline. Made by [`close_payload`].
#[derive(Clone, Copy, Debug)]
pub struct ClosePayload {
    bytes: [u8; CONTROL_BYTES_MAX],
    length: u8,
}

impl ClosePayload {
    /// The code and the reason, 2 to 125 bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// The payload of a close frame with `code` and as much of `reason` as fits in 123 bytes, cut
/// between two characters.
///
/// ```
/// use broker_proto::ws::{CloseCode, Opcode, close_payload, encode_frame};
///
/// let mut out = Vec::new();
/// encode_frame(&mut out, Opcode::Close, close_payload(CloseCode::GOING_AWAY, "bye").as_slice());
/// assert_eq!(out, b"\x88\x05\x03\xe9bye");
/// ```
#[must_use]
pub fn close_payload(code: CloseCode, reason: &str) -> ClosePayload {
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)];
    let mut bytes = [0; CONTROL_BYTES_MAX];
    bytes[..2].copy_from_slice(&code.0.to_be_bytes());
    bytes[2..2 + reason.len()].copy_from_slice(reason);
    ClosePayload { bytes, length: 2 + reason.len() as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        let reason = "é".repeat(100);
        let payload = close_payload(CloseCode::POLICY, &reason);
        assert_eq!(payload.as_slice().len(), 2 + 122);
        assert_eq!(
            CloseFrame::from_payload(payload.as_slice()),
            Ok(Some(CloseFrame { code: CloseCode::POLICY, reason: &reason[..122] }))
        );
    }

    #[test]
    fn a_reason_of_123_bytes_is_kept_whole() {
        let payload = close_payload(CloseCode::NORMAL, &"x".repeat(CLOSE_REASON_BYTES_MAX));
        assert_eq!(payload.as_slice().len(), CONTROL_BYTES_MAX);
    }

    #[test]
    fn every_code_we_send_may_be_received() {
        let ours = [
            (CloseCode::NORMAL, 1000),
            (CloseCode::GOING_AWAY, 1001),
            (CloseCode::PROTOCOL_ERROR, 1002),
            (CloseCode::UNSUPPORTED, 1003),
            (CloseCode::INVALID_PAYLOAD, 1007),
            (CloseCode::POLICY, 1008),
            (CloseCode::TOO_LARGE, 1009),
            (CloseCode::INTERNAL, 1011),
            (CloseCode::OVERLOADED, 1013),
            (CloseCode::UNAUTHORIZED, 4401),
            (CloseCode::FORBIDDEN, 4403),
            (CloseCode::TOO_SLOW, 4408),
        ];
        for (code, value) in ours {
            assert_eq!(code.value(), value);
            assert!(code.may_be_received(), "{code}");
        }
    }
}
