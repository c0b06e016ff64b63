//! The broker as a whole: starts the workers and the control plane, and stops them.
//!
//! Makes what they share and wires them up; does nothing per connection or message.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broker_proto::handshake::AllowedOrigins;
use mio::Waker;
use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

use crate::cluster::{self, Cluster, Names};
use crate::config::{Config, WORKERS_MAX};
use crate::control::{self, Control, Lifecycle, Phase, Signals};
use crate::demo::Demo;
use crate::hub::Shared;
use crate::hub::desk::Desk;
use crate::hub::log::Log;
use crate::hub::mailbox::Mail;
use crate::hub::uplink::Uplink;
use crate::hub::ways::Ways;
use crate::hub::workers::members;
use crate::keys::Keys;
use crate::metrics::{self, Metrics};
use crate::store::{self, Keeper};
use crate::sys;
use crate::tls::{Certificate, Keyring};
use crate::worker::accept::Door;
use crate::worker::admission::Admission;
use crate::worker::{Parts, Worker, make_poll};

mod feed;
mod parts;
pub mod reload;
mod stored;

use self::reload::{Reload, ReloadError};
use self::stored::Stored;

/// Connections that may wait to be accepted, per worker; the kernel caps it at `somaxconn`.
const ACCEPT_QUEUE: i32 = 4096;
/// Descriptors kept free for files, logs and the control plane.
const DESCRIPTORS_RESERVED: u64 = 64;
/// How long HTTP requests may go on when the broker stops.
const CONTROL_GRACE: Duration = Duration::from_secs(2);
/// How long the disk is waited for when the process is to end at once.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// A running broker.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let listen = "127.0.0.1:0".parse().expect("an address");
/// let server = broker::server::Server::start(broker::config::Config {
///     listen,
///     workers: 1,
///     ..Default::default()
/// })?;
/// assert_ne!(server.local_addr().port(), 0);
/// server.stop();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    tls_addr: Option<SocketAddr>,
    admin_addr: Option<SocketAddr>,
    keyring: Option<Arc<Keyring>>,
    shared: Arc<Shared>,
    wakers: Arc<[Waker]>,
    workers: Vec<JoinHandle<()>>,
    control: Control,
    signals: Option<Signals>,
    lifecycle: Arc<Lifecycle>,
    reload: Reload,
    demo: Option<Demo>,
    cluster: Option<Cluster>,
    keeper: Option<Keeper>,
    store_bell: Option<store::bell::Bell>,
}

