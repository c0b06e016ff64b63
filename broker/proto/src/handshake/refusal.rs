//! What a peer is told when its opening request is not accepted, and the HTTP response that tells
//! it. Decides nothing. Made by the rest of `handshake` and by whoever routes requests.
//!
//! Messages go to the peer and to logs, so they never quote what can hold a secret: the query, a
//! subprotocol (it may be `bearer.<JWT>`), `Authorization`, a cookie.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Why a request is refused: an HTTP status, a stable code for programs, a message for people.
///
/// ```
/// use broker_proto::handshake::Refusal;
///
/// let mut out = Vec::new();
/// Refusal::not_found("no such page").write_response(&mut out);
/// assert!(out.starts_with(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n"));
/// assert!(out.ends_with(br#"{"error":{"code":"not_found","message":"no such page"}}"#));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub struct Refusal {
    status: u16,
    code: &'static str,
    message: Cow<'static, str>,
    is_bodyless: bool,
}

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), is_bodyless: false }
    }

    /// 400: the request breaks HTTP or RFC 6455.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "bad_request", message)
    }

    /// 401 with `WWW-Authenticate: Bearer` (RFC 6750 §3): the token is missing or not valid.
    pub fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(401, "unauthorized", message)
    }

    /// 403: well-formed, but not from here (RFC 6455 §4.2.2 on the origin).
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(403, "forbidden", message)
    }

    /// 404: nothing is served at this path.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(404, "not_found", message)
    }

    /// 405 with `Allow: GET`.
    pub fn method_not_allowed() -> Self {
        Self::new(405, "method_not_allowed", "only GET is allowed here")
    }

    /// 408: the head did not come in time.
    pub fn request_timeout() -> Self {
        Self::new(408, "request_timeout", "the request head did not come in time")
    }

    /// 414: the request line alone is over the limit.
    pub fn uri_too_long(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(414, "uri_too_long", message)
    }

    /// 426 with `Upgrade: websocket` and `Sec-WebSocket-Version: 13` (RFC 6455 §4.4).
    pub fn upgrade_required(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(426, "upgrade_required", message)
    }

    /// 429 with `Retry-After: 1`: this peer asks too often.
    pub fn too_many_requests(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(429, "too_many_requests", message)
    }

    /// 431: the head is too long or has too many headers.
    pub fn headers_too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(431, "headers_too_large", message)
    }

    /// 503 with `Retry-After: 1`: the broker is full or going away.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(503, "unavailable", message)
    }

    /// 500: a fault on our side.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(500, "internal", message)
    }

    /// 505: a well-formed HTTP version other than 1.0 and 1.1.
    pub fn http_version() -> Self {
        Self::new(505, "http_version", "only HTTP/1.1 is spoken here")
    }

    /// The same without a body, as the answer to a HEAD request must be (RFC 9110 §9.3.2).
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.is_bodyless = true;
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The stable word for programs and for counters, such as `bad_request`.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What is wrong, in words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Appends the whole HTTP/1.1 response with a JSON body. It says `Connection: close`: the
    /// connection must be closed once it is written, and nothing that follows the request read.
    pub fn write_response(&self, out: &mut Vec<u8>) {
        let mut body = String::with_capacity(64 + self.message.len());
        body.push_str(r#"{"error":{"code":""#);
        push_escaped(&mut body, self.code);
        body.push_str(r#"","message":""#);
        push_escaped(&mut body, &self.message);
        body.push_str(r#""}}"#);

        let head = format!(
            "HTTP/1.1 {} {}\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.status,
            self.reason(),
            self.status_headers(),
            body.len(),
        );
        out.extend_from_slice(head.as_bytes());
        if !self.is_bodyless {
            out.extend_from_slice(body.as_bytes());
        }
    }

    fn reason(&self) -> &'static str {
        match self.status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            414 => "URI Too Long",
            426 => "Upgrade Required",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            500 => "Internal Server Error",
            503 => "Service Unavailable",
            _ => "HTTP Version Not Supported",
        }
    }

    fn status_headers(&self) -> &'static str {
        match self.status {
            401 => "Connection: close\r\nWWW-Authenticate: Bearer\r\n",
            405 => "Connection: close\r\nAllow: GET\r\n",
            // Who sends Upgrade must name it in Connection too (RFC 9110 §7.8).
            426 => {
                "Connection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            }
            429 | 503 => "Connection: close\r\nRetry-After: 1\r\n",
            _ => "Connection: close\r\n",
        }
    }
}

fn push_escaped(out: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control.is_control() => {
                write!(out, "\\u{:04x}", u32::from(control)).expect("a String takes all text");
            }
            plain => out.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(refusal: &Refusal) -> String {
        let mut out = Vec::new();
        refusal.write_response(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_response_is_complete_to_the_byte() {
        assert_eq!(
            response(&Refusal::upgrade_required("speak WebSocket")),
            "HTTP/1.1 426 Upgrade Required\r\n\
             Connection: close, Upgrade\r\n\
             Upgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\n\
             Content-Type: application/json\r\n\
             Content-Length: 65\r\n\
             \r\n\
             {\"error\":{\"code\":\"upgrade_required\",\"message\":\"speak WebSocket\"}}"
        );
    }

    #[test]
    fn whatever_the_message_the_body_is_json_of_the_stated_length() {
        let message = "a \"quote\" \\ and \r\n\0\u{1b}\u{7f}\u{85} é";
        let response = response(&Refusal::bad_request(message));
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
        let value: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(value["error"]["code"], "bad_request");
        assert_eq!(value["error"]["message"], message);
    }

    #[test]
    fn every_refusal_names_its_status_and_closes() {
        let refusals = [
            (Refusal::bad_request(""), "400 Bad Request"),
            (Refusal::unauthorized(""), "401 Unauthorized"),
            (Refusal::forbidden(""), "403 Forbidden"),
            (Refusal::not_found(""), "404 Not Found"),
            (Refusal::method_not_allowed(), "405 Method Not Allowed"),
            (Refusal::request_timeout(), "408 Request Timeout"),
            (Refusal::uri_too_long(""), "414 URI Too Long"),
            (Refusal::upgrade_required(""), "426 Upgrade Required"),
            (Refusal::too_many_requests(""), "429 Too Many Requests"),
            (Refusal::headers_too_large(""), "431 Request Header Fields Too Large"),
            (Refusal::unavailable(""), "503 Service Unavailable"),
            (Refusal::http_version(), "505 HTTP Version Not Supported"),
        ];
        for (refusal, line) in refusals {
            let start = format!("HTTP/1.1 {line}\r\nConnection: close");
            assert!(response(&refusal).starts_with(&start), "{refusal}");
        }
        assert!(response(&Refusal::unauthorized("")).contains("\r\nWWW-Authenticate: Bearer\r\n"));
        assert!(response(&Refusal::method_not_allowed()).contains("\r\nAllow: GET\r\n"));
        assert!(response(&Refusal::unavailable("")).contains("\r\nRetry-After: 1\r\n"));
        assert!(response(&Refusal::too_many_requests("")).contains("\r\nRetry-After: 1\r\n"));
    }

    #[test]
    fn without_body_states_the_length_and_sends_none() {
        let response = response(&Refusal::not_found("x").without_body());
        assert!(response.ends_with("Content-Length: 44\r\n\r\n"), "{response}");
    }
}
