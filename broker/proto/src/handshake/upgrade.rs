//! The server's half of the opening handshake: is this request what RFC 6455 §4.2.1 asks for, and
//! the 101 that accepts it. The origin and the path are handed up, not judged. Called by the
//! broker for each request that wants a WebSocket.

use std::fmt;

use super::{Offer, Refusal, Request, accept_key, extension, key, token};
use crate::ws::deflate;

/// Most subprotocols one request may offer. More: 400.
pub const PROTOCOLS_MAX: usize = 32;

/// A valid opening request.
///
/// `Debug` does not show the subprotocols: one may carry a token.
///
/// ```
/// use broker_proto::handshake::{HeadLimits, Request, Upgrade};
///
/// let head = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// let request = Request::parse(head, &HeadLimits::default())?;
/// let upgrade = Upgrade::from_request(&request)?;
/// let mut out = Vec::new();
/// upgrade.write_response(&mut out, upgrade.select_protocol(&["altavoz.v1.json"]), None);
/// assert!(out.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
/// # Ok::<(), broker_proto::handshake::Refusal>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Upgrade<'h> {
    key: &'h str,
    origin: Option<&'h str>,
    protocols: Vec<&'h str>,
    offers: Vec<Offer<'h>>,
}

impl<'h> Upgrade<'h> {
    /// Checks a request. Refused are, in this order: a method other than GET (405); HTTP/1.0 (426);
    /// a body (400); no `Upgrade: websocket` (426); no `Connection: Upgrade` (400); a version other
    /// than 13 or none (426); a key that is not 16 bytes of base64 (400); an origin that is not
    /// ASCII (400); subprotocols that are no distinct tokens, or over [`PROTOCOLS_MAX`] (400);
    /// extensions that break RFC 6455 §9.1 (400). A header that may come once and comes twice
    /// is 400. `Expect` is ignored: with no body there is nothing to continue with.
    pub fn from_request(request: &Request<'h>) -> Result<Self, Refusal> {
        check_method(request)?;
        check_no_body(request)?;
        check_upgrade(request)?;
        check_version(request)?;
        Ok(Self {
            key: key_of(request)?,
            origin: origin_of(request)?,
            protocols: protocols_of(request)?,
            offers: extension::parse(request.headers("Sec-WebSocket-Extensions"))?,
        })
    }

    /// The client's key, 24 characters of base64.
    pub fn key(&self) -> &'h str {
        self.key
    }

    /// The origin of the page that connects, as a browser states it; other clients send none. See
    /// [`AllowedOrigins`](super::AllowedOrigins).
    pub fn origin(&self) -> Option<&'h str> {
        self.origin
    }

    /// The subprotocols the client offers, the one it likes best first.
    pub fn protocols(&self) -> &[&'h str] {
        &self.protocols
    }

    /// The extensions the client offers, the one it likes best first.
    pub fn offers(&self) -> &[Offer<'h>] {
        &self.offers
    }

    /// The first subprotocol of the client's list that is in `supported`, compared exactly.
    pub fn select_protocol(&self, supported: &[&'static str]) -> Option<&'static str> {
        self.protocols
            .iter()
            .find_map(|offered| supported.iter().copied().find(|known| known == offered))
    }

    /// Appends the 101 response (RFC 6455 §4.2.2). `protocol` must be one that was offered;
    /// `deflate` what was [selected](deflate::select) among the [`offers`](Self::offers). With
    /// `None` a header is left out.
    pub fn write_response(
        &self,
        out: &mut Vec<u8>,
        protocol: Option<&str>,
        deflate: Option<&deflate::Agreement>,
    ) {
        debug_assert!(protocol.is_none_or(|chosen| self.protocols.contains(&chosen)));
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\n\
            Upgrade: websocket\r\n\
            Connection: Upgrade\r\n\
            Sec-WebSocket-Accept: ",
        );
        out.extend_from_slice(&accept_key(self.key));
        if let Some(protocol) = protocol {
            out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            out.extend_from_slice(protocol.as_bytes());
        }
        if let Some(agreement) = deflate {
            out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
            out.extend_from_slice(agreement.to_string().as_bytes());
        }
        out.extend_from_slice(b"\r\n\r\n");
    }
}

