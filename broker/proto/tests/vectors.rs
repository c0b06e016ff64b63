//! docs/PROTOCOL.md and the code cannot drift apart: every fenced block of that page that has one
//! of the names used here is read and held against both codecs.

use broker_proto::bin::{self, ServerMessage};
use broker_proto::command::{Answer, Command, CommandError, Id, Notice, Request};
use broker_proto::json::{self, Parser};
use broker_proto::topic::{Filter, Topic};

const PAGE: &str = include_str!("../../../docs/PROTOCOL.md");

/// The lines of all blocks called `name`; there must be some.
fn lines(name: &str) -> Vec<&'static str> {
    let opening = format!("```{name}\n");
    let bodies = PAGE.split(opening.as_str()).skip(1);
    let lines = bodies.flat_map(|body| body.split("\n```").next().into_iter().flat_map(str::lines));
    let lines: Vec<&str> = lines.collect();
    assert!(!lines.is_empty(), "no block is called {name}");
    lines
}

/// Pairs of a JSON text and the bytes below it.
fn vectors(name: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut vectors: Vec<(&str, Vec<u8>)> = Vec::new();
    for line in lines(name) {
        match line.strip_prefix("  ") {
            None => vectors.push((line, Vec::new())),
            Some(hex) => vectors.last_mut().expect("JSON comes first").1.extend(bytes(hex)),
        }
    }
    vectors
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |pair: &str| u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("hex: {hex}"));
    hex.split_whitespace().map(digits).collect()
}

/// A line of a block of refusals: code, id, and what is refused.
fn refusal(line: &str) -> (&str, &str, &str) {
    let (code, rest) = line.split_once(' ').expect("a code");
    let (id, refused) = rest.trim_start().split_once(' ').expect("an id");
    (code, id, refused.trim_start())
}

fn id_text(id: Option<Id<'_>>) -> String {
    match id {
        None => "null".to_owned(),
        Some(Id::Raw(raw)) => raw.to_owned(),
        Some(Id::Number(number)) => number.to_string(),
    }
}

fn assert_refused(request: &Request<'_>, line: &str) {
    let (code, id, _) = refusal(line);
    let error = request.command.as_ref().expect_err(line);
    assert_eq!((error.code.as_str(), id_text(request.id).as_str()), (code, id), "{line}");
}

#[test]
fn the_commands_of_the_page_are_commands() {
    for line in lines("json-commands") {
        Parser::new().parse(line, |request| {
            assert!(request.command.is_ok(), "{line}: {:?}", request.command);
        });
    }
}

#[test]
fn the_mistakes_of_the_page_are_refused_as_it_says() {
    for line in lines("refused-json") {
        let mut count = 0;
        Parser::new().parse(refusal(line).2, |request| {
            assert_refused(&request, line);
            count += 1;
        });
        assert_eq!(count, 1, "{line}");
    }
    for line in lines("refused-bin") {
        bin::parse(&bytes(refusal(line).2), &mut Parser::new(), |request| {
            assert_refused(&request, line);
        });
    }
}

#[test]
fn filters_match_as_the_page_says() {
    for line in lines("matching") {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [filter, topic, verdict] = columns[..] else { panic!("three columns: {line}") };
        let matches = Filter::new(filter).unwrap().matches(Topic::new(topic).unwrap());
        assert_eq!(if matches { "yes" } else { "no" }, verdict, "{line}");
    }
}

#[test]
fn a_clients_vectors_mean_the_same_in_both_encodings() {
    for (text, frame) in vectors("from-client") {
        let (mut in_json, mut in_binary) = (0, 0);
        bin::parse(&frame, &mut Parser::new(), |binary| {
            let command = binary.command.as_ref().expect(text);
            Parser::new().parse(text, |request| {
                assert_eq!(request.command.as_ref(), Ok(command), "{text}");
                assert_eq!(id_text(request.id), id_text(binary.id), "{text}");
                in_json += 1;
            });
            assert_encodes(command, binary.id, text, &frame);
            in_binary += 1;
        });
        assert_eq!((in_json, in_binary), (1, 1), "{text}");
    }
}

