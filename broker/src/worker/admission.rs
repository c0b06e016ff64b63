//! Who may connect: the number of connections in all and from one address, and how many a second
//! from one address.
//! Shared by the workers, asked once per accepted socket.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use broker_proto::handshake::Refusal;
use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::config::Config;
use crate::hub::session::Budget;

/// Addresses that are remembered; beyond it all are forgotten at once that have no connection
/// counted, and start with a full burst.
const ADDRESSES_MAX: usize = 65_536;
/// Seconds' worth of connects that may come at once.
const BURST_S: u32 = 10;
/// Connections beyond the limit that are let in to ask how the broker is: see [`Entry::Probe`].
const PROBES_MAX: u64 = 16;

/// How a connection is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// For whatever it wants.
    Client,
    /// The broker is full: only to ask how it is. Who watches over a broker must hear from it just
    /// then.
    Probe,
}

/// The gate in front of all workers.
#[derive(Debug)]
pub struct Admission {
    open: AtomicU64,
    probes: AtomicU64,
    connections_max: u64,
    rate: u32,
    limit_loopback: bool,
    per_address_max: u32,
    addresses: DashMap<IpAddr, Address, RandomState>,
}

/// What is known of an address.
#[derive(Debug, Default)]
struct Address {
    connects: Budget,
    /// Its connections, if they are limited.
    open: u32,
}

/// The place of a connection that was let in, to be given back.
#[derive(Debug, Default)]
pub struct Place {
    /// The address that it counts for, if that has a limit.
    address: Option<Box<IpAddr>>,
}

impl Admission {
    /// A gate for `connections_max` connections.
    pub fn new(config: &Config, connections_max: u64) -> Self {
        Self {
            open: AtomicU64::new(0),
            probes: AtomicU64::new(0),
            connections_max,
            rate: config.connects_per_second_per_address_max,
            limit_loopback: config.limit_loopback,
            per_address_max: config.connections_per_address_max,
            addresses: DashMap::with_hasher(RandomState::default()),
        }
    }

    /// Counts a connection of an address, to be [given back](Self::give_back), or says that it has
    /// as many as it may.
    pub fn count(&self, address: IpAddr) -> Result<Place, Refusal> {
        let limited = self.limit_loopback || !address.is_loopback();
        if !limited || self.per_address_max == 0 {
            return Ok(Place::default());
        }
        let mut held = self.addresses.entry(address).or_default();
        if held.open >= self.per_address_max {
            let max = self.per_address_max;
            let message = format!("{address} has {max} connections, the limit");
            return Err(Refusal::too_many_requests(message));
        }
        held.open += 1;
        Ok(Place { address: Some(address.into()) })
    }

    /// A connection of an address is gone.
    pub fn give_back(&self, place: &Place) {
        if let Some(address) = &place.address
            && let Some(mut held) = self.addresses.get_mut(&**address)
        {
            held.open = held.open.saturating_sub(1);
        }
    }

    /// Whether an address may connect once more now.
    pub fn pace(&self, address: IpAddr, now_ms: u64) -> Result<(), Refusal> {
        let limited = self.rate > 0 && (self.limit_loopback || !address.is_loopback());
        if limited && !self.take(address, now_ms) {
            let rate = self.rate;
            let message = format!("more than {rate} connects a second from {address}");
            return Err(Refusal::too_many_requests(message));
        }
        Ok(())
    }

    /// Lets a connection in, which must [`leave`](Self::leave) later, or says why not.
    pub fn enter(&self) -> Result<Entry, Refusal> {
        if self.open.fetch_add(1, Ordering::Relaxed) < self.connections_max {
            return Ok(Entry::Client);
        }
        self.leave(Entry::Client);
        if self.probes.fetch_add(1, Ordering::Relaxed) < PROBES_MAX {
            return Ok(Entry::Probe);
        }
        self.leave(Entry::Probe);
        Err(self.full())
    }

    /// What those are told for whom there is no room.
    pub fn full(&self) -> Refusal {
        let max = self.connections_max;
        Refusal::unavailable(format!("the broker has {max} connections, the limit"))
    }

    /// A connection is gone that was let in so.
    pub fn leave(&self, entry: Entry) {
        let count = match entry {
            Entry::Client => &self.open,
            Entry::Probe => &self.probes,
        };
        count.fetch_sub(1, Ordering::Relaxed);
    }

    fn take(&self, address: IpAddr, now_ms: u64) -> bool {
        if self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.retain(|_, held| held.open > 0);
        }
        let burst = self.rate.saturating_mul(BURST_S);
        // Each worker's time is that of its turn's begin; the budget minds that it may go back.
        self.addresses.entry(address).or_default().connects.take(now_ms, self.rate, burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_free_unless_limited_and_every_other_address_has_its_own_allowance() {
        let mut config = Config { connects_per_second_per_address_max: 1, ..Config::default() };
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let far: IpAddr = "192.0.2.1".parse().unwrap();
        let gate = Admission::new(&config, 1_000);
        assert!((0..100).all(|_| gate.pace(local, 0).is_ok()));
        assert_eq!((0..100).filter(|_| gate.pace(far, 0).is_ok()).count(), 10);
        assert!(gate.pace("192.0.2.2".parse().unwrap(), 0).is_ok());
        config.limit_loopback = true;
        let gate = Admission::new(&config, 1_000);
        assert_eq!((0..100).filter(|_| gate.pace(local, 0).is_ok()).count(), 10);
    }

    #[test]
    fn an_address_has_so_many_connections_and_gets_back_what_it_gives_up() {
        let config = Config { connections_per_address_max: 2, ..Config::default() };
        let gate = Admission::new(&config, 1_000);
        let [far, other]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let first = gate.count(far).unwrap();
        let _second = gate.count(far).unwrap();
        assert_eq!(gate.count(far).unwrap_err().status(), 429);
        assert!(gate.count(other).is_ok());
        gate.give_back(&first);
        assert!(gate.count(far).is_ok());
        assert_eq!(gate.count(far).unwrap_err().status(), 429);
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        assert!((0..100).all(|_| gate.count(local).is_ok()));
    }

    #[test]
    fn a_worker_whose_time_is_behind_gives_no_new_allowance() {
        let config = Config {
            connects_per_second_per_address_max: 1,
            limit_loopback: true,
            ..Config::default()
        };
        let gate = Admission::new(&config, 1_000);
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let times = (0..100).map(|turn| 500 - turn % 2);
        assert_eq!(times.filter(|&now_ms| gate.pace(local, now_ms).is_ok()).count(), 10);
    }

    #[test]
    fn a_full_broker_lets_in_as_many_as_leave() {
        let gate = Admission::new(&Config::default(), 1);
        assert_eq!(gate.enter(), Ok(Entry::Client));
        for _ in 0..PROBES_MAX {
            assert_eq!(gate.enter(), Ok(Entry::Probe));
        }
        assert_eq!(gate.enter().unwrap_err().status(), 503);
        gate.leave(Entry::Client);
        assert_eq!(gate.enter(), Ok(Entry::Client));
    }
}
