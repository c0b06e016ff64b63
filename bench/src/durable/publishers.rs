//! Clients that publish and wait for answers: each holds so many publishes unanswered and sends the
//! next when one is answered, on a topic of its own. All on one thread on a core of its own.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures_util::future::try_join_all;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use loadgen::target_process::Usage;
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;

/// Before it is measured.
const WARM_UP: Duration = Duration::from_millis(500);
/// Beyond the time to measure: connecting, the last answers.
const LIMIT: Duration = Duration::from_secs(30);

/// What is published.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// The broker's.
    pub(super) port: u16,
    pub(super) publishers: u32,
    /// Publishes that each has unanswered.
    pub(super) unanswered: u32,
    /// Bytes of a payload.
    pub(super) size: usize,
    /// How long it is measured.
    pub(super) seconds: f64,
    /// What each answer must say.
    pub(super) level: &'static str,
}

/// What came of it while it was measured.
#[derive(Debug)]
pub(super) struct Answers {
    /// Of each publish the time from sending it to its answer.
    pub(super) took_us: Vec<u32>,
    /// Processor time of the broker.
    pub(super) cpu_ns: u64,
}

/// Within which answers count.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: Instant,
    until: Instant,
}

impl Load {
    /// Runs it on these cores; `usage` says what the broker has used.
    ///
    /// # Errors
    /// A publish is refused, or answered with another level, or the broker is gone.
    pub(super) fn run(
        self,
        cores: CpuSet,
        usage: impl Fn() -> anyhow::Result<Usage> + Send,
    ) -> anyhow::Result<Answers> {
        let work = || {
            sched_setaffinity(None, &cores)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let limit = LIMIT + Duration::from_secs_f64(self.seconds);
            runtime.block_on(async {
                timeout(limit, self.publish(usage)).await.context("publishes are not answered")?
            })
        };
        thread::scope(|scope| {
            let thread = scope.spawn(work);
            thread.join().map_err(|_| anyhow::anyhow!("the publishers have panicked"))?
        })
    }

    async fn publish(self, usage: impl Fn() -> anyhow::Result<Usage>) -> anyhow::Result<Answers> {
        let sockets = try_join_all((0..self.publishers).map(|_| connect(self.port))).await?;
        let from = Instant::now() + WARM_UP;
        let span = Span { from, until: from + Duration::from_secs_f64(self.seconds) };
        let watch = async {
            sleep_until(span.from.into()).await;
            let before = usage()?;
            sleep_until(span.until.into()).await;
            anyhow::Ok(usage()?.cpu_ns.saturating_sub(before.cpu_ns))
        };
        let publishers = sockets.into_iter().zip(0..).map(|(socket, number)| {
            let topic = format!("bench/{number}");
            Publisher { socket, load: self, topic, next_id: 0, sent: VecDeque::new() }.run(span)
        });
        let (took_us, cpu_ns) = tokio::try_join!(try_join_all(publishers), watch)?;
        Ok(Answers { took_us: took_us.concat(), cpu_ns })
    }
}

struct Publisher {
    socket: WebSocketStream<TcpStream>,
    load: Load,
    topic: String,
    next_id: u64,
    /// When those that are unanswered were sent. Answers come in the order of publishes.
    sent: VecDeque<Instant>,
}

impl Publisher {
    async fn run(mut self, span: Span) -> anyhow::Result<Vec<u32>> {
        let mut took_us = Vec::new();
        loop {
            let is_over = Instant::now() >= span.until;
            while !is_over && self.sent.len() < self.load.unanswered as usize {
                self.feed().await?;
            }
            self.socket.flush().await?;
            if self.sent.is_empty() {
                self.socket.close(None).await?;
                return Ok(took_us);
            }
            // All that is there, before the next are sent in one write.
            let mut came = Some(self.socket.next().await);
            while let Some(next) = came {
                let message = next.context("the broker has gone")??;
                self.take(&message, span, &mut took_us)?;
                came = self.socket.next().now_or_never();
            }
        }
    }

    async fn feed(&mut self) -> anyhow::Result<()> {
        self.next_id += 1;
        let (id, topic, data) = (self.next_id, &self.topic, "x".repeat(self.load.size));
        let text = format!(r#"{{"id":{id},"op":"publish","topic":"{topic}","data":"{data}"}}"#);
        self.sent.push_back(Instant::now());
        Ok(self.socket.feed(Message::text(text)).await?)
    }

    fn take(
        &mut self,
        message: &Message,
        span: Span,
        took_us: &mut Vec<u32>,
    ) -> anyhow::Result<()> {
        let Message::Text(text) = message else {
            ensure!(!message.is_close(), "the broker has closed: {message}");
            return Ok(());
        };
        let level = format!(r#""level":"{}""#, self.load.level);
        ensure!(text.contains(&level), "a publish was answered with {text}");
        let Some(sent) = self.sent.pop_front() else { bail!("an answer to nothing: {text}") };
        let now = Instant::now();
        if (span.from..span.until).contains(&now) {
            took_us.push((now - sent).as_micros() as u32);
        }
        Ok(())
    }
}

async fn connect(port: u16) -> anyhow::Result<WebSocketStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut request = format!("ws://127.0.0.1:{port}/ws").into_client_request()?;
    let protocol = HeaderValue::from_static("altavoz.v1.json");
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    Ok(socket)
}
