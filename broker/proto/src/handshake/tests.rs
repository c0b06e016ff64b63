//! Properties of the handshake: true of every split, of arbitrary bytes, and of both sides
//! together. A failing case is printed with its input, and its seed kept by proptest.

use proptest::prelude::*;

use super::*;
use crate::ws::deflate::{self, Terms, WindowBits};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

const SUPPORTED: [&str; 2] = ["altavoz.v1.json", "altavoz.v1.bin"];

/// What comes of `bytes` when they arrive in pieces that end at `cuts`.
fn scan_in_pieces(
    bytes: &[u8],
    cuts: &[usize],
    limits: &HeadLimits,
) -> Result<Option<usize>, Refusal> {
    let mut scanner = HeadScanner::default();
    for &cut in cuts {
        if let Some(len) = scanner.scan(&bytes[..cut], limits)? {
            return Ok(Some(len));
        }
    }
    scanner.scan(bytes, limits)
}

/// Everything a server does with bytes from a stranger.
fn serve(bytes: &[u8], limits: &HeadLimits) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(len) = HeadScanner::default().scan(bytes, limits)? else { return Ok(None) };
    let request = Request::parse(&bytes[..len], limits)?;
    let upgrade = Upgrade::from_request(&request)?;
    let mut out = Vec::new();
    upgrade.write_response(&mut out, upgrade.select_protocol(&SUPPORTED), None);
    Ok(Some(out))
}

