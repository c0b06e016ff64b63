//! What a peer can do wrong on the wire, and the close code each answers with. Made by the header,
//! the assembly and the close payload; the worker sends the code and counts the kind.

use super::{CloseCode, Opcode};

/// A violation of RFC 6455, or a message over the limit. The connection must be failed (§7.1.7):
/// the decoder reads nothing more after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// RSV1–RSV3 set where no extension that was agreed on uses them (§5.2). 1002.
    #[error("reserved bits {0:#05b} are set, for which no use was agreed on")]
    ReservedBits(u8),
    /// One of the opcodes 3–7 and B–F (§5.2). 1002.
    #[error("opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    /// A control frame without FIN (§5.5). 1002.
    #[error("fragmented {0} frame")]
    FragmentedControl(Opcode),
    /// A control frame over 125 bytes (§5.5). 1002.
    #[error("{0} frame with more than 125 bytes")]
    ControlTooLong(Opcode),
    /// A continuation frame with no message to continue (§5.4). 1002.
    #[error("continuation frame without a message to continue")]
    UnexpectedContinuation,
    /// A new data frame before the fragmented message was finished (§5.4). 1002.
    #[error("{0} frame inside a fragmented message")]
    InterruptedMessage(Opcode),
    /// A client's frame without a mask (§5.1). 1002.
    #[error("frame from a client is not masked")]
    Unmasked,
    /// A server's frame with a mask (§5.1). 1002.
    #[error("frame from a server is masked")]
    Masked,
    /// A payload length in more bytes than it needs (§5.2). 1002.
    #[error("payload length {0} is not in its shortest form")]
    NonMinimalLength(u64),
    /// A 64-bit payload length with the top bit set (§5.2). 1002.
    #[error("payload length {0:#x} has its top bit set")]
    LengthTopBit(u64),
    /// A message over the limit, told by the header of the frame that would pass it (§10.4). 1009.
    #[error("message of at least {bytes} bytes is over the limit of {bytes_max}")]
    MessageTooLong {
        /// Bytes already received of the message and claimed by this frame.
        bytes: u64,
        /// The limit that was passed.
        bytes_max: u32,
    },
    /// A compressed message that is not what RFC 7692 §7.2.2 inflates: damaged, or cut short. 1007.
    #[error("compressed message is damaged: {0}")]
    InvalidDeflate(&'static str),
    /// A text message that is not UTF-8 (§8.1). 1007.
    #[error("text is not UTF-8 at byte {0} of the message")]
    InvalidText(usize),
    /// A close frame with a payload of one byte (§5.5.1). 1002.
    #[error("close frame with a payload of one byte")]
    TruncatedCloseCode,
    /// A close code that must not be sent (§7.4). 1002.
    #[error("close code {} must not be sent", .0.value())]
    InvalidCloseCode(CloseCode),
    /// A close reason that is not UTF-8 (§5.5.1). 1007.
    #[error("close reason is not UTF-8 at byte {0}")]
    InvalidCloseReason(usize),
}

impl ProtocolError {
    /// The close code to answer with: 1002, 1007 or 1009.
    #[must_use]
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::InvalidText(_) | Self::InvalidCloseReason(_) | Self::InvalidDeflate(_) => {
                CloseCode::INVALID_PAYLOAD
            }
            Self::MessageTooLong { .. } => CloseCode::TOO_LARGE,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_what_and_which_value() {
        let said = [
            (ProtocolError::ReservedBits(0b101), "reserved bits 0b101 are set"),
            (ProtocolError::ReservedOpcode(0xB), "opcode 0xb is reserved"),
            (ProtocolError::ControlTooLong(Opcode::Ping), "ping frame with more than 125"),
            (ProtocolError::LengthTopBit(1 << 63), "0x8000000000000000 has its top bit"),
            (
                ProtocolError::MessageTooLong { bytes: 65_537, bytes_max: 65_536 },
                "message of at least 65537 bytes is over the limit of 65536",
            ),
            (ProtocolError::InvalidCloseCode(CloseCode::new(1005)), "close code 1005"),
        ];
        for (error, part) in said {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
