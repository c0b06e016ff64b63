//! What lies between a target's protocol and its socket: TLS, and compressed messages. Plain data,
//! that an agent can be given; used by the engine.

use serde::{Deserialize, Serialize};

use super::Transport;
use crate::tls::Trust;

/// How messages travel. By default as they are: no TLS, no compression, a WebSocket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Wire {
    /// With TLS, and what the server must prove; `None` for none.
    pub trust: Option<Trust>,
    /// permessage-deflate (RFC 7692) is offered, in the words of a browser.
    pub deflates: bool,
    /// What a subscriber's connection is.
    pub transport: Transport,
}
