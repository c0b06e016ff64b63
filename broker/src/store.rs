//! The store: messages of topics whose rule says so are put on disk, and are there again after the
//! process has ended, however it ended.
//!
//! It is a log that is only ever appended to: what is kept is in memory too, so that while the
//! broker runs nothing is read from disk. A thread of its own, the `keeper`, takes what waits in
//! the hub's log, writes it all at once, waits for the disk, and only then lets the hub deliver
//! and answer. Made by `server` before anybody is let in; knows no connections.
//!
//! | part | what it is |
//! |---|---|
//! | `record`, `segment`, `disk` | what is written, the files, and how writing can fail |
//! | `reading`, `index` | what is found at the start, damaged or not |
//! | `keeper`, `book`, `checkpoint` | the thread, what it knows of topics, and how the log is kept short |
//! | `bell` | how it is woken |

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_proto::command::{Epoch, Payload};
use broker_proto::topic::Topic as TopicName;

use crate::config::rules::{Rules, Store};
use crate::config::{Config, KEEP_MS_MAX};
use crate::hub::Shared;
use crate::hub::commits::Restored;
use crate::hub::desk::Desk;
use crate::hub::log::Log;
use crate::metrics::{Metrics, StoreMetrics};

pub mod bell;
mod book;
mod checkpoint;
mod disk;
mod index;
mod keeper;
mod reading;
mod record;
mod segment;

use self::bell::Bell;
use self::book::Book;
use self::checkpoint::Checkpoint;
use self::disk::{Disk, Room};
use self::index::{Index, Limits, Spot, Stored, fit};
pub use self::keeper::Keeper;
use self::keeper::{Clock, Health, Keeping};
use self::reading::Source;
use self::record::Frame;
use self::segment::{Folder, Found};

/// How often the log says how far it has read.
const PROGRESS: Duration = Duration::from_secs(2);

/// A store that was read and not written to yet.
#[derive(Debug)]
pub struct Opened {
    disk: Disk,
    sources: Vec<Source>,
    topics: Vec<Stored>,
    bell: Bell,
    bytes_max: u64,
    /// When it was opened, and what the time of day was then.
    at: Instant,
    unix_ms: u64,
    started_unix_ms: u64,
}

/// What the store needs of the broker.
#[derive(Debug)]
pub struct Parts {
    /// Where the topics are, and what waits to be written.
    pub shared: Arc<Shared>,
    /// The way back to the workers.
    pub desk: Desk,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// When the broker's clock was at 0.
    pub started: Instant,
}

/// Why the store can't be used. The broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another broker has the folder.
    #[error("store_dir = {0}: another broker uses it")]
    Taken(PathBuf),
    /// The disk does not let us.
    #[error("store_dir = {path}: {error}")]
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A newer or older broker has written it.
    #[error("{0} was written by another version of the broker")]
    Version(PathBuf),
    /// More topics are stored than there may be; those above would be lost.
    #[error(
        "{topics} topics are stored, and topics_max is {topics_max}: set it to as many or more"
    )]
    Topics {
        /// How many are stored.
        topics: u64,
        /// The limit.
        topics_max: u64,
    },
}

impl StoreError {
    fn at(path: &Path) -> impl Fn(io::Error) -> Self + Copy + '_ {
        move |error| match error.kind() {
            io::ErrorKind::WouldBlock => Self::Taken(path.to_owned()),
            io::ErrorKind::Unsupported => Self::Version(path.to_owned()),
            _ => Self::Io { path: path.to_owned(), error },
        }
    }
}

