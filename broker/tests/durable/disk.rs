//! Disks that are full, and files that are not what was written.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::http::get;
use super::support::ws_client::PATIENCE;
use super::{Place, feed, kill, publish, recover};

/// Publishes numbers on a topic and kills the broker; the epoch.
fn stored(place: &Place, topic: &str, count: u64) -> String {
    let broker = place.start();
    let mut client = feed::connect(broker.address());
    let mut epoch = Value::Null;
    for number in 1..=count {
        let answer = publish(&mut client, topic, &number.to_string());
        assert_eq!(answer["ok"]["seq"], number, "{answer}");
        epoch = answer["ok"]["epoch"].clone();
    }
    kill(broker);
    epoch.as_str().expect("an epoch is text").to_owned()
}

#[test]
fn x_05_a_torn_end_is_left_out_and_said() {
    let place = Place::new();
    let epoch = stored(&place, "d/1", 10);
    let segment = place.segments().pop().expect("there is one");
    let whole = fs::read(&segment).expect("it can be read");
    fs::write(&segment, &whole[..whole.len() - 3]).expect("it can be written");
    let broker = place.start();
    let (answer, messages) = recover(&broker, "d/1", &epoch, 0);
    assert_eq!((&answer["epoch"], messages.len()), (&epoch[..].into(), 9));
    assert!(broker.metrics("altavoz_store_torn_bytes_total") > 0.0);
    assert!(broker.stderr().contains("the last write was not finished"), "{}", broker.stderr());
    let mut client = feed::connect(broker.address());
    assert_eq!(publish(&mut client, "d/1", "10")["ok"]["seq"], 10);
    kill(broker);
    // What was written behind the torn end is read as well.
    let broker = place.start();
    assert_eq!(recover(&broker, "d/1", &epoch, 0).1.len(), 10);
}

#[test]
fn x_05_a_flipped_bit_costs_what_it_stands_in_and_a_new_numbering_where_it_must() {
    let place = Place::new();
    let epoch = stored(&place, "d/1", 10);
    let other = stored(&place, "d/2", 3);
    let segment = place.segments().remove(0);
    let mut bytes = fs::read(&segment).expect("it can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&segment, &bytes).expect("it can be written");
    let broker = place.start();
    let (answer, messages) = recover(&broker, "d/1", &epoch, 0);
    let seqs: Vec<u64> = messages.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs.last(), Some(&10), "what stands behind it is read: {seqs:?}");
    assert!((2..10).contains(&seqs.len()), "without the message it hit: {seqs:?}");
    assert_eq!(answer["epoch"], epoch, "its newest message is there, so its numbering goes on");
    assert_eq!(recover(&broker, "d/2", &other, 0).1.len(), 3);
    assert!(broker.metrics("altavoz_store_damaged_bytes_total") > 0.0);
    assert!(broker.stderr().contains("damaged; what follows is read"), "{}", broker.stderr());
}

#[test]
fn the_log_is_written_anew_and_does_not_grow_without_end() {
    const STORE_BYTES_MAX: u64 = 8 * 1024 * 1024;
    let place = Place::new()
        .with(&format!("store_bytes_max = {STORE_BYTES_MAX}\nhistory_total_bytes_max = 3145728\n"));
    let text = fs::read_to_string(place.settings()).expect("it can be read");
    let text = text.replace("history_messages = 100000000", "history_messages = 30");
    fs::write(place.settings(), text).expect("it can be written");
    let mut broker = place.start();
    let mut client = feed::connect(broker.address());
    let mut last = Value::Null;
    let mut most = 0.0_f64;
    for round in 0..20 {
        for number in 0..50 {
            let data = format!("\"{round}.{number}{}\"", "x".repeat(40_000));
            // What is kept of either takes several steps to be written anew.
            let topic = if number % 5 == 0 { "d/1" } else { "d/0" };
            last = publish(&mut client, topic, &data);
            assert!(last["ok"]["seq"].is_u64(), "{last}");
        }
        most = most.max(broker.metrics("altavoz_store_disk_bytes"));
    }
    assert!(broker.metrics("altavoz_store_written_bytes_total") > 4.0 * STORE_BYTES_MAX as f64);
    assert!(broker.metrics("altavoz_store_checkpoints_total") >= 2.0);
    assert!(most <= STORE_BYTES_MAX as f64, "{most}");
    assert!(broker.terminate(PATIENCE).success());
    let sizes = place.segments().into_iter().map(|path| fs::metadata(path).expect("it is there"));
    let bytes: u64 = sizes.map(|found| found.len()).sum();
    assert!(bytes <= STORE_BYTES_MAX, "{bytes}");
    let broker = place.start();
    let epoch = last["ok"]["epoch"].as_str().expect("an epoch is text");
    for (topic, newest) in [("d/0", 800), ("d/1", 200)] {
        let (answer, messages) = recover(&broker, topic, epoch, 0);
        assert_eq!(answer["seq"], newest);
        let seqs: Vec<u64> = messages.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, (newest - 29..=newest).collect::<Vec<u64>>(), "{topic}");
    }
}

/// A file system of so many MiB in memory, for as long as it is held.
struct Small<'p>(&'p Path);

