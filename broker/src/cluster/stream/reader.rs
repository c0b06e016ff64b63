//! Reads one stream from its beginning to its end and on, in order, and hands over what it reads.
//!
//! It goes on where it was when the connection was lost, when it seems to be stuck, and when the
//! server lost the consumer. It says when it has read all there was, and when the stream is not the
//! one it was, or shorter. Decides nothing about what it reads.

use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use async_nats::jetstream::{Context, ErrorCode, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::plan::StreamPlan;
use crate::cluster::Bus;
use crate::cluster::trouble::Trouble;

/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// Silence after which the server is asked whether there should have been something.
const SILENCE: Duration = Duration::from_secs(1);

/// What a reader tells.
#[derive(Debug)]
pub enum Read {
    /// The stream is there, and kept on so many servers.
    Opened {
        /// Its place in the plan.
        stream: usize,
        /// On how many servers.
        replicas: usize,
    },
    /// The stream can't be made or used, and NATS says why.
    Barred {
        /// Its place in the plan.
        stream: usize,
        /// Why.
        trouble: Trouble,
    },
    /// The stream lost its end, or is another one: it ends with that number now.
    Truncated {
        /// Its place in the plan.
        stream: usize,
        /// The number.
        number: u64,
    },
    /// The next record.
    Record {
        /// The stream's place in the plan.
        stream: usize,
        /// The record's number there.
        number: u64,
        /// The subject it was published under.
        subject: String,
        /// What it is.
        record: Bytes,
        /// When it was stored, in ms since 1970.
        unix_ms: u64,
        /// How many more there are.
        pending: u64,
    },
    /// All that was there when the reader began on this connection was handed over.
    CaughtUp {
        /// The stream's place in the plan.
        stream: usize,
        /// There is nothing up to that number that was not handed over.
        number: u64,
        /// The connection: the how-many-eth it is.
        connects: u64,
    },
}

/// Reads one stream.
#[derive(Debug)]
pub struct Reader {
    bus: Bus,
    context: Context,
    place: usize,
    plan: StreamPlan,
    into: mpsc::Sender<Read>,
    /// The number of the last record that was handed over, or passed.
    number: u64,
    /// When the stream was made, in ns since 1970.
    created: Option<i128>,
    /// What is still to be read on this connection until all is that was there; and which one.
    behind: Option<(u64, u64)>,
}

/// Why a reader begins again.
enum Stop {
    /// Nobody takes what it reads any more.
    Closed,
    /// This, after which it goes on.
    Failed(String),
}

impl From<async_nats::Error> for Stop {
    fn from(error: async_nats::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Reader {
    /// A reader of the stream at that place in the plan.
    pub fn new(
        bus: Bus,
        context: Context,
        (place, plan): (usize, StreamPlan),
        into: mpsc::Sender<Read>,
    ) -> Self {
        Self { bus, context, place, plan, into, number: 0, created: None, behind: None }
    }

    /// Reads until nobody takes it any more.
    pub async fn run(mut self) {
        let mut told = String::new();
        loop {
            match self.try_read().await {
                Ok(()) => continue,
                Err(Stop::Closed) => return,
                Err(Stop::Failed(reason)) => {
                    if reason != told && self.bus.is_up() {
                        tracing::warn!(stream = self.plan.name, reason, "reading begins again");
                    }
                    told = reason;
                }
            }
            if self.into.is_closed() {
                return;
            }
            tokio::time::sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await;
        }
    }

    /// Reads until the connection is made anew or something fails.
    async fn try_read(&mut self) -> Result<(), Stop> {
        let mut standing = self.bus.standing.clone();
        standing.wait_for(|now| now.is_up).await.map_err(|_| Stop::Closed)?;
        let connects = standing.borrow().connects;
        let stream = self.open().await?;
        let config = OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.number + 1 },
            ..OrderedConfig::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(boxed)?;
        let end = stream.cached_info().state.last_sequence;
        let has_nothing = consumer.cached_info().num_pending == 0;
        if has_nothing && self.number < end && is_gone(&stream, end).await? {
            self.number = end;
        }
        self.behind = Some((end, connects));
        self.look_whether_caught_up().await?;
        let mut messages = consumer.messages().await.map_err(boxed)?;
        let mut was_behind = false;
        loop {
            let next = tokio::select! {
                _ = standing.wait_for(|now| now.connects != connects) => return Ok(()),
                next = timeout(SILENCE, messages.next()) => next,
            };
            match next {
                Ok(Some(message)) => {
                    was_behind = false;
                    self.hand_over(&message.map_err(boxed)?).await?;
                }
                Ok(None) => return Err(Stop::Failed("the consumer has ended".to_owned())),
                Err(_) => {
                    if !self.bus.is_up() {
                        continue;
                    }
                    let info = stream.get_info().await.map_err(boxed)?;
                    let is_behind = info.state.last_sequence != self.number;
                    if is_behind && was_behind {
                        return Err(Stop::Failed("the server sends nothing".to_owned()));
                    }
                    was_behind = is_behind;
                }
            }
        }
    }

    /// Makes the stream, or makes it what the settings say, and looks whether it is the one that
    /// was read.
    async fn open(&mut self) -> Result<Stream, Stop> {
        if let Err(error) = self.context.create_or_update_stream(self.plan.config()).await {
            if let Some(trouble) = trouble_of(&error.kind()) {
                self.tell(Read::Barred { stream: self.place, trouble }).await?;
            }
            return Err(boxed(error));
        }
        let stream = self.context.get_stream(&self.plan.name).await.map_err(boxed)?;
        let info = stream.cached_info();
        let created = info.created.unix_timestamp_nanos();
        let is_other = self.created.replace(created).is_some_and(|before| before != created);
        let end = info.state.last_sequence;
        let (stream_place, replicas) = (self.place, info.config.num_replicas);
        if is_other || end < self.number {
            self.number = if is_other { 0 } else { end };
            tracing::error!(
                stream = self.plan.name,
                end,
                is_other,
                "JetStream has lost records; topics begin new epochs"
            );
            self.tell(Read::Truncated { stream: stream_place, number: self.number }).await?;
        }
        self.tell(Read::Opened { stream: stream_place, replicas }).await?;
        Ok(stream)
    }

    async fn hand_over(&mut self, message: &Message) -> Result<(), Stop> {
        let info = message.info()?;
        let (number, pending) = (info.stream_sequence, info.pending);
        if number > self.number {
            let unix_ms = info.published.unix_timestamp_nanos() / 1_000_000;
            self.number = number;
            let read = Read::Record {
                stream: self.place,
                number,
                subject: message.subject.to_string(),
                record: message.payload.clone(),
                unix_ms: u64::try_from(unix_ms).unwrap_or(0),
                pending,
            };
            self.tell(read).await?;
        }
        if pending == 0 {
            // What was there at the end has been dropped since.
            self.behind.iter_mut().for_each(|(end, _)| *end = number);
        }
        self.look_whether_caught_up().await
    }

    async fn look_whether_caught_up(&mut self) -> Result<(), Stop> {
        match self.behind {
            Some((end, connects)) if end <= self.number => {
                self.behind = None;
                let number = self.number;
                self.tell(Read::CaughtUp { stream: self.place, number, connects }).await
            }
            _ => Ok(()),
        }
    }

    async fn tell(&self, read: Read) -> Result<(), Stop> {
        self.into.send(read).await.map_err(|_| Stop::Closed)
    }
}

/// What won't go away by itself; none where trying again may help.
fn trouble_of(kind: &CreateStreamErrorKind) -> Option<Trouble> {
    match kind {
        CreateStreamErrorKind::JetStreamUnavailable => Some(Trouble::NotEnabled),
        CreateStreamErrorKind::JetStream(error) => match error.error_code() {
            ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                Some(Trouble::NotEnabled)
            }
            // Without a leader for the moment, or still starting.
            ErrorCode::CLUSTER_NOT_AVAILABLE | ErrorCode::CLUSTER_NOT_LEADER => None,
            _ => Some(Trouble::Refused),
        },
        _ => None,
    }
}

/// Whether the stream's last record is there no more, and so none before it. The consumer does not
/// know: it may be on a server that has yet to get what another has stored.
async fn is_gone(stream: &Stream, end: u64) -> Result<bool, Stop> {
    if stream.cached_info().state.messages == 0 {
        return Ok(true);
    }
    match stream.get_raw_message(end).await {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(true),
        Err(error) => Err(boxed(error)),
    }
}

fn boxed(error: impl std::error::Error) -> Stop {
    Stop::Failed(error.to_string())
}
