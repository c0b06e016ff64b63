//! No protocol at all: whatever is sent comes back to its sender as it was. Payloads in and out; no
//! frames, no sockets. There are no topics, and nothing to subscribe to.

use std::borrow::Cow;

use super::Incoming;

/// A message is its payload.
pub(super) fn publish(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend_from_slice(payload);
}

/// What came back.
pub(super) fn read(bytes: &[u8]) -> Incoming<'_> {
    Incoming::Message { topic: b"", seq: None, payload: Cow::Borrowed(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_out_is_what_comes_back() {
        let mut out = Vec::new();
        publish(&mut out, b"\0\xff");
        assert_eq!(out, b"\0\xff");
        let back = Incoming::Message { topic: b"", seq: None, payload: Cow::Borrowed(b"\0\xff") };
        assert_eq!(read(&out), back);
    }
}
