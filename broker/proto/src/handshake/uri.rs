//! `ws:` and `wss:` URIs (RFC 6455 §3). Resolves no name and decodes nothing. Used by clients to
//! learn where to connect and what to ask for.

use super::authority::Authority;

/// A parsed WebSocket URI.
///
/// ```
/// use broker_proto::handshake::WsUri;
///
/// let uri = WsUri::parse("wss://Example.com/ws?room=5")?;
/// assert_eq!((uri.host(), uri.port(), uri.is_secure()), ("Example.com", 443, true));
/// assert_eq!((uri.host_header().as_str(), uri.target()), ("Example.com", "/ws?room=5"));
/// # Ok::<(), broker_proto::handshake::UriError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WsUri {
    is_secure: bool,
    host: String,
    port: u16,
    target: String,
}

/// Why a text is no WebSocket URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// It does not begin with `ws://` or `wss://`, in any case.
    #[error("the scheme is not ws:// or wss://")]
    Scheme,
    /// The part up to the path is not `host[:port]`; user information is not allowed.
    #[error("the address is not host[:port]")]
    Authority,
    /// A fragment has no meaning here and is not allowed (RFC 6455 §3).
    #[error("a WebSocket URI has no fragment")]
    Fragment,
    /// The path or the query holds a character that a URI must percent-encode.
    #[error("{0:?} must be percent-encoded")]
    Character(char),
}

impl WsUri {
    /// Parses an absolute URI. The port is 80 for `ws` and 443 for `wss` unless stated; an empty
    /// path is `/`.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        let is_secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("ws") => false,
            _ if scheme.eq_ignore_ascii_case("wss") => true,
            _ => return Err(UriError::Scheme),
        };
        if rest.contains('#') {
            return Err(UriError::Fragment);
        }
        let (authority, resource) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if let Some(char) = resource.chars().find(|char| !char.is_ascii_graphic()) {
            return Err(UriError::Character(char));
        }
        let Authority { host, port } = Authority::parse(authority).ok_or(UriError::Authority)?;
        let slash = if resource.starts_with('/') { "" } else { "/" };
        Ok(Self {
            is_secure,
            host: host.to_owned(),
            port: port.unwrap_or(default_port(is_secure)),
            target: format!("{slash}{resource}"),
        })
    }

    /// Whether the scheme is `wss`.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The host as written, an IPv6 address without its brackets: what a resolver takes.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path with its query: what stands in the request line.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The value of the Host header: the port is left out if it is the scheme's own.
    pub fn host_header(&self) -> String {
        if self.port == default_port(self.is_secure) {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn default_port(is_secure: bool) -> u16 {
    if is_secure { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_filled_in() {
        for (text, host, port, header, target) in [
            ("ws://h", "h", 80, "h", "/"),
            ("WS://h:80/", "h", 80, "h", "/"),
            ("ws://h:443?x=/y", "h", 443, "h:443", "/?x=/y"),
            ("wss://h:443/a/b?c", "h", 443, "h", "/a/b?c"),
            ("wss://127.0.0.1:8443/ws", "127.0.0.1", 8443, "127.0.0.1:8443", "/ws"),
            (
                "ws://[::1]:9001/runCase?case=1&agent=A",
                "::1",
                9001,
                "[::1]:9001",
                "/runCase?case=1&agent=A",
            ),
        ] {
            let uri = WsUri::parse(text).expect(text);
            assert_eq!((uri.host(), uri.port(), uri.target()), (host, port, target), "{text}");
            assert_eq!(uri.host_header(), header, "{text}");
        }
    }

    #[test]
    fn every_error_says_what_is_wrong() {
        for (text, error) in [
            ("", UriError::Scheme),
            ("h:80", UriError::Scheme),
            ("http://h/", UriError::Scheme),
            ("ws:/h", UriError::Scheme),
            ("ws://h/#", UriError::Fragment),
            ("ws://h#a", UriError::Fragment),
            ("ws://", UriError::Authority),
            ("ws:///ws", UriError::Authority),
            ("ws://u:p@h/", UriError::Authority),
            ("ws://h:65536/", UriError::Authority),
            ("ws://h /", UriError::Authority),
            ("ws://h/a b", UriError::Character(' ')),
            ("ws://h/\r\nX: y", UriError::Character('\r')),
            ("ws://h/?é", UriError::Character('é')),
        ] {
            assert_eq!(WsUri::parse(text), Err(error), "{text:?}");
        }
    }
}
