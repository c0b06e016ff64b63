//! Commands from outside, in both encodings: what is kept as it was written, what is refused, and
//! that nothing a peer sends brings the parsers down.

use broker_proto::bin;
use broker_proto::command::{
    Command, Deadband, Delta, Epoch, ErrorCode, Id, Payload, Position, Request, Since,
    SubscribeOptions,
};
use broker_proto::json::{self, DEPTH_MAX, Parser};
use broker_proto::topic::{Filter, Topic};
use proptest::prelude::*;

/// The id of a request, and either the debug form of its command or its error.
type Outcome = (Option<String>, Result<String, (ErrorCode, String)>);

/// What becomes of each request of `text`.
fn outcomes(text: &str) -> Vec<Outcome> {
    let mut all = Vec::new();
    Parser::new().parse(text, |request| all.push(outcome(&request)));
    all
}

fn outcome(request: &Request<'_>) -> Outcome {
    let id = request.id.map(|id| match id {
        Id::Raw(raw) => raw.to_owned(),
        Id::Number(number) => number.to_string(),
    });
    let command = match &request.command {
        Ok(command) => Ok(format!("{command:?}")),
        Err(error) => Err((error.code, error.message.to_string())),
    };
    (id, command)
}

fn refusal(text: &str) -> (Option<String>, ErrorCode, String) {
    match outcomes(text).remove(0) {
        (id, Err((code, message))) => (id, code, message),
        (_, Ok(command)) => panic!("{text} was taken as {command}"),
    }
}

/// The payload of the last publish in `text`.
fn published(text: &str) -> Option<Vec<u8>> {
    let mut bytes = None;
    Parser::new().parse(text, |request| {
        bytes = match request.command {
            Ok(Command::Publish { payload: Payload::Json(value), .. }) => Some(value.to_vec()),
            _ => None,
        };
    });
    bytes
}

/// Whether `bytes` are taken as the JSON payload of a publish.
fn is_taken_as_json(bytes: &[u8]) -> bool {
    let frame = [b"\x11\x01t", bytes].concat();
    let mut is_taken = false;
    bin::parse(&frame, &mut Parser::new(), |request| is_taken = request.command.is_ok());
    is_taken
}

/// JSON texts of all spellings: white space, escapes, forms of numbers.
fn json_text() -> impl Strategy<Value = String> {
    let space = "[ \t\r\n]{0,2}";
    let string = prop_oneof![
        "\"[ -!#-\\[\\]-~é€😀]{0,12}\"",
        r#""(\\["\\/bfnrt]|\\u00[0-9a-fA-F]{2}|\\ud83d\\ude00|[a-z,:{}\[\]]){0,6}""#,
    ];
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        "-?(0|[1-9][0-9]{0,30})",
        "-?(0|[1-9][0-9]{0,20})\\.[0-9]{1,25}",
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?[eE][+-]?[0-9]{1,2}",
        string.clone(),
    ];
    scalar.prop_recursive(5, 40, 5, move |inner| {
        let spaced = (space, inner, space).prop_map(|(a, value, b)| a + &value + &b);
        let member = (space, string.clone(), space, spaced.clone())
            .prop_map(|(a, key, b, value)| a + &key + &b + ":" + &value);
        prop_oneof![
            prop::collection::vec(spaced, 0..5).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
}

fn topic_text() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-z$ \"\\\\é😀]{0,6}", 1..6)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic is not empty", |topic| !topic.is_empty())
}

