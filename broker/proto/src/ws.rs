//! The WebSocket wire format of RFC 6455 for both roles: frames in, messages out, frames out, and
//! the closing handshake.
//!
//! Sans-IO: bytes come in as slices and go out into buffers; time and masking keys are passed in.
//! The one extension is [`deflate`]; where it was not agreed on, every reserved bit is an error.
//! What the messages mean is not known here. The broker's workers call it as [`Role::Server`], the
//! load generator as [`Role::Client`].

mod assembly;
mod close;
mod closing;
mod decoder;
pub mod deflate;
mod encode;
mod error;
mod event;
mod header;
pub mod mask;
mod opcode;

pub use close::{CLOSE_REASON_BYTES_MAX, CloseCode, CloseFrame, ClosePayload, close_payload};
pub use closing::Closing;
pub use decoder::Decoder;
pub use encode::{FrameHeader, encode_frame, encode_masked_frame};
pub use error::ProtocolError;
pub use event::Event;
pub use header::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX};
pub use opcode::Opcode;

/// Which side of the connection we are. RFC 6455 §5.1: a client masks every frame, a server none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We accepted the connection: every frame that comes in must be masked.
    Server,
    /// We opened the connection: no frame that comes in may be masked.
    Client,
}
