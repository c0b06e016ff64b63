//! The opening handshake of RFC 6455 §4, both sides, as functions of bytes: find the end of an
//! HTTP/1.1 head as it trickles in, parse it, check it, and write the answer.
//!
//! Reads no socket, knows no clock and routes nothing: which path is served, who may come in and
//! how long to wait is decided by the caller. The broker's workers use the server side, the load
//! generator the client side.
//!
//! What a peer got wrong is a [`Refusal`], which knows its own HTTP response.

mod authority;
mod client;
mod extension;
mod head;
mod key;
mod origin;
mod refusal;
mod request;
#[cfg(test)]
mod tests;
mod token;
mod upgrade;
mod uri;

pub use client::{Accepted, ClientError, ClientHandshake};
pub use extension::{OFFER_PARAMS_MAX, OFFERS_MAX, Offer};
pub use head::{HEAD_BYTES_DEFAULT, HEADERS_DEFAULT, HeadLimits, HeadScanner};
pub use key::accept_key;
pub use origin::{AllowedOrigins, OriginError};
pub use refusal::Refusal;
pub use request::Request;
pub use upgrade::{PROTOCOLS_MAX, Upgrade};
pub use uri::{UriError, WsUri};