proptest! {
    #[test]
    fn data_is_kept_byte_for_byte(
        data in json_text(),
        other in json_text(),
        space in "[ \t\r\n]{0,3}",
        order in Just(vec![0, 1, 2]).prop_shuffle(),
    ) {
        let members = [
            "\"op\" :\"publish\"".to_owned(),
            format!("\"topic\":{space}\"t\\u002f\\\"x\""),
            format!("{space}\"data\":{space}{data}{space}"),
        ];
        let members: Vec<&str> = order.iter().map(|&index| members[index].as_str()).collect();
        let object = format!("{space}{{{}{space}}}{space}", members.join(","));
        let expected = Some(data.as_bytes().to_vec());
        prop_assert_eq!(published(&object), expected.clone(), "{}", object);
        let first = format!(r#"{{"op":"publish","topic":"t","data":{other}}}"#);
        let batch = format!("[{first},{object},{object}]");
        prop_assert_eq!(outcomes(&batch).len(), 3);
        prop_assert_eq!(published(&batch), expected, "{}", batch);
        prop_assert!(is_taken_as_json(data.as_bytes()));
    }

    #[test]
    fn json_is_judged_as_serde_json_does(
        text in json_text(),
        at in any::<prop::sample::Index>(),
        edit in prop_oneof![
            Just(None),
            prop::sample::select(b"{}[]:,\"\\ 019.eE+-tfnu/\x00\x1f\x7f\xff".as_slice()).prop_map(Some),
        ],
        inserts in any::<bool>(),
    ) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        match edit {
            None => bytes.truncate(at),
            Some(byte) if inserts => bytes.insert(at, byte),
            Some(byte) => bytes[at] = byte,
        }
        let is_valid = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
        let text = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(is_taken_as_json(&bytes), is_valid, "{}", text);
    }

    #[test]
    fn any_bytes_are_parsed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut parser = Parser::new();
        let mut requests = 0;
        bin::parse(&bytes, &mut parser, |_| requests += 1);
        prop_assert_eq!(requests, 1);
        let _ = bin::decode_server(&bytes);
        parser.parse(&String::from_utf8_lossy(&bytes), |_| requests += 1);
        prop_assert!(requests > 1);
    }

    #[test]
    fn any_json_is_answered(text in json_text(), key in "[a-z]{2,9}") {
        let object = format!(r#"{{"id":1,"op":"subscribe","topic":"a/#","{key}":{text}}}"#);
        prop_assert_eq!(outcomes(&object).len(), 1);
        for (id, _) in outcomes(&text) {
            prop_assert_eq!(id, None);
        }
    }

    #[test]
    fn commands_read_back_from_both_encodings(
        topic in topic_text(),
        id in proptest::option::of(any::<u64>()),
        data in json_text(),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
        (seq, epoch, limit) in (any::<u64>(), any::<u64>(), proptest::option::of(1..=u32::MAX)),
        (amount, name) in (0.001..1e12_f64, "[ -~é]{0,8}"),
        flags in any::<[bool; 8]>(),
    ) {
        let position = Position { epoch: Epoch::new(epoch), seq };
        let topic = Topic::new(&topic).unwrap();
        let wildcard = format!("{}/#", &topic.as_str()[..topic.as_str().find('/').unwrap_or(topic.as_str().len())]);
        let filter = match Filter::new(&wildcard) {
            Ok(filter) if flags[0] && !wildcard.starts_with('/') => filter,
            _ => Filter::new(topic.as_str()).unwrap(),
        };
        let since = match filter.is_wildcard() {
            true => Since::Topics(vec![(topic, position)]),
            false => Since::At(position),
        };
        let pointer = format!("/{}", name.replace('~', "~0"));
        let delta = if flags[1] { Delta::Absolute(amount) } else { Delta::Percent(amount) };
        let options = SubscribeOptions {
            last: flags[2],
            since: flags[3].then_some(since),
            latest: flags[4],
            all: !flags[4] && flags[3],
            max_rate: flags[5].then_some(amount),
            key: flags[6].then_some(&pointer),
            fields: if flags[7] { vec!["price", &name] } else { vec![] },
            deadband: flags[6].then_some(Deadband {
                field: &name,
                delta,
                max_silence_ms: flags[7].then_some(750),
            }),
            presence: flags[5],
            epochs: flags[2],
        };
        let commands = [
            Command::Connect { token: flags[0].then_some("eyJ.e30.x") },
            Command::Subscribe { filter, options: SubscribeOptions::default() },
            Command::Subscribe { filter, options },
            Command::Unsubscribe { filter },
            Command::Publish { topic, payload: Payload::Json(data.as_bytes()), count: bytes.is_empty(), msg_id: None },
            Command::Publish { topic, payload: Payload::Opaque(&bytes), count: !bytes.is_empty(), msg_id: Some("\"ä\"") },
            Command::Pause { filter },
            Command::Resume { filter },
            Command::History { topic, limit },
            Command::Presence { topic },
            Command::Stats { filter: flags[1].then_some(filter) },
            Command::Ping,
        ];
        let mut parser = Parser::new();
        for command in &commands {
            let (mut text, mut frame, mut read) = (Vec::new(), Vec::new(), 0);
            json::encode_command(&mut text, id, command);
            let text = String::from_utf8(text).unwrap();
            parser.parse(&text, |request| {
                assert_eq!(request.command.as_ref(), Ok(command), "{text}");
                let digits = id.map(|id| id.to_string());
                assert_eq!(request.id, digits.as_deref().map(Id::Raw));
                read += 1;
            });
            bin::encode_command(&mut frame, id, command);
            bin::parse(&frame, &mut parser, |request| {
                assert_eq!(request.command.as_ref(), Ok(command), "{frame:02x?}");
                assert_eq!(request.id, id.map(Id::Number));
                read += 1;
            });
            prop_assert_eq!(read, 2);
        }
    }

    #[test]
    fn an_encoded_message_is_json_and_fits_its_estimate(
        topic in topic_text(),
        seq in any::<u64>(),
        data in json_text(),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let topic = Topic::new(&topic).unwrap();
        for payload in [Payload::Json(data.as_bytes()), Payload::Opaque(&bytes)] {
            let mut out = b"before".to_vec();
            json::encode_message(&mut out, topic, seq, payload);
            prop_assert!(out.len() - 6 <= json::message_bytes(topic, payload));
            let value: serde_json::Value = serde_json::from_slice(&out[6..]).unwrap();
            prop_assert_eq!(value["topic"].as_str(), Some(topic.as_str()));
            prop_assert_eq!(value["seq"].as_u64(), Some(seq));
            let mut frame = Vec::new();
            let range = bin::encode_message(&mut frame, topic, seq, payload);
            prop_assert!(frame.len() <= bin::message_bytes(topic, payload));
            prop_assert_eq!(&frame[range], payload.bytes());
            let read = bin::ServerMessage::Message { topic: topic.as_str(), seq, payload };
            prop_assert_eq!(bin::decode_server(&frame), Ok(read));
        }
    }
}

