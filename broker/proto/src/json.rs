//! `altavoz.v1.json`: commands read from JSON text, answers and messages written as JSON text.
//!
//! Text in, values out, and the other way round; WebSocket frames are not its business. A message
//! is read in one pass of simd-json over a reused copy, which checks it as a whole; the few members
//! that must be kept as they were written (`id`, `data`) are then cut out of the original text at
//! the marks that pass left behind. Nothing recurses, and nothing is allocated for a publish once
//! the buffers have grown. docs/PROTOCOL.md describes the format.
//!
//! The workers parse and encode with it, the HTTP API parses what is to be published, the load
//! generator encodes commands.

mod decode;
mod encode;
mod encode_command;
mod options;
mod parse;
mod publishes;
mod tape;

pub use encode::{
    encode_answer, encode_gap, encode_message, encode_notice, encode_success, message_bytes,
};
pub use encode_command::encode_command;
pub use parse::Parser;
pub use publishes::Publishes;

pub(crate) use encode_command::write_options;

/// How deep a message may nest, its own object (and a batch's array) included. Deeper ones are
/// answered `bad_request`. Keeps subscribers' parsers safe, many of which recurse.
pub const DEPTH_MAX: usize = 100;

/// Buffers that one long message made larger than this are given back after it. For messages up
/// to this size a parser allocates nothing once it is warm.
pub const KEPT_BYTES_MAX: usize = 256 * 1024;
