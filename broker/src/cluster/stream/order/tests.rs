//! The same publish, repeated on several nodes, is one message: one server, two nodes, each step by
//! hand.

use std::collections::BTreeMap;

use broker_proto::command::Payload;

use super::*;

const MINUTE: u32 = 60_000;
const LIMITS: Limits = Limits { batch_bytes_max: 10_000, record_bytes_max: 10_000 };

/// The newest record, and those before it.
#[derive(Default)]
struct Server(BTreeMap<u64, Bytes>);

struct Node {
    number: u64,
    nonce: u64,
    /// The epoch that it begins, if it begins one.
    fresh: u64,
    order: Order<&'static str>,
    read_to: u64,
    budget: Budget,
    told: Vec<(&'static str, Told)>,
    published: Vec<&'static str>,
}

fn named(name: u8, request: u64) -> Option<Identity> {
    Some(Identity { id: [name; 16], request, kept_ms: MINUTE })
}

fn at(seq: u64) -> Told {
    Told::Repeat(Repeat::At(Position { epoch: Epoch::new(1), seq }))
}

impl Server {
    fn store(&mut self, attempt: &Attempt) -> bool {
        let newest = self.newest();
        let fits = attempt.expected == newest;
        if fits {
            self.0.insert(newest + 1, attempt.record.clone());
        }
        fits
    }

    fn newest(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(number, _)| *number)
    }
}

impl Node {
    fn new(number: u64) -> Self {
        let (order, budget) = (Order::default(), Budget::new(1_000_000));
        let (told, published) = (Vec::new(), Vec::new());
        Self { number, nonce: 0, fresh: 1, order, read_to: 0, budget, told, published }
    }

    fn push(&mut self, waiter: &'static str, identity: Option<Identity>) {
        let payload = Payload::Json(b"1");
        let pushed = self.order.push(waiter, |_| Message { payload, identity }, 5_000, &LIMITS);
        pushed.expect("it is short");
    }

    fn attempt(&mut self) -> Option<Attempt> {
        self.nonce += 1;
        let origin = Origin { node: self.number, nonce: self.nonce };
        let stamp = Stamp { origin, fresh: Epoch::new(self.fresh) };
        let told = &mut self.told;
        let tell = |waiter, what| told.push((waiter, what));
        self.order.poll_attempt(stamp, (0, &self.budget), tell)
    }

    fn read(&mut self, server: &Server) {
        for (number, record) in server.0.range(self.read_to + 1..) {
            let record = Record::decode(record).expect("it is one");
            let times = Times { unix_ms: 1_000, now_ms: 0 };
            match self.order.handle_record((*number, &record), self.number, times, &self.budget) {
                Seen::Own(waiters) => self.published.extend(waiters),
                Seen::Foreign { skip, lost } => assert_eq!((skip, lost.len()), (0, 0)),
                Seen::Old => panic!("record {number} is read once"),
            }
            self.read_to = *number;
        }
    }

    /// Offers what waits until nothing does.
    fn publish_all(&mut self, server: &mut Server) {
        while let Some(attempt) = self.attempt() {
            if server.store(&attempt) {
                self.order.handle_stored(attempt.origin.nonce);
            } else {
                let conflict = Refusal::Conflict(Some(server.newest()));
                self.order.handle_refused(attempt.origin.nonce, conflict, (self.read_to, 0));
            }
            self.read(server);
        }
    }
}

#[test]
fn of_two_nodes_that_race_with_one_publish_the_second_gets_the_place_of_the_first() {
    let (mut server, mut a, mut b) = (Server::default(), Node::new(1), Node::new(2));
    a.push("a1", named(1, 0));
    b.push("b0", None);
    b.push("b1", named(1, 0));
    b.push("b2", None);
    let (first, second) = (a.attempt().unwrap(), b.attempt().unwrap());
    assert!(server.store(&first) && !server.store(&second));
    a.order.handle_stored(first.origin.nonce);
    let conflict = Refusal::Conflict(Some(1));
    assert!(b.order.handle_refused(second.origin.nonce, conflict, (0, 0)).is_none());
    a.read(&server);
    b.read(&server);
    b.publish_all(&mut server);
    assert_eq!((a.published, b.told), (vec!["a1"], vec![("b1", at(1))]));
    assert_eq!(b.published, ["b0", "b2"]);
    a.told.clear();
    let newest = Record::decode(server.0.last_key_value().unwrap().1).unwrap();
    assert_eq!((newest.first.seq, newest.count), (2, 2));
}

