//! What the load is aimed at: an address, and the protocol spoken there. Opens no socket.
//! Built by the scenarios, used by the engine; a protocol says how to subscribe, how to publish
//! and where the payload of a message lies.

mod native;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use broker_proto::handshake::{UriError, WsUri};
use serde::{Deserialize, Serialize};

pub use native::Protocol;

/// A server to load.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Target {
    /// Where every connection goes.
    pub address: SocketAddr,
    /// The value of the Host header.
    pub host: String,
    /// The path and query of the request line.
    pub resource: String,
    /// What is spoken after the handshake.
    pub protocol: Protocol,
}

/// Why there is no target to load.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The URL does not parse.
    #[error("{url}: {cause}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        cause: UriError,
    },
    /// `wss://`.
    #[error("{0}: TLS is not supported, use ws://")]
    Secure(String),
    /// The name of the host leads nowhere.
    #[error("cannot resolve {host}: {cause}")]
    Resolve {
        /// The host of the URL.
        host: String,
        /// What the resolver said.
        cause: io::Error,
    },
}

/// One thing that a server said, as far as a load generator cares.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A message of a topic.
    Message {
        /// The topic as it stands in the frame.
        topic: &'a [u8],
        /// The server's own number of the message in its topic.
        seq: u64,
        /// What was published.
        payload: &'a [u8],
    },
    /// The command with this id succeeded.
    Accepted {
        /// As it was given to the command.
        id: u64,
        /// After a subscribe, the seq of the topic's last message, if the server tells.
        position: Option<u64>,
    },
    /// A command failed; with an id or, where success was not to be answered, without.
    Refused {
        /// The id of the command, if it had one.
        id: Option<u64>,
        /// The code and the message of the error.
        why: String,
    },
    /// The server will not deliver its messages `from` to `to` of this topic.
    Gap {
        /// The topic.
        topic: String,
        /// The first seq missing.
        from: u64,
        /// The last seq missing.
        to: u64,
    },
    /// Nothing that is known.
    Unknown,
}

impl Target {
    /// Parses `url` and resolves its host. An IPv4 address is preferred: the many addresses of a
    /// loopback network are IPv4's.
    ///
    /// # Errors
    ///
    /// If the URL is wrong or asks for TLS, or the host is not known.
    pub fn resolve(url: &str, protocol: Protocol) -> Result<Self, TargetError> {
        let wrong = |cause| TargetError::Url { url: url.to_owned(), cause };
        let uri = WsUri::parse(url).map_err(wrong)?;
        if uri.is_secure() {
            return Err(TargetError::Secure(url.to_owned()));
        }
        let unknown = |cause| TargetError::Resolve { host: uri.host().to_owned(), cause };
        let found = (uri.host(), uri.port()).to_socket_addrs().map_err(unknown)?;
        let address = found
            .min_by_key(|address| !address.is_ipv4())
            .ok_or_else(|| unknown(io::Error::from(io::ErrorKind::NotFound)))?;
        Ok(Self { address, host: uri.host_header(), resource: uri.target().to_owned(), protocol })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_an_address_a_host_and_a_path() {
        let target = Target::resolve("ws://127.0.0.1:8080/ws?a=b", Protocol::Json).unwrap();
        assert_eq!(target.address.to_string(), "127.0.0.1:8080");
        assert_eq!((target.host.as_str(), target.resource.as_str()), ("127.0.0.1:8080", "/ws?a=b"));
    }

    #[test]
    fn tls_and_other_schemes_are_refused_by_name() {
        let error = Target::resolve("wss://127.0.0.1/ws", Protocol::Json).unwrap_err();
        assert_eq!(error.to_string(), "wss://127.0.0.1/ws: TLS is not supported, use ws://");
        let error = Target::resolve("http://127.0.0.1/", Protocol::Json).unwrap_err();
        assert_eq!(error.to_string(), "http://127.0.0.1/: the scheme is not ws:// or wss://");
    }
}