impl fmt::Debug for Upgrade<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("origin", &self.origin)
            .field("protocols", &self.protocols.len())
            .field("offers", &self.offers)
            .finish_non_exhaustive()
    }
}

fn check_method(request: &Request<'_>) -> Result<(), Refusal> {
    match request.method() {
        "GET" if request.is_http_11() => Ok(()),
        // RFC 9110 §7.8: an Upgrade in an HTTP/1.0 request is to be ignored.
        "GET" => Err(Refusal::upgrade_required("a WebSocket is opened with HTTP/1.1")),
        "HEAD" => Err(Refusal::method_not_allowed().without_body()),
        _ => Err(Refusal::method_not_allowed()),
    }
}

/// Were a body let through, its bytes would be taken for frames here and for something else by a
/// proxy on the way.
fn check_no_body(request: &Request<'_>) -> Result<(), Refusal> {
    if request.header("Transfer-Encoding").is_some() {
        return Err(Refusal::bad_request("Transfer-Encoding in an opening handshake"));
    }
    match request.single("Content-Length")? {
        None | Some(b"0") => Ok(()),
        Some(_) => Err(Refusal::bad_request("an opening handshake has no body")),
    }
}

fn check_upgrade(request: &Request<'_>) -> Result<(), Refusal> {
    if !token::holds(request.headers("Upgrade"), "websocket") {
        return Err(Refusal::upgrade_required("only WebSocket is spoken here"));
    }
    if !token::holds(request.headers("Connection"), "upgrade") {
        return Err(Refusal::bad_request("Connection does not hold Upgrade"));
    }
    Ok(())
}

fn check_version(request: &Request<'_>) -> Result<(), Refusal> {
    match request.single("Sec-WebSocket-Version")? {
        Some(b"13") => Ok(()),
        Some(_) => Err(Refusal::upgrade_required("Sec-WebSocket-Version is not 13")),
        None => Err(Refusal::upgrade_required("Sec-WebSocket-Version is missing")),
    }
}

fn key_of<'h>(request: &Request<'h>) -> Result<&'h str, Refusal> {
    let Some(value) = request.single("Sec-WebSocket-Key")? else {
        return Err(Refusal::bad_request("Sec-WebSocket-Key is missing"));
    };
    token::ascii(value)
        .filter(|text| key::is_key(text))
        .ok_or_else(|| Refusal::bad_request("Sec-WebSocket-Key is not 16 bytes of base64"))
}

fn origin_of<'h>(request: &Request<'h>) -> Result<Option<&'h str>, Refusal> {
    match request.single("Origin")? {
        None => Ok(None),
        Some(value) => match token::ascii(value) {
            Some(origin) => Ok(Some(origin)),
            None => Err(Refusal::bad_request("Origin is not ASCII")),
        },
    }
}

/// RFC 6455 §4.1: at least one, each a token, none twice.
fn protocols_of<'h>(request: &Request<'h>) -> Result<Vec<&'h str>, Refusal> {
    let mut protocols = Vec::new();
    let mut is_there = false;
    for value in request.headers("Sec-WebSocket-Protocol") {
        is_there = true;
        for element in token::elements(value) {
            // Checked before the search for a twin, which would be quadratic in a long list.
            if protocols.len() == PROTOCOLS_MAX {
                let message = format!("more than {PROTOCOLS_MAX} subprotocols");
                return Err(Refusal::bad_request(message));
            }
            match token::ascii(element).filter(|text| token::is_token(text.as_bytes())) {
                Some(name) if protocols.contains(&name) => {
                    return Err(Refusal::bad_request("a subprotocol is there twice"));
                }
                Some(name) => protocols.push(name),
                None => return Err(Refusal::bad_request("a subprotocol is not a token")),
            }
        }
    }
    if is_there && protocols.is_empty() {
        return Err(Refusal::bad_request("Sec-WebSocket-Protocol is empty"));
    }
    Ok(protocols)
}
