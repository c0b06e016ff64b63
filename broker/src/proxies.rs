//! Whom the broker believes about who a client is. A proxy that is trusted speaks for others, in the
//! one way that the settings name; whoever is not trusted speaks for himself, whatever he says.
//!
//! No sockets. Workers ask it for each connection, the control plane for each request, since a proxy
//! may send the requests of many over one connection.

use std::net::IpAddr;

use broker_proto::forwarded::{self, ClientAddress, ForwardedError};
use ipnet::IpNet;

use crate::config::proxies::{ClientAddressFrom, Proxies as Settings};

/// The proxies that are trusted.
///
/// ```
/// use broker::config::proxies::Proxies as Settings;
/// use broker::proxies::Proxies;
///
/// let trusted = vec!["10.0.0.0/8".to_owned()];
/// let proxies = Proxies::new(&Settings { trusted, ..Settings::default() });
/// let list = [&b"198.51.100.7, 192.0.2.1"[..]];
/// let client = proxies.client("10.0.0.1".parse()?, |_| list.into_iter()).expect("it is a list");
/// assert_eq!(client.expect("it is named").to_string(), "192.0.2.1");
/// let liar = proxies.client("192.0.2.66".parse()?, |_| list.into_iter());
/// assert_eq!(liar, Ok(None));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Proxies {
    trusted: Box<[IpNet]>,
    tell: ClientAddressFrom,
}

impl Proxies {
    /// As the settings say.
    pub fn new(settings: &Settings) -> Self {
        Self { trusted: settings.nets().into(), tell: settings.client_address_from }
    }

    /// Whether there are any.
    pub fn is_any(&self) -> bool {
        !self.trusted.is_empty()
    }

    /// Whether this is the address of a proxy that is trusted.
    pub fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.trusted.iter().any(|net| net.contains(&ip))
    }

    /// Whether a connection from this address begins with a header of the PROXY protocol.
    pub fn must_send_header(&self, ip: IpAddr) -> bool {
        self.tell == ClientAddressFrom::ProxyProtocol && self.trusts(ip)
    }

    /// The client that a request speaks for which came from `peer`, if that is a trusted proxy and
    /// tells. `values` gives the values of all headers of a name, in their order.
    ///
    /// # Errors
    ///
    /// [`ForwardedError`]: a trusted proxy says something that can't be read. 400.
    pub fn client<'v, V: DoubleEndedIterator<Item = &'v [u8]>>(
        &self,
        peer: IpAddr,
        values: impl FnOnce(&'static str) -> V,
    ) -> Result<Option<ClientAddress>, ForwardedError> {
        if self.tell == ClientAddressFrom::ProxyProtocol || !self.trusts(peer) {
            return Ok(None);
        }
        match self.tell {
            ClientAddressFrom::Forwarded => {
                forwarded::forwarded(values("Forwarded"), |ip| self.trusts(ip))
            }
            _ => forwarded::x_forwarded_for(values("X-Forwarded-For"), |ip| self.trusts(ip)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(tell: ClientAddressFrom) -> Proxies {
        let trusted = vec!["127.0.0.1".to_owned(), "10.0.0.0/8".to_owned()];
        Proxies::new(&Settings { trusted, client_address_from: tell })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_header_counts_and_the_other_is_the_clients_own_invention() {
        let headers = |name: &str| match name {
            "Forwarded" => vec![&b"for=198.51.100.1"[..]],
            _ => vec![&b"198.51.100.2"[..]],
        };
        let client = |tell| {
            let client = proxies(tell).client(ip("127.0.0.1"), |name| headers(name).into_iter());
            client.unwrap().map(|client| client.to_string())
        };
        assert_eq!(client(ClientAddressFrom::Forwarded).as_deref(), Some("198.51.100.1"));
        assert_eq!(client(ClientAddressFrom::XForwardedFor).as_deref(), Some("198.51.100.2"));
        assert_eq!(client(ClientAddressFrom::ProxyProtocol), None);
    }

    #[test]
    fn an_address_of_ipv4_is_the_same_on_a_socket_of_ipv6() {
        let proxies = proxies(ClientAddressFrom::ProxyProtocol);
        assert!(proxies.must_send_header(ip("::ffff:10.1.2.3")));
        assert!(!proxies.must_send_header(ip("::ffff:11.1.2.3")));
        assert!(!proxies.must_send_header(ip("::1")));
        let none = Proxies::new(&Settings::default());
        assert!(!none.trusts(ip("127.0.0.1")));
    }
}
