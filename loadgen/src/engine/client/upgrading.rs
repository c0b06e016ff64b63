//! The opening handshake of one connection: the request, and the response as it comes in. Holds
//! memory only until it is done. Called by the client, which owns the socket.

use broker_proto::handshake::{ClientHandshake, HeadLimits, HeadScanner};

use crate::target::{Access, Target};

/// A request was sent, its response is not complete.
pub(super) struct Upgrading {
    handshake: ClientHandshake,
    scanner: HeadScanner,
    head: Vec<u8>,
}

impl Upgrading {
    /// The state to wait in, and the request to send.
    pub(super) fn begin(target: &Target) -> (Self, Vec<u8>) {
        let handshake = ClientHandshake::new(fastrand::u128(..).to_ne_bytes());
        let mut request = Vec::with_capacity(256);
        let Access { headers, .. } = &target.access;
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
        let offered = target.subprotocols();
        handshake.write_request(&mut request, &target.host, &target.resource, &offered, &headers);
        (Self { handshake, scanner: HeadScanner::for_response(), head: Vec::new() }, request)
    }

    /// The bytes after the response's head, once it is complete and right.
    pub(super) fn handle_bytes(
        &mut self,
        bytes: &[u8],
        target: &Target,
    ) -> Result<Option<Vec<u8>>, String> {
        self.head.extend_from_slice(bytes);
        let scanned = self.scanner.scan(&self.head, &HeadLimits::default());
        let scanned = scanned.map_err(|refusal| format!("no HTTP response: {refusal}"))?;
        let Some(length) = scanned else { return Ok(None) };
        let offered = target.subprotocols();
        let accepted = self.handshake.verify(&self.head[..length], &offered);
        accepted.map_err(|error| error.to_string())?;
        Ok(Some(self.head.split_off(length)))
    }
}
