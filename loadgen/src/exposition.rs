//! `--prometheus`: a run's numbers for a Prometheus server to fetch while it goes on, in a thread of
//! its own beside the load. Shows the last moment it was given and measures nothing itself; fed by
//! `scenario::follow`.

mod metrics;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::live::{About, Moment};

/// What the text is: OpenMetrics 1.0, which Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How long an answer under way may take when the run is over.
const LAST_ANSWER: Duration = Duration::from_millis(500);

/// The last moment, for whoever asks.
type Board = Arc<Mutex<Option<Moment>>>;

/// The page `/metrics`, served until this is dropped.
#[derive(Debug)]
pub struct Exposition {
    address: SocketAddr,
    board: Board,
    /// Dropped to end the serving.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Exposition {
    /// Serves the run at this address; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// If the address is not ours or taken.
    pub fn start(address: SocketAddr, about: About) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let board = Board::default();
        let registry = Arc::new(metrics::registry(about, Arc::clone(&board)));
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("prometheus".into()).spawn(move || {
            // A listener that fails later ends the page, not the run.
            let _ = runtime.block_on(serve(listener, registry, stopped));
        })?;
        Ok(Self { address, board, stop: Some(stop), thread: Some(thread) })
    }

    /// Where the page is, to be fetched.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    /// Shows this from now on.
    pub fn show(&self, moment: Moment) {
        *self.board.lock().unwrap_or_else(PoisonError::into_inner) = Some(moment);
    }
}

impl Drop for Exposition {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It panicked only if it had nothing left to serve.
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: TcpListener,
    registry: Arc<Registry>,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let page = get(move || {
        let page = metrics::text(&registry);
        async move { ([(CONTENT_TYPE, OPEN_METRICS)], page) }
    });
    let (stop, is_stopping) = oneshot::channel::<()>();
    let until = async move {
        let _ = is_stopping.await;
    };
    let serving = axum::serve(listener, Router::new().route("/metrics", page));
    let serving = tokio::spawn(serving.with_graceful_shutdown(until).into_future());
    // Both are over when their sender is gone.
    let _ = stopped.await;
    drop(stop);
    let _ = timeout(LAST_ANSWER, serving).await;
    Ok(())
}
