//! Connections from proxies that are trusted: the header of the PROXY protocol is read off the
//! socket before anything else, TLS too, and a request's head may name its client. Whoever the
//! client is has its place among the connections of its own address.
//!
//! What is believed of whom is `proxies`' to say.

use broker_proto::forwarded::{ClientAddress, PROXY_HEADER_BYTES_MAX, read_proxy_header};
use broker_proto::handshake::{Refusal, Request};

use super::Worker;
use super::connection::Phase;
use crate::metrics::CloseReason;
use crate::transport::Input;

impl Worker {
    /// Reads the header of the PROXY protocol, if it is there to its end. Until then it stays in the
    /// kernel, which tells when more of it comes; the deadline is that of the request's head.
    pub(super) fn read_proxy_header(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let mut bytes = [0; PROXY_HEADER_BYTES_MAX];
        let len = match connection.socket.peek(&mut bytes) {
            Input::Bytes { len, .. } => len,
            Input::WouldBlock => return,
            _ => return self.remove(slot, CloseReason::Lost),
        };
        connection.heard = self.now;
        match read_proxy_header(&bytes[..len]) {
            // No more of it will come.
            Ok(None) if connection.hung_up => self.remove(slot, CloseReason::Lost),
            Ok(None) => {}
            Ok(Some(header)) => {
                if !connection.socket.skip(&mut bytes[..header.len]) {
                    return self.remove(slot, CloseReason::Lost);
                }
                connection.phase = Phase::Head(None);
                // Without one the proxy speaks for itself, and has its place like any other.
                let own = || connection.socket.peer_address().map(ClientAddress::from);
                let Some(client) = header.client.or_else(own) else { return };
                match self.name_client(slot, client) {
                    Ok(()) => self.read(slot),
                    Err(refusal) => self.refuse_proxied(slot, &refusal),
                }
            }
            Err(error) => self.refuse_proxied(slot, &Refusal::bad_request(error.to_string())),
        }
    }

    /// Answers with an HTTP status, where that can be understood: not before TLS is agreed on.
    pub(super) fn refuse_proxied(&mut self, slot: usize, refusal: &Refusal) {
        let Some(connection) = self.connections.get(slot) else { return };
        if !connection.handshaking {
            return self.refuse(slot, refusal);
        }
        let peer = connection.address();
        self.core.counters().count_refusal(refusal.status());
        if self.may_log() {
            let (status, reason) = (refusal.status(), refusal.message());
            tracing::info!(peer, status, reason, "refused a connection");
        }
        self.remove(slot, CloseReason::Protocol);
    }

    /// Takes from a request whose it is, if it comes from a proxy that is trusted and tells.
    ///
    /// # Errors
    ///
    /// 400 if what it tells can't be read, 429 if the client has as many connections as it may.
    pub(super) fn recognise(&mut self, slot: usize, request: &Request<'_>) -> Result<(), Refusal> {
        let Some(connection) = self.connections.get(slot) else { return Ok(()) };
        if connection.client.is_some() || !self.proxies.is_any() {
            return Ok(());
        }
        let Some(peer) = connection.socket.peer_address() else { return Ok(()) };
        if !self.proxies.trusts(peer.ip()) {
            return Ok(());
        }
        let told = self.proxies.client(peer.ip(), |name| request.headers(name));
        let told = told.map_err(|error| Refusal::bad_request(error.to_string()))?;
        self.name_client(slot, told.unwrap_or_else(|| peer.into()))
    }

    /// From here on the connection is this client's, who gets a place if he may have one more.
    fn name_client(&mut self, slot: usize, client: ClientAddress) -> Result<(), Refusal> {
        let place = self.place_of(client.ip)?;
        match self.connections.get_mut(slot) {
            Some(connection) => {
                connection.place = place;
                connection.client = Some(Box::new(client));
            }
            None => self.admission.give_back(&place),
        }
        Ok(())
    }
}
