//! The sends of a turn, handed to the kernel in one call instead of one each. Only where the
//! settings ask for it, for WebSockets without a backlog and without TLS; the rest, and what comes
//! of each send, is [`flush`](super::flush)'s.

use std::ops::Range;

use rustix::io::Errno;

use super::Worker;
use crate::hub::outbox::{FrameId, NodeId, Outbox};
use crate::hub::protocol::Protocol;
use crate::sys::ring::SendRing;
use crate::transport::Outcome;

/// Sends that are gathered before they go.
const PLANNED_MAX: usize = 1024;
/// Bytes that are put together for them.
const ARENA_BYTES_MAX: usize = 1024 * 1024;

/// What is gathered.
pub(super) struct Batch {
    ring: SendRing,
    planned: Vec<Planned>,
    results: Vec<Result<usize, Errno>>,
    /// The list that was put together last, and where its bytes are.
    last: Option<(NodeId, Source)>,
    list: Vec<FrameId>,
    arena: Vec<u8>,
}

/// One send.
struct Planned {
    slot: u32,
    pending: NodeId,
    protocol: Protocol,
    source: Source,
    /// How many bytes it is to send.
    length: usize,
}

/// Where the bytes of a list are.
#[derive(Clone)]
enum Source {
    /// It is this frame alone.
    Frame(FrameId),
    /// They were put together here.
    Arena(Range<usize>),
}

impl Batch {
    pub(super) fn new(ring: SendRing) -> Self {
        Self {
            ring,
            planned: Vec::with_capacity(PLANNED_MAX),
            results: Vec::with_capacity(PLANNED_MAX),
            last: None,
            list: Vec::new(),
            arena: Vec::new(),
        }
    }

    fn plan(&mut self, outbox: &Outbox, slot: u32, pending: NodeId, protocol: Protocol) {
        let source = match &self.last {
            Some((last, source)) if *last == pending => source.clone(),
            _ => self.put_together(outbox, pending, protocol),
        };
        let mut planned = Planned { slot, pending, protocol, source, length: 0 };
        planned.length = planned.bytes(outbox, &self.arena).len();
        self.planned.push(planned);
    }

    fn put_together(&mut self, outbox: &Outbox, pending: NodeId, protocol: Protocol) -> Source {
        outbox.list(pending, &mut self.list);
        let source = match self.list[..] {
            [frame] => Source::Frame(frame),
            _ => {
                let start = self.arena.len();
                for &frame in &self.list {
                    self.arena.extend_from_slice(outbox.bytes_of(frame, protocol));
                }
                Source::Arena(start..self.arena.len())
            }
        };
        self.last = Some((pending, source.clone()));
        source
    }

    fn is_full(&self) -> bool {
        self.planned.len() >= PLANNED_MAX || self.arena.len() >= ARENA_BYTES_MAX
    }
}

impl Planned {
    fn bytes<'a>(&self, outbox: &'a Outbox, arena: &'a [u8]) -> &'a [u8] {
        match &self.source {
            Source::Frame(frame) => outbox.bytes_of(*frame, self.protocol),
            Source::Arena(range) => &arena[range.clone()],
        }
    }
}

impl Worker {
    /// Gathers what is pending for a connection; false if it must be sent by itself.
    pub(super) fn plan(&mut self, slot: u32, pending: NodeId, protocol: Protocol) -> bool {
        let Some(batch) = &mut self.batch else { return false };
        let Some(connection) = self.connections.get(slot as usize) else { return true };
        let is_alone = connection.backlog.is_some()
            || protocol == Protocol::Sse
            || connection.compression.window.is_some();
        if is_alone || connection.socket.plain().is_none() {
            return false;
        }
        batch.plan(&self.core.hub.outbox, slot, pending, protocol);
        if batch.is_full() {
            self.send_planned();
        }
        true
    }

    /// Sends what was gathered.
    pub(super) fn send_planned(&mut self) {
        let Some(batch) = &mut self.batch else { return };
        let (outbox, connections) = (&self.core.hub.outbox, &self.connections);
        let socket_of = |slot: u32| connections.get(slot as usize)?.socket.plain();
        batch.planned.retain(|planned| socket_of(planned.slot).is_some());
        let sends = batch.planned.iter().filter_map(|planned| {
            Some((socket_of(planned.slot)?, planned.bytes(outbox, &batch.arena)))
        });
        batch.ring.send_all(sends, &mut batch.results);
        let planned = std::mem::take(&mut batch.planned);
        let results = std::mem::take(&mut batch.results);
        batch.last = None;
        batch.arena.clear();
        batch.arena.shrink_to(ARENA_BYTES_MAX);
        for (planned, result) in planned.iter().zip(&results) {
            let outcome = match result {
                Ok(sent) => Outcome::Moved(*sent),
                Err(Errno::AGAIN) => Outcome::WouldBlock,
                Err(_) => Outcome::Ended,
            };
            let Planned { slot, pending, protocol, length, .. } = planned;
            self.settle_send(*slot as usize, (*pending, *protocol), *length, outcome);
        }
        if let Some(batch) = &mut self.batch {
            // They keep their room.
            (batch.planned, batch.results) = (planned, results);
            batch.planned.clear();
        }
    }
}
