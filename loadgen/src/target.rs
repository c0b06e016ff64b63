//! What the load is aimed at: an address, and the protocol spoken there. Opens no socket.
//! Built by the scenarios, used by the engine; a protocol says how to open a session, subscribe and
//! publish, and where the payload of a message lies. One file per protocol.

mod access;
mod echo;
pub mod http;
mod mqtt;
mod native;
mod nats;
mod nchan;
mod protocol;
mod pusher;
mod redis;
mod servers;
mod socketio;
mod transport;
mod wire;
mod wish;

use std::borrow::Cow;
use std::io;

use broker_proto::command::Position;
use broker_proto::handshake::UriError;
use serde::{Deserialize, Serialize};

use crate::tls::Trust;
use native::Encoding;

pub use access::{Access, Secret};
pub use protocol::Protocol;
pub use servers::{SERVERS_MAX, Server, Servers};
pub use transport::{POLL_LIMIT_MAX, Polling, Transport};
pub use wire::Wire;
pub use wish::Wish;

/// The longest message taken from a server, in bytes: more than any payload that can be asked for.
pub const MESSAGE_BYTES_MAX: u32 = 128 << 20;

/// A server to load, or several that are alike.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Target {
    /// Where the connections go.
    pub servers: Servers,
    /// What is spoken after the handshake.
    pub protocol: Protocol,
    /// What it takes to be let in; none unless it is set.
    pub access: Access,
    /// What lies below the protocol.
    pub wire: Wire,
}

/// Why there is no target to load.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The URL does not parse.
    #[error("{url}: {cause}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        cause: UriError,
    },
    /// The name of the host leads nowhere.
    #[error("cannot resolve {host}: {cause}")]
    Resolve {
        /// The host of the URL.
        host: String,
        /// What the resolver said.
        cause: io::Error,
    },
    /// Of several servers, some have TLS and some have not.
    #[error("{url}: of several servers, all are ws:// or all are wss://")]
    Mixed {
        /// The one that differs from the first.
        url: String,
    },
}

/// A message of a topic, as it lies in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The topic.
    pub topic: &'a [u8],
    /// The server's number of it.
    pub seq: u64,
    /// What was published.
    pub payload: &'a [u8],
}

/// One thing that a server said, as far as a load generator cares.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The session may be opened.
    Hello {
        /// What the server calls this connection; empty if it does not.
        name: String,
    },
    /// A message of a topic.
    Message {
        /// The topic as it stands in the frame; empty where there are no topics.
        topic: &'a [u8],
        /// The server's own number of the message in its topic, if it numbers them.
        seq: Option<u64>,
        /// What was published.
        payload: Cow<'a, [u8]>,
    },
    /// The command with this id succeeded.
    Accepted {
        /// As it was given to the command.
        id: u64,
        /// After a subscribe, where the topic stands, if the server tells.
        position: Option<Position>,
    },
    /// The command with this id said who we are; the session has this number.
    Session {
        /// As it was given to the command.
        id: u64,
        /// What others know the session by.
        number: u64,
    },
    /// Someone joined or left a topic.
    Presence(PresenceChange),
    /// The subscribe with this id succeeded, which asked for what came after a known message.
    Resumed {
        /// As it was given to the command.
        id: u64,
        /// Where the topic stands, if the server tells.
        position: Option<Position>,
        /// Whether all of that follows.
        is_whole: bool,
    },
    /// A command failed; with an id or, where success was not to be answered, without.
    Refused {
        /// The id of the command, if it had one.
        id: Option<u64>,
        /// The code and the message of the error.
        why: String,
    },
    /// The server will not deliver its messages `from` to `to` of this topic.
    Gap {
        /// The topic.
        topic: String,
        /// The first seq missing.
        from: u64,
        /// The last seq missing.
        to: u64,
    },
    /// The protocol's own ping, to be answered with [`Protocol::pong`].
    Ping,
    /// Something that is as it should be and means nothing to a load generator.
    Noted,
    /// Nothing that is known.
    Unknown,
    /// Not the protocol at all: what follows can't be read either.
    Malformed(&'static str),
}

/// Who joined and left a topic, by the numbers of their sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceChange {
    /// The topic.
    pub topic: String,
    /// Who is subscribed now.
    pub joined: Vec<u64>,
    /// Who no longer is.
    pub left: Vec<u64>,
}

/// What must come before a session is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// [`Incoming::Hello`]; then it is for [`Target::welcome`] to go on.
    Hello,
    /// So many of [`Incoming::Accepted`]; with 0 it is open.
    Answers(u32),
}

impl Target {
    /// Parses `url` and resolves its host. With `wss://`, the server has to prove its name to the
    /// system's certificates.
    ///
    /// # Errors
    ///
    /// If the URL is wrong, or the host is not known.
    pub fn resolve(url: &str, protocol: Protocol) -> Result<Self, TargetError> {
        let (server, is_secure) = Server::resolve(url)?;
        let trust = is_secure.then(|| Trust::new(&server.name));
        let wire = Wire { trust, ..Wire::default() };
        Ok(Self { servers: Servers::one(server), protocol, access: Access::default(), wire })
    }

    /// Spreads the subscribers over one more server, and the publishers too.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve), and if it has TLS where the first has none, or the other way
    /// round.
    pub fn add_server(&mut self, url: &str) -> Result<(), TargetError> {
        let server = self.further(url)?;
        self.servers.add(server);
        Ok(())
    }

