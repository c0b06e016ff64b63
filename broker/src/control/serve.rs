//! The loop of the control plane: takes the connections that workers hand over and serves HTTP/1.1
//! on each, in one thread.
//!
//! Every state has a deadline: a request head `handshake_timeout_ms`, a request
//! `http_request_timeout_ms`, a stalled answer `write_timeout_ms`, and no
//! connection lives longer than 5 minutes.
//! Run by `control::start`.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use broker_proto::forwarded::{ClientAddress, ForwardedError};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::Service;

use super::router::FromClients;
use super::socket::Socket;
use super::stream::Stream;
use super::{Handed, answer};
use crate::config::Config;
use crate::proxies::Proxies;

/// Most HTTP connections at once; one more is answered 503.
pub(super) const CONNECTIONS_MAX: usize = 1024;
/// Age at which a connection is asked to end after the request at work.
const AGE_MAX: Duration = Duration::from_secs(300);
/// Time for that request and its answer.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// hyper takes no smaller buffer than this.
const BUFFER_BYTES_MIN: usize = 8192;

/// What holds for every request.
#[derive(Clone)]
struct Rules {
    patience: Duration,
    proxies: Arc<Proxies>,
    /// Operators have a listener of their own.
    hides: bool,
}

/// Serves until told to stop, then for as long as that says at most.
pub(super) async fn run(
    mut handed: mpsc::Receiver<Handed>,
    config: Arc<Config>,
    router: Router,
    connections_max: usize,
    mut stopping: watch::Receiver<Option<Duration>>,
) {
    let http = http(&config);
    let rules = Rules {
        patience: Duration::from_millis(config.http_request_timeout_ms),
        proxies: Proxies::new(&config.proxies).into(),
        hides: config.admin_address().is_some(),
    };
    let stall = Duration::from_millis(config.write_timeout_ms);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(handed) = handed.recv() => {
                if connections.len() < connections_max {
                    take(handed, &mut connections, (&http, &rules, stall), &router, &stopping);
                } else {
                    handed.turn_away(answer::TOO_MANY);
                }
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "an HTTP connection failed");
                }
            }
            _ = stopping.changed() => break,
        }
    }
    handed.close();
    while let Ok(handed) = handed.try_recv() {
        take(handed, &mut connections, (&http, &rules, stall), &router, &stopping);
    }
    let grace = stopping.borrow().unwrap_or_default();
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(grace, all_ended).await.is_err() {
        tracing::debug!("HTTP connections were cut off");
    }
}

/// The workers have held a connection's first head to these limits; they hold for the later ones of
/// a kept connection too.
fn http(config: &Config) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.handshake_timeout_ms))
        .max_headers(config.headers_max as usize)
        .max_buf_size(BUFFER_BYTES_MIN.max(config.head_bytes_max as usize));
    http
}

fn take(
    handed: Handed,
    connections: &mut JoinSet<()>,
    (http, rules, stall): (&http1::Builder, &Rules, Duration),
    router: &Router,
    stopping: &watch::Receiver<Option<Duration>>,
) {
    let stream = match TcpStream::from_std(handed.socket) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, peer = %handed.peer, "a socket could not be taken over");
            return;
        }
    };
    let stream = Stream::new(stream, handed.tls);
    let socket = Socket::new(handed.read, stream, stall);
    let hides = rules.hides && !handed.is_admin;
    let (http, rules) = (http.clone(), Rules { hides, ..rules.clone() });
    let (router, stopping) = (router.clone(), stopping.clone());
    connections.spawn(serve(socket, handed.peer, (http, rules), router, stopping));
}

async fn serve(
    socket: Socket<Stream>,
    peer: ClientAddress,
    (http, rules): (http1::Builder, Rules),
    router: Router,
    mut stopping: watch::Receiver<Option<Duration>>,
) {
    let service = service_fn(move |request| respond(request, peer, rules.clone(), router.clone()));
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
    tokio::select! {
        ended = connection.as_mut() => return log_end(peer, ended),
        _ = stopping.wait_for(Option::is_some) => {}
        () = sleep(AGE_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = timeout(LAST_REQUEST_TIMEOUT, connection).await {
        log_end(peer, ended);
    }
}

fn log_end(peer: ClientAddress, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "HTTP connection failed");
    }
}

async fn respond(
    mut request: Request<Incoming>,
    peer: ClientAddress,
    Rules { patience, proxies, hides }: Rules,
    mut router: Router,
) -> Result<Response, Infallible> {
    let began = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let Ok(client) = client_of(&request, peer, &proxies) else {
        let message = "a list of forwarders that can't be read";
        return Ok(answer::last_error(StatusCode::BAD_REQUEST, "bad_request", message));
    };
    request.extensions_mut().insert(client);
    if hides {
        request.extensions_mut().insert(FromClients);
    }
    let response = match timeout(patience, router.call(request.map(Body::new))).await {
        Ok(response) => response?,
        Err(_) => {
            let message = "the request took too long";
            answer::last_error(StatusCode::REQUEST_TIMEOUT, "request_timeout", message)
        }
    };
    let status = response.status().as_u16();
    tracing::debug!(%client, %method, ?path, status, took = ?began.elapsed(), "HTTP request");
    Ok(response)
}

/// Whose request it is: a proxy may send those of many over one connection.
fn client_of(
    request: &Request<Incoming>,
    peer: ClientAddress,
    proxies: &Proxies,
) -> Result<ClientAddress, ForwardedError> {
    let values = |name: &str| request.headers().get_all(name).iter().map(HeaderValue::as_bytes);
    Ok(proxies.client(peer.ip, values)?.unwrap_or(peer))
}