impl Server {
    /// Starts a broker.
    ///
    /// # Errors
    /// The address can't be listened on, or the system gives no more threads or descriptors. With
    /// `InvalidInput`, a setting is wrong, such as a file of a key that holds none.
    pub fn start(config: Config) -> io::Result<Self> {
        if !metrics::memory::give_back_when_idle() {
            tracing::warn!("memory that a burst needed is given back only while messages come");
        }
        let cores = sys::cores();
        let count = if config.workers == 0 { cores.len() } else { config.workers };
        let count = count.clamp(1, WORKERS_MAX);
        let keys = Keys::load(&config)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let keyring = match config.tls.is_on() {
            true => Some(Arc::new(Keyring::load(&config.tls).map_err(io::Error::other)?)),
            false => None,
        };
        let metrics = Arc::new(Metrics::new(count));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = now.as_millis() as u64;
        let Stored { opened, mut ways, started, unix_ms } =
            stored::open(&config, &metrics, unix_ms)?;
        let Doors { of_workers, plain_addr, tls_addr, admin_addr } =
            doors(&config, count, keyring.as_ref())?;
        let local_addr = plain_addr.or(tls_addr).ok_or(io::ErrorKind::InvalidInput)?;
        let mut reload = Reload::new(config.clone());
        let config = Arc::new(config);
        if config.io_uring {
            try_io_uring()?;
        }
        let origins = AllowedOrigins::parse(&config.allow_origin)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
        let lifecycle = Arc::new(Lifecycle::default());
        let (uplink_bell, log_bell) = (cluster::Bell::default(), cluster::Bell::default());
        ways_to_nodes(&config, [&uplink_bell, &log_bell], &mut ways);
        let shared = Shared::new(count, &config, unix_ms).with_verifier(keys.watch()?);
        let shared = Arc::new(shared.with_ways(ways));
        let names = Names::new(&config.backplane, &sys::host_name());
        let is_alone = !config.backplane.is_on();
        let node = if is_alone { 0 } else { names.run };
        if !is_alone {
            cluster::begin(&config, &metrics);
        }
        let (seat, inside) = (!is_alone).then(|| cluster::asking::pair(names)).unzip();
        reload.add(parts::topic_rules(&config, &shared));
        reload.add(parts::token_keys(&config, &shared));
        if let Some(keyring) = &keyring {
            reload.add(parts::certificate(keyring, &metrics));
        }
        let admission = Arc::new(Admission::new(&config, connections_max(&config)));
        let origins = Arc::new(origins);

        let polls = (0..count).map(|_| make_poll()).collect::<io::Result<Vec<_>>>()?;
        let (polls, wakers): (Vec<_>, Vec<_>) = polls.into_iter().unzip();
        let wakers: Arc<[Waker]> = wakers.into();
        let parts = || store::Parts {
            shared: shared.clone(),
            desk: desk(shared.clone(), wakers.clone()),
            metrics: metrics.clone(),
            started,
        };
        let store_bell = opened.as_ref().map(|opened| opened.bell().clone());
        let keeper = opened.map(|opened| opened.start(parts())).transpose()?;
        let (control, sender, signals) = control::start(control::Parts {
            config: config.clone(),
            metrics: metrics.clone(),
            lifecycle: lifecycle.clone(),
            desk: desk(shared.clone(), wakers.clone()),
            cluster: seat,
            started,
        })?;
        reload.add(parts::shown(control.shown()));
        reload.add(parts::api_keys(control.api_keys()));
        let mut workers = Vec::with_capacity(count);
        for (index, (poll, doors)) in polls.into_iter().zip(of_workers).enumerate() {
            let parts = Parts {
                index,
                node,
                config: config.clone(),
                origins: origins.clone(),
                admission: admission.clone(),
                shared: shared.clone(),
                metrics: metrics.clone(),
                control: sender.clone(),
                started,
            };
            let worker = Worker::new(parts, poll, wakers.clone(), doors)?;
            let core = config.pin.then(|| cores[index % cores.len()]);
            workers.push(spawn(index, core, worker)?);
        }
        let demo = Self::start_demo(&config, &shared, &wakers, started)?;
        let start_cluster = |inside| {
            Cluster::start(cluster::Parts {
                config: config.clone(),
                desk: desk(shared.clone(), wakers.clone()),
                shared: shared.clone(),
                bell: uplink_bell.clone(),
                log_bell: log_bell.clone(),
                metrics: metrics.clone(),
                inside,
                started,
            })
        };
        let cluster = inside.map(start_cluster).transpose()?;
        lifecycle.advance(Phase::Ready);
        let signals = Some(signals);
        Ok(Self {
            local_addr,
            tls_addr,
            admin_addr,
            keyring,
            shared,
            wakers,
            workers,
            control,
            signals,
            lifecycle,
            reload,
            demo,
            cluster,
            keeper,
            store_bell,
        })
    }

    /// The feeds of the demos, if they are asked for.
    fn start_demo(
        config: &Config,
        shared: &Arc<Shared>,
        wakers: &Arc<[Waker]>,
        started: Instant,
    ) -> io::Result<Option<Demo>> {
        let publish = || feed::publisher(shared.clone(), wakers.clone(), started);
        config.demo.then(|| Demo::start(config.demo_updates_per_second, publish())).transpose()
    }

    /// The address it listens on, with the port the system chose if 0 was asked for. If it speaks
    /// TLS alone, that is [`tls_addr`](Self::tls_addr).
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The address it speaks TLS on, if it does.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls_addr
    }

    /// The address for operators, if they have one of their own.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// The certificate that connections are shown now, if TLS is spoken.
    pub fn certificate(&self) -> Option<Certificate> {
        self.keyring.as_ref().map(|keyring| keyring.certificate())
    }

    /// How many workers it has.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The signals that ask the process to stop. Gives them away: a second call gets nothing.
    pub fn take_signals(&mut self) -> Option<Signals> {
        self.signals.take()
    }

    /// Takes over other settings while it runs, as far as that can be: all or none. Returns the
    /// keys of those that changed.
    ///
    /// # Errors
    ///
    /// [`ReloadError`]: a setting has changed that can't, or one can't be used; the old ones hold.
    pub fn reload(&mut self, config: Config) -> Result<Vec<String>, ReloadError> {
        self.reload.run(config)
    }

    /// What makes sure, in two seconds at most, that all is on disk that was published: for those who
    /// can't wait for [`stop`](Self::stop).
    pub fn flusher(&self) -> impl Fn() + Send + 'static {
        let bell = self.store_bell.clone();
        move || bell.iter().for_each(|bell| bell.flush(FLUSH_LIMIT))
    }

    /// Begins to stop: nobody new is let in, everyone is told when to come back.
    pub fn begin_stop(&self) {
        self.lifecycle.advance(Phase::Draining);
        for (index, waker) in self.wakers.iter().enumerate() {
            self.shared.mailbox(index).push(Mail::Drain, None);
            // Fails only if the kernel is out of memory; the worker then sees it at its next sweep.
            let _ = waker.wake();
        }
    }

    /// Stops and waits until everyone has gone, at most `drain_timeout_ms`.
    pub fn stop(mut self) {
        if let Some(demo) = self.demo.take() {
            demo.stop();
        }
        self.begin_stop();
        for worker in self.workers {
            // A worker that panicked has ended the process already.
            let _ = worker.join();
        }
        if let Some(cluster) = self.cluster {
            cluster.stop();
        }
        self.control.stop(CONTROL_GRACE);
        if let Some(keeper) = self.keeper {
            keeper.stop();
        }
    }
}

