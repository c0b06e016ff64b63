//! Heads, frames, compressed messages and what proxies say: bytes before they mean anything. Besides
//! that nothing panics, how the bytes were split must never matter.

use std::net::IpAddr;

use broker_proto::forwarded::{self, read_proxy_header};
use broker_proto::handshake::{
    ClientHandshake, HeadLimits, HeadScanner, Refusal, Request, Upgrade,
};
use broker_proto::ws::deflate::{Deflater, Inflater, LEVEL_DEFAULT, Terms};
use broker_proto::ws::{Decoder, ProtocolError, Role};

/// Small, so that limits are met often.
const MESSAGE_BYTES_MAX: u32 = 1024;
const LIMITS: HeadLimits = HeadLimits { head_bytes_max: 512, headers_max: 8 };

/// A request's head, and the same bytes as a response's.
pub fn handshake(data: &[u8]) {
    let whole = scan(HeadScanner::default(), data, data.len());
    for step in [1, 3, 64] {
        assert_eq!(scan(HeadScanner::default(), data, step), whole, "in steps of {step}");
    }
    if let Ok(Some(len)) = whole {
        let head = &data[..len];
        match Request::parse(head, &LIMITS) {
            Ok(request) => answer(&request),
            Err(refusal) => refuse(&refusal),
        }
    } else if let Err(refusal) = whole {
        refuse(&refusal);
    }
    let found = HeadScanner::for_response().scan(data, &HeadLimits::default());
    if let Ok(Some(len)) = found {
        let client = ClientHandshake::new(*b"the sample nonce");
        // Whether it is a good answer does not matter.
        let _ = client.verify(&data[..len], &["altavoz.v1.json"]);
    }
}

fn scan(mut scanner: HeadScanner, data: &[u8], step: usize) -> Result<Option<usize>, Refusal> {
    let mut come = 0;
    loop {
        come = data.len().min(come + step.max(1));
        let found = scanner.scan(&data[..come], &LIMITS)?;
        if found.is_some() || come == data.len() {
            return Ok(found);
        }
    }
}

fn answer(request: &Request<'_>) {
    assert!(!request.path().contains('?') && !request.path().is_empty());
    // Either way something was decided about its body.
    let _ = request.check_framing();
    match Upgrade::from_request(request) {
        Ok(upgrade) => {
            let mut out = Vec::new();
            let chosen = upgrade.select_protocol(&["altavoz.v1.json", "altavoz.v1.bin"]);
            upgrade.write_response(&mut out, chosen, None);
            assert!(out.starts_with(b"HTTP/1.1 101 ") && out.ends_with(b"\r\n\r\n"));
            demand_one_head(&out);
        }
        Err(refusal) => refuse(&refusal),
    }
}

fn refuse(refusal: &Refusal) {
    let mut out = Vec::new();
    refusal.write_response(&mut out);
    assert!((400..600).contains(&refusal.status()));
    let end = out.windows(4).position(|four| four == b"\r\n\r\n").expect("its head ends");
    demand_one_head(&out[..end + 4]);
}

/// Nothing of a request may add lines to an answer.
fn demand_one_head(head: &[u8]) {
    let scanned = HeadScanner::for_response().scan(head, &HeadLimits::default());
    assert_eq!(scanned, Ok(Some(head.len())));
}

/// A stream of frames. The first byte says to which end it goes and whether messages may be
/// compressed, the second in which pieces it comes.
pub fn frames(data: &[u8]) {
    let [mode, pieces, stream @ ..] = data else { return };
    let role = if mode & 1 == 0 { Role::Server } else { Role::Client };
    let deflated = mode & 2 != 0;
    let whole = decode(role, deflated, stream, stream.len().max(1));
    assert_eq!(decode(role, deflated, stream, 1 + usize::from(*pieces)), whole);
    assert_eq!(decode(role, deflated, stream, 1), whole);
}

fn decode(
    role: Role,
    deflated: bool,
    stream: &[u8],
    step: usize,
) -> (Vec<String>, Option<ProtocolError>) {
    let terms = Terms { no_context_takeover: true, window_bits_max: None };
    let (mut inflater, mut scratch) = (Inflater::new(terms), Vec::new());
    let mut decoder = Decoder::new(role, MESSAGE_BYTES_MAX);
    let mut seen = Vec::new();
    for piece in stream.chunks(step) {
        let mut piece = piece.to_vec();
        let mut at = 0;
        loop {
            let decoded = match deflated {
                true => decoder.decode_deflated(&mut piece[at..], &mut inflater, &mut scratch),
                false => decoder.decode(&mut piece[at..]),
            };
            match decoded {
                Ok((used, Some(event))) => {
                    seen.push(format!("{event:?}"));
                    at += used;
                }
                Ok((used, None)) => {
                    assert_eq!(at + used, piece.len(), "all is consumed");
                    break;
                }
                Err(error) => return (seen, Some(error)),
            }
        }
        assert!(decoder.held_bytes() <= 2 * stream.len() + 512, "it holds what it never got");
    }
    (seen, None)
}

/// Compressed bytes of a stranger, and the way there and back of the same bytes as a message.
pub fn deflate(data: &[u8]) {
    for no_context_takeover in [true, false] {
        let terms = Terms { no_context_takeover, window_bits_max: None };
        let mut scratch = Vec::new();
        let mut inflater = Inflater::new(terms);
        if let Ok(message) = inflater.inflate(data, MESSAGE_BYTES_MAX, &mut scratch) {
            assert!(message.len() <= MESSAGE_BYTES_MAX as usize);
        }
        assert!(scratch.len() <= MESSAGE_BYTES_MAX as usize + 1);
        let (mut deflater, mut inflater) =
            (Deflater::new(terms, LEVEL_DEFAULT), Inflater::new(terms));
        for _ in 0..2 {
            let mut wire = Vec::new();
            deflater.deflate(data, &mut wire);
            let back = inflater.inflate(&wire, data.len() as u32, &mut scratch);
            assert_eq!(back, Ok(data));
        }
    }
}

/// A header of the PROXY protocol, and the same bytes as lists of forwarders.
pub fn proxies(data: &[u8]) {
    let whole = read_proxy_header(data);
    for len in 0..data.len().min(300) {
        match (read_proxy_header(&data[..len]), whole) {
            // What is known of a part holds for the whole.
            (Ok(Some(part)), whole) => assert_eq!(whole, Ok(Some(part))),
            (Err(part), whole) => assert_eq!(whole, Err(part), "at {len}"),
            (Ok(None), Ok(Some(header))) => assert!(len < header.len),
            (Ok(None), _) => {}
        }
    }
    let is_ours = |ip: IpAddr| ip.is_loopback();
    let lists = || data.split(|&byte| byte == b'\n');
    let named =
        [forwarded::x_forwarded_for(lists(), is_ours), forwarded::forwarded(lists(), is_ours)];
    for client in named.into_iter().flatten().flatten() {
        let again = client.to_string().parse();
        assert_eq!(again, Ok(client));
    }
}