fn assert_encodes(command: &Command<'_>, id: Option<Id<'_>>, text: &str, frame: &[u8]) {
    let id = id.map(|id| match id {
        Id::Number(number) => number,
        Id::Raw(raw) => panic!("{raw} in a binary command"),
    });
    let (mut json_out, mut bin_out) = (Vec::new(), Vec::new());
    json::encode_command(&mut json_out, id, command);
    bin::encode_command(&mut bin_out, id, command);
    assert_eq!(String::from_utf8_lossy(&json_out), text);
    assert_eq!(bin_out, frame, "{text}");
}

#[test]
fn a_brokers_vectors_mean_the_same_in_both_encodings() {
    for (text, frame) in vectors("from-broker") {
        let message = bin::decode_server(&frame).unwrap_or_else(|error| panic!("{text}: {error}"));
        let (mut json_out, mut bin_out) = (Vec::new(), Vec::new());
        encode_both(&message, &mut json_out, &mut bin_out);
        assert_eq!(String::from_utf8_lossy(&json_out), text);
        assert_eq!(bin_out, frame, "{text}");
    }
}

fn encode_both(message: &ServerMessage<'_>, json_out: &mut Vec<u8>, bin_out: &mut Vec<u8>) {
    let topic = |name| Topic::new(name).expect("a topic of the page");
    let mut answer = |id, answer: &Answer<'_>| {
        json::encode_answer(json_out, Some(Id::Number(id)), answer);
        bin::encode_answer(bin_out, Some(Id::Number(id)), answer);
    };
    match *message {
        ServerMessage::History { id, topic, epoch, seq, ref messages } => {
            answer(id, &Answer::History { topic, epoch, seq, messages });
        }
        ServerMessage::Members { id, topic, count, ref members } => {
            answer(id, &Answer::Presence { topic, count, members });
        }
        ServerMessage::Ok { id, answer: ref ok } => answer(id, ok),
        ServerMessage::Mode { filter, now, reason } => {
            let notice = Notice::Mode { filter, now, reason };
            json::encode_notice(json_out, &notice);
            bin::encode_notice(bin_out, &notice);
        }
        ServerMessage::Expiring { in_ms } => {
            json::encode_notice(json_out, &Notice::Expiring { in_ms });
            bin::encode_notice(bin_out, &Notice::Expiring { in_ms });
        }
        ServerMessage::Unsubscribed { filter } => {
            json::encode_notice(json_out, &Notice::Unsubscribed { filter });
            bin::encode_notice(bin_out, &Notice::Unsubscribed { filter });
        }
        ServerMessage::Presence { topic, ref joined, ref left, count } => {
            let notice = Notice::Presence { topic, joined, left, count };
            json::encode_notice(json_out, &notice);
            bin::encode_notice(bin_out, &notice);
        }
        ServerMessage::Stale { topic, seq, silent_ms } => {
            let notice = Notice::Stale { topic, seq, silent_ms };
            json::encode_notice(json_out, &notice);
            bin::encode_notice(bin_out, &notice);
        }
        ServerMessage::Live { topic, seq } => {
            let notice = Notice::Live { topic, seq };
            json::encode_notice(json_out, &notice);
            bin::encode_notice(bin_out, &notice);
        }
        ServerMessage::Epoch { topic, epoch } => {
            let notice = Notice::Epoch { topic, epoch };
            json::encode_notice(json_out, &notice);
            bin::encode_notice(bin_out, &notice);
        }
        ServerMessage::Message { topic: name, seq, payload } => {
            json::encode_message(json_out, topic(name), seq, payload);
            bin::encode_message(bin_out, topic(name), seq, payload);
        }
        ServerMessage::Error { id, code, message } => {
            let error = CommandError::new(code, message.to_owned());
            json::encode_answer(json_out, id.map(Id::Number), &Answer::Error(&error));
            bin::encode_answer(bin_out, id.map(Id::Number), &Answer::Error(&error));
        }
        ServerMessage::Gap { topic: name, from, to, reason } => {
            json::encode_gap(json_out, topic(name), from, to, reason);
            bin::encode_gap(bin_out, topic(name), from, to, reason);
        }
    }
}
