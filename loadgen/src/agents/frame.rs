//! Frames between a run and its agents: four bytes of length, most significant first, then one
//! message in MessagePack. Whoever reads says how long a frame may be. Knows no messages; called by
//! both ends.

use std::io::{self, Read as _, Write as _};

use serde::Serialize;
use serde::de::DeserializeOwned;
use socket2::Socket;

/// The longest frame to or from somebody who has not proved that he may: 4 KB.
pub(super) const STRANGER_BYTES_MAX: u32 = 4 * 1024;

/// The longest frame of all, 1 GB: a worker's ledger with ten million accounts, or a plan with as
/// many messages as can be drawn.
pub(super) const FRAME_BYTES_MAX: u32 = 1 << 30;

/// Sends one message in one write.
///
/// # Errors
///
/// If the other end is gone or the message is longer than [`FRAME_BYTES_MAX`].
pub(super) fn send<T: Serialize>(socket: &Socket, message: &T) -> io::Result<()> {
    let mut frame = vec![0; 4];
    rmp_serde::encode::write_named(&mut frame, message).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, too_long(length, FRAME_BYTES_MAX)));
    }
    frame[..4].copy_from_slice(&length.to_be_bytes());
    let mut socket = socket;
    socket.write_all(&frame)
}

/// Waits for one message; none if the other end is gone, which it may be between two frames only.
///
/// # Errors
///
/// If the frame is longer than `bytes_max`, breaks off, or holds something else.
pub(super) fn receive<T: DeserializeOwned>(
    socket: &Socket,
    bytes_max: u32,
) -> io::Result<Option<T>> {
    let mut socket = socket;
    let mut length = [0; 4];
    let mut filled = 0;
    while filled < length.len() {
        match socket.read(&mut length[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_be_bytes(length);
    if length > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, too_long(length, bytes_max)));
    }
    // Grows with what comes: a length alone takes no memory.
    let mut body = Vec::new();
    socket.take(u64::from(length)).read_to_end(&mut body)?;
    if body.len() < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message = rmp_serde::from_slice(&body);
    message.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn too_long(length: u32, bytes_max: u32) -> String {
    format!("a frame of {length} bytes, where {bytes_max} are allowed")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (Socket, Socket) {
        let (one, other) = UnixStream::pair().unwrap();
        (Socket::from(one), Socket::from(other))
    }

    #[test]
    fn a_frame_is_a_length_and_messagepack() {
        let (one, other) = pair();
        send(&one, &(7_u64, "x")).unwrap();
        let mut bytes = [0; 8];
        (&other).read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [0, 0, 0, 4, 0x92, 7, 0xa1, b'x']);
        (&other).write_all(&bytes).unwrap();
        assert_eq!(receive::<(u64, String)>(&one, 4).unwrap(), Some((7, "x".to_owned())));
    }

    #[test]
    fn what_is_too_long_cut_off_or_something_else_is_refused_and_an_end_is_no_error() {
        let cases: [(&[u8], &str); 4] = [
            (&[0xff, 0xff, 0xff, 0xff], "a frame of 4294967295 bytes, where 8 are allowed"),
            (&[0, 0], "unexpected end of file"),
            (&[0, 0, 0, 8, 0x92, 7], "unexpected end of file"),
            (&[0, 0, 0, 1, 0xa0], "invalid type: string \"\", expected a tuple of size 2"),
        ];
        for (bytes, expected) in cases {
            let (one, other) = pair();
            (&other).write_all(bytes).unwrap();
            drop(other);
            let error = receive::<(u64, String)>(&one, 8).unwrap_err();
            assert_eq!(error.to_string(), expected, "{bytes:?}");
        }
        let (one, other) = pair();
        drop(other);
        assert_eq!(receive::<(u64, String)>(&one, 8).unwrap(), None);
    }
}
