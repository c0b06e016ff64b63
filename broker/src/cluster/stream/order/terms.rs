//! What an order hands out, is told and says.

use broker_proto::command::{Epoch, Position};
use bytes::Bytes;

use super::super::record::Origin;

/// A record on its way to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What is stored, if it is.
    pub record: Bytes,
    /// Only if this is the topic's newest record in the stream; 0 for none.
    pub expected: u64,
    /// Who writes it: the server stores only one record of the same.
    pub origin: Origin,
    /// How many messages it holds.
    pub messages: u16,
}

/// The server has not stored an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It expects another record to be the topic's newest: this one, if it says so.
    Conflict(Option<u64>),
    /// It can't store any.
    Failed,
}

/// What those are told whose publish is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// It was not published, and will not be.
    NotPublished,
    /// Nobody knows: it may have been published, or may be yet.
    Unsure,
    /// It is longer than a record may be.
    TooLarge,
    /// It was not published: it may have come before, and there is no room to know.
    NoRoom,
}

/// What those are told whose publish came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It has this place.
    At(Position),
    /// Something else has, that came under the same name in another request.
    OtherRequest(Position),
}

/// What is told to those whose publish does not go into the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It came before.
    Repeat(Repeat),
    /// It is given up.
    GivenUp(GivenUp),
}

/// What a record that the reader came to is.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen<P> {
    /// Seen before.
    Old,
    /// What those published who wait here; one for each message.
    Own(Vec<P>),
    /// Another node's, or of this one, but nobody waits any more. The first `skip` messages have
    /// numbers that were taken already, which no broker does.
    Foreign {
        /// How many of its messages are not to be delivered.
        skip: u64,
        /// Those who waited for a record that is gone.
        lost: Vec<P>,
    },
}

/// What an attempt is made with.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// This node and a number that was never used.
    pub origin: Origin,
    /// An epoch that was never used.
    pub fresh: Epoch,
}

/// How large records may become.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of a record with several messages.
    pub batch_bytes_max: usize,
    /// Most bytes that the server takes.
    pub record_bytes_max: usize,
}