/// What each worker accepts from, and where that is.
struct Doors {
    of_workers: Vec<Vec<Door>>,
    plain_addr: Option<SocketAddr>,
    tls_addr: Option<SocketAddr>,
    admin_addr: Option<SocketAddr>,
}

fn doors(config: &Config, count: usize, keyring: Option<&Arc<Keyring>>) -> io::Result<Doors> {
    let mut of_workers: Vec<Vec<Door>> = (0..count).map(|_| Vec::new()).collect();
    let mut open = |address: SocketAddr, keyring: Option<&Arc<Keyring>>, is_admin: bool| {
        let at = |error: io::Error| {
            io::Error::new(error.kind(), format!("can't listen on {address}: {error}"))
        };
        let (listeners, address) = listen(address, count).map_err(at)?;
        for (doors, listener) in of_workers.iter_mut().zip(listeners) {
            let door = Door::new(listener, keyring.cloned());
            doors.push(if is_admin { door.for_operators() } else { door });
        }
        Ok::<_, io::Error>(address)
    };
    let plain_addr = config.tls.plain.then(|| open(config.listen, None, false)).transpose()?;
    let tls_addr = keyring.map(|_| open(config.tls.listen, keyring, false)).transpose()?;
    let admin = config.admin_address();
    let admin_addr = admin.map(|address| open(address, None, true)).transpose()?;
    Ok(Doors { of_workers, plain_addr, tls_addr, admin_addr })
}

/// One listener per worker, all on the same address: the kernel spreads connections over them.
fn listen(address: SocketAddr, count: usize) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    // Sockets that share a port would also share it with another broker of the same user, which
    // nobody means: a socket that does not share finds out whether the port is free.
    drop(bound(address, false)?);
    let first = listener(address)?;
    let local_addr = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(listener(local_addr)?);
    }
    Ok((listeners, local_addr))
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address, true)?;
    // Accepted sockets inherit it: messages are coalesced by us, not by the kernel's timer.
    socket.set_tcp_nodelay(true)?;
    socket.listen(ACCEPT_QUEUE)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn bound(address: SocketAddr, shares_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shares_port)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The ways to other nodes, if there are any by the settings: one for what passes, and one for what
/// is kept.
fn ways_to_nodes(config: &Config, bells: [&cluster::Bell; 2], ways: &mut Ways) {
    if config.backplane.is_on() {
        let [uplink_bell, log_bell] = bells.map(Clone::clone);
        let bytes_max = config.mailbox_bytes_max;
        ways.uplink = Some(Uplink::new(bytes_max, move || uplink_bell.ring()));
        ways.replicated = Some(Log::new(bytes_max, move || log_bell.ring()));
    }
}

/// The way for the control plane to publish and to ask the workers.
fn desk(shared: Arc<Shared>, wakers: Arc<[Waker]>) -> Desk {
    Desk::new(shared, move |workers| {
        for worker in members(workers) {
            // Fails only if the kernel is out of memory; the worker then wakes at its next sweep.
            let _ = wakers[worker].wake();
        }
    })
}

fn spawn(index: usize, core: Option<usize>, worker: Worker) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        if let Some(core) = core
            && !sys::pin_to(core)
        {
            tracing::warn!(worker = index, core, "could not pin the worker to its core");
        }
        // Its connections are gone and its topics would wait for it: better to start anew.
        sys::run_or_exit(&format!("worker-{index}"), || worker.run());
    })
}

/// Says at the start what would end the workers.
fn try_io_uring() -> io::Result<()> {
    let refused = |error| format!("io_uring is not to be had here ({error}); leave out io_uring");
    // In a thread of its own: where a ring goes, system calls of its thread may be interrupted.
    let tried = thread::spawn(|| sys::ring::SendRing::new().map(drop)).join();
    tried
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        .map_err(|e| io::Error::other(refused(e)))
}

fn connections_max(config: &Config) -> u64 {
    let descriptors = sys::raise_descriptor_limit();
    match config.connections_max {
        0 => descriptors.saturating_sub(DESCRIPTORS_RESERVED).max(1),
        max => max.into(),
    }
}
