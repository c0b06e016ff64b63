//! Finds where an HTTP head ends while its bytes are still coming in, and refuses early what can
//! never become a head. Looks at each byte once, however the bytes are split; parses no header
//! (that is `request`). Called on every read before the handshake is complete.

use memchr::memchr3;

use super::Refusal;

/// Default of [`HeadLimits::head_bytes_max`]: 8 KiB.
pub const HEAD_BYTES_DEFAULT: usize = 8192;

/// Default of [`HeadLimits::headers_max`].
pub const HEADERS_DEFAULT: usize = 64;

/// How much of a head is accepted. `Default` gives 8192 bytes and 64 headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head, the closing empty line included. Longer: 414 while the request
    /// line has not ended, 431 after it.
    pub head_bytes_max: usize,
    /// Header lines. More: 431.
    pub headers_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { head_bytes_max: HEAD_BYTES_DEFAULT, headers_max: HEADERS_DEFAULT }
    }
}

/// Where the search for the end of one head stands. 16 bytes.
///
/// The lines must end in CRLF: the leniency of RFC 9112 §2.2 towards a bare LF, and towards empty
/// lines before the first, is what request smuggling is made of.
///
/// ```
/// use broker_proto::handshake::{HeadLimits, HeadScanner};
///
/// let limits = HeadLimits::default();
/// let mut scanner = HeadScanner::default();
/// assert_eq!(scanner.scan(b"GET / HTTP/1.1\r\nHost: h\r\n", &limits), Ok(None));
/// let all = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n\x81\x80";
/// assert_eq!(scanner.scan(all, &limits), Ok(Some(27)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct HeadScanner {
    /// Bytes from the start that need not be looked at again.
    scanned: usize,
    /// Lines that have ended, the request line included.
    lines: u32,
    at: At,
    is_response: bool,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Line { is_empty: bool },
    AfterCr { line_is_empty: bool },
    End,
}

impl Default for At {
    fn default() -> Self {
        Self::Line { is_empty: true }
    }
}

impl HeadScanner {
    /// A scanner for the head of a response, for the client side: the first byte must be the `H` of
    /// `HTTP/`.
    pub fn for_response() -> Self {
        Self { is_response: true, ..Self::default() }
    }

    /// Goes on where the last call stopped. `bytes` is everything received so far, from the start
    /// of the head; `Some(len)` says that the head, its empty line included, is `bytes[..len]`.
    ///
    /// Refuses as soon as the byte that is wrong has come: 400 for a first byte that begins no
    /// method, a bare CR or LF, or a NUL; 414 and 431 as [`HeadLimits`] says. The result does not
    /// depend on how the bytes were split.
    pub fn scan(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        let end = bytes.len().min(limits.head_bytes_max);
        while self.scanned < end {
            let rest = &bytes[self.scanned..end];
            match self.at {
                At::Line { is_empty } => self.scan_line(rest, is_empty)?,
                At::AfterCr { line_is_empty } => self.end_line(rest[0], line_is_empty, limits)?,
                At::End => break,
            }
        }
        match self.at {
            At::End => Ok(Some(self.scanned)),
            _ if self.scanned >= limits.head_bytes_max => Err(self.too_long(limits)),
            _ => Ok(None),
        }
    }

    /// Lines that have ended so far, the first and the closing empty line included.
    pub(super) fn lines(&self) -> usize {
        self.lines as usize
    }

    fn scan_line(&mut self, rest: &[u8], is_empty: bool) -> Result<(), Refusal> {
        if self.scanned == 0 && !self.may_begin_with(rest[0]) {
            return Err(Refusal::bad_request("the first byte does not begin an HTTP/1.1 message"));
        }
        let Some(len) = memchr3(b'\r', b'\n', 0, rest) else {
            self.scanned += rest.len();
            self.at = At::Line { is_empty: false };
            return Ok(());
        };
        match rest[len] {
            b'\r' => {
                self.scanned += len + 1;
                self.at = At::AfterCr { line_is_empty: is_empty && len == 0 };
                Ok(())
            }
            b'\n' => Err(Refusal::bad_request("a line ends in LF without CR")),
            _ => Err(Refusal::bad_request("NUL in the head")),
        }
    }