impl<'p> Small<'p> {
    /// `None` where that is not allowed.
    fn mount(place: &'p Path, mib: u32) -> Option<Self> {
        fs::create_dir_all(place).expect("a folder can be made");
        let size = format!("size={mib}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(place).output();
        mounted.is_ok_and(|done| done.status.success()).then_some(Self(place))
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn x_07_a_full_disk_refuses_what_it_can_not_keep_and_takes_it_again_when_there_is_room() {
    let place = Place::new().with("backlog_bytes_max = 16777216");
    let Some(_small) = Small::mount(&place.store, 2) else {
        eprintln!("skipped: a small file system can't be mounted here");
        return;
    };
    let ballast = place.store.join("ballast");
    fs::write(&ballast, vec![1; 512 * 1024]).expect("there is room at first");
    let broker = place.start();
    let mut subscriber = feed::subscriber(broker.address(), "#");
    let mut client = feed::connect(broker.address());
    let data = feed::filler(30_000);
    let mut done = Vec::new();
    let refused = loop {
        let answer = publish(&mut client, "d/1", &data);
        match answer["ok"]["seq"].as_u64() {
            Some(seq) => done.push(seq),
            None => break answer,
        }
        assert!(done.len() < 100, "two MiB hold all of that?");
    };
    assert_eq!(refused["error"]["code"], "unavailable", "{refused}");
    assert_eq!(done, (1..=done.len() as u64).collect::<Vec<_>>());
    assert!(done.len() > 10, "{done:?}");
    // Other topics go on, and those who look at the broker find it well.
    assert_eq!(publish(&mut client, "m/1", "1")["ok"]["seq"], 1);
    assert_eq!(get(broker.address(), "/readyz").expect("it answers").status, 200);
    assert!(broker.metrics("altavoz_store_errors_total") >= 1.0);
    let mut seen = 0;
    loop {
        let message = subscriber.receive_text();
        if message.contains("m/1") {
            break;
        }
        seen += u64::from(message.contains(r#""topic":"d/1""#));
    }
    assert_eq!(seen, done.len() as u64, "nobody sees what was refused");

    fs::remove_file(&ballast).expect("it is there");
    let seq = await_room(&mut client, &data);
    assert_eq!(seq, done.len() as u64 + 1);
    let epoch = recover(&broker, "d/1", "0", 0).0["epoch"].clone();
    kill(broker);
    let broker = place.start();
    let (answer, messages) = recover(&broker, "d/1", epoch.as_str().expect("it is text"), 0);
    assert_eq!((&answer["epoch"], messages.len() as u64), (&epoch, seq));
    drop(broker);
}

fn await_room(client: &mut super::WsClient, data: &str) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = publish(client, "d/1", data);
        if let Some(seq) = answer["ok"]["seq"].as_u64() {
            return seq;
        }
        assert!(Instant::now() < deadline, "{answer}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn without_room_to_write_it_anew_the_log_is_as_it_was_and_what_comes_then_is_kept() {
    let place = Place::new().with("topic_linger_ms = 3600000");
    let Some(_small) = Small::mount(&place.store, 2) else {
        eprintln!("skipped: a small file system can't be mounted here");
        return;
    };
    let ballast = place.store.join("ballast");
    fs::write(&ballast, vec![1; 2_000 * 1024]).expect("there is room at first");
    let broker = place.start();
    let mut client = feed::connect(broker.address());
    let failed = |count: f64| {
        feed::await_metric(&broker, "altavoz_store_errors_total", |errors| errors >= count);
    };
    // What could not be written is in memory: all that is kept is to be written anew, in vain.
    let first = publish(&mut client, "a/1", &feed::filler(60_000));
    assert_eq!(first["ok"]["seq"], 1, "{first}");
    failed(2.0);
    feed::await_metric(&broker, "altavoz_store_disk_bytes", |bytes| bytes < 4_096.0);
    let bytes = |path| fs::metadata(path).expect("it is there").len();
    let left: u64 = place.segments().into_iter().map(bytes).sum();
    assert!(left < 4_096, "nothing of the copy is left: {left}");

    fs::remove_file(&ballast).expect("it is there");
    let deadline = Instant::now() + PATIENCE;
    let second = loop {
        let answer = publish(&mut client, "a/1", "2");
        if answer["ok"]["seq"].is_u64() {
            break answer["ok"]["seq"].clone();
        }
        assert!(Instant::now() < deadline, "{answer}");
        thread::sleep(Duration::from_millis(50));
    };
    feed::await_metric(&broker, "altavoz_store_messages_total", |count| count >= 1.0);
    kill(broker);
    let broker = place.start();
    let (_, messages) = recover(&broker, "a/1", "0", 0);
    assert_eq!(messages, [(second.as_u64().expect("a number"), 2.into())]);
    drop(broker);
}

#[test]
fn a_store_that_has_its_limit_refuses_and_keeps_what_it_answered() {
    let place = Place::new().with("store_bytes_max = 1048576\nhistory_total_bytes_max = 1048576\n");
    let broker = place.start();
    let mut client = feed::connect(broker.address());
    let data = feed::filler(30_000);
    let mut done = 0;
    let refused = loop {
        let answer = publish(&mut client, "d/1", &data);
        match answer["ok"]["seq"].as_u64() {
            Some(seq) => done = seq,
            None => break answer,
        }
        assert!(done < 1_000, "more than a MiB is kept?");
    };
    assert_eq!(refused["error"]["code"], "unavailable", "{refused}");
    assert!(done > 10, "{done}");
    assert_eq!(broker.metrics("altavoz_store_state"), 1.0);
    assert_eq!(recover(&broker, "d/1", "0", 0).0["seq"], done, "what was refused took no seq");
}
