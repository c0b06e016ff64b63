//! One HTTP/1.1 response as it comes in pieces: its status, and where its body begins and ends
//! (RFC 9112 §6.3). Keeps the head until it is whole, and nothing of the body. Called by the engine
//! with what was read.

use broker_proto::handshake::{HeadLimits, HeadScanner};

/// The most headers of a response.
const HEADERS_MAX: usize = 64;

/// The longest line between chunks.
const LINE_BYTES_MAX: usize = 256;

/// A response under way.
///
/// ```
/// use loadgen::target::http::Response;
///
/// let (mut response, mut body) = (Response::default(), Vec::new());
/// let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP";
/// let used = response.handle_bytes(bytes, &mut body).unwrap();
/// assert_eq!((used, body.as_slice(), response.is_done()), (bytes.len() - 4, &b"hi"[..], true));
/// assert_eq!((response.status(), response.keeps_alive()), (200, true));
/// ```
#[derive(Debug, Default)]
pub struct Response {
    head: Vec<u8>,
    state: State,
    status: u16,
    keeps_alive: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    /// So much of the body is to come.
    Length(u64),
    /// A line is not whole: a chunk's size, the end of its data, or a trailer.
    Line(Line, Vec<u8>),
    /// So much of a chunk is to come.
    Chunk(u64),
    /// The body ends with the connection.
    ToEnd,
    Done,
}

#[derive(Clone, Copy, Debug)]
enum Line {
    Size,
    EndOfData,
    Trailer,
}

impl Response {
    /// Takes what came: appends what of it is body to `body`, and returns how many bytes belong to
    /// this response.
    ///
    /// # Errors
    ///
    /// What about it is no HTTP.
    pub fn handle_bytes(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<usize, String> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            at += self.step(&bytes[at..], body)?;
        }
        Ok(at)
    }

    /// Whether all of it has come.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether nothing of it has come.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        matches!(self.state, State::Head) && self.head.is_empty()
    }

    /// The status; 0 before the head is whole.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether another request may follow on the connection.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    fn step(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<usize, String> {
        let (state, used) = match &mut self.state {
            State::Head => return self.read_head(bytes),
            State::Length(left) => {
                let used = take(bytes, *left, body);
                let left = *left - used as u64;
                (if left == 0 { State::Done } else { State::Length(left) }, used)
            }
            State::Chunk(left) => {
                let used = take(bytes, *left, body);
                let left = *left - used as u64;
                let is_over = left == 0;
                let after = State::Line(Line::EndOfData, Vec::new());
                (if is_over { after } else { State::Chunk(left) }, used)
            }
            State::Line(kind, line) => {
                let end = bytes.iter().position(|&byte| byte == b'\n');
                let used = end.map_or(bytes.len(), |end| end + 1);
                line.extend_from_slice(&bytes[..used]);
                if line.len() > LINE_BYTES_MAX {
                    return Err("no HTTP response: a line between chunks is too long".into());
                }
                if end.is_none() {
                    return Ok(used);
                }
                (after_line(*kind, line.trim_ascii())?, used)
            }
            State::ToEnd => {
                body.extend_from_slice(bytes);
                return Ok(bytes.len());
            }
            State::Done => return Ok(0),
        };
        self.state = state;
        Ok(used)
    }

    /// Returns how many of the bytes belong to the head.
    fn read_head(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let scanned = HeadScanner::for_response().scan(&self.head, &HeadLimits::default());
        let scanned = scanned.map_err(|refusal| format!("no HTTP response: {refusal}"))?;
        let Some(length) = scanned else { return Ok(bytes.len()) };
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        parsed.parse(&self.head[..length]).map_err(|error| format!("no HTTP response: {error}"))?;
        self.status = parsed.code.unwrap_or(0);
        let value = |name: &str| {
            let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
        };
        let says = |name: &str, word: &str| {
            let words = value(name).unwrap_or_default().split(',');
            words.into_iter().any(|said| said.trim().eq_ignore_ascii_case(word))
        };
        self.keeps_alive = parsed.version == Some(1) && !says("connection", "close");
        self.state = if matches!(self.status, 100..=199 | 204 | 304) {
            State::Done
        } else if says("transfer-encoding", "chunked") {
            State::Line(Line::Size, Vec::new())
        } else if let Some(length) = value("content-length") {
            match length.parse() {
                Ok(0) => State::Done,
                Ok(length) => State::Length(length),
                Err(_) => return Err("no HTTP response: the Content-Length is no number".into()),
            }
        } else {
            self.keeps_alive = false;
            State::ToEnd
        };
        self.head = Vec::new();
        Ok(length - before)
    }
}

fn after_line(kind: Line, line: &[u8]) -> Result<State, String> {
    match kind {
        Line::EndOfData if line.is_empty() => Ok(State::Line(Line::Size, Vec::new())),
        Line::Trailer if line.is_empty() => Ok(State::Done),
        Line::Trailer => Ok(State::Line(Line::Trailer, Vec::new())),
        Line::EndOfData => Err("no HTTP response: a chunk is longer than it said".into()),
        Line::Size => {
            let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
            let digits = std::str::from_utf8(digits.trim_ascii()).unwrap_or_default();
            match u64::from_str_radix(digits, 16) {
                Ok(0) => Ok(State::Line(Line::Trailer, Vec::new())),
                Ok(size) => Ok(State::Chunk(size)),
                Err(_) => Err("no HTTP response: the size of a chunk is no number".into()),
            }
        }
    }
}

fn take(bytes: &[u8], left: u64, body: &mut Vec<u8>) -> usize {
    let used = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    body.extend_from_slice(&bytes[..used]);
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of a response that comes in two pieces.
    fn read(bytes: &[u8], cut: usize) -> Result<(Response, String, usize), String> {
        let (mut response, mut body, mut used) = (Response::default(), Vec::new(), 0);
        for piece in [&bytes[..cut], &bytes[cut..]] {
            used += response.handle_bytes(piece, &mut body)?;
        }
        Ok((response, String::from_utf8(body).unwrap(), used))
    }

    #[test]
    fn a_body_is_found_however_it_is_framed_and_wherever_it_is_cut() {
        let head = "HTTP/1.1 200 OK\r\nX: y\r\n";
        for (rest, body, is_done, keeps_alive) in [
            ("Content-Length: 5\r\n\r\nhello", "hello", true, true),
            ("Content-Length: 0\r\nConnection: close\r\n\r\n", "", true, false),
            ("\r\nhello", "hello", false, false),
            (
                "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\nA\r\nllo, world\r\n0\r\nT: 1\r\n\r\n",
                "hello, world",
                true,
                true,
            ),
        ] {
            let text = format!("{head}{rest}");
            for cut in 0..=text.len() {
                let (response, found, used) = read(text.as_bytes(), cut).unwrap();
                assert_eq!((found.as_str(), used), (body, text.len()), "{text:?} at {cut}");
                assert_eq!((response.status(), response.is_done()), (200, is_done));
                assert_eq!(response.keeps_alive(), keeps_alive);
            }
        }
        let next = b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200";
        let (response, _, used) = read(next, 3).unwrap();
        assert_eq!((response.status(), used), (204, next.len() - 12));
    }

    #[test]
    fn what_is_no_response_is_said_to_be_none() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        ] {
            let why = read(text.as_bytes(), 0).unwrap_err();
            assert!(why.starts_with("no HTTP response: "), "{why}");
        }
    }
}
