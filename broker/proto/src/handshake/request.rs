//! One complete request head, parsed and checked against what RFC 9112 demands of every HTTP/1.1
//! request. Says nothing about WebSocket but whether the request asks for it (that is `upgrade`),
//! and routes nothing. Made once per connection, when `HeadScanner` has found the end.

use std::fmt;

use httparse::{EMPTY_HEADER, Header};

use super::authority::Authority;
use super::{HeadLimits, HeadScanner, Refusal, token};

/// A request head, borrowed from the bytes it was parsed from.
///
/// `Debug` shows the method and the path only: the query and the headers can hold secrets.
///
/// ```
/// use broker_proto::handshake::{HeadLimits, Request};
///
/// let head = b"GET /healthz?full HTTP/1.1\r\nHost: h\r\n\r\n";
/// let request = Request::parse(head, &HeadLimits::default())?;
/// assert_eq!((request.method(), request.path()), ("GET", "/healthz"));
/// assert_eq!(request.query(), Some("full"));
/// assert!(!request.wants_websocket());
/// # Ok::<(), broker_proto::handshake::Refusal>(())
/// ```
pub struct Request<'h> {
    method: &'h str,
    target: &'h str,
    is_http_11: bool,
    headers: Vec<Header<'h>>,
}

impl<'h> Request<'h> {
    /// Parses `head`, which is exactly what [`HeadScanner::scan`] found.
    ///
    /// Refuses with 400 all that the grammar of RFC 9112 does not have (line folding, a space
    /// before a colon, control characters), a target that is neither a path nor an absolute URI,
    /// and a Host that is missing, invalid or there twice (RFC 9112 §3.2); with 505 an HTTP version
    /// other than 1.0 and 1.1; with 414 and 431 what is over `limits`.
    pub fn parse(head: &'h [u8], limits: &HeadLimits) -> Result<Self, Refusal> {
        // The parser below forgives bare LFs and leading empty lines; the scanner does not.
        let mut scanner = HeadScanner::default();
        if scanner.scan(head, limits)? != Some(head.len()) {
            return Err(Refusal::bad_request("not exactly one request head"));
        }
        // All lines but the first and the closing one.
        let mut headers = vec![EMPTY_HEADER; scanner.lines().saturating_sub(2)];
        let mut parsed = httparse::Request::new(&mut headers);
        parsed.parse(head).map_err(|error| malformed(error, head))?;
        let (Some(method), Some(target), Some(version)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(Refusal::bad_request("the request line is incomplete"));
        };
        let request = Self { method, target, is_http_11: version == 1, headers };
        request.check_target()?;
        request.check_host()?;
        Ok(request)
    }

    /// The method as sent: methods are case-sensitive.
    pub fn method(&self) -> &'h str {
        self.method
    }

    /// The request target as sent: `/path?query`, an absolute `http` or `https` URI, or `*`.
    pub fn target(&self) -> &'h str {
        self.target
    }

    /// The path, not percent-decoded, without the query: `/` at the least, or `*`.
    pub fn path(&self) -> &'h str {
        let resource = self.resource();
        match resource.split_once('?').map_or(resource, |(path, _)| path) {
            "" => "/",
            path => path,
        }
    }

    /// What follows the first `?`, not percent-decoded. It may hold a token: never to be logged.
    pub fn query(&self) -> Option<&'h str> {
        self.resource().split_once('?').map(|(_, query)| query)
    }

    /// Whether the version is HTTP/1.1; it is HTTP/1.0 otherwise.
    pub fn is_http_11(&self) -> bool {
        self.is_http_11
    }

    /// The value of the first header of this name, whatever its case, without surrounding spaces.
    pub fn header(&self, name: &str) -> Option<&'h [u8]> {
        self.headers(name).next()
    }

    /// The values of all headers of this name, in order.
    pub fn headers(&self, name: &str) -> impl DoubleEndedIterator<Item = &'h [u8]> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// Whether the peer means to open a WebSocket, rightly or not: if so, what is wrong with its
    /// request is best answered by [`Upgrade::from_request`](super::Upgrade::from_request).
    pub fn wants_websocket(&self) -> bool {
        token::holds(self.headers("Upgrade"), "websocket")
            || self.header("Sec-WebSocket-Key").is_some()
            || self.header("Sec-WebSocket-Version").is_some()
    }

    /// Whether all who read this head agree on where its body ends (RFC 9112 §6.3): at most one
    /// length, digits only, or else chunks.
    ///
    /// # Errors
    /// 400: there are two lengths or an odd one, or chunks in HTTP/1.0.
    pub fn check_framing(&self) -> Result<(), Refusal> {
        let length = self.single("Content-Length")?;
        let coding = self.single("Transfer-Encoding")?;
        let is_number =
            |text: &[u8]| (1..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
        let fault = match (length, coding) {
            (Some(_), Some(_)) => "both Content-Length and Transfer-Encoding are there",
            (Some(length), None) if !is_number(length) => "Content-Length is no number",
            (None, Some(_)) if !self.is_http_11 => "HTTP/1.0 has no Transfer-Encoding",
            (None, Some(coding)) if !coding.eq_ignore_ascii_case(b"chunked") => {
                "the only Transfer-Encoding here is chunked"
            }
            _ => return Ok(()),
        };
        Err(Refusal::bad_request(fault))
    }

    /// The value of a header that may come once: 400 if it comes twice.
    pub(super) fn single(&self, name: &'static str) -> Result<Option<&'h [u8]>, Refusal> {
        let mut values = self.headers(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(Refusal::bad_request(format!("{name} is there twice"))),
        }
    }

    /// The target from its path on, without scheme and authority (RFC 9112 §3.2.2).
    fn resource(&self) -> &'h str {
        match after_http_scheme(self.target) {
            Some(rest) => &rest[authority_len(rest)..],
            None => self.target,
        }
    }

    fn check_target(&self) -> Result<(), Refusal> {
        let is_form = match after_http_scheme(self.target) {
            Some(rest) => Authority::parse(&rest[..authority_len(rest)]).is_some(),
            None => self.target.starts_with('/') || (self.target, self.method) == ("*", "OPTIONS"),
        };
        if !is_form || !self.target.is_ascii() || self.target.contains('#') {
            return Err(Refusal::bad_request("the request target is no path and no http URI"));
        }
        Ok(())
    }

    fn check_host(&self) -> Result<(), Refusal> {
        match self.single("Host")? {
            None if self.is_http_11 => Err(Refusal::bad_request("Host is missing")),
            None => Ok(()),
            Some(host) => match token::ascii(host).and_then(Authority::parse) {
                Some(_) => Ok(()),
                None => Err(Refusal::bad_request("Host is not host[:port]")),
            },
        }
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

fn after_http_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    is_http.then_some(rest)
}

fn authority_len(rest: &str) -> usize {
    rest.find(['/', '?']).unwrap_or(rest.len())
}

fn malformed(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::headers_too_large("too many headers"),
        httparse::Error::Version if names_a_version(head) => Refusal::http_version(),
        other => Refusal::bad_request(other.to_string()),
    }
}

