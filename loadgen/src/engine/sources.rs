//! Opens sockets towards the target, and spreads the sources of a loopback run over 127.0.0.0/8 so
//! that ports never run out. Does not wait for anything and speaks no protocol; called by workers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

/// The first source address; further ones follow it. Not 127.0.0.1, which is everybody's.
const FIRST_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);

/// Where the connections of a run come from.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Sources {
    /// How many addresses are in use; 0 leaves the choice to the system.
    count: u32,
}

impl Sources {
    /// Sources for `connections` to `target`, at most `per_source` from one address. Only for an
    /// IPv4 loopback target, on Linux, where all of 127.0.0.0/8 is the machine itself.
    #[must_use]
    pub fn new(target: SocketAddr, connections: u64, per_source: u32) -> Self {
        let is_spread = cfg!(target_os = "linux")
            && matches!(target.ip(), IpAddr::V4(address) if address.is_loopback());
        let needed = connections.div_ceil(u64::from(per_source.max(1))).max(1);
        let count = if is_spread { u32::try_from(needed).unwrap_or(u32::MAX) } else { 0 };
        Self { count }
    }

    /// The source of connection `number`, if it is ours to choose.
    #[must_use]
    pub fn source_of(&self, number: u32) -> Option<Ipv4Addr> {
        let offset = number.checked_rem(self.count)?;
        Some(Ipv4Addr::from_bits(FIRST_SOURCE.to_bits() + offset))
    }

    /// Starts connection `number` to this server, with a receive buffer of so many bytes if that is given. It is
    /// made, or has failed, when the socket becomes writable.
    ///
    /// # Errors
    ///
    /// What can be known at once: no file, port or memory left, no route.
    pub fn open(
        &self,
        number: u32,
        server: SocketAddr,
        receive_bytes: Option<usize>,
    ) -> io::Result<TcpStream> {
        let domain = Domain::for_address(server);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes)?; // before connecting: it limits the window
        }
        // Another server of the run may be on another machine.
        let is_here = matches!(server.ip(), IpAddr::V4(address) if address.is_loopback());
        if let Some(source) = self.source_of(number).filter(|_| is_here) {
            choose_port_late(&socket)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&server.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
                Err(error)
            }
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }
}

/// With the port chosen on connecting, the kernel need only keep the four-tuple unique.
#[cfg(target_os = "linux")]
fn choose_port_late(socket: &Socket) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
    Ok(setsockopt(socket, IpBindAddressNoPort, &true)?)
}

#[cfg(not(target_os = "linux"))]
fn choose_port_late(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn no_loopback_source_carries_more_than_its_share() {
        let target = "127.0.0.1:8080".parse().unwrap();
        let sources = Sources::new(target, 1000, 300);
        let mut used = HashMap::new();
        for number in 0..1000 {
            *used.entry(sources.source_of(number).unwrap()).or_insert(0) += 1;
        }
        assert_eq!(used.len(), 4);
        assert!(used.values().all(|&count| count <= 300));
        assert!(used.keys().all(Ipv4Addr::is_loopback));
    }

    #[test]
    fn the_system_chooses_the_source_towards_other_machines() {
        for target in ["192.0.2.1:80", "[::1]:80"] {
            let sources = Sources::new(target.parse().unwrap(), 1_000_000, 10);
            assert_eq!(sources.source_of(7), None);
        }
    }
}
