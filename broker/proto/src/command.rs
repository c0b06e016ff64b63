//! What a client can ask and a broker can answer, whatever the encoding.
//!
//! Plain values that borrow from the bytes they were read from; nothing here reads or writes
//! bytes, decides anything or keeps state. [`crate::json`] and [`crate::bin`] make them from a
//! peer's messages and write them; the broker's hub acts on them, the load generator sends them.
//! docs/PROTOCOL.md says what each command means.

mod answer;
mod error;
mod notice;
mod options;
mod position;

use crate::topic::{Filter, Topic};

pub use answer::{Account, Answer, GapReason, Level, Member, Past, Stats};
pub(crate) use error::quoted;
pub use error::{CommandError, ErrorCode};
pub use notice::{ModeReason, Notice, Serving};
pub use options::{Deadband, Delta, FIELDS_MAX, KEY_LEVELS_MAX, Since, SubscribeOptions};
pub use position::{Epoch, EpochError, Position};

/// One command as it came from a client, or why it is none.
///
/// A message that is no command at all is one request without an id whose command is an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'a> {
    /// What the client calls this command. None: it wants no answer to a success, and an error is
    /// answered without an id.
    pub id: Option<Id<'a>>,
    /// The command, or the error to answer with.
    pub command: Result<Command<'a>, CommandError>,
}

/// The name a client gave a command, to be given back in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id<'a> {
    /// A JSON integer or string of at most [`ID_BYTES_MAX`] bytes, as it was written: quotes,
    /// escapes and all.
    Raw(&'a str),
    /// The number of a command in the binary protocol.
    Number(u64),
}

/// The longest id of the JSON protocol, in bytes as written, with a string's quotes.
pub const ID_BYTES_MAX: usize = 64;

/// The longest `msg_id` of a publish, in bytes of UTF-8.
pub const MSG_ID_BYTES_MAX: usize = 64;

/// A text that is to be a `msg_id`, checked.
pub(crate) fn check_msg_id(text: &str) -> Result<&str, CommandError> {
    if (1..=MSG_ID_BYTES_MAX).contains(&text.len()) {
        return Ok(text);
    }
    let message = format!("`msg_id` has 1 to {MSG_ID_BYTES_MAX} bytes, not {}", text.len());
    Err(CommandError::bad_request(message))
}

/// A command that is sound in itself: its topics, options and payload are checked. Whether the
/// client may do it, and whether the broker can, is for the broker to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Command<'a> {
    /// Says who the client is.
    Connect {
        /// A JSON Web Token; none where the broker asks for none.
        token: Option<&'a str>,
    },
    /// Asks for the messages of all topics that match, from now on.
    Subscribe {
        /// The topic or pattern of topics.
        filter: Filter<'a>,
        /// How they are to be delivered.
        options: SubscribeOptions<'a>,
    },
    /// Ends a subscription.
    Unsubscribe {
        /// The filter exactly as it was subscribed to.
        filter: Filter<'a>,
    },
    /// Gives a message to everyone who subscribed to its topic.
    Publish {
        /// The topic.
        topic: Topic<'a>,
        /// What to deliver.
        payload: Payload<'a>,
        /// `count`: the answer is to say how many subscriptions it matches.
        count: bool,
        /// `msg_id`: what the publisher calls it, 1 to [`MSG_ID_BYTES_MAX`] bytes. One that comes
        /// again is not published again, but answered as the first was.
        msg_id: Option<&'a str>,
    },
    /// Holds a subscription's messages back until resumed.
    Pause {
        /// The filter exactly as it was subscribed to.
        filter: Filter<'a>,
    },
    /// Ends a pause.
    Resume {
        /// The filter exactly as it was subscribed to.
        filter: Filter<'a>,
    },
    /// Asks for past messages of a topic.
    History {
        /// The topic.
        topic: Topic<'a>,
        /// How many messages at most, from 1; none leaves it to the broker.
        limit: Option<u32>,
    },
    /// Asks who is subscribed to a topic.
    Presence {
        /// The topic.
        topic: Topic<'a>,
    },
    /// Asks for this connection's delivery accounts, or for those of one of its subscriptions.
    Stats {
        /// The subscription's filter exactly as it was subscribed to; none asks for the connection.
        filter: Option<Filter<'a>>,
    },
    /// Asks for an answer and nothing else.
    Ping,
}

impl Command<'_> {
    /// Which command this is.
    pub fn op(&self) -> Op {
        match self {
            Self::Connect { .. } => Op::Connect,
            Self::Subscribe { .. } => Op::Subscribe,
            Self::Unsubscribe { .. } => Op::Unsubscribe,
            Self::Publish { .. } => Op::Publish,
            Self::Pause { .. } => Op::Pause,
            Self::Resume { .. } => Op::Resume,
            Self::History { .. } => Op::History,
            Self::Presence { .. } => Op::Presence,
            Self::Stats { .. } => Op::Stats,
            Self::Ping => Op::Ping,
        }
    }
}

/// A message to publish, sound in itself like a [`Command`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Publish<'a> {
    /// The topic.
    pub topic: Topic<'a>,
    /// What to deliver.
    pub payload: Payload<'a>,
    /// As in [`Command::Publish`].
    pub count: bool,
    /// As in [`Command::Publish`].
    pub msg_id: Option<&'a str>,
}

/// The message of a publish, byte for byte as the publisher gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// One valid JSON value, white space and spelling kept; it nests at most
    /// [`crate::json::DEPTH_MAX`] levels.
    Json(&'a [u8]),
    /// Any bytes.
    Opaque(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// The bytes, whatever they are.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Json(bytes) | Self::Opaque(bytes) => bytes,
        }
    }
}

/// The kind of a command: its name in the JSON protocol, its number in the binary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    /// `publish`, 1.
    Publish = 1,
    /// `subscribe`, 2.
    Subscribe = 2,
    /// `unsubscribe`, 3.
    Unsubscribe = 3,
    /// `ping`, 4.
    Ping = 4,
    /// `connect`, 5.
    Connect = 5,
    /// `pause`, 6.
    Pause = 6,
    /// `resume`, 7.
    Resume = 7,
    /// `history`, 8.
    History = 8,
    /// `presence`, 9.
    Presence = 9,
    /// `stats`, 10.
    Stats = 10,
}

impl Op {
    /// Every kind, in the order of its number from 1.
    pub const ALL: [Self; 10] = [
        Self::Publish,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Ping,
        Self::Connect,
        Self::Pause,
        Self::Resume,
        Self::History,
        Self::Presence,
        Self::Stats,
    ];

    /// The value of `op` in the JSON protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Ping => "ping",
            Self::Connect => "connect",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::History => "history",
            Self::Presence => "presence",
            Self::Stats => "stats",
        }
    }

    /// The kind with this name; names are in lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name() == name)
    }

    /// The number in the binary protocol.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The kind with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }
}
