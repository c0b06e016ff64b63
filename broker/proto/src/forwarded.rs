//! Whom a proxy speaks for: the PROXY protocol before a connection's first byte, `X-Forwarded-For`
//! and `Forwarded` (RFC 7239) in a request.
//!
//! Reads what is said and believes nobody: which proxies are trusted is for the caller to know. What
//! stands behind the last trusted proxy can be anybody's invention, and is never looked at.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

mod header;
mod list;

pub use header::{HeaderError, PROXY_HEADER_BYTES_MAX, ProxyHeader, read_proxy_header};
pub use list::{ForwardedError, forwarded, x_forwarded_for};

/// Where a client is, as far as its proxy tells: with a port or without.
///
/// ```
/// use broker_proto::forwarded::ClientAddress;
///
/// let client: ClientAddress = "[2001:db8::1]:443".parse().unwrap();
/// assert_eq!(client.to_string(), "[2001:db8::1]:443");
/// let client: ClientAddress = "192.0.2.1".parse().unwrap();
/// assert_eq!((client.port, client.to_string()), (None, "192.0.2.1".to_owned()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress {
    /// Its address; one of IPv4 is never written as one of IPv6.
    pub ip: IpAddr,
    /// Its port, if that is known.
    pub port: Option<u16>,
}

impl From<SocketAddr> for ClientAddress {
    fn from(address: SocketAddr) -> Self {
        Self { ip: address.ip().to_canonical(), port: Some(address.port()) }
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(ip: IpAddr) -> Self {
        Self { ip: ip.to_canonical(), port: None }
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
impl core::str::FromStr for ClientAddress {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(ip.into());
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match inner.map(str::parse::<core::net::Ipv6Addr>) {
            Some(Ok(ip)) => Ok(IpAddr::V6(ip).into()),
            _ => Err(NoAddress),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// A text that is no address of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no IP address, nor one with a port")]
pub struct NoAddress;
