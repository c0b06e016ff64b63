//! What the decoder reports: whole messages and control frames, borrowing their payload from where
//! it lies. Also the last check between payload bytes and a typed event.

use super::{CloseFrame, Opcode, ProtocolError};

/// A whole message or control frame. The payload is borrowed from the input, or from the decoder
/// if it came in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message (RFC 6455 §5.6).
    Text(&'a str),
    /// A binary message (RFC 6455 §5.6).
    Binary(&'a [u8]),
    /// A ping, at most 125 bytes; to be answered with a pong of the same payload (RFC 6455 §5.5.2).
    Ping(&'a [u8]),
    /// A pong, at most 125 bytes, asked for or not (RFC 6455 §5.5.3).
    Pong(&'a [u8]),
    /// A close frame, `None` if it carried no code (RFC 6455 §5.5.1). The last event there is.
    Close(Option<CloseFrame<'a>>),
}

impl<'a> Event<'a> {
    /// The event of a whole, unmasked payload. `opcode` is that of the message's first frame, so
    /// never a continuation.
    #[inline]
    pub(super) fn from_payload(opcode: Opcode, payload: &'a [u8]) -> Result<Self, ProtocolError> {
        match opcode {
            Opcode::Text => match simdutf8::compat::from_utf8(payload) {
                Ok(text) => Ok(Self::Text(text)),
                Err(error) => Err(ProtocolError::InvalidText(error.valid_up_to())),
            },
            Opcode::Binary | Opcode::Continuation => Ok(Self::Binary(payload)),
            Opcode::Ping => Ok(Self::Ping(payload)),
            Opcode::Pong => Ok(Self::Pong(payload)),
            Opcode::Close => CloseFrame::from_payload(payload).map(Self::Close),
        }
    }
}