#[test]
fn a_lost_answer_makes_no_second_message_on_any_node_nor_on_one_that_has_just_started() {
    let (mut server, mut a) = (Server::default(), Node::new(1));
    a.push("a1", named(1, 0));
    let attempt = a.attempt().unwrap();
    assert!(server.store(&attempt));
    // Nobody answers, and the node is gone, or gives up.
    a.order.handle_unknown(attempt.origin.nonce, 0);
    let mut given_up = Vec::new();
    a.order.handle_time(5_000, |waiters, why| given_up.push((waiters, why)));
    assert_eq!(given_up, [(vec!["a1"], GivenUp::Unsure)]);
    a.push("again", named(1, 0));
    a.publish_all(&mut server);
    assert_eq!(a.told, [("again", at(1))]);
    for number in 2..4 {
        let mut other = Node::new(number);
        other.read(&server);
        other.push("again", named(1, 0));
        other.publish_all(&mut server);
        assert_eq!((other.told, other.published.len()), (vec![("again", at(1))], 0));
    }
    assert_eq!(server.newest(), 1);
}

#[test]
fn what_is_not_known_to_be_stored_is_offered_as_it_was_and_only_its_first_retry_is_stored() {
    let (mut server, mut a, mut b) = (Server::default(), Node::new(1), Node::new(2));
    a.push("a1", named(1, 0));
    let first = a.attempt().unwrap();
    a.order.handle_unknown(first.origin.nonce, 0);
    // It never arrived; another node takes the retry.
    b.push("b1", named(1, 0));
    b.publish_all(&mut server);
    a.order.handle_time(1_000, |_, why| panic!("{why:?}"));
    let again = a.attempt().unwrap();
    assert_eq!(again, first);
    assert!(!server.store(&again));
    a.order.handle_refused(again.origin.nonce, Refusal::Conflict(Some(1)), (0, 1_000));
    a.read(&server);
    a.publish_all(&mut server);
    assert_eq!((a.told, b.published), (vec![("a1", at(1))], vec!["b1"]));
    assert_eq!(server.newest(), 1);
}

#[test]
fn one_publish_that_comes_several_times_at_once_on_a_node_is_one_message() {
    let (mut server, mut a) = (Server::default(), Node::new(1));
    for waiter in ["1", "2", "3"] {
        a.push(waiter, named(1, 0));
        a.push("other", named(waiter.as_bytes()[0], 0));
        a.push("nameless", None);
    }
    a.publish_all(&mut server);
    assert_eq!(a.published, ["1", "other", "nameless", "other", "nameless", "other", "nameless"]);
    assert_eq!(a.told, [("2", at(1)), ("3", at(1))]);
    assert_eq!((server.newest(), a.order.is_idle()), (1, true));
}

#[test]
fn under_the_key_of_another_request_nothing_is_published() {
    let (mut server, mut a, mut b) = (Server::default(), Node::new(1), Node::new(2));
    a.push("a1", named(1, 7));
    a.publish_all(&mut server);
    b.read(&server);
    b.push("same", named(1, 7));
    b.push("other", named(1, 8));
    b.publish_all(&mut server);
    let place = Position { epoch: Epoch::new(1), seq: 1 };
    let other = Told::Repeat(Repeat::OtherRequest(place));
    assert_eq!(b.told, [("same", at(1)), ("other", other)]);
    assert_eq!(server.newest(), 1);
}

#[test]
fn where_there_is_no_room_to_remember_a_publish_that_may_be_a_retry_is_given_up() {
    let (mut server, mut a) = (Server::default(), Node::new(1));
    a.budget = Budget::new(1);
    a.push("a1", named(1, 0));
    a.publish_all(&mut server);
    a.push("retry", named(1, 0));
    a.push("new", named(2, 0));
    a.push("nameless", None);
    a.publish_all(&mut server);
    assert_eq!(a.published, ["a1", "nameless"]);
    let no_room = Told::GivenUp(GivenUp::NoRoom);
    assert_eq!(a.told, [("retry", at(1)), ("new", no_room)]);
}

#[test]
fn in_another_epoch_no_retry_gets_a_place_of_the_one_before() {
    let (mut server, mut a) = (Server::default(), Node::new(1));
    a.push("a1", named(1, 0));
    a.publish_all(&mut server);
    assert!(a.order.remembers() && a.budget.bytes() > 0);
    let mut draft = Draft::default();
    draft.push(Payload::Json(b"2").into());
    let first = Position { epoch: Epoch::new(2), seq: 1 };
    let record = draft.place(first, Origin { node: 9, nonce: 9 }).to_vec();
    server.0.insert(2, record.into());
    a.read(&server);
    assert_eq!((a.order.remembers(), a.budget.bytes()), (false, 0));
    a.push("again", named(1, 0));
    a.publish_all(&mut server);
    assert_eq!(a.published, ["a1", "again"]);
}

#[test]
fn what_the_stream_has_lost_and_comes_again_is_published() {
    let (mut server, mut a) = (Server::default(), Node::new(1));
    a.push("a1", named(1, 0));
    a.publish_all(&mut server);
    server.0.clear();
    a.order.handle_truncated(0, &a.budget);
    (a.read_to, a.fresh) = (0, 2);
    a.push("again", named(1, 0));
    a.publish_all(&mut server);
    assert_eq!(a.published, ["a1", "again"]);
    assert_eq!(server.newest(), 1);
}
