//! The PROXY protocol, version 1 (a line of text) and 2 (binary): what a proxy sends before the
//! first byte of a connection that it forwards. Finds the header's end, which is all of it that may
//! be taken off the connection; a library reads what stands in it.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use core::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};

use super::ClientAddress;

/// The longest header that is read, in bytes. Version 1 has 107 at most; version 2 may have 64 KiB,
/// but what proxies add to the 52 bytes of two addresses (names, certificates' subjects) is short.
pub const PROXY_HEADER_BYTES_MAX: usize = 2048;

/// The longest line of version 1, CRLF included (§2.1).
const LINE_BYTES_MAX: usize = 107;
const LINE_START: &[u8] = b"PROXY ";
/// What version 2 begins with (§2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family, and the length of the rest.
const FIXED_BYTES: usize = 16;

/// A header, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Who connected to the proxy; None if it speaks for itself (a health check) or does not know.
    pub client: Option<ClientAddress>,
    /// How many bytes the header has.
    pub len: usize,
}

/// What stands there is no header of the PROXY protocol, or one that is not read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The first bytes begin no header.
    #[error("no PROXY header, which this address must send")]
    Missing,
    /// It is longer than its version or [`PROXY_HEADER_BYTES_MAX`] allow.
    #[error("a PROXY header that is too long")]
    TooLong,
    /// It breaks the rules.
    #[error("a PROXY header that can't be read")]
    Malformed,
}

/// Reads the header that a connection begins with. None: it is not there to its end yet. Says that
/// something is wrong as soon as the byte that is has come, however the bytes are split.
///
/// ```
/// use broker_proto::forwarded::read_proxy_header;
///
/// let bytes = b"PROXY TCP4 192.0.2.1 203.0.113.9 4711 443\r\nGET / HTTP/1.1\r\n";
/// let header = read_proxy_header(bytes)?.expect("it is whole");
/// assert_eq!(header.client.expect("it tells").to_string(), "192.0.2.1:4711");
/// assert_eq!(&bytes[header.len..], b"GET / HTTP/1.1\r\n");
/// assert_eq!(read_proxy_header(b"PROXY TCP4 192.0"), Ok(None));
/// # Ok::<(), broker_proto::forwarded::HeaderError>(())
/// ```
///
/// # Errors
///
/// [`HeaderError`]; the connection is of no use then.
pub fn read_proxy_header(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderError> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => read_line(bytes),
        Some(_) => read_binary(bytes),
    }
}

fn read_line(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderError> {
    begins_with(bytes, LINE_START)?;
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() < LINE_BYTES_MAX { Ok(None) } else { Err(HeaderError::TooLong) };
    };
    let line = &window[..=end];
    let header = v1::Header::try_from(line).map_err(|_| HeaderError::Malformed)?;
    // The library stops at the first CR, wherever that is.
    if header.header.len() != line.len() {
        return Err(HeaderError::Malformed);
    }
    let client = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(to) => Some(from(to.source_address, to.source_port)),
        v1::Addresses::Tcp6(to) => Some(from(to.source_address, to.source_port)),
    };
    Ok(Some(ProxyHeader { client, len: line.len() }))
}

fn read_binary(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderError> {
    begins_with(bytes, SIGNATURE)?;
    let Some(&[high, low]) = bytes.get(FIXED_BYTES - 2..FIXED_BYTES) else { return Ok(None) };
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if len > PROXY_HEADER_BYTES_MAX {
        return Err(HeaderError::TooLong);
    }
    let Some(header) = bytes.get(..len) else { return Ok(None) };
    let header = v2::Header::try_from(header).map_err(|_| HeaderError::Malformed)?;
    let client = match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(to)) => {
            Some(from(to.source_address, to.source_port))
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(to)) => {
            Some(from(to.source_address, to.source_port))
        }
        // §2.2: the proxy's own connection, or one of a kind that has no address here.
        _ => None,
    };
    Ok(Some(ProxyHeader { client, len }))
}

fn begins_with(bytes: &[u8], start: &[u8]) -> Result<(), HeaderError> {
    let len = bytes.len().min(start.len());
    if bytes[..len] == start[..len] { Ok(()) } else { Err(HeaderError::Missing) }
}

