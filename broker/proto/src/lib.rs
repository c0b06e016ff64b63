//! The protocols of Altavoz as pure functions of bytes: no sockets, no clock, no threads, no
//! randomness. Time and keys are passed in; bytes come in as slices and go out into buffers.
//!
//! | module | what it is |
//! |---|---|
//! | [`handshake`] | the HTTP/1.1 opening handshake, server and client side (RFC 6455 §4) |
//! | [`ws`] | WebSocket frames, messages and the closing handshake (RFC 6455 §5–§7) |
//! | [`topic`] | checked topic names and filters, and how they match |
//! | [`command`] | what a client can ask and a broker can answer, whatever the encoding |
//! | [`json`] | `altavoz.v1.json`: commands and messages as JSON text |
//! | [`sse`] | messages as server-sent events |
//! | [`forwarded`] | whom a proxy speaks for: PROXY protocol, `X-Forwarded-For`, `Forwarded` |
//! | [`bin`] | `altavoz.v1.bin`: the same in binary frames with opaque payloads |
//!
//! The broker uses it as a server, the load generator as a client.

pub mod bin;
pub mod command;
pub mod forwarded;
pub mod handshake;
pub mod json;
pub mod sse;
pub mod topic;
pub mod ws;
