//! The client's half of the opening handshake (RFC 6455 §4.1): write the request, check the
//! response. Makes no key itself: randomness is passed in. Called by the load generator and tests.

use httparse::EMPTY_HEADER;

use super::{HEADERS_DEFAULT, HeadLimits, HeadScanner, Refusal, accept_key, extension, key, token};
use crate::ws::deflate;

/// One attempt to open a WebSocket: the key that was sent, and so the answer that must come.
///
/// ```
/// use broker_proto::handshake::ClientHandshake;
///
/// let handshake = ClientHandshake::new(*b"the sample nonce");
/// let mut request = Vec::new();
/// handshake.write_request(&mut request, "example.com", "/ws", &["altavoz.v1.json"], &[]);
/// let response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
///     Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// let accepted = handshake.verify(response, &["altavoz.v1.json"])?;
/// assert_eq!(accepted.protocol, None);
/// # Ok::<(), broker_proto::handshake::ClientError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHandshake {
    key: [u8; key::KEY_TEXT_BYTES],
    deflate: Option<deflate::Offer>,
}

/// What the server agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted<'h> {
    /// The subprotocol it chose among those offered, or none.
    pub protocol: Option<&'h str>,
    /// How messages are compressed; `None` if that was not offered, or declined.
    pub deflate: Option<deflate::Agreement>,
}