    /// Sends all publishers to this server. To be called after the servers were added.
    ///
    /// # Errors
    ///
    /// As [`add_server`](Self::add_server).
    pub fn publish_to(&mut self, url: &str) -> Result<(), TargetError> {
        let server = self.further(url)?;
        self.servers.publish_to(server);
        Ok(())
    }

    /// What each of the servers has to prove; nothing without TLS.
    pub fn trusts(&self) -> impl Iterator<Item = Trust> + '_ {
        let named = |server: &Server| {
            self.wire
                .trust
                .as_ref()
                .map(|trust| Trust { name: server.name.clone(), ..trust.clone() })
        };
        self.servers.all().iter().filter_map(named)
    }

    fn further(&self, url: &str) -> Result<Server, TargetError> {
        let (server, is_secure) = Server::resolve(url)?;
        match is_secure == self.wire.trust.is_some() {
            true => Ok(server),
            false => Err(TargetError::Mixed { url: url.to_owned() }),
        }
    }

    /// The subprotocols to ask for in the handshake, at most one.
    #[must_use]
    pub fn subprotocols(&self) -> Vec<&str> {
        let chosen = self.access.subprotocol.as_deref();
        let name = chosen.or(self.protocol.subprotocol()).filter(|name| !name.is_empty());
        name.into_iter().collect()
    }

    /// Begins a session that is to subscribe to these topics, right after the handshake: gives
    /// `send` one message after the other.
    pub fn open(&self, topics: &[&str], send: impl FnMut(&[u8])) -> Wait {
        match self.protocol {
            Protocol::Json => Encoding::Json.open(&self.access, &wishes(topics), false, send),
            Protocol::Bin => Encoding::Bin.open(&self.access, &wishes(topics), false, send),
            Protocol::Mqtt => mqtt::open(&self.access, send),
            Protocol::Redis => redis::open(&self.access, topics, send),
            Protocol::Socketio => socketio::open(send),
            Protocol::Nats | Protocol::Pusher => Wait::Hello,
            Protocol::Nchan | Protocol::Echo => Wait::Answers(0),
        }
    }

    /// Goes on where [`open`](Self::open) had to wait for a hello, which called the connection
    /// `name`.
    pub fn welcome(&self, name: &str, topics: &[&str], send: impl FnMut(&[u8])) -> Wait {
        match self.protocol {
            Protocol::Socketio => socketio::welcome(topics, send),
            Protocol::Mqtt => mqtt::welcome(topics, send),
            Protocol::Nats => nats::welcome(&self.access, topics, send),
            Protocol::Pusher => pusher::welcome(&self.access, name, topics, send),
            _ => Wait::Answers(0),
        }
    }
}

/// The answer to the subscribe of the nth topic has the id n, from 1.
fn wishes<'a>(topics: &[&'a str]) -> Vec<Wish<'a>> {
    (1..).zip(topics).map(|(id, topic)| Wish::plain(id, topic)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a protocol reads from a stream that comes in two pieces, cut at `cut`.
    pub(super) fn read_split(
        read: fn(&[u8]) -> Option<(Incoming<'_>, usize)>,
        stream: &[u8],
        cut: usize,
    ) -> Vec<String> {
        let (mut found, mut held) = (Vec::new(), Vec::new());
        for piece in [&stream[..cut], &stream[cut..]] {
            held.extend_from_slice(piece);
            let mut at = 0;
            while let Some((incoming, used)) = read(&held[at..]) {
                found.push(format!("{incoming:?}"));
                at += used;
            }
            held.drain(..at);
        }
        assert!(held.is_empty(), "left over: {held:?}");
        found
    }

    #[test]
    fn a_url_becomes_an_address_a_host_and_a_path() {
        let target = Target::resolve("ws://127.0.0.1:8080/ws?a=b", Protocol::Json).unwrap();
        let server = target.servers.first();
        assert_eq!(server.address.to_string(), "127.0.0.1:8080");
        assert_eq!((server.host.as_str(), server.resource.as_str()), ("127.0.0.1:8080", "/ws?a=b"));
    }

    #[test]
    fn a_secure_url_has_its_own_port_and_a_name_to_prove() {
        let target = Target::resolve("wss://localhost/ws", Protocol::Json).unwrap();
        let server = target.servers.first();
        assert_eq!((server.address.port(), server.host.as_str()), (443, "localhost"));
        assert_eq!(target.wire.trust, Some(Trust::new("localhost")));
        let target = Target::resolve("ws://localhost/ws", Protocol::Json).unwrap();
        assert_eq!((target.servers.first().address.port(), target.wire), (80, Wire::default()));
    }

    #[test]
    fn of_several_servers_each_has_its_own_name_to_prove_and_none_is_of_another_kind() {
        let mut target = Target::resolve("wss://127.0.0.1/ws", Protocol::Json).unwrap();
        target.add_server("wss://localhost:8443/ws").unwrap();
        target.publish_to("wss://127.0.0.1/ws").unwrap();
        let names: Vec<_> = target.trusts().map(|trust| trust.name).collect();
        assert_eq!(names, ["127.0.0.1", "localhost"]);
        assert_eq!([0, 1, 2].map(|who| target.servers.of_publisher(who)), [0; 3]);
        let error = target.add_server("ws://localhost/ws").unwrap_err();
        assert!(matches!(error, TargetError::Mixed { .. }), "{error}");
    }

    #[test]
    fn other_schemes_are_refused_by_name() {
        let error = Target::resolve("http://127.0.0.1/", Protocol::Json).unwrap_err();
        assert_eq!(error.to_string(), "http://127.0.0.1/: the scheme is not ws:// or wss://");
    }
}
