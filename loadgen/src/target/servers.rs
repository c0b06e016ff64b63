//! The servers of a run, and which connection goes to which. One is the rule; several are to behave
//! as one, such as the brokers of a cluster. Resolves names, opens no connection. Part of the
//! target.

use std::net::{SocketAddr, ToSocketAddrs as _};

use broker_proto::handshake::WsUri;
use serde::{Deserialize, Serialize};

use super::TargetError;

/// The most servers of one run.
pub const SERVERS_MAX: usize = 64;

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Server {
    /// As it was given.
    pub url: String,
    /// Where its connections go.
    pub address: SocketAddr,
    /// The value of the Host header.
    pub host: String,
    /// The path and query of the request line.
    pub resource: String,
    /// The name that its certificate must bear, if it has one.
    pub name: String,
}

/// All servers: subscribers take the first so many of them in turn.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Servers {
    all: Vec<Server>,
    /// How many of them subscribers are spread over, at least one.
    subscribed: usize,
    /// The one that all publishers go to; without, they take them in turn as subscribers do.
    publish_to: Option<usize>,
}

impl Server {
    /// Parses `url` and resolves its host; returns whether TLS is asked for, too. An IPv4 address
    /// is preferred: the many addresses of a loopback network are IPv4's.
    pub(super) fn resolve(url: &str) -> Result<(Self, bool), TargetError> {
        let wrong = |cause| TargetError::Url { url: url.to_owned(), cause };
        let uri = WsUri::parse(url).map_err(wrong)?;
        let unknown = |cause| TargetError::Resolve { host: uri.host().to_owned(), cause };
        let found = (uri.host(), uri.port()).to_socket_addrs().map_err(unknown)?;
        let address = found
            .min_by_key(|address| !address.is_ipv4())
            .ok_or_else(|| unknown(std::io::ErrorKind::NotFound.into()))?;
        let server = Self {
            url: url.to_owned(),
            address,
            host: uri.host_header(),
            resource: uri.target().to_owned(),
            name: uri.host().to_owned(),
        };
        Ok((server, uri.is_secure()))
    }
}

impl Servers {
    /// One alone.
    pub(super) fn one(server: Server) -> Self {
        Self { all: vec![server], subscribed: 1, publish_to: None }
    }

    /// One more that subscribers are spread over. To be added before [`publish_to`](Self::publish_to).
    pub(super) fn add(&mut self, server: Server) {
        self.all.push(server);
        self.subscribed += 1;
    }

    /// All publishers go there, whether or not subscribers do.
    pub(super) fn publish_to(&mut self, server: Server) {
        let known = self.all.iter().position(|known| known.url == server.url);
        self.publish_to = Some(known.unwrap_or_else(|| {
            self.all.push(server);
            self.all.len() - 1
        }));
    }

    /// Whether it can be used: one that came from elsewhere may be anything.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        (1..=self.all.len().min(SERVERS_MAX)).contains(&self.subscribed)
            && self.publish_to.is_none_or(|number| number < self.all.len())
    }

    /// The first, which is the only one in most runs.
    #[must_use]
    pub fn first(&self) -> &Server {
        &self.all[0]
    }

    /// All there are, by their numbers.
    #[must_use]
    pub fn all(&self) -> &[Server] {
        &self.all
    }

    /// How many of them, the first so many, have subscribers.
    #[must_use]
    pub fn subscribed(&self) -> usize {
        self.subscribed
    }

    /// Whether one of them was named for all publishers.
    #[must_use]
    pub fn are_published_apart(&self) -> bool {
        self.publish_to.is_some()
    }

    /// The number of the server that a subscriber is connected to.
    #[must_use]
    pub fn of_subscriber(&self, subscriber: u32) -> usize {
        subscriber as usize % self.subscribed
    }

    /// The number of the server that a publisher is connected to.
    #[must_use]
    pub fn of_publisher(&self, publisher: u32) -> usize {
        self.publish_to.unwrap_or(publisher as usize % self.subscribed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(port: u16) -> Server {
        Server::resolve(&format!("ws://127.0.0.1:{port}/ws")).unwrap().0
    }

    #[test]
    fn connections_take_the_servers_in_turn_and_publishers_go_where_they_are_sent() {
        let mut servers = Servers::one(server(1));
        servers.add(server(2));
        servers.add(server(3));
        let ports = |numbers: [usize; 4], servers: &Servers| {
            numbers.map(|number| servers.all()[number].address.port())
        };
        let of_subscribers = |servers: &Servers| [0, 1, 2, 3].map(|who| servers.of_subscriber(who));
        let of_publishers = |servers: &Servers| [0, 1, 2, 3].map(|who| servers.of_publisher(who));
        assert_eq!(ports(of_subscribers(&servers), &servers), [1, 2, 3, 1]);
        assert_eq!(ports(of_publishers(&servers), &servers), [1, 2, 3, 1]);
        servers.publish_to(server(2));
        assert_eq!((ports(of_publishers(&servers), &servers), servers.all().len()), ([2; 4], 3));
        servers.publish_to(server(9));
        assert_eq!(ports(of_publishers(&servers), &servers), [9; 4]);
        assert_eq!(ports(of_subscribers(&servers), &servers), [1, 2, 3, 1]);
        assert!(servers.is_sound() && servers.subscribed() == 3);
        servers.subscribed = 5;
        assert!(!servers.is_sound());
    }
}