/// Whether the request line ends in `HTTP/` digit `.` digit, so that it is HTTP, only not ours.
fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or(head);
    let last = line.rsplit(|&byte| byte == b' ').next().unwrap_or(line);
    match last.strip_prefix(b"HTTP/") {
        Some([major, b'.', minor]) => major.is_ascii_digit() && minor.is_ascii_digit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Request<'_>, Refusal> {
        Request::parse(head.as_bytes(), &HeadLimits::default())
    }

    fn status_of(head: &str) -> u16 {
        parse(head).expect_err(head).status()
    }

    #[test]
    fn path_and_query_of_every_form_of_target() {
        for (target, path, query) in [
            ("/", "/", None),
            ("/ws", "/ws", None),
            ("/ws?", "/ws", Some("")),
            ("/ws?a=1?b=2", "/ws", Some("a=1?b=2")),
            ("//ws", "//ws", None),
            ("/a://b?c", "/a://b", Some("c")),
            ("http://h", "/", None),
            ("HTTP://h:80/ws?x", "/ws", Some("x")),
            ("https://h?x=/y", "/", Some("x=/y")),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            let request = parse(&head).unwrap();
            assert_eq!((request.target(), request.path()), (target, path));
            assert_eq!(request.query(), query, "{target}");
        }
        assert_eq!(parse("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().path(), "*");
    }

    #[test]
    fn other_targets_are_refused() {
        for target in ["*", "ws", "h:80", "/a#b", "ftp://h/", "http:///ws", "http://u@h/", "/é"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(status_of(&head), 400, "{target}");
        }
    }

    #[test]
    fn headers_are_found_in_any_case_and_trimmed() {
        let request = parse("GET / HTTP/1.1\r\nhOST:h\r\nX: 1\r\nx:\t 2 \r\nY:\r\n\r\n").unwrap();
        assert_eq!(request.header("Host"), Some(&b"h"[..]));
        assert_eq!(request.headers("X").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(request.header("y"), Some(&b""[..]));
        assert_eq!(request.header("z"), None);
    }

    #[test]
    fn http_10_needs_no_host_and_never_two() {
        assert!(!parse("GET / HTTP/1.0\r\n\r\n").unwrap().is_http_11());
        assert_eq!(status_of("GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n"), 400);
        for host in ["", "a b", "u@h", "h:x", "h/", "a,b", "\u{e9}"] {
            assert_eq!(status_of(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), 400);
        }
    }

    #[test]
    fn anything_but_one_whole_head_is_refused() {
        for head in ["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\nmore"] {
            assert_eq!(status_of(head), 400, "{head:?}");
        }
    }

    #[test]
    fn debug_keeps_query_and_headers_to_itself() {
        let request = parse("GET /ws?token=s3cret HTTP/1.1\r\nHost: h\r\nCookie: s3cret\r\n\r\n");
        let shown = format!("{:?}", request.unwrap());
        assert!(shown.contains("/ws") && !shown.contains("s3cret"), "{shown}");
    }
}