#[test]
fn an_id_is_given_back_as_it_was_written() {
    let longest = format!("\"{}\"", "x".repeat(62));
    for id in ["0", "-7", "18446744073709551616", "\"\"", r#""\u0061\"""#, "\"é\"", &longest] {
        let text = format!(r#"{{ "id" : {id} , "op":"ping"}}"#);
        assert_eq!(outcomes(&text), [(Some(id.to_owned()), Ok("Ping".to_owned()))]);
    }
    let too_long = format!("\"{}\"", "x".repeat(63));
    for id in ["null", "true", "1.0", "1e3", "[]", "{}", &too_long] {
        let (answered, code, _) = refusal(&format!(r#"{{"id":{id},"op":"ping"}}"#));
        assert_eq!((answered, code), (None, ErrorCode::BadRequest), "{id}");
    }
}

#[test]
fn a_publisher_cannot_speak_for_the_broker() {
    for key in ["seq", "from", "user", "offset", "epoch", "ts"] {
        let text = format!(r#"{{"id":1,"op":"publish","topic":"t","data":1,"{key}":9}}"#);
        let message = format!("`publish` takes no member \"{key}\"");
        assert_eq!(refusal(&text), (Some("1".to_owned()), ErrorCode::BadRequest, message));
    }
    let data = r#"{"seq":9,"from":"x","user":"root","offset":1,"epoch":"a"}"#;
    let text = format!(r#"{{"op":"publish","topic":"t","data":{data}}}"#);
    assert_eq!(published(&text), Some(data.as_bytes().to_vec()), "data is the publisher's own");
}

#[test]
fn a_bad_topic_is_refused_with_the_id() {
    for topic in ["", "a/#", "+", "a\\u0000", "\\ufffe", "\\u202e", &"a".repeat(256)] {
        let (id, code, _) =
            refusal(&format!(r#"{{"op":"publish","data":1,"topic":"{topic}","id":3}}"#));
        assert_eq!((id.as_deref(), code), (Some("3"), ErrorCode::BadTopic), "{topic}");
    }
    let (_, code, _) =
        refusal(&format!(r#"{{"op":"subscribe","topic":"{}"}}"#, "/".repeat(65_400)));
    assert_eq!(code, ErrorCode::BadTopic);
    for frame in [&b"\x81\x03\x02a\xff1"[..], b"\x82\x03\x02\xc0\xaf", b"\x81\x03\x00"] {
        bin::parse(frame, &mut Parser::new(), |request| {
            assert_eq!(request.id, Some(Id::Number(3)));
            assert_eq!(request.command.unwrap_err().code, ErrorCode::BadTopic);
        });
    }
}

#[test]
fn nesting_is_bounded_and_costs_no_stack() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let publish = |data: &str| format!(r#"{{"op":"publish","topic":"t","data":{data}}}"#);
    let deepest = nested(DEPTH_MAX - 1);
    assert_eq!(published(&publish(&deepest)), Some(deepest.into_bytes()));
    let message = format!("nested deeper than {DEPTH_MAX} levels");
    let (id, code, said) = refusal(&publish(&nested(DEPTH_MAX)));
    assert_eq!((id, code, said), (None, ErrorCode::BadRequest, message));
    assert!(is_taken_as_json(nested(DEPTH_MAX).as_bytes()));
    assert!(!is_taken_as_json(nested(DEPTH_MAX + 1).as_bytes()));
    for flood in ["[".repeat(65_536), "{\"a\":".repeat(13_000), nested(32_000)] {
        assert_eq!(refusal(&flood).1, ErrorCode::BadRequest);
    }
}

#[test]
fn a_message_is_checked_whole_before_any_of_it_counts() {
    let (id, code, message) = refusal(r#"[{"id":1,"op":"ping"},{"id":2,"op":"ping"},]"#);
    assert_eq!((id, code, message.as_str()), (None, ErrorCode::BadRequest, "not valid JSON"));
}

#[test]
fn a_batch_is_taken_in_order_and_its_commands_fail_alone() {
    let text = r#"[{"id":1,"op":"ping"}, 7, [], {"id":"b","op":"x"}, {"id":3,"op":"stats"}]"#;
    let not_object = || Err((ErrorCode::BadRequest, "a command is a JSON object".to_owned()));
    let expected = [
        (Some("1".to_owned()), Ok("Ping".to_owned())),
        (None, not_object()),
        (None, not_object()),
        (Some("\"b\"".to_owned()), Err((ErrorCode::UnknownOp, "no op is called \"x\"".to_owned()))),
        (Some("3".to_owned()), Ok("Stats { filter: None }".to_owned())),
    ];
    assert_eq!(outcomes(text), expected);
}

#[test]
fn members_may_be_spelt_with_escapes() {
    let text = r#"{"\u006fp":"pu\u0062lish","topic":"a\/b","d\u0061ta":"\u0041"}"#;
    assert_eq!(published(text), Some(br#""\u0041""#.to_vec()));
}

#[test]
fn a_parser_is_as_good_after_a_bad_or_a_long_message() {
    let mut parser = Parser::new();
    let long = format!(r#"{{"op":"publish","topic":"t","data":"{}"}}"#, "x".repeat(400_000));
    for text in ["{", "", " ", "\u{feff}{}", &long, "[[[", "nul"] {
        parser.parse(text, |_| {});
        let mut commands = Vec::new();
        parser.parse(r#"{"op":"ping"}"#, |request| commands.push(outcome(&request)));
        assert_eq!(commands, [(None, Ok("Ping".to_owned()))], "after {text:.9}");
    }
}
