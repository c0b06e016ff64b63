//! Sends what is due, for all publishers of one worker. Keeps the schedule's times whatever
//! happens: a message that could not be sent in time goes out late, stamped with the time it was
//! due. Called by the worker once per turn.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::client::{Client, Codecs, Compression};
use super::schedule::{Due, Queue};
use super::{Ledger, Plan};
use crate::payload::{Body, Market};
use crate::stamp::Stamp;
use crate::sys;

/// The most messages of one publisher that go out in one write.
const BATCH_MAX: usize = 64;

/// The most batches per turn, so that reading is never put off for long.
const BATCHES_MAX: usize = 16;

/// How long to leave a publisher alone whose socket takes nothing.
const BLOCKED_NS: u64 = 1_000_000;

/// The publishers of one worker.
#[derive(Default)]
pub(super) struct Publishers {
    all: Vec<Publisher>,
    /// Who has to send next, and when.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    start_ns: u64,
    market: Market,
    payload: Vec<u8>,
    command: Vec<u8>,
    frames: Vec<u8>,
}

/// How the frames of one connection are made.
struct Packing<'a> {
    codecs: &'a mut Codecs,
    compression: Option<&'a Compression>,
}

struct Publisher {
    number: u32,
    /// Index of its connection among the worker's clients.
    client: usize,
    queue: Queue,
}

impl Publishers {
    /// One more publisher, whose connection is `client`.
    pub(super) fn add(&mut self, plan: &Plan, number: u32, client: usize) {
        let queue = Queue::new(number, plan.publishers, &plan.schedule);
        self.all.push(Publisher { number, client, queue });
    }

    /// Message 0 of the run is due at `start_ns`.
    pub(super) fn start(&mut self, plan: &Plan, start_ns: u64) {
        self.start_ns = start_ns;
        for (index, publisher) in self.all.iter().enumerate() {
            if let Some(due) = publisher.queue.peek(&plan.schedule) {
                self.next.push(Reverse((start_ns + due.after_ns, index)));
            }
        }
    }

    /// Nothing more is to be sent.
    pub(super) fn stop(&mut self) {
        self.next.clear();
    }

    /// How many have something left to send.
    pub(super) fn to_send(&self) -> usize {
        self.next.len()
    }

    /// When the next message is due.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        self.next.peek().map(|Reverse((due_ns, _))| *due_ns)
    }

    /// Sends what is due by now, or as much as one turn allows.
    pub(super) fn send_due(
        &mut self,
        plan: &Plan,
        clients: &mut [Client],
        codecs: &mut Codecs,
        ledger: &mut Ledger,
    ) {
        for _ in 0..BATCHES_MAX {
            let now_ns = sys::now_ns();
            let Some(&Reverse((due_ns, index))) = self.next.peek() else { return };
            if due_ns > now_ns {
                return;
            }
            self.next.pop();
            let client = &mut clients[self.all[index].client];
            if !client.is_ready() {
                continue; // what it had to send stays unsent
            }
            if !client.is_flushed() {
                self.next.push(Reverse((now_ns + BLOCKED_NS, index)));
                continue;
            }
            let mut packing = Packing { codecs, compression: client.compression() };
            let next_ns = self.encode_due(index, now_ns, plan, &mut packing, ledger);
            if plan.is_round_trip {
                ledger.wire.traffic.handle_sent(self.frames.len());
            }
            // A broken connection is reported by its next read.
            let is_sent = client.send(&self.frames).is_ok();
            if let Some(next_ns) = next_ns.filter(|_| is_sent) {
                self.next.push(Reverse((next_ns, index)));
            }
        }
    }

    /// Fills `frames` with what this publisher has to send by now; returns when the next is due.
    fn encode_due(
        &mut self,
        index: usize,
        now_ns: u64,
        plan: &Plan,
        packing: &mut Packing<'_>,
        ledger: &mut Ledger,
    ) -> Option<u64> {
        self.frames.clear();
        for _ in 0..BATCH_MAX {
            let due = self.all[index].queue.peek(&plan.schedule)?;
            let intended_ns = self.start_ns + due.after_ns;
            if intended_ns > now_ns {
                return Some(intended_ns);
            }
            self.encode(index, &due, plan, packing, ledger);
            self.all[index].queue.advance(&plan.schedule);
            let subscribers = plan.subscribers_of(due.topic);
            ledger.handle_send(due.topic, subscribers, now_ns - intended_ns, due.is_measured);
            ledger.last_send_ns = now_ns;
        }
        let due = self.all[index].queue.peek(&plan.schedule)?;
        Some(self.start_ns + due.after_ns)
    }

    fn encode(
        &mut self,
        index: usize,
        due: &Due,
        plan: &Plan,
        packing: &mut Packing<'_>,
        ledger: &mut Ledger,
    ) {
        let protocol = plan.target.protocol;
        let stamp = Stamp {
            run: plan.run,
            publisher: self.all[index].number,
            topic: due.topic,
            seq: due.seq,
            intended_ns: self.start_ns + due.after_ns,
        };
        let topic = &plan.topics[due.topic as usize];
        self.payload.clear();
        match plan.body {
            Body::Padded(shape) => shape.write(&stamp, plan.payload_bytes, &mut self.payload),
            Body::Quote => self.market.write(&stamp, plan.payload_bytes, &mut self.payload),
        }
        self.command.clear();
        protocol.publish(&mut self.command, topic, &self.payload);
        let (frames, book) = (&mut self.frames, &mut ledger.wire);
        if !protocol.has_frames() {
            return frames.extend_from_slice(&self.command);
        }
        packing.codecs.encode(packing.compression, frames, protocol.opcode(), &self.command, book);
    }
}
