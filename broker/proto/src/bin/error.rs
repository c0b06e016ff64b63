//! What can be wrong with the bytes of a binary payload. A client's command that fails so is
//! answered `bad_request`; a client that reads it from a broker should close the connection.

use crate::command::CommandError;

/// Why bytes are no payload of `altavoz.v1.bin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The payload ends inside a field.
    #[error("the frame ends too early")]
    Truncated,
    /// A number is longer than it need be, or 2^64 or more.
    #[error("a varint is not minimal or above 64 bits")]
    BadVarint,
    /// Text is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// More bytes than the fields take.
    #[error("{0} bytes follow the last field")]
    TrailingBytes(usize),
    /// A head byte with flags that its kind does not have, or without those it must have.
    #[error("the head byte 0x{0:02x} has wrong flags")]
    BadFlags(u8),
    /// A number that should name a kind, code, level or reason names none.
    #[error("the value {0} is not known here")]
    UnknownValue(u8),
}

impl From<DecodeError> for CommandError {
    fn from(error: DecodeError) -> Self {
        Self::bad_request(error.to_string())
    }
}
