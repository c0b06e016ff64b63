//! `wss://` from outside: the built binary against a broker behind TLS. Everything must arrive, what
//! was agreed on must be told, and a server that can't prove who it is must be refused with advice.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the broker can do more wrong than is needed here")]

#[path = "support/broker.rs"]
mod broker;
#[path = "support/real.rs"]
mod real;
#[path = "support/run.rs"]
#[allow(dead_code, reason = "a part of it is needed here")]
mod run;
#[path = "support/tls.rs"]
mod tls;

use broker::{Fault, Faults, TestBroker};
use real::RealBroker;
use run::Run;
use rustls::ALL_VERSIONS;
use rustls::version::TLS12;
use tls::{Certificate, Session, TlsFront};

const SHORT: &str = "--subscribers 50 --rate 50 --seconds 0.4 --warmup 0 --threads 2 --drain 1";

fn go(scenario: &str, url: &str, flags: &str) -> Run {
    run::run(scenario, url, "", flags)
}

fn front(broker: &TestBroker, certificate: &Certificate) -> TlsFront {
    TlsFront::start(broker.address(), certificate, ALL_VERSIONS)
}

#[test]
fn everything_arrives_through_tls_and_the_result_says_what_was_agreed_on() {
    let (broker, certificate) =
        (TestBroker::start(Faults::default()), Certificate::new(&["localhost"]));
    let front = front(&broker, &certificate);
    let run = go("fanout", &front.url("localhost"), &format!("{SHORT} {}", certificate.flag()));
    assert_eq!(run.code, 0);
    assert_eq!(run.number("/deliveries/delivered"), 50 * 20);
    assert_eq!(run.number("/connections/closed_cleanly"), 51);
    let sessions = run.json.pointer("/wire/tls/sessions").unwrap().as_object().unwrap();
    let (what, count) = sessions.iter().next().unwrap();
    assert!(what.starts_with("TLS 1.3 X25519MLKEM768 TLS13_AES_"), "{what}");
    assert_eq!(count, 51);

    let seen = front.sessions();
    assert_eq!(seen.len(), 51);
    for Session { name, protocol, .. } in seen {
        assert_eq!((name.as_deref(), protocol.as_deref()), (Some("localhost"), Some("http/1.1")));
    }
    assert!(run.out.contains("         tls  51 × TLS 1.3 "), "{}", run.out);
}

#[test]
fn connections_go_on_from_earlier_sessions_unless_every_handshake_is_to_be_a_full_one() {
    let (broker, certificate) =
        (TestBroker::start(Faults::default()), Certificate::new(&["localhost"]));
    // More than are ever under way at one time: the first have nothing to go on from.
    let flags = format!("--connections 300 --seconds 0.2 {}", certificate.flag());
    for (more, is_resuming) in [("", true), (" --no-resumption", false)] {
        let front = front(&broker, &certificate);
        let run = go("connect", &front.url("localhost"), &format!("{flags}{more}"));
        let resumed = front.sessions().iter().filter(|session| session.is_resumed).count() as u64;
        assert_eq!((run.code, run.number("/wire/tls/resumed")), (0, resumed));
        assert_eq!(resumed > 0, is_resuming, "{resumed}");
    }
}

#[test]
fn an_older_version_and_an_address_for_a_name_will_do() {
    let (broker, certificate) =
        (TestBroker::start(Faults::default()), Certificate::new(&["127.0.0.1"]));
    let front = TlsFront::start(broker.address(), &certificate, &[&TLS12]);
    let run = go("fanout", &front.url("127.0.0.1"), &format!("{SHORT} {}", certificate.flag()));
    assert_eq!(run.code, 0);
    assert!(run.out.contains(" × TLS 1.2 "), "{}", run.out);
    assert!(front.sessions().iter().all(|session| session.name.is_none()));
}