/// Bytes that are a head more often than chance would have it.
fn almost_a_head() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(&b"\r\n"[..]),
        2 => Just(&b"GET / HTTP/1.1\r\n"[..]),
        2 => Just(&b"Host: h\r\n"[..]),
        2 => Just(&b"Upgrade: websocket\r\nConnection: Upgrade\r\n"[..]),
        2 => Just(&b"Sec-WebSocket-Version: 13\r\n"[..]),
        2 => Just(&b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"[..]),
        1 => Just(&b"A"[..]),
        1 => Just(&b": "[..]),
        1 => Just(&b"\r"[..]),
        1 => Just(&b"\n"[..]),
        1 => Just(&b"\0"[..]),
        1 => Just(&b"\xff"[..]),
        1 => Just(&b"Sec-WebSocket-Extensions: a;b=\"\\"[..]),
        1 => Just(&b"Sec-WebSocket-Protocol: a, b\r\n"[..]),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn terms() -> impl Strategy<Value = Terms> {
    (any::<bool>(), prop::option::of(8..=15_u8)).prop_map(|(no_context_takeover, bits)| Terms {
        no_context_takeover,
        window_bits_max: bits.and_then(WindowBits::new),
    })
}

fn limits() -> impl Strategy<Value = HeadLimits> {
    (0..400usize, 0..12usize)
        .prop_map(|(head_bytes_max, headers_max)| HeadLimits { head_bytes_max, headers_max })
}

fn token() -> impl Strategy<Value = String> {
    "[-!#$%&'*+.^_`|~0-9A-Za-z]{1,20}"
}

proptest! {
    #[test]
    fn however_a_head_is_split_the_result_is_the_same(
        bytes in almost_a_head(),
        limits in limits(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let whole = HeadScanner::default().scan(&bytes, &limits);
        prop_assert_eq!(&scan_in_pieces(&bytes, &cuts, &limits), &whole);
        let every: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(&scan_in_pieces(&bytes, &every, &limits), &whole);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_refusals_are_json(
        bytes in prop_oneof![almost_a_head(), prop::collection::vec(any::<u8>(), 0..300)],
        limits in limits(),
    ) {
        let _ = Request::parse(&bytes, &limits);
        let _ = ClientHandshake::new([0; 16]).verify(&bytes, &[]);
        if let Err(refusal) = serve(&bytes, &limits) {
            let mut out = Vec::new();
            refusal.write_response(&mut out);
            let text = String::from_utf8(out).expect("a response is UTF-8");
            let (_, body) = text.split_once("\r\n\r\n").expect("a response has a head");
            let json: serde_json::Value = serde_json::from_str(body).expect(body);
            prop_assert_eq!(&json["error"]["code"], refusal.code());
        }
    }

    #[test]
    fn arbitrary_values_of_each_header_never_panic(
        name in prop_oneof![
            Just("Sec-WebSocket-Extensions"), Just("Sec-WebSocket-Protocol"), Just("Origin"),
            Just("Content-Length"), Just("Upgrade"), Just("Sec-WebSocket-Key"), Just("X"),
        ],
        value in prop_oneof![
            "[a-c;=,\"\\\\ \t1]{0,24}".prop_map(String::into_bytes),
            prop::collection::vec(prop_oneof![0x20..0x7fu8, 0x80..=0xffu8], 0..40),
        ],
    ) {
        let line = [name.as_bytes(), b": ", &value, b"\r\n\r\n"].concat();
        let head = [UPGRADE.as_bytes(), &line].concat();
        match serve(&head, &HeadLimits::default()) {
            Ok(response) => prop_assert!(response.is_some()),
            Err(refusal) => prop_assert_eq!(refusal.status(), 400),
        }
    }

    #[test]
    fn what_the_client_asks_the_server_accepts_and_the_answer_verifies(
        key in any::<[u8; 16]>(),
        host in "[a-z0-9.-]{1,20}(:[1-9][0-9]{0,3})?",
        target in "/[a-z0-9/?&=%._~-]{0,40}",
        protocols in prop::collection::hash_set(
            prop_oneof![token(), Just("altavoz.v1.bin".to_owned())], 0..6),
        extra in prop::collection::vec(("X-[a-z]{1,8}", "[ -~]{0,20}"), 0..4),
        offer in prop::option::of((terms(), terms())),
        (server, for_client) in (terms(), terms()),
    ) {
        let protocols: Vec<&str> = protocols.iter().map(String::as_str).collect();
        let extra: Vec<(&str, &str)> =
            extra.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut client = ClientHandshake::new(key);
        if let Some((server, own)) = offer {
            client = client.with_deflate(deflate::Offer { server, client: own });
        }
        let mut head = Vec::new();
        client.write_request(&mut head, &host, &target, &protocols, &extra);

        let limits = HeadLimits::default();
        let request = Request::parse(&head, &limits).expect("a client's request parses");
        prop_assert_eq!(request.target(), &target);
        let upgrade = Upgrade::from_request(&request).expect("a client's request is valid");
        prop_assert_eq!(upgrade.protocols(), &protocols[..]);
        let chosen = upgrade.select_protocol(&SUPPORTED);
        let mut response = Vec::new();
        let agreed = deflate::select(upgrade.offers(), server, for_client);
        prop_assert_eq!(agreed.is_some(), offer.is_some());
        upgrade.write_response(&mut response, chosen, agreed.as_ref());

        let found = HeadScanner::for_response().scan(&response, &limits);
        prop_assert_eq!(found, Ok(Some(response.len())));
        let accepted = client.verify(&response, &protocols).expect("a server's answer is right");
        prop_assert_eq!(accepted.protocol, chosen);
        prop_assert_eq!(accepted.deflate.map(|both| both.server), agreed.map(|both| both.server));
        if let (Some(ours), Some(theirs)) = (accepted.deflate, agreed) {
            // The client may use less than the server has to expect.
            prop_assert!(ours.client.window_bits() <= theirs.client.window_bits());
            prop_assert_eq!(ours.client.no_context_takeover, theirs.client.no_context_takeover);
        }
        let mut other = key;
        other[0] ^= 1;
        let refused = ClientHandshake::new(other).verify(&response, &protocols);
        prop_assert_eq!(refused, Err(ClientError::Accept));
    }

    #[test]
    fn an_offer_written_with_quotes_reads_like_one_without(
        offers in prop::collection::vec(
            (token(), prop::collection::vec((token(), prop::option::of(token())), 0..4)), 1..5),
    ) {
        let mut plain = Vec::new();
        let mut quoted = Vec::new();
        for (name, params) in &offers {
            let (mut bare, mut dressed) = (name.clone(), name.clone());
            for (param, value) in params {
                bare += &format!(";{param}");
                dressed += &format!(" ; {param}");
                if let Some(value) = value {
                    bare += &format!("={value}");
                    let escaped: String = value.chars().flat_map(|char| ['\\', char]).collect();
                    dressed += &format!(" = \"{escaped}\"");
                }
            }
            plain.push(bare);
            quoted.push(dressed);
        }
        let (plain, quoted) = (plain.join(","), quoted.join(" ,\t, "));
        let bare = extension::parse([plain.as_bytes()].into_iter()).expect("plain offers parse");
        let dressed = extension::parse([quoted.as_bytes()].into_iter()).expect("quoted ones too");
        prop_assert_eq!(&bare, &dressed);
        prop_assert_eq!(bare.len(), offers.len());
    }
}

#[test]
fn a_key_is_sixteen_bytes_of_padded_base64() {
    // The second is the example of RFC 6455 §4.1, whose unused last bits are set.
    for valid in
        ["dGhlIHNhbXBsZSBub25jZQ==", "AQIDBAUGBwgJCgsMDQ4PEC==", "AAAAAAAAAAAAAAAAAAAAAA=="]
    {
        assert!(key::is_key(valid), "{valid}");
    }
    for invalid in [
        "",
        "AAAA",
        "AAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAA= ",
        "AAAAAAAAAAAAAAAAAAAA-_==",
        " AAAAAAAAAAAAAAAAAAAAA==",
        "AAAAAAAAAAAAAAAAAAAAA===",
    ] {
        assert!(!key::is_key(invalid), "{invalid:?}");
    }
}