    fn end_line(
        &mut self,
        byte: u8,
        line_is_empty: bool,
        limits: &HeadLimits,
    ) -> Result<(), Refusal> {
        if byte != b'\n' {
            return Err(Refusal::bad_request("CR without LF in the head"));
        }
        // The first line is no header.
        if !line_is_empty && self.lines() > limits.headers_max {
            let message = format!("more than {} headers", limits.headers_max);
            return Err(Refusal::headers_too_large(message));
        }
        self.scanned += 1;
        self.lines += 1;
        self.at = if line_is_empty { At::End } else { At::Line { is_empty: true } };
        Ok(())
    }

    fn may_begin_with(&self, byte: u8) -> bool {
        if self.is_response { byte == b'H' } else { byte.is_ascii_uppercase() }
    }

    fn too_long(&self, limits: &HeadLimits) -> Refusal {
        let max = limits.head_bytes_max;
        if self.lines == 0 {
            Refusal::uri_too_long(format!("the request line is longer than {max} bytes"))
        } else {
            Refusal::headers_too_large(format!("the head is longer than {max} bytes"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nA: b\r\nC:\r\n\r\n";

    #[test]
    fn a_scanner_is_small() {
        assert!(size_of::<HeadScanner>() <= 16, "{} bytes", size_of::<HeadScanner>());
    }

    #[test]
    fn bytes_once_scanned_are_never_looked_at_again() {
        let mut scanner = HeadScanner::default();
        for len in 1..HEAD.len() {
            // Any second look at the first bytes would find a NUL and refuse.
            let mut bytes = vec![0; len - 1];
            bytes.push(HEAD[len - 1]);
            assert_eq!(scanner.scan(&bytes, &HeadLimits::default()), Ok(None), "byte {len}");
        }
        assert_eq!(scanner.scan(HEAD, &HeadLimits::default()), Ok(Some(HEAD.len())));
    }

    #[test]
    fn the_limit_counts_the_closing_line() {
        let exact = HeadLimits { head_bytes_max: HEAD.len(), headers_max: 2 };
        assert_eq!(HeadScanner::default().scan(HEAD, &exact), Ok(Some(HEAD.len())));
        let short = HeadLimits { head_bytes_max: HEAD.len() - 1, ..exact };
        assert_eq!(HeadScanner::default().scan(HEAD, &short).unwrap_err().status(), 431);
        let fewer = HeadLimits { headers_max: 1, ..exact };
        assert_eq!(HeadScanner::default().scan(HEAD, &fewer).unwrap_err().status(), 431);
        let line = HeadLimits { head_bytes_max: 15, ..exact };
        assert_eq!(HeadScanner::default().scan(HEAD, &line).unwrap_err().status(), 414);
    }

    #[test]
    fn what_was_found_is_found_again() {
        let mut scanner = HeadScanner::default();
        let longer = [HEAD, b"\n\0more"].concat();
        for _ in 0..2 {
            assert_eq!(scanner.scan(&longer, &HeadLimits::default()), Ok(Some(HEAD.len())));
        }
    }

    #[test]
    fn a_first_byte_of_another_protocol_is_refused_at_once() {
        for first in [&b"\x16\x03\x01"[..], b"\r\n", b"\n", b" GET", b"get", b"\x10\x0c"] {
            let refusal = HeadScanner::default().scan(first, &HeadLimits::default()).unwrap_err();
            assert_eq!(refusal.status(), 400, "{first:?}");
        }
        let mut scanner = HeadScanner::for_response();
        assert!(scanner.scan(b"GET", &HeadLimits::default()).is_err());
    }
}
