//! The opening handshake of one connection: the request, and the response as it comes in. Holds
//! memory only until it is done. Called by the client, which owns the socket.

use broker_proto::handshake::{ClientHandshake, HeadLimits, HeadScanner};
use broker_proto::ws::deflate::{Agreement, Offer};

use crate::target::{Access, Target};

/// A request was sent, its response is not complete.
pub(super) struct Upgrading {
    handshake: ClientHandshake,
    scanner: HeadScanner,
    head: Vec<u8>,
}

/// The connection is open.
pub(super) struct Upgraded {
    /// The bytes after the response's head.
    pub(super) rest: Vec<u8>,
    /// How messages are compressed, if they are.
    pub(super) deflate: Option<Agreement>,
}

impl Upgrading {
    /// The state to wait in, and the request to send.
    pub(super) fn begin(target: &Target, host: &str, resource: &str) -> (Self, Vec<u8>) {
        let mut handshake = ClientHandshake::new(fastrand::u128(..).to_ne_bytes());
        if target.wire.deflates {
            handshake = handshake.with_deflate(Offer::BROWSER);
        }
        let mut request = Vec::with_capacity(256);
        let Access { headers, .. } = &target.access;
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
        let offered = target.subprotocols();
        handshake.write_request(&mut request, host, resource, &offered, &headers);
        (Self { handshake, scanner: HeadScanner::for_response(), head: Vec::new() }, request)
    }

    /// What comes of it once the response's head is complete and right.
    pub(super) fn handle_bytes(
        &mut self,
        bytes: &[u8],
        target: &Target,
    ) -> Result<Option<Upgraded>, String> {
        self.head.extend_from_slice(bytes);
        let scanned = self.scanner.scan(&self.head, &HeadLimits::default());
        let scanned = scanned.map_err(|refusal| format!("no HTTP response: {refusal}"))?;
        let Some(length) = scanned else { return Ok(None) };
        let offered = target.subprotocols();
        let accepted = self.handshake.verify(&self.head[..length], &offered);
        let deflate = accepted.map_err(|error| error.to_string())?.deflate;
        Ok(Some(Upgraded { rest: self.head.split_off(length), deflate }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Protocol, Secret};

    #[test]
    fn the_request_asks_for_the_subprotocol_and_carries_the_headers() {
        let mut target = Target::resolve("ws://127.0.0.1:1/a?b=c", Protocol::Mqtt).unwrap();
        let request = |target: &Target| {
            let server = target.servers.first();
            let (_, request) = Upgrading::begin(target, &server.host, &server.resource);
            String::from_utf8(request).unwrap()
        };
        let plain = request(&target);
        assert!(plain.starts_with("GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"), "{plain}");
        assert!(plain.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"), "{plain}");
        target.access.subprotocol = Some("mqttv3.1".into());
        target.access.headers = vec![("Authorization".into(), Secret::new("Bearer a.b"))];
        let changed = request(&target);
        assert!(changed.contains("\r\nSec-WebSocket-Protocol: mqttv3.1\r\n"), "{changed}");
        assert!(changed.contains("\r\nAuthorization: Bearer a.b\r\n"), "{changed}");
        target.access.subprotocol = Some(String::new());
        assert!(!request(&target).contains("Sec-WebSocket-Protocol"));
    }
}
