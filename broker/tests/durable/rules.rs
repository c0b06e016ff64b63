//! What a topic's rule says of the disk is changed, while the broker runs or between two runs. What
//! was promised before still holds: no seq that anyone has seen names another message later.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::broker::Broker;
use super::support::ws_client::PATIENCE;
use super::{Place, feed, kill, publish, recover};

impl Place {
    /// From the next start or reload on, `store = "durable"` reads so.
    fn change(&self, from: &str, to: &str) {
        let path = self.settings();
        let text = fs::read_to_string(&path).expect("the settings are there");
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).expect("they can be written");
    }
}

/// Has the broker read its settings again, and waits until it has.
fn reload(broker: &Broker) {
    const TAKEN: &str = "the settings were read again";
    let count = || broker.stderr().matches(TAKEN).count();
    let before = count();
    broker.send_sighup();
    let deadline = Instant::now() + PATIENCE;
    while count() == before {
        assert!(Instant::now() < deadline, "{}", broker.stderr());
        thread::sleep(Duration::from_millis(5));
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("it is text").to_owned()
}

#[test]
fn a_topic_keeps_what_was_promised_when_its_rule_promises_less_from_now_on() {
    for less in ["none", "accepted"] {
        let place = Place::new();
        let broker = place.start();
        let mut client = feed::connect(broker.address());
        let epoch = text(&publish(&mut client, "d/1", "1")["ok"]["epoch"]);
        place.change("store = \"durable\"", &format!("store = \"{less}\""));
        reload(&broker);
        let second = publish(&mut client, "d/1", "2");
        assert_eq!((&second["ok"]["seq"], &second["ok"]["level"]), (&2.into(), &"durable".into()));
        // A topic that begins now has the rule that holds now.
        assert_eq!(publish(&mut client, "d/2", "1")["ok"]["level"], "accepted", "{less}");
        kill(broker);

        place.change(&format!("store = \"{less}\""), "store = \"durable\"");
        let broker = place.start();
        let (answer, messages) = recover(&broker, "d/1", &epoch, 0);
        assert_eq!((&answer["recovered"], messages.len()), (&true.into(), 2), "{less}");
        let mut client = feed::connect(broker.address());
        assert_eq!(publish(&mut client, "d/1", "3")["ok"]["seq"], 3);
    }
}

#[test]
fn a_topic_that_becomes_durable_keeps_its_order_after_a_kill() {
    let place = Place::new();
    let broker = place.start();
    let mut client = feed::connect(broker.address());
    let epoch = text(&publish(&mut client, "a/1", "1")["ok"]["epoch"]);
    place.change("store = \"accepted\"", "store = \"durable\"");
    reload(&broker);
    let second = publish(&mut client, "a/1", "2");
    assert_eq!((&second["ok"]["seq"], &second["ok"]["level"]), (&2.into(), &"durable".into()));
    kill(broker);

    let broker = place.start();
    let (answer, messages) = recover(&broker, "a/1", &epoch, 0);
    assert_eq!((&answer["recovered"], &answer["epoch"]), (&true.into(), &epoch.into()));
    assert_eq!(messages.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 2]);
}