impl Opened {
    /// Takes the folder and reads what is there, of it as much as the rules of these settings keep
    /// and `history_total_bytes_max` bytes of memory hold. `unix_ms` is the time of day.
    ///
    /// # Errors
    /// [`StoreError`]. What is damaged is none: it is left out, and said in the log and in
    /// `metrics`.
    pub fn open(config: &Config, unix_ms: u64, metrics: &StoreMetrics) -> Result<Self, StoreError> {
        let (opened_at, rules, settings) = (Instant::now(), Rules::new(config), &config.store);
        let at = StoreError::at(&settings.dir);
        let folder = Folder::open(&settings.dir).map_err(at)?;
        let found = folder.segments().map_err(at)?;
        let (index, sources) = read(&found, &rules, metrics)?;
        let total = index.messages();
        // Later than every epoch that is stored, though the clock may have been set back. Of topics
        // that are not stored nothing is known: theirs are earlier if the clock goes on.
        let unix_ms_least = (index.newest_epoch() >> 20) + 1;
        let base_ms = unix_ms.max(unix_ms_least);
        let mut minted = 0;
        let mut topics = index.finish(unix_ms, || {
            minted += 1;
            (base_ms << 20) + minted
        });
        let (stored, topics_max) = (topics.len() as u64, config.topics_max.into());
        if stored > topics_max {
            return Err(StoreError::Topics { topics: stored, topics_max });
        }
        let squeezed = fit(&mut topics, config.history_total_bytes_max);
        if squeezed > 0 {
            tracing::warn!(
                messages = squeezed,
                "not all that is stored fits history_total_bytes_max"
            );
        }
        let kept: u64 = topics.iter().map(|topic| topic.spots.len() as u64).sum();
        metrics.recovered.set(kept);
        metrics.left_out.set(total - kept);
        let mut disk = Disk::new(folder, settings.bytes_max).map_err(at)?;
        note_news(&mut disk, &topics).map_err(at)?;
        metrics.disk_bytes.set(disk.bytes());
        tracing::info!(
            topics = topics.len(),
            messages = kept,
            left_out = total - kept,
            new_epochs = minted,
            bytes = disk.bytes(),
            "the store is open"
        );
        let started_unix_ms = base_ms + (minted >> 20) + u64::from(minted > 0);
        let (bell, bytes_max) = (Bell::default(), settings.bytes_max);
        let at = opened_at;
        Ok(Self { disk, sources, topics, bell, bytes_max, at, unix_ms, started_unix_ms })
    }

    /// The time of day at which the broker's own epochs are to begin: now, or somewhat later if
    /// the store knows epochs from then.
    pub fn started_unix_ms(&self) -> u64 {
        self.started_unix_ms
    }

    /// What is to wait for the store, about so many bytes of it.
    pub fn log(&self, bytes_max: u64) -> Log {
        let bell = self.bell.clone();
        Log::new(bytes_max, move || bell.ring())
    }

    /// How the store is asked to put all on disk.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// How long ago the oldest message that is taken over was published: the broker's clock has to
    /// have begun before.
    pub fn oldest_age(&self) -> Duration {
        let spots = self.topics.iter().filter_map(|topic| topic.spots.front());
        let oldest = spots.map(|spot| self.unix_ms.saturating_sub(spot.at_unix_ms)).max();
        Duration::from_millis(oldest.unwrap_or(0).min(KEEP_MS_MAX))
    }

    /// Puts back what was kept and starts the thread. Nobody may have been let in yet.
    ///
    /// # Errors
    /// The system gives no more threads, or there are topics already and not all of these fit.
    pub fn start(self, parts: Parts) -> io::Result<Keeper> {
        let Parts { shared, desk, metrics, started } = parts;
        // Ages count from when it was opened, however long reading has taken since.
        let opened_ms = self.at.saturating_duration_since(started).as_millis() as u64;
        let clock = Clock { started, began_unix_ms: self.unix_ms.saturating_sub(opened_ms) };
        let mut book = Book::default();
        for stored in &self.topics {
            let Ok(name) = TopicName::new(&stored.name) else { continue };
            let messages = self.messages(stored);
            let kept = messages.iter().map(|message| message.restored(self.unix_ms));
            let epoch = Epoch::new(stored.epoch);
            let restored = shared.restore(name, epoch, stored.seq, kept, opened_ms);
            let topic = restored.map_err(|full| {
                let topics = self.topics.len() as u64;
                io::Error::other(StoreError::Topics { topics, topics_max: full.topics_max })
            })?;
            book.enter(topic, stored.id);
        }
        Keeper::start(Keeping {
            shared,
            desk,
            checkpoint: Checkpoint::new(self.bytes_max),
            disk: self.disk,
            book,
            metrics,
            bell: self.bell,
            clock,
            health: Health::Open,
            frame: Frame::new(),
            dirty_since: None,
        })
    }

