//! `altavoz.v1.bin`: commands, answers and messages as the payloads of binary frames, one each.
//!
//! The same commands as [`crate::json`] without the text around them, and with payloads of any
//! bytes. Payloads in, values out, and the other way round; WebSocket frames are not its business.
//! docs/PROTOCOL.md gives every byte; its test vectors are tests of this module.
//!
//! Every payload begins with a head byte: the kind in the low four bits, and three flags. The
//! workers parse commands and encode the rest, the load generator does the opposite.

mod decode;
mod encode;
mod encode_command;
mod error;
mod parse;
mod reader;
mod varint;

pub use decode::{ServerMessage, decode_server};
pub use encode::{encode_answer, encode_gap, encode_message, encode_notice, message_bytes};
pub use encode_command::encode_command;
pub use error::DecodeError;
pub use parse::parse;

/// Head flag: an id follows as a varint.
const HAS_ID: u8 = 0x80;

/// Head flag of a publish or message: the payload is JSON.
const IS_JSON: u8 = 0x10;

/// Head flag of a publish: the answer is to say how many subscriptions it matches. Of a success:
/// it does, or it is the account of one subscription.
const IS_FULL: u8 = 0x20;

/// Head flag of a publish: a `msg_id` follows the topic.
const HAS_MSG_ID: u8 = 0x40;

/// The kind in a head byte.
const KIND: u8 = 0x0F;

/// The kinds of what the broker sends; those of commands are [`crate::command::Op::code`].
const MESSAGE: u8 = 1;
const OK: u8 = 2;
const ERROR: u8 = 3;
const GAP: u8 = 4;
const MODE: u8 = 5;
const PRESENCE: u8 = 6;
const STALE: u8 = 7;
const LIVE: u8 = 8;
const EPOCH: u8 = 9;
const EXPIRING: u8 = 12;
const UNSUBSCRIBED: u8 = 13;

/// Flags in the answer to a subscribe.
const HAS_POSITION: u8 = 0x01;
const HAS_RECOVERED: u8 = 0x02;
const RECOVERED: u8 = 0x04;
const HAS_EPOCH: u8 = 0x08;
