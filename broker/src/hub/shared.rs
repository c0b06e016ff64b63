//! What all workers share: the directory, the wildcard interest and each other's mailboxes. Here
//! a publish gets its place in the topic's order.

use std::sync::Arc;

use broker_proto::command::{Epoch, Payload};
use broker_proto::topic::Topic as TopicName;

use super::directory::{Directory, DirectoryFull};
use super::interest::Interest;
use super::mailbox::{Mail, Mailbox};
use super::message::Message;
use super::protocol::Protocol;
use super::topic::Topic;
use super::workers::{WorkerSet, members};

/// The shared state of a broker.
#[derive(Debug)]
pub struct Shared {
    /// Every topic in use.
    pub directory: Directory,
    /// Who has which wildcard filters.
    pub interest: Interest,
    mailboxes: Box<[Mailbox]>,
}

/// What came of a publish.
#[derive(Clone, Debug)]
pub struct Published {
    /// The topic's epoch.
    pub epoch: Epoch,
    /// The message's seq in it.
    pub seq: u64,
    /// Workers that sleep and have mail now.
    pub wakes: WorkerSet,
    /// Workers whose mailbox is over its limit.
    pub full: WorkerSet,
    /// The topic, if this publish made it.
    pub made: Option<Arc<Topic>>,
}

impl Shared {
    /// The state of a broker with that many workers, each with a mailbox of `mailbox_bytes_max`.
    pub fn new(
        workers: usize,
        mailbox_bytes_max: u64,
        topics_max: u64,
        started_unix_s: u64,
    ) -> Self {
        Self {
            directory: Directory::new(topics_max, started_unix_s),
            interest: Interest::default(),
            mailboxes: (0..workers).map(|_| Mailbox::new(mailbox_bytes_max)).collect(),
        }
    }

    /// The mailbox of a worker.
    pub fn mailbox(&self, worker: usize) -> &Mailbox {
        &self.mailboxes[worker]
    }

    /// Gives a message its seq and hands it to every worker that has subscribers for it. `from`
    /// is the publisher's worker, to be woken when a full mailbox is empty again.
    pub fn publish(
        &self,
        name: TopicName<'_>,
        payload: Payload<'_>,
        native: Protocol,
        from: usize,
        now_ms: u64,
    ) -> Result<Published, DirectoryFull> {
        loop {
            let (topic, made) = self.directory.find_or_create(name, now_ms)?;
            let Ok(mut state) = topic.use_at(now_ms) else { continue };
            state.seq += 1;
            let seq = state.seq;
            let watchers = state.watchers(name, &self.interest);
            let mut published =
                Published { epoch: topic.epoch(), seq, wakes: 0, full: 0, made: None };
            if watchers != 0 {
                let message = Arc::new(Message::new(topic.clone(), name, seq, payload, native));
                for worker in members(watchers) {
                    let mail = Mail::Message(message.clone());
                    let pushed = self.mailboxes[worker].push(mail, Some(from));
                    published.wakes |= u64::from(pushed.wake) << worker;
                    published.full |= u64::from(pushed.full) << worker;
                }
            }
            drop(state);
            published.made = made.then_some(topic);
            return Ok(published);
        }
    }

    /// Forgets a topic that nobody watches and nobody used for `linger_ms`; false if it stays.
    pub fn retire_if_idle(&self, topic: &Topic, now_ms: u64, linger_ms: u64) -> bool {
        topic
            .retire_if_idle(&self.interest, now_ms, linger_ms, |topic| self.directory.remove(topic))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn publishers_on_many_threads_give_every_mailbox_one_order() {
        const WORKERS: usize = 3;
        const EACH: usize = 2_000;
        let shared = Shared::new(WORKERS, u64::MAX, 10, 0);
        let name = TopicName::new("t").unwrap();
        let (topic, _) = shared.directory.find_or_create(name, 0).unwrap();
        (0..WORKERS).for_each(|worker| topic.use_at(0).unwrap().join(worker));
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let shared = &shared;
                scope.spawn(move || {
                    for _ in 0..EACH {
                        let payload = Payload::Json(b"1");
                        shared.publish(name, payload, Protocol::Json, worker, 0).unwrap();
                    }
                });
            }
        });
        for worker in 0..WORKERS {
            let mut mail = VecDeque::new();
            shared.mailbox(worker).take(&mut mail);
            let seqs = mail.iter().map(|mail| match mail {
                Mail::Message(message) => message.seq(),
                Mail::Drain => 0,
            });
            assert!(seqs.eq(1..=(WORKERS * EACH) as u64), "worker {worker} sees another order");
        }
    }
}
