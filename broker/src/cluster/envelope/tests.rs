//! Envelopes as literals, round trips, and what strangers send.

use proptest::prelude::*;

use super::*;

const PLACE: Place = Place { stretch: 7, number: 9 };

#[test]
fn a_message_is_laid_out_as_described() {
    let bytes = message(0x0102_0304_0506_0708, PLACE, Payload::Json(b"{}"));
    let literal = b"\x01\x01\x01\x02\x03\x04\x05\x06\x07\x08\
        \0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09{}";
    assert_eq!(bytes, literal);
    let body = Body::Message { place: PLACE, payload: Payload::Json(b"{}") };
    assert_eq!(Envelope::decode(&bytes), Some(Envelope { run: 0x0102_0304_0506_0708, body }));
}

#[test]
fn a_heartbeat_tells_topics_and_what_is_reached() {
    let mut bytes = beat(1, (5, false), 3, "a");
    push_reached(&mut bytes, "ticker/é", PLACE);
    push_reached(&mut bytes, "b", Place { stretch: 0, number: 1 });
    let Some(Envelope { run: 1, body: Body::Beat(beat) }) = Envelope::decode(&bytes) else {
        panic!("{bytes:?}");
    };
    assert_eq!((beat.beat, beat.is_leaving, beat.connections, beat.node), (5, false, 3, "a"));
    let told: Vec<_> = beat.reached.map(|(topic, place)| (topic.as_str(), place.number)).collect();
    assert_eq!(told, [("ticker/é", 9), ("b", 1)]);
    // One byte less, and the last entry is not whole.
    assert_eq!(Envelope::decode(&bytes[..bytes.len() - 1]), None);
}

#[test]
fn what_is_not_ours_is_not_taken() {
    let good = message(1, PLACE, Payload::Opaque(b"x"));
    assert!(Envelope::decode(&good).is_some());
    for (place, byte) in [(0, 2), (1, 0), (1, 9), (9, 0)] {
        let mut other = good.clone();
        other[place] = byte;
        assert_eq!(Envelope::decode(&other), None, "{place} {byte}");
    }
    assert_eq!(Envelope::decode(&[]), None);
    assert_eq!(
        Envelope::decode(&message(1, Place { number: 0, ..PLACE }, Payload::Json(b"1"))),
        None
    );
    let mut wildcard = beat(1, (1, false), 0, "a");
    push_reached(&mut wildcard, "a/#", PLACE);
    assert_eq!(Envelope::decode(&wildcard), None, "a filter is no topic");
}

#[test]
fn a_signature_holds_for_its_secret_its_subject_and_its_bytes() {
    let (ours, others) = (Seal::new(b"our secret"), Seal::new(b"another"));
    let plain = message(1, PLACE, Payload::Json(b"1"));
    let signed = ours.close("c.m.a", plain.clone());
    assert_eq!(signed.len(), plain.len() + MAC_BYTES);
    assert_eq!(ours.open("c.m.a", &signed), Some(&*plain));
    assert_eq!(ours.open("c.m.b", &signed), None);
    assert_eq!(others.open("c.m.a", &signed), None);
    assert_eq!(ours.open("c.m.a", &plain), None);
    assert_eq!(ours.open("c.m.a", b"short"), None);
    let mut changed = signed.clone();
    changed[20] ^= 1;
    assert_eq!(ours.open("c.m.a", &changed), None);
    let none = Seal::new(b"");
    assert_eq!(none.open("c.m.a", &none.close("c.m.a", plain.clone())), Some(&*plain));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        kind in 0_u8..8,
        rest in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = [&[VERSION, kind][..], &rest].concat();
        if let Some(Envelope { body: Body::Beat(beat), .. }) = Envelope::decode(&bytes) {
            prop_assert_eq!(beat.reached.count(), beat.reached.measure().unwrap());
        }
    }

    #[test]
    fn what_was_asked_comes_back(
        run in 1_u64..,
        number: u64,
        json: Vec<u8>,
        is_answer: bool,
    ) {
        let bytes = question(run, number, &json, is_answer);
        let json = &*json;
        let body = match is_answer {
            true => Body::Answer { number, json },
            false => Body::Question { number, json },
        };
        prop_assert_eq!(Envelope::decode(&bytes), Some(Envelope { run, body }));
    }
}

#[test]
fn a_roster_tells_who_is_there_and_ends_at_its_end() {
    let people = [(1, Some("ana")), (u64::MAX, None)];
    let bytes = roster(1, 7, people.into_iter());
    let Some(Envelope { run: 1, body: Body::Roster { count: 7, people: told } }) =
        Envelope::decode(&bytes)
    else {
        panic!("{bytes:?}");
    };
    assert!(told.eq(people));
    assert_eq!(Envelope::decode(&bytes[..bytes.len() - 1]), None);
    let many = roster(1, 2_000, (0..=MEMBERS_MAX as u64).map(|session| (session, None)));
    assert_eq!(Envelope::decode(&many), None, "more than a node tells of");
    let topic = Topic::new("room/5").unwrap();
    let body = Body::Who(topic);
    assert_eq!(Envelope::decode(&who(2, "room/5")), Some(Envelope { run: 2, body }));
    assert_eq!(Envelope::decode(&who(2, "room/+")), None, "a filter is no topic");
}
