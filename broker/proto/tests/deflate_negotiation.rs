//! What permessage-deflate offers and answers mean (RFC 7692 §5, §7.1): the server's choice, and
//! the client's check of it. Headers stand as they go over the wire.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use broker_proto::handshake::{ClientError, ClientHandshake, HeadLimits, Request, Upgrade};
use broker_proto::ws::deflate::{Agreement, AnswerError, Offer, Terms, WindowBits, select};

const NONE: Terms = Terms { no_context_takeover: false, window_bits_max: None };

fn bits(bits: u8) -> Terms {
    Terms { no_context_takeover: false, window_bits_max: Some(WindowBits::new(bits).unwrap()) }
}

fn no_context(terms: Terms) -> Terms {
    Terms { no_context_takeover: true, ..terms }
}

/// What a server that wants these terms answers to an offer; "" if it declines.
fn answer_of(offer: &str, server: Terms, client: Terms) -> String {
    let head = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: {offer}\r\n\r\n"
    );
    let request = Request::parse(head.as_bytes(), &HeadLimits::default()).unwrap();
    let upgrade = Upgrade::from_request(&request).unwrap();
    let agreement = select(upgrade.offers(), server, client);
    let mut response = Vec::new();
    upgrade.write_response(&mut response, None, agreement.as_ref());
    let response = String::from_utf8(response).unwrap();
    let header = response.split("\r\n").find_map(|line| line.strip_prefix("Sec-WebSocket-Ext"));
    header.map_or(String::new(), |header| header.strip_prefix("ensions: ").unwrap().to_owned())
}

/// What a client that made this offer understands of this answer.
fn verify(offer: Offer, answer: &str) -> Result<Agreement, ClientError> {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Sec-WebSocket-Extensions: {answer}\r\n\r\n"
    );
    let client = ClientHandshake::new(*b"the sample nonce").with_deflate(offer);
    client.verify(head.as_bytes(), &[]).map(|accepted| accepted.deflate.expect("it was answered"))
}

#[test]
fn a_server_without_wishes_grants_what_is_demanded_and_adds_nothing() {
    for (offer, answer) in [
        ("permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits=10", "permessage-deflate"),
        (
            "permessage-deflate; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover",
        ),
        (
            "permessage-deflate; client_no_context_takeover",
            "permessage-deflate; client_no_context_takeover",
        ),
        (
            "permessage-deflate; server_max_window_bits=15",
            "permessage-deflate; server_max_window_bits=15",
        ),
        (
            "permessage-deflate; server_max_window_bits=\"10\"",
            "permessage-deflate; server_max_window_bits=10",
        ),
    ] {
        assert_eq!(answer_of(offer, NONE, NONE), answer, "{offer}");
    }
}

#[test]
fn a_server_with_wishes_names_them_where_the_offer_allows_it() {
    let all = "permessage-deflate; server_no_context_takeover; server_max_window_bits=11; \
               client_no_context_takeover";
    let wanted = (no_context(bits(11)), no_context(bits(10)));
    assert_eq!(answer_of("permessage-deflate", wanted.0, wanted.1), all);
    let with_client = format!("{all}; client_max_window_bits=10");
    let offer = "permessage-deflate; client_max_window_bits";
    assert_eq!(answer_of(offer, wanted.0, wanted.1), with_client);
    let smaller = "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8";
    let answer = "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8";
    assert_eq!(answer_of(smaller, bits(11), bits(10)), answer);
    let larger = "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12";
    let answer = "permessage-deflate; server_max_window_bits=11; client_max_window_bits=10";
    assert_eq!(answer_of(larger, bits(11), bits(10)), answer);
    // The largest window is what holds anyway.
    assert_eq!(answer_of(offer, bits(15), bits(15)), "permessage-deflate");
}

