//! The task that sends what this node's clients publish, and the node's heartbeats.
//!
//! Waits for nobody for long: what NATS does not take is counted, and the others find it missing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use broker_proto::command::{CommandError, ErrorCode, Payload};
use broker_proto::topic::Topic;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::asking::{Handle, Outgoing, Question};
use super::connection::Bus;
use super::departures::Departures;
use super::envelope::{self, Seal};
use super::receiving::Change;
use super::{Bell, Names, members, subject};
use crate::hub::Shared;
use crate::hub::desk::Desk;
use crate::hub::log::Waiting;
use crate::hub::message::Message;
use crate::hub::protocol::Protocol;
use crate::hub::rosters::{MembersAsked, RosterMail};
use crate::hub::uplink::{Uplink, Upward};

/// Where the list of nodes is published, on each node by itself.
const NODES_TOPIC: &str = "$SYS/nodes";
/// How often heartbeats go out.
const BEAT: Duration = Duration::from_secs(1);
/// How long a message waits for its place in the queue to NATS.
const SEND_TIMEOUT: Duration = Duration::from_millis(500);
/// Topics that one second's heartbeats tell of.
const TOLD_MAX: usize = 32 * 1024;
/// Bytes of one heartbeat; with more topics there are several.
const BEAT_BYTES_MAX: usize = 32 * 1024;
/// Clients that wait for an answer who is subscribed to a topic; a further one has to ask again.
pub(super) const ASKERS_MAX: usize = 256;
/// How long the good-bye may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the task works with.
pub(super) struct Sending {
    pub(super) bus: Bus,
    pub(super) desk: Arc<Desk>,
    pub(super) shared: Arc<Shared>,
    /// Rings when there is something to send.
    pub(super) bell: Bell,
    pub(super) seal: Arc<Seal>,
    pub(super) changes: mpsc::Sender<Change>,
    pub(super) departures: Departures,
    /// To ask the others.
    pub(super) handle: Handle,
    /// Places for clients whose questions wait for the others.
    pub(super) askers: Arc<Semaphore>,
    /// When the broker's clock began.
    pub(super) started: Instant,
    /// NATS has not taken the last message in time; the next ones are not waited for.
    pub(super) is_stalled: bool,
    /// Something may have been lost since the last heartbeat.
    pub(super) is_unsure: bool,
}

