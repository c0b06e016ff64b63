//! Plain HTTP/1.1 as bytes over TCP, so that a test sees exactly what is sent and what comes.
//! Follows nothing, retries nothing, checks nothing.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use broker_proto::handshake::{HeadLimits, HeadScanner};

/// What came back: the head taken apart, and everything after it until the broker closed.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The first header of this name, whatever its case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// `GET path`; the broker is asked to close afterwards.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    exchange(address, request.as_bytes(), Duration::from_secs(10))
}

/// Sends `request` as it stands on a connection of its own and reads the answer. A 101 ends with
/// its head; any other answer with the broker's close.
pub(crate) fn exchange(
    address: SocketAddr,
    request: &[u8],
    limit: Duration,
) -> io::Result<Response> {
    exchange_over(TcpStream::connect(address)?, request, limit)
}

/// A connection that comes from this address of the machine, of which the loopback has many.
pub(crate) fn connect_from(from: &str, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    let from: std::net::IpAddr = from.parse().map_err(io::Error::other)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// As [`exchange`], on a connection that is there already.
pub(crate) fn exchange_over(
    mut stream: TcpStream,
    request: &[u8],
    limit: Duration,
) -> io::Result<Response> {
    stream.set_read_timeout(Some(limit))?;
    // A broker that refuses early closes while we still write: its answer is what counts.
    let written = stream.write_all(request);
    let mut received = Vec::new();
    let mut scanner = HeadScanner::for_response();
    let mut head = None;
    let mut chunk = [0; 16 * 1024];
    loop {
        if head.is_none() {
            head = scanner
                .scan(&received, &HeadLimits::default())
                .map_err(|refusal| io::Error::other(format!("no response head: {refusal:?}")))?;
        }
        if head.is_some_and(|length| status(&received[..length]) == Some(101)) {
            break;
        }
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => received.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && head.is_some() => break,
            Err(error) => return Err(error),
        }
    }
    let Some(length) = head else {
        written?;
        return Err(io::Error::other(format!(
            "closed after {} bytes, without a whole response head",
            received.len()
        )));
    };
    let body = received.split_off(length);
    let status = status(&received).ok_or_else(|| io::Error::other("no status"))?;
    Ok(Response { status, head: String::from_utf8_lossy(&received).into_owned(), body })
}

fn status(head: &[u8]) -> Option<u16> {
    str::from_utf8(head.get(b"HTTP/1.1 ".len()..)?.get(..3)?).ok()?.parse().ok()
}