fn from(ip: impl Into<IpAddr>, port: u16) -> ClientAddress {
    SocketAddr::new(ip.into(), port).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &len, rest].concat()
    }

    fn client(bytes: &[u8]) -> Option<String> {
        let header = read_proxy_header(bytes).unwrap().unwrap();
        assert_eq!(header.len, bytes.len());
        header.client.map(|client| client.to_string())
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 203, 0, 113, 9, 0x12, 0x67, 1, 187];

    #[test]
    fn both_versions_tell_who_connected() {
        let line = b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n";
        assert_eq!(client(line).as_deref(), Some("[2001:db8::1]:4711"));
        let mapped = b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n";
        assert_eq!(client(mapped).as_deref(), Some("192.0.2.1:1"), "it is one of IPv4");
        assert_eq!(client(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), None);
        assert_eq!(client(b"PROXY UNKNOWN\r\n"), None);
        assert_eq!(client(&binary(0x21, 0x11, &V4)).as_deref(), Some("192.0.2.1:4711"));
        let with_more = [&V4[..], &[4, 0, 1, 0]].concat();
        assert_eq!(client(&binary(0x21, 0x11, &with_more)).as_deref(), Some("192.0.2.1:4711"));
        let v6 = [&[0x20; 16][..], &[1; 16], &[0, 7, 0, 8]].concat();
        assert_eq!(
            client(&binary(0x21, 0x21, &v6)).as_deref(),
            Some("[2020:2020:2020:2020:2020:2020:2020:2020]:7")
        );
        assert_eq!(client(&binary(0x20, 0x11, &V4)), None, "LOCAL speaks for the proxy");
        assert_eq!(client(&binary(0x21, 0x00, &[])), None);
        assert_eq!(client(&binary(0x21, 0x31, &[0; 216])), None);
    }

    #[test]
    fn a_header_in_pieces_is_read_when_its_last_byte_has_come_and_nothing_behind_it() {
        for whole in
            [&b"PROXY TCP4 192.0.2.1 203.0.113.9 4711 443\r\n"[..], &binary(0x21, 0x11, &V4)]
        {
            for len in 0..whole.len() {
                assert_eq!(read_proxy_header(&whole[..len]), Ok(None), "{len} bytes");
            }
            let more = [whole, b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n"].concat();
            assert_eq!(read_proxy_header(&more).unwrap().unwrap().len, whole.len());
        }
    }

    #[test]
    fn what_is_no_header_is_told_with_its_first_wrong_byte() {
        for start in [&b"G"[..], b"PROXYX", b"POST /", b"\x16\x03\x01", b"\r\n\r\n\0\r\nQUIT\r"] {
            assert_eq!(read_proxy_header(start), Err(HeaderError::Missing), "{start:?}");
        }
    }

    #[test]
    fn a_line_has_107_bytes_and_what_is_announced_has_its_limit_too() {
        let unknown = |len: usize| {
            let mut line = b"PROXY UNKNOWN ".to_vec();
            line.resize(len - 2, b'x');
            [&line[..], b"\r\n"].concat()
        };
        assert_eq!(client(&unknown(107)), None);
        assert_eq!(read_proxy_header(&unknown(108)), Err(HeaderError::TooLong));
        assert_eq!(read_proxy_header(&unknown(108)[..107]), Err(HeaderError::TooLong));
        let announced = [SIGNATURE, &[0x21, 0x11, 0x07, 0xf1]].concat();
        assert_eq!(read_proxy_header(&announced), Err(HeaderError::TooLong), "2,049 bytes");
        let announced = [SIGNATURE, &[0x21, 0x11, 0x07, 0xf0]].concat();
        assert_eq!(read_proxy_header(&announced), Ok(None));
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        for line in [
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 70000\r\n",
            "PROXY TCP4 1.2.3.256 1.2.3.4 1 1\r\n",
            "PROXY TCP4 ::1 ::1 1 1\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
            "PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY UNKNOWN a\rb\r\n",
            "PROXY \r\n",
        ] {
            let read = read_proxy_header(line.as_bytes());
            assert_eq!(read, Err(HeaderError::Malformed), "{line:?}");
        }
        for header in [
            binary(0x11, 0x11, &V4),
            binary(0x22, 0x11, &V4),
            binary(0x21, 0x41, &V4),
            binary(0x21, 0x13, &V4),
            binary(0x21, 0x11, &V4[..11]),
            binary(0x21, 0x21, &V4),
        ] {
            assert_eq!(read_proxy_header(&header), Err(HeaderError::Malformed), "{header:?}");
        }
    }
}