#[test]
fn messages_longer_than_many_records_come_whole() {
    let (broker, certificate) =
        (TestBroker::start(Faults::default()), Certificate::new(&["localhost"]));
    let front = front(&broker, &certificate);
    let flags = "--subscribers 3 --rate 5 --seconds 1 --warmup 0 --size 700000 --drain 5";
    let run = go("fanout", &front.url("localhost"), &format!("{flags} {}", certificate.flag()));
    assert_eq!((run.code, run.number("/deliveries/delivered")), (0, 15));
}

#[test]
fn what_a_server_does_wrong_is_seen_through_tls_too() {
    let by_message = [((0, 3), Fault::Drop), ((1, 5), Fault::Close)].into_iter().collect();
    let broker = TestBroker::start(Faults { by_message, ..Faults::default() });
    let certificate = Certificate::new(&["localhost"]);
    let front = front(&broker, &certificate);
    let run = go("fanout", &front.url("localhost"), &format!("{SHORT} {}", certificate.flag()));
    assert_eq!((run.code, run.number("/deliveries/lost")), (5, 1 + 16));
    assert_eq!(run.number("/connections/closed_by_server/1011 boom"), 1);
}

#[test]
fn a_server_that_cannot_prove_who_it_is_is_refused_with_advice_unless_any_will_do() {
    let broker = TestBroker::start(Faults::default());
    let (certificate, other) = (Certificate::new(&["localhost"]), Certificate::new(&["localhost"]));
    let elsewhere = Certificate::new(&["elsewhere.example"]);
    for (shown, trusted, advice) in [
        (&certificate, String::new(), "name its CA with --ca FILE"),
        (&certificate, other.flag(), "name its CA with --ca FILE"),
        (&elsewhere, elsewhere.flag(), "use a name of the certificate in --url"),
    ] {
        let front = front(&broker, shown);
        let url = front.url("localhost");
        let flags = "--connections 4 --seconds 0.2";
        let run = go("connect", &url, &format!("{flags} {trusted}"));
        let last = run.out.lines().last().unwrap().to_owned();
        // A machine without any root certificates says so before the run.
        if trusted.is_empty() && run.err.contains("has no root certificates") {
            assert!(run.err.contains("--ca FILE"));
        } else {
            assert_eq!(run.code, 3);
            let start =
                "FAILED: 0 of 4 connections reached: the server's certificate is not trusted";
            assert!(last.starts_with(start) && last.contains(advice), "{last}");
        }
        assert_eq!(go("connect", &url, &format!("{flags} --insecure")).code, 0);
    }
}

#[test]
fn a_server_that_speaks_no_tls_or_nothing_else_says_so_in_its_way() {
    let broker = RealBroker::start(&[]);
    let flags = "--connections 2 --seconds 0.2";
    let run =
        go("connect", &broker.url().replace("ws://", "wss://"), &format!("{flags} --insecure"));
    assert_eq!(run.code, 3);
    assert!(run.out.contains("InvalidContentType; is TLS spoken there?"), "{}", run.out);

    let address = broker.url().trim_start_matches("ws://").trim_end_matches("/ws").parse().unwrap();
    let certificate = Certificate::new(&["localhost"]);
    let front = TlsFront::start(address, &certificate, ALL_VERSIONS);
    let run = go("connect", &front.url("localhost").replace("wss://", "ws://"), flags);
    assert_eq!(run.code, 3);
    assert!(run.out.contains("0 of 2 connections reached: "), "{}", run.out);
    // The same server, spoken to as it should be.
    let run = go("fanout", &front.url("localhost"), &format!("{SHORT} {}", certificate.flag()));
    assert_eq!((run.code, run.number("/deliveries/delivered")), (0, 50 * 20));
}

#[test]
fn what_makes_no_sense_is_a_wrong_command_line() {
    for (url, flags, why) in [
        ("ws://127.0.0.1:1/", "--insecure", "--insecure is for wss:// only"),
        ("wss://127.0.0.1:1/", "--ca /no/such/file", "--ca /no/such/file: "),
        ("wss://127.0.0.1:1/", "--ca x --insecure", "cannot be used with"),
    ] {
        let run = go("connect", url, flags);
        assert_eq!(run.code, 2, "{flags}");
        assert!(run.err.contains(why), "{flags}: {}", run.err);
    }
}