    /// Reads the messages of a topic, oldest first. What the disk can't read any more is left out,
    /// with all that is older.
    fn messages(&self, topic: &Stored) -> Vec<ReadBack> {
        let mut messages = Vec::with_capacity(topic.spots.len());
        for spot in topic.spots.iter().rev() {
            let Some(source) = self.sources.get(spot.segment as usize) else { break };
            match source.read_at(spot.offset, spot.bytes as usize) {
                Ok(bytes) => messages.push(ReadBack { spot: *spot, bytes }),
                Err(error) => {
                    tracing::error!(topic = &*topic.name, seq = spot.seq, %error, "can't be read");
                    break;
                }
            }
        }
        messages.reverse();
        messages
    }
}

/// A message as it was on disk.
#[derive(Debug)]
struct ReadBack {
    spot: Spot,
    bytes: Vec<u8>,
}

impl ReadBack {
    fn restored(&self, unix_ms: u64) -> Restored<'_> {
        let Self { spot, bytes } = self;
        let payload = if spot.is_json { Payload::Json(bytes) } else { Payload::Opaque(bytes) };
        Restored { seq: spot.seq, payload, age_ms: unix_ms.saturating_sub(spot.at_unix_ms) }
    }
}

/// Reads all segments and says what is damaged.
fn read(
    found: &[Found],
    rules: &Rules,
    metrics: &StoreMetrics,
) -> Result<(Index, Vec<Source>), StoreError> {
    let (mut index, mut sources) = (Index::default(), Vec::new());
    let limits = |name: &str| limits(rules, name);
    let all: u64 = found.iter().map(|segment| segment.bytes).sum();
    let (mut done, mut told) = (0, Instant::now());
    for (number, segment) in found.iter().enumerate() {
        let at = StoreError::at(&segment.path);
        let source = File::open(&segment.path).and_then(Source::new).map_err(at)?;
        index.begin_segment();
        let scan = source.scan(|piece| {
            index.take(number as u32, piece, limits);
            if told.elapsed() >= PROGRESS {
                tracing::info!(bytes = done, of = all, messages = index.messages(), "reading");
                told = Instant::now();
            }
        });
        let scan = scan.map_err(at)?;
        done += source.bytes();
        metrics.torn_bytes.add(scan.torn_bytes);
        metrics.damaged_bytes.add(scan.damaged_bytes);
        let path = segment.path.display();
        if scan.torn_bytes > 0 {
            tracing::warn!(%path, bytes = scan.torn_bytes, "the last write was not finished");
        }
        if scan.damaged_bytes > 0 {
            tracing::error!(%path, bytes = scan.damaged_bytes, "damaged; what follows is read");
        }
        sources.push(source);
    }
    Ok((index, sources))
}

/// How much of a topic's past is to be read; `None` if its rule has nothing on disk.
fn limits(rules: &Rules, name: &str) -> Option<Limits> {
    let rule = rules.of(TopicName::new(name).ok()?);
    if rule.store == Store::None {
        return None;
    }
    let messages = rule.history_messages.max(u32::from(rule.last_ms > 0)) as usize;
    let (age_ms, level) = (rule.history_ms.max(rule.last_ms), book::level_of(rule.store));
    Some(Limits { messages, age_ms, level })
}

/// New epochs are on disk before anybody hears of them, and so is that less is promised than before:
/// what is seen from here on may not be.
fn note_news(disk: &mut Disk, topics: &[Stored]) -> io::Result<()> {
    let (mut frame, mark) = (Frame::new(), disk.mark());
    for topic in topics.iter().filter(|topic| topic.is_news) {
        frame.add(&topic.record());
    }
    disk.append(&mut frame, mark, Room::Any).and_then(|()| disk.sync()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