impl Sending {
    /// Runs until it is told to stop, and says good-bye.
    pub(super) async fn run(
        mut self,
        mut pleas: mpsc::Receiver<()>,
        mut outgoing: mpsc::Receiver<Outgoing>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut standing = self.bus.standing.clone();
        let mut known = *standing.borrow_and_update();
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => break,
                Ok(()) = standing.changed() => {
                    let now = *standing.borrow_and_update();
                    self.is_unsure |= now.connects != known.connects || now.drops != known.drops;
                    known = now;
                }
                Some(()) = pleas.recv() => self.departures.tell_all(),
                Some(outgoing) = outgoing.recv() => self.send_outgoing(outgoing).await,
                _ = beats.tick() => {
                    if std::mem::take(&mut self.is_unsure) {
                        self.compare_all().await;
                    }
                    self.beat(false).await;
                    self.report();
                }
                () = self.mail_came() => self.take_mail().await,
            }
        }
        self.take_mail().await;
        self.beat(true).await;
        // What is not gone by then is found missing.
        let _ = timeout(LEAVE_TIMEOUT, self.bus.client.flush()).await;
    }

    /// The connection is there again, or something was dropped: what this node has sent may not
    /// have come, and what others have sent may not have come here. At most once a second, however
    /// much is dropped.
    async fn compare_all(&mut self) {
        self.departures.refresh();
        self.departures.tell_all();
        let plea = envelope::plea(self.bus.names.run);
        self.send(format!("{}.b", self.bus.names.cluster), plea).await;
    }

    async fn mail_came(&self) {
        let parks = self.shared.ways().uplink.as_ref().is_none_or(Uplink::park);
        if parks {
            self.bell.rung().await;
        }
    }

    async fn take_mail(&mut self) {
        let Some(uplink) = &self.shared.ways().uplink else { return };
        let mut mail = VecDeque::new();
        let waiting = uplink.take(&mut mail);
        self.desk.commit_at(0).wake(waiting);
        for mail in mail {
            match mail {
                Upward::Message(message) => self.send_message(&message).await,
                // Closed only at the end.
                Upward::Wanted { filter, wanted } => {
                    let _ = self.changes.send(Change::Filter(filter, wanted)).await;
                }
                Upward::Watched { topic, watched } => {
                    let _ = self.changes.send(Change::Members(topic, watched)).await;
                }
                Upward::Roster(mail) => self.send_roster(&mail).await,
                Upward::Asked(asked) => self.ask_members(asked),
            }
        }
    }

    /// Not told again if NATS does not take it: whoever wants to know asks now and then.
    async fn send_roster(&mut self, RosterMail { topic, roster }: &RosterMail) {
        let Ok(topic) = Topic::new(topic) else { return };
        let Names { cluster, run, .. } = &*self.bus.names;
        let people = roster.people.iter().map(|person| (person.session, person.user.as_deref()));
        let bytes = envelope::roster(*run, roster.count, people);
        self.send(subject::of_members(cluster, topic), bytes).await;
    }

    /// Asks the other nodes for a client, which is answered when they have answered.
    fn ask_members(&self, asked: MembersAsked) {
        let Ok(place) = self.askers.clone().try_acquire_owned() else {
            let error = "too many ask at once who is subscribed, ask again";
            let error = CommandError::new(ErrorCode::Unavailable, error);
            return self.desk.answer_members(asked, Err(error));
        };
        let (handle, desk) = (self.handle.clone(), self.desk.clone());
        tokio::spawn(async move {
            let question = Question::Presence { topic: asked.topic.to_string() };
            let (roster, missing) = members::read(handle.ask(&question, "").await);
            let told = match missing.is_empty() {
                true => Ok(roster),
                false => {
                    let nodes = missing.join(", ");
                    let error = format!("not all nodes have said who is subscribed: {nodes}");
                    Err(CommandError::new(ErrorCode::Unavailable, error))
                }
            };
            desk.answer_members(asked, told);
            drop(place);
        });
    }

    async fn send_message(&mut self, message: &Message) {
        let topic = message.topic().name();
        let sent = match self.departures.next(topic.as_str()) {
            Some(place) => {
                let subject = subject::of_topic(&self.bus.names.cluster, topic);
                let bytes = envelope::message(self.bus.names.run, place, message.payload());
                self.send(subject, bytes).await
            }
            None => false,
        };
        let counters = &self.bus.metrics.cluster;
        let counter = if sent { &counters.sent } else { &counters.unsent };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends a question to all nodes, or an answer to one.
    async fn send_outgoing(&mut self, Outgoing { to, number, json }: Outgoing) {
        let Names { cluster, run, .. } = &*self.bus.names;
        let subject = match to {
            None => format!("{cluster}.q"),
            Some(run) => subject::of_answers(cluster, run),
        };
        let bytes = envelope::question(*run, number, &json, to.is_some());
        self.send(subject, bytes).await;
    }

    /// Publishes the list of nodes here.
    fn report(&self) {
        let now_ms = self.started.elapsed().as_millis() as u64;
        let topic = Topic::new(NODES_TOPIC).expect("a literal that is a topic");
        let (text, nobody) = (self.handle.list(now_ms).to_string(), || Waiting::Nobody);
        let payload = Payload::Json(text.as_bytes());
        // With the directory full there is nobody who could watch it.
        let shared = &self.shared;
        if let Ok(done) =
            shared.publish(topic, payload, (Protocol::Json, None), None, now_ms, nobody)
        {
            self.desk.commit_at(now_ms).wake(done.wakes);
        }
    }

    /// Sends this second's heartbeats.
    async fn beat(&mut self, is_leaving: bool) {
        if !self.bus.is_up() {
            self.departures.beat();
            return;
        }
        let Bus { names, metrics, .. } = self.bus.clone();
        let beat = self.departures.beat();
        let connections = metrics.sum(|worker| &worker.connections);
        let head = envelope::beat(names.run, (beat, is_leaving), connections, &names.node);
        let mut pages = vec![head.clone()];
        self.departures.tell(TOLD_MAX, |topic, place| {
            if pages.last().is_some_and(|page| page.len() > BEAT_BYTES_MAX) {
                pages.push(head.clone());
            }
            if let Some(page) = pages.last_mut() {
                envelope::push_reached(page, topic, place);
            }
        });
        self.departures.forget();
        let mut is_told = true;
        for page in pages {
            is_told &= self.send(format!("{}.b", names.cluster), page).await;
        }
        if !is_told {
            self.departures.tell_all();
        }
    }

    /// Whether NATS has taken it.
    async fn send(&mut self, subject: String, bytes: Vec<u8>) -> bool {
        if !self.bus.is_up() {
            return false;
        }
        let bytes = self.seal.close(&subject, bytes);
        let patience = if self.is_stalled { Duration::ZERO } else { SEND_TIMEOUT };
        let sending = self.bus.client.publish(subject, bytes.into());
        let sent = timeout(patience, sending).await;
        self.is_stalled = sent.is_err();
        match sent {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "not sent to the other nodes");
                false
            }
            Err(_) => false,
        }
    }
}
