//! Less of a message, and fewer of them: `fields` and `deadband`.

use crate::feed::{self, publish};
use crate::support::broker::Broker;
use crate::viewer::Viewer;

#[test]
fn only_the_fields_asked_for_come_as_they_were_written() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut publisher = feed::connect(broker.address());
    let quote = r#"{"volume":7, "symbol":"A\u0043ME","price": 101.50,"book":[1,{"price":2}]}"#;
    publish(&mut publisher, "t", quote);
    let (mut viewer, _) = Viewer::subscribe(
        &broker,
        r#"{"id":1,"op":"subscribe","topic":"t","last":true,"fields":["price","symbol","none"]}"#,
    );
    let part = r#"{"symbol":"A\u0043ME","price":101.50}"#;
    assert_eq!(viewer.next(), format!(r#"{{"topic":"t","seq":1,"data":{part}}}"#));
    for (data, expected) in [
        (quote, part),
        (r#"{"price":1e2}"#, r#"{"price":1e2}"#),
        (r#"{"volume":1}"#, "{}"),
        (r#"{"price":{"a": [ 1 ]},"x":1}"#, r#"{"price":{"a": [ 1 ]}}"#),
        // What is no object comes whole.
        (r#"[ "price" ]"#, r#"[ "price" ]"#),
        ("null", "null"),
    ] {
        let seq = publish(&mut publisher, "t", data);
        let text = format!(r#"{{"topic":"t","seq":{seq},"data":{expected}}}"#);
        assert_eq!(viewer.next(), text);
    }
    let command = r#"{"id":2,"op":"publish","topic":"t","base64":"/9j/4AAQ"}"#;
    publisher.send_text(command).expect("it is open");
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":8,"data":null,"base64":"/9j/4AAQ"}"#);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut viewer = Viewer::connect(&broker);
    for options in [
        r#""fields":[]"#,
        r#""fields":"price""#,
        r#""mode":"some""#,
        r#""mode":"latest","max_rate":0"#,
        r#""mode":"latest","max_rate":-1"#,
        r#""mode":"latest","key":"symbol""#,
        r#""deadband":{"field":"x"}"#,
        r#""deadband":{"field":"x","abs":1,"pct":1}"#,
        r#""deadband":{"field":"x","abs":-1}"#,
        r#""deadband":{"abs":1}"#,
    ] {
        let answer =
            viewer.answer(&format!(r#"{{"id":1,"op":"subscribe","topic":"t",{options}}}"#));
        let refused = answer.starts_with(r#"{"id":1,"error":{"code":"bad_request","#);
        assert!(refused, "{options}: {answer}");
    }
}

/// Publishes these values of `x` one after the other; those that come.
fn through(deadband: &str, values: &[&str]) -> (Vec<String>, Viewer) {
    let broker = Broker::start(&["--workers", "1"]);
    let command =
        format!(r#"{{"id":1,"op":"subscribe","topic":"t","deadband":{{"field":"x",{deadband}}}}}"#);
    let (mut viewer, _) = Viewer::subscribe(&broker, &command);
    let mut publisher = feed::connect(broker.address());
    for value in values {
        publish(&mut publisher, "t", &format!(r#"{{"x":{value}}}"#));
    }
    // What has come by the end of an account that counts them all has come.
    let stats = viewer.stats();
    assert_eq!((stats.matched, stats.pending), (values.len() as u64, 0));
    let mut came = Vec::new();
    while (came.len() as u64) < stats.sent {
        let text = viewer.next();
        let (_, value) = text.split_once(r#""data":{"x":"#).expect("a message");
        came.push(value.trim_end_matches('}').to_owned());
    }
    assert_eq!(stats.filtered, values.len() as u64 - stats.sent);
    (came, viewer)
}

#[test]
fn what_moved_too_little_is_held_back() {
    let values = ["20", "20.25", "20.5", "20.75", "20.25", "20.0", "19.75", "-3"];
    let (came, _) = through(r#""abs":0.5"#, &values);
    assert_eq!(came, ["20", "20.5", "20.0", "-3"]);
}

#[test]
fn so_is_what_moved_by_too_few_per_cent() {
    let values = ["100", "109", "110.5", "120", "122", "111", "109", "-109", "-112", "-130"];
    let (came, _) = through(r#""pct":10"#, &values);
    assert_eq!(came, ["100", "110.5", "122", "109", "-109", "-130"]);
}

#[test]
fn after_a_long_silence_the_newest_comes_however_little_it_moved() {
    let broker = Broker::start(&["--workers", "1"]);
    let command = concat!(
        r#"{"id":1,"op":"subscribe","topic":"t","#,
        r#""deadband":{"field":"x","abs":10,"max_silence_ms":300}}"#
    );
    let (mut viewer, _) = Viewer::subscribe(&broker, command);
    let mut publisher = feed::connect(broker.address());
    let mut burst = feed::publish_frame("t", r#"{"x":1}"#);
    for x in ["1.5", "2", "3"] {
        burst.extend(feed::publish_frame("t", &format!(r#"{{"x":{x}}}"#)));
    }
    publisher.send_raw(&burst).expect("it is open");
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":1,"data":{"x":1}}"#);
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":4,"data":{"x":3}}"#);
    // Later ones are measured against that.
    feed::sync(&mut publisher);
    publish(&mut publisher, "t", r#"{"x":13}"#);
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":5,"data":{"x":13}}"#);
    let stats = viewer.stats();
    assert_eq!((stats.matched, stats.sent, stats.pending), (5, 3, 0));
}

#[test]
fn with_the_last_value_later_ones_are_measured_against_it() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut publisher = feed::connect(broker.address());
    publish(&mut publisher, "p/a", r#"{"x":20}"#);
    for (topic, filter) in [("p/a", "p/a"), ("p/b", "p/+")] {
        if topic != "p/a" {
            publish(&mut publisher, topic, r#"{"x":20}"#);
        }
        let command = format!(
            r#"{{"id":1,"op":"subscribe","topic":"{filter}","last":true,"deadband":{{"field":"x","abs":1}}}}"#
        );
        let (mut viewer, _) = Viewer::subscribe(&broker, &command);
        while viewer.stats().sent < if filter == topic { 1 } else { 2 } {}
        let before = viewer.early().len();
        for x in ["20.5", "19.5", "20"] {
            publish(&mut publisher, topic, &format!(r#"{{"x":{x}}}"#));
        }
        let seq = publish(&mut publisher, topic, r#"{"x":21}"#);
        let text = format!(r#"{{"topic":"{topic}","seq":{seq},"data":{{"x":21}}}}"#);
        assert_eq!(viewer.next(), text, "after {before} of the past");
        assert_eq!(viewer.stats().filtered, 3);
    }
}

/// Who gets no last value gets the first that comes, whoever else is subscribed.
#[test]
fn who_did_not_ask_for_the_last_value_gets_the_first_one() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut publisher = feed::connect(broker.address());
    publish(&mut publisher, "t", r#"{"x":20}"#);
    let deadband = r#""deadband":{"field":"x","abs":1}"#;
    let (mut plain, _) = Viewer::subscribe(
        &broker,
        &format!(r#"{{"id":1,"op":"subscribe","topic":"t",{deadband}}}"#),
    );
    let command = format!(r#"{{"id":1,"op":"subscribe","topic":"t","last":true,{deadband}}}"#);
    let (mut informed, _) = Viewer::subscribe(&broker, &command);
    assert_eq!(informed.next(), r#"{"topic":"t","seq":1,"data":{"x":20}}"#);
    publish(&mut publisher, "t", r#"{"x":20.5}"#);
    assert_eq!(plain.next(), r#"{"topic":"t","seq":2,"data":{"x":20.5}}"#);
    publish(&mut publisher, "t", r#"{"x":21.4}"#);
    assert_eq!(informed.next(), r#"{"topic":"t","seq":3,"data":{"x":21.4}}"#);
    let stats = plain.stats();
    assert_eq!((stats.sent, stats.pending), (1, 1), "0.9 from what it has: {stats:?}");
}

#[test]
fn after_a_pause_values_are_measured_against_what_the_resume_gave() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut publisher = feed::connect(broker.address());
    let command = r#"{"id":1,"op":"subscribe","topic":"t","deadband":{"field":"x","abs":1}}"#;
    let (mut viewer, _) = Viewer::subscribe(&broker, command);
    publish(&mut publisher, "t", r#"{"x":1}"#);
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":1,"data":{"x":1}}"#);
    viewer.answer(r#"{"id":2,"op":"pause","topic":"t"}"#);
    publish(&mut publisher, "t", r#"{"x":5}"#);
    viewer.answer(r#"{"id":3,"op":"resume","topic":"t"}"#);
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":2,"data":{"x":5}}"#);
    publish(&mut publisher, "t", r#"{"x":5.5}"#);
    publish(&mut publisher, "t", r#"{"x":6}"#);
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":4,"data":{"x":6}}"#);
}