#[test]
fn an_offer_with_a_wrong_parameter_is_declined_and_the_next_one_is_looked_at() {
    for wrong in [
        "unknown",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "client_max_window_bits; client_max_window_bits",
        "server_max_window_bits=10; server_max_window_bits=10",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=08",
        "server_max_window_bits=010",
        "client_max_window_bits=7",
        "client_max_window_bits=x",
        "Server_no_context_takeover",
    ] {
        let offer = format!("permessage-deflate; {wrong}");
        assert_eq!(answer_of(&offer, NONE, NONE), "", "{wrong}");
        let second = format!("x, {offer}, permessage-deflate; server_max_window_bits=10, {offer}");
        let answer = "permessage-deflate; server_max_window_bits=10";
        assert_eq!(answer_of(&second, NONE, NONE), answer, "{wrong}");
    }
    assert_eq!(answer_of("x-webkit-deflate-frame", NONE, NONE), "");
}

#[test]
fn of_several_valid_offers_the_first_is_answered() {
    let offers = "permessage-deflate; server_max_window_bits=9, permessage-deflate";
    assert_eq!(answer_of(offers, NONE, NONE), "permessage-deflate; server_max_window_bits=9");
}

#[test]
fn an_offer_names_what_it_demands_and_allows() {
    let offer = Offer { server: no_context(bits(10)), client: no_context(bits(12)) };
    let written = "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; \
                   client_no_context_takeover; client_max_window_bits=12";
    assert_eq!(offer.to_string(), written);
    let offer = Offer { server: NONE, client: no_context(bits(15)) };
    let written = "permessage-deflate; client_no_context_takeover; client_max_window_bits";
    assert_eq!(offer.to_string(), written);
    assert_eq!(Offer::default().to_string(), "permessage-deflate");
}

#[test]
fn a_client_takes_an_answer_that_grants_its_demands_or_more() {
    let read = |offer, answer: &str| verify(offer, answer).unwrap();
    let granted = read(Offer::BROWSER, "permessage-deflate");
    assert_eq!(granted, Agreement { server: NONE, client: bits(15) });
    let granted = read(
        Offer::BROWSER,
        "permessage-deflate; client_max_window_bits=9; client_no_context_takeover; \
         server_no_context_takeover; server_max_window_bits=8",
    );
    let expected = Agreement { server: no_context(bits(8)), client: no_context(bits(9)) };
    assert_eq!(granted, expected);

    let strict = Offer { server: no_context(bits(12)), client: no_context(bits(10)) };
    let answer = "permessage-deflate; server_no_context_takeover; server_max_window_bits=12; \
         client_max_window_bits=15";
    // The hints on itself hold whatever the answer says.
    assert_eq!(read(strict, answer), Agreement { server: strict.server, client: strict.client });
}

#[test]
fn a_client_fails_the_connection_on_any_other_answer() {
    let refused = |offer, answer: &str| match verify(offer, answer) {
        Err(ClientError::Deflate(error)) => error,
        other => panic!("{answer}: {other:?}"),
    };
    let malformed = |name: &str| AnswerError::Malformed(name.to_owned());
    for (answer, name) in [
        ("x", "x"),
        ("server_no_context_takeover=1", "server_no_context_takeover"),
        ("client_no_context_takeover; client_no_context_takeover", "client_no_context_takeover"),
        ("client_max_window_bits", "client_max_window_bits"),
        ("client_max_window_bits=16", "client_max_window_bits"),
        ("server_max_window_bits", "server_max_window_bits"),
        ("server_max_window_bits=9; server_max_window_bits=9", "server_max_window_bits"),
    ] {
        let answer = format!("permessage-deflate; {answer}");
        assert_eq!(refused(Offer::BROWSER, &answer), malformed(name), "{answer}");
    }
    let plain = Offer::default();
    let answer = "permessage-deflate; client_max_window_bits=15";
    assert_eq!(refused(plain, answer), AnswerError::NotOffered);

    let strict = Offer { server: no_context(bits(10)), client: NONE };
    for (answer, error) in [
        ("", AnswerError::Missing("server_no_context_takeover")),
        ("; server_no_context_takeover", AnswerError::Missing("server_max_window_bits")),
        (
            "; server_no_context_takeover; server_max_window_bits=11",
            AnswerError::TooWide { answered: 11, demanded: 10 },
        ),
    ] {
        assert_eq!(refused(strict, &format!("permessage-deflate{answer}")), error);
    }
}