/// Why a response does not open a WebSocket: the connection is to be dropped (RFC 6455 §4.1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// It is no HTTP/1.1 response head, or over the default limits; the status in the cause is the
    /// one a server would have used.
    #[error("the response is malformed: {0}")]
    Malformed(#[from] Refusal),
    /// A status other than 101.
    #[error("the server answered {0}, not 101")]
    Status(u16),
    /// `Upgrade` is missing, is there twice, or is not `websocket`.
    #[error("the response does not upgrade to websocket")]
    Upgrade,
    /// `Connection` does not hold `Upgrade`.
    #[error("Connection does not hold Upgrade in the response")]
    Connection,
    /// `Sec-WebSocket-Accept` is missing, is there twice, or answers another key.
    #[error("Sec-WebSocket-Accept does not answer the key")]
    Accept,
    /// An extension was accepted that was not offered, one twice, or the header is malformed.
    #[error("the server uses an extension that was not offered")]
    Extension,
    /// The answer to the offer of permessage-deflate breaks its rules.
    #[error("the server's answer to permessage-deflate is wrong: {0}")]
    Deflate(#[from] deflate::AnswerError),
    /// A subprotocol was chosen that was not offered, or more than one.
    #[error("the server chose a subprotocol that was not offered")]
    Protocol,
}

impl ClientHandshake {
    /// `key16` must be random and new for each connection (RFC 6455 §4.1).
    pub fn new(key16: [u8; 16]) -> Self {
        Self { key: key::encode_key(key16), deflate: None }
    }

    /// Offers permessage-deflate (RFC 7692) too. A server that declines is accepted.
    #[must_use]
    pub fn with_deflate(self, offer: deflate::Offer) -> Self {
        Self { deflate: Some(offer), ..self }
    }

    /// Appends the request. `host` is `host[:port]`, `target` a path with its query; `extra` are
    /// further headers. All texts are the caller's own and go out as they are: one that could hold
    /// a line break must be checked before.
    pub fn write_request(
        &self,
        out: &mut Vec<u8>,
        host: &str,
        target: &str,
        protocols: &[&str],
        extra: &[(&str, &str)],
    ) {
        let start = out.len();
        for text in ["GET ", target, " HTTP/1.1\r\nHost: ", host] {
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(
            b"\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: ",
        );
        out.extend_from_slice(&self.key);
        if !protocols.is_empty() {
            out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            out.extend_from_slice(protocols.join(", ").as_bytes());
        }
        if let Some(offer) = &self.deflate {
            out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
            out.extend_from_slice(offer.to_string().as_bytes());
        }
        for (name, value) in extra {
            for text in ["\r\n", name, ": ", value] {
                out.extend_from_slice(text.as_bytes());
            }
        }
        let lines = out[start..].iter().filter(|&&byte| byte == b'\n').count();
        let offers = usize::from(!protocols.is_empty()) + usize::from(self.deflate.is_some());
        debug_assert_eq!(lines, 5 + offers + extra.len());
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// Checks a response head, which is exactly what [`HeadScanner::for_response`] found.
    /// `protocols_offered` is what went into the request; a server that chooses none of them is
    /// accepted.
    pub fn verify<'h>(
        &self,
        head: &'h [u8],
        protocols_offered: &[&str],
    ) -> Result<Accepted<'h>, ClientError> {
        if HeadScanner::for_response().scan(head, &HeadLimits::default())? != Some(head.len()) {
            return Err(Refusal::bad_request("not exactly one response head").into());
        }
        let mut headers = [EMPTY_HEADER; HEADERS_DEFAULT];
        let mut response = httparse::Response::new(&mut headers);
        response.parse(head).map_err(|error| Refusal::bad_request(error.to_string()))?;
        let response = Response(&response);
        response.check_status()?;
        response.check_upgrade()?;
        self.check_accept(&response)?;
        let deflate = self.check_extensions(&response)?;
        let protocol = response.chosen_protocol(protocols_offered)?;
        Ok(Accepted { protocol, deflate })
    }

    /// At most one extension may be there: the one that was offered.
    fn check_extensions(
        &self,
        response: &Response<'_, '_>,
    ) -> Result<Option<deflate::Agreement>, ClientError> {
        let answers = extension::parse(response.all("Sec-WebSocket-Extensions"))
            .map_err(|_| ClientError::Extension)?;
        match (&answers[..], &self.deflate) {
            ([], _) => Ok(None),
            ([answer], Some(offer)) if answer.name == deflate::EXTENSION => {
                Ok(Some(offer.verify(answer)?))
            }
            _ => Err(ClientError::Extension),
        }
    }

    fn check_accept(&self, response: &Response<'_, '_>) -> Result<(), ClientError> {
        let key = token::ascii(&self.key).expect("base64 is ASCII");
        match response.single("Sec-WebSocket-Accept") {
            Ok(Some(accept)) if accept == accept_key(key) => Ok(()),
            _ => Err(ClientError::Accept),
        }
    }
}

struct Response<'r, 'h>(&'r httparse::Response<'r, 'h>);

/// A header that may come once came twice.
struct Twice;

impl<'h> Response<'_, 'h> {
    fn check_status(&self) -> Result<(), ClientError> {
        match (self.0.code, self.0.version) {
            (Some(101), Some(1)) => Ok(()),
            (Some(101), _) => Err(Refusal::http_version().into()),
            (status, _) => Err(ClientError::Status(status.unwrap_or(0))),
        }
    }

    fn check_upgrade(&self) -> Result<(), ClientError> {
        match self.single("Upgrade") {
            Ok(Some(value)) if value.eq_ignore_ascii_case(b"websocket") => {}
            _ => return Err(ClientError::Upgrade),
        }
        if !token::holds(self.all("Connection"), "upgrade") {
            return Err(ClientError::Connection);
        }
        Ok(())
    }

    fn chosen_protocol(&self, offered: &[&str]) -> Result<Option<&'h str>, ClientError> {
        match self.single("Sec-WebSocket-Protocol") {
            Ok(None) => Ok(None),
            Ok(Some(value)) => token::ascii(value)
                .filter(|chosen| offered.contains(chosen))
                .map(Some)
                .ok_or(ClientError::Protocol),
            Err(Twice) => Err(ClientError::Protocol),
        }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        self.0
            .headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    fn single(&self, name: &str) -> Result<Option<&'h [u8]>, Twice> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() { Err(Twice) } else { Ok(first) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 4] = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    ];

    fn verify(lines: &[&str]) -> Result<Option<String>, ClientError> {
        let head = lines.join("\r\n") + "\r\n\r\n";
        let handshake = ClientHandshake::new(*b"the sample nonce");
        let accepted = handshake.verify(head.as_bytes(), &["a", "b"])?;
        Ok(accepted.protocol.map(str::to_owned))
    }

    #[test]
    fn a_request_is_complete_to_the_byte() {
        let mut out = Vec::new();
        ClientHandshake::new(*b"the sample nonce").write_request(
            &mut out,
            "h:8080",
            "/ws?x",
            &["a", "b"],
            &[("Origin", "http://h")],
        );
        let expected = "GET /ws?x HTTP/1.1\r\n\
            Host: h:8080\r\n\
            Upgrade: websocket\r\n\
            Connection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Protocol: a, b\r\n\
            Origin: http://h\r\n\
            \r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_was_offered_may_be_chosen() {
        assert_eq!(verify(&LINES), Ok(None));
        let [status, upgrade, connection, accept] = LINES;
        let chosen = [status, upgrade, connection, accept, "Sec-WebSocket-Protocol: b"];
        assert_eq!(verify(&chosen), Ok(Some("b".to_owned())));
        let cased = [status, "upgrade: WebSocket", "CONNECTION: x, upgrade", accept];
        assert_eq!(verify(&cased), Ok(None));
    }

    #[test]
    fn an_offer_of_compression_may_be_accepted_or_declined_but_not_answered_with_another() {
        let handshake =
            ClientHandshake::new(*b"the sample nonce").with_deflate(deflate::Offer::BROWSER);
        let mut request = Vec::new();
        handshake.write_request(&mut request, "h", "/", &[], &[]);
        let request = String::from_utf8(request).unwrap();
        let offer =
            "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
        assert!(request.ends_with(offer), "{request}");

        let answered = |answer: &str| {
            let head = LINES.join("\r\n") + answer + "\r\n\r\n";
            handshake.verify(head.as_bytes(), &[]).map(|accepted| accepted.deflate)
        };
        assert_eq!(answered(""), Ok(None));
        let agreement = answered("\r\nsec-websocket-extensions: permessage-deflate").unwrap();
        assert_eq!(agreement.unwrap().server, deflate::Terms::default());
        for (answer, error) in [
            ("x", ClientError::Extension),
            ("permessage-deflate, x", ClientError::Extension),
            ("permessage-deflate, permessage-deflate", ClientError::Extension),
            (
                "permessage-deflate; x",
                ClientError::Deflate(deflate::AnswerError::Malformed("x".to_owned())),
            ),
        ] {
            let answer = format!("\r\nSec-WebSocket-Extensions: {answer}");
            assert_eq!(answered(&answer), Err(error), "{answer}");
        }
    }

    #[test]
    fn every_check_of_the_response_can_fail() {
        let with = |at: usize, line: &'static str| {
            let mut lines = LINES;
            lines[at] = line;
            verify(&lines).unwrap_err()
        };
        assert_eq!(with(0, "HTTP/1.1 200 OK"), ClientError::Status(200));
        assert_eq!(with(0, "HTTP/1.1 503 Busy"), ClientError::Status(503));
        assert!(matches!(with(0, "HTTP/1.0 101 x"), ClientError::Malformed(_)));
        assert!(matches!(with(0, "HTTP/2 101 x"), ClientError::Malformed(_)));
        assert_eq!(with(1, "X: y"), ClientError::Upgrade);
        assert_eq!(with(1, "Upgrade: websocket, h2c"), ClientError::Upgrade);
        assert_eq!(with(2, "Connection: close"), ClientError::Connection);
        assert_eq!(with(3, "X: y"), ClientError::Accept);
        // The same base64 in another case is another answer.
        let lower = "Sec-WebSocket-Accept: s3pplmbitxaq9kygzzhzrbk+xoo=";
        assert_eq!(with(3, lower), ClientError::Accept);
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let plus = |line: &'static str| {
            let [status, upgrade, connection, accept] = LINES;
            verify(&[status, upgrade, connection, accept, line]).unwrap_err()
        };
        assert_eq!(plus("Sec-WebSocket-Protocol: c"), ClientError::Protocol);
        assert_eq!(plus("Sec-WebSocket-Protocol: a, b"), ClientError::Protocol);
        assert_eq!(plus("Sec-WebSocket-Protocol: A"), ClientError::Protocol);
        let twice = "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a";
        assert_eq!(plus(twice), ClientError::Protocol);
        assert_eq!(plus("Sec-WebSocket-Extensions: permessage-deflate"), ClientError::Extension);
        assert_eq!(plus("Sec-WebSocket-Extensions: x"), ClientError::Extension);
        assert_eq!(plus("Sec-WebSocket-Extensions:"), ClientError::Extension);
        assert_eq!(plus(LINES[3]), ClientError::Accept);
        assert_eq!(plus(LINES[1]), ClientError::Upgrade);
    }
}
