//! The control plane: one thread with a tokio runtime for all that is not per message. It serves
//! HTTP on connections that workers hand over, and waits for signals.
//!
//! Nothing here may hold up a worker: hand-over is bounded and never blocks. `server` starts and
//! stops it; a worker holds a [`Sender`].

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use broker_proto::forwarded::ClientAddress;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc as queue, watch};

use crate::cluster::asking::Seat;
use crate::config::Config;
use crate::hub::desk::Desk;
use crate::metrics::Metrics;
use crate::tls::Session;

mod answer;
mod api;
mod assets;
mod framing;
mod lifecycle;
mod router;
mod serve;
mod shown;
mod socket;
mod stream;

pub use api::ApiKeys;
pub use lifecycle::{Lifecycle, Phase};
pub use shown::Shown;

/// Most connections on their way from workers to the control plane; beyond, a worker refuses.
pub const HANDED_MAX: usize = 1024;

/// A connection whose request is no WebSocket handshake.
#[derive(Debug)]
pub struct Handed {
    /// The socket, non-blocking, and no longer registered with any poll.
    pub socket: TcpStream,
    /// The TLS session of what comes and goes on it, if it is sealed; its handshake is over.
    pub tls: Option<Box<Session>>,
    /// It came in where operators do.
    pub is_admin: bool,
    /// The other side: whoever connected, or whom the PROXY protocol named. Its requests may name
    /// others.
    pub peer: ClientAddress,
    /// What was already read: at least a whole HTTP head.
    pub read: Vec<u8>,
}

impl Handed {
    /// Answers with these bytes, and that is all. They fit the buffer of a socket on which nothing
    /// was written yet; if not, the peer sees the end alone.
    fn turn_away(mut self, answer: &[u8]) {
        match &mut self.tls {
            None => drop(self.socket.write(answer)),
            Some(session) => {
                session.seal(answer);
                session.end();
                drop(session.send(&mut self.socket));
            }
        }
    }
}

/// The workers' end: hands connections over.
#[derive(Clone, Debug)]
pub struct Sender(queue::Sender<Handed>);

impl Sender {
    /// Hands a connection over; never blocks.
    ///
    /// # Errors
    ///
    /// The connection back, for the worker to answer 503, when [`HANDED_MAX`] are waiting or the
    /// control plane has stopped.
    pub fn try_hand(&self, handed: Handed) -> Result<(), Handed> {
        self.0.try_send(handed).map_err(|error| match error {
            queue::error::TrySendError::Full(handed)
            | queue::error::TrySendError::Closed(handed) => handed,
        })
    }
}

/// What the process was asked to do from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: an orchestrator wants it to stop.
    Terminate,
    /// SIGINT: someone pressed Ctrl-C.
    Interrupt,
    /// SIGHUP: the settings are to be read again.
    Reload,
}

/// The control plane while it runs. Dropped without [`stop`](Self::stop), it stops by itself, with
/// no grace and without being waited for.
#[derive(Debug)]
pub struct Control {
    thread: JoinHandle<()>,
    stop: watch::Sender<Option<Duration>>,
    shown: Shown,
    keys: Arc<ApiKeys>,
}

/// The signals that the process gets. SIGTERM, SIGINT and SIGHUP no longer end it by themselves
/// once the control plane runs.
#[derive(Debug)]
pub struct Signals(mpsc::Receiver<Signal>);

impl Signals {
    /// Waits for the next signal; `None` when the control plane has ended.
    pub fn wait(&self) -> Option<Signal> {
        self.0.recv().ok()
    }
}

impl Control {
    /// The settings that the API shows; to be replaced when others hold.
    pub fn shown(&self) -> Shown {
        self.shown.clone()
    }

    /// The keys to the API, to be replaced by others.
    pub fn api_keys(&self) -> Arc<ApiKeys> {
        self.keys.clone()
    }

    /// Takes no more connections, gives those at work up to `grace` to finish their request, and
    /// waits for the thread to end.
    pub fn stop(self, grace: Duration) {
        // Nobody listens only if the thread is gone already.
        let _ = self.stop.send(Some(grace));
        if self.thread.join().is_err() {
            tracing::error!("the control plane panicked");
        }
    }
}

/// What the control plane is made of.
#[derive(Debug)]
pub struct Parts {
    /// The settings.
    pub config: Arc<Config>,
    /// All counters.
    pub metrics: Arc<Metrics>,
    /// Where the broker stands.
    pub lifecycle: Arc<Lifecycle>,
    /// The way to topics and workers.
    pub desk: Desk,
    /// The way to other nodes, if this is one of several.
    pub cluster: Option<Seat>,
    /// When the broker's clock began.
    pub started: Instant,
}

/// Starts the thread, named `control`.
///
/// ```
/// use std::{sync::Arc, time::{Duration, Instant}};
/// use broker::control::{self, Lifecycle, Parts};
/// use broker::hub::{Shared, desk::Desk};
/// use broker::{config::Config, metrics::Metrics};
///
/// let config = Arc::new(Config::default());
/// let shared = Arc::new(Shared::new(1, &config, 0));
/// let (control, sender, signals) = control::start(Parts {
///     config,
///     metrics: Arc::new(Metrics::new(1)),
///     lifecycle: Arc::new(Lifecycle::new()),
///     desk: Desk::new(shared, |_workers| {}),
///     cluster: None,
///     started: Instant::now(),
/// })?;
/// control.stop(Duration::from_secs(1));
/// # drop((sender, signals));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// What the system says when it gives no thread, event loop or signal handler.
pub fn start(parts: Parts) -> io::Result<(Control, Sender, Signals)> {
    start_with(parts, serve::CONNECTIONS_MAX)
}

fn start_with(parts: Parts, connections_max: usize) -> io::Result<(Control, Sender, Signals)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (signal_sender, signals) = mpsc::channel();
    {
        let _inside = runtime.enter();
        runtime.spawn(pass_signals(
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
            signal_sender,
        ));
    }
    let (handed_sender, handed) = queue::channel(HANDED_MAX);
    let (stop, stopping) = watch::channel(None);
    let config = parts.config.clone();
    let shown = Shown::new(&config);
    let keys = Arc::new(ApiKeys::new(&config.api_key));
    let router = {
        let _inside = runtime.enter();
        router::router(parts, shown.clone(), keys.clone())
    };
    let serve = serve::run(handed, config, router, connections_max, stopping);
    let thread = std::thread::Builder::new()
        .name("control".into())
        .spawn(move || runtime.block_on(serve))?;
    Ok((Control { thread, stop, shown, keys }, Sender(handed_sender), Signals(signals)))
}

async fn pass_signals(
    mut terminate: tokio::signal::unix::Signal,
    mut interrupt: tokio::signal::unix::Signal,
    mut hangup: tokio::signal::unix::Signal,
    signals: mpsc::Sender<Signal>,
) {
    loop {
        let signal = tokio::select! {
            _ = terminate.recv() => Signal::Terminate,
            _ = interrupt.recv() => Signal::Interrupt,
            _ = hangup.recv() => Signal::Reload,
        };
        if signals.send(signal).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
