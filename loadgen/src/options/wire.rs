//! The flags for what lies between a protocol and its socket: TLS and compression. Reads the file
//! of certificates; opens no connection.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::engine::Plan;
use crate::target::http::STREAM_TOPICS_MAX;
use crate::target::{POLL_LIMIT_MAX, Polling, Protocol, Target, Transport};

/// How often a subscriber polls, in milliseconds.
const POLL_MS: u32 = 1000;

/// How subscribers get their messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TransportName {
    /// A WebSocket.
    Ws,
    /// Server-sent events: GET /sse.
    Sse,
    /// Requests for a topic's newest messages at an interval: GET /api/v1/topics/…/history.
    Poll,
}

/// What every scenario has for the way to its target.
#[derive(Clone, Debug, Default, Args)]
pub struct WireFlags {
    /// Offer permessage-deflate, as browsers do; the report says what the server made of it.
    ///
    /// What is sent is then compressed too, each message on its own. A server that refers back to
    /// earlier messages costs the load generator 49 KB per connection.
    #[arg(long)]
    pub deflate: bool,
    /// wss: trust the certificates in this PEM file instead of the system's.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// wss: accept any certificate.
    #[arg(long)]
    pub insecure: bool,
    /// wss: a full handshake for every connection, as from clients that were never there before.
    ///
    /// Otherwise connections go on from earlier ones' sessions where the server lets them, which
    /// spares it the signature.
    #[arg(long)]
    pub no_resumption: bool,
    /// How subscribers get their messages, in fanout, notify and ticker; publishers have a WebSocket
    /// in any case. sse and poll are Altavoz's, with --protocol json [default: ws]
    #[arg(long, value_enum)]
    pub transport: Option<TransportName>,
    /// poll: each subscriber asks once in so many milliseconds for each of its topics, up to 10000
    /// [default: 1000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub poll_ms: Option<u32>,
    /// poll: for so many of the newest messages, up to 1000; if that does not reach back to the last
    /// one known, it asks again for as many as there are [default: twice what an interval brings]
    ///
    /// The server must keep what an interval brings: see its setting history_messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(POLL_LIMIT_MAX)))]
    pub poll_limit: Option<u32>,
}

impl WireFlags {
    /// Makes the target one that is reached as asked.
    ///
    /// # Errors
    ///
    /// A sentence for the user: a flag that makes no sense for this target, or certificates that
    /// are of no use.
    pub fn apply(&self, target: &mut Target) -> Result<(), String> {
        target.wire.deflates = self.deflate;
        target.wire.transport = match self.transport {
            None | Some(TransportName::Ws) => Transport::Ws,
            Some(TransportName::Sse) => Transport::Sse,
            Some(TransportName::Poll) => Transport::Poll(Polling {
                every_ns: u64::from(self.poll_ms.unwrap_or(POLL_MS)) * 1_000_000,
                limit: self.poll_limit.unwrap_or(POLL_LIMIT_MAX),
            }),
        };
        let Some(trust) = &mut target.wire.trust else {
            return match self.tls_flag() {
                Some(flag) => Err(format!("{flag} is for wss:// only")),
                None => Ok(()),
            };
        };
        trust.is_insecure = self.insecure;
        trust.resumes = !self.no_resumption;
        if let Some(path) = &self.ca {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| format!("--ca {}: {error}", path.display()))?;
            trust.roots = Some(text);
        }
        target.trusts().try_for_each(|trust| trust.check()).map_err(|error| error.to_string())
    }

    /// Where nothing else is asked for, a poll is for twice what a plan publishes in an interval on
    /// a topic: the others come in by a second look.
    pub fn settle(&self, plan: &mut Plan) {
        let topics = plan.topics.len().max(1) as f64;
        if let Transport::Poll(polling) = &mut plan.target.wire.transport
            && self.poll_limit.is_none()
        {
            let messages = plan.schedule.rate() * polling.every_ns as f64 / 1e9 / topics;
            let limit = (2.0 * messages).ceil().min(f64::from(POLL_LIMIT_MAX));
            polling.limit = (limit as u32).max(2);
        }
    }

    /// Why a plan's subscribers can't do without a WebSocket, if they can't.
    #[must_use]
    pub fn unfit(plan: &Plan) -> Option<String> {
        let transport = plan.target.wire.transport;
        let name = transport.name();
        if transport == Transport::Ws {
            return None;
        }
        if plan.target.protocol != Protocol::Json {
            return Some(format!("--transport {name} is for --protocol json"));
        }
        let has_absent = plan.churn.is_some() || plan.storm.is_some() || plan.slow.is_some();
        if has_absent || plan.layout.is_some() || plan.is_round_trip || plan.is_holding() {
            return Some(format!("--transport {name} is for fanout, notify and ticker"));
        }
        if transport == Transport::Sse && plan.topics_each > STREAM_TOPICS_MAX {
            return Some(format!("a stream of events has at most {STREAM_TOPICS_MAX} topics"));
        }
        let is_polling = matches!(transport, Transport::Poll(_));
        (is_polling && plan.latest.is_some())
            .then(|| "who polls gets what there is: --latest is for ws and sse".to_owned())
    }

    fn tls_flag(&self) -> Option<&'static str> {
        match self {
            Self { ca: Some(_), .. } => Some("--ca"),
            Self { insecure: true, .. } => Some("--insecure"),
            Self { no_resumption: true, .. } => Some("--no-resumption"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Protocol;

    fn apply(flags: &WireFlags, url: &str) -> Result<Target, String> {
        let mut target = Target::resolve(url, Protocol::Json).unwrap();
        flags.apply(&mut target).map(|()| target)
    }

    #[test]
    fn flags_of_tls_are_refused_where_there_is_none() {
        let plain = WireFlags::default();
        for (flags, name) in [
            (WireFlags { ca: Some("x".into()), ..plain.clone() }, "--ca"),
            (WireFlags { insecure: true, ..plain.clone() }, "--insecure"),
            (WireFlags { no_resumption: true, ..plain.clone() }, "--no-resumption"),
        ] {
            let error = apply(&flags, "ws://127.0.0.1:1/").unwrap_err();
            assert_eq!(error, format!("{name} is for wss:// only"));
        }
        let flags = WireFlags { deflate: true, ..plain };
        assert!(apply(&flags, "ws://127.0.0.1:1/").unwrap().wire.deflates);
    }

    #[test]
    fn what_is_to_be_trusted_is_read_before_the_run() {
        let flags = WireFlags { insecure: true, no_resumption: true, ..WireFlags::default() };
        let trust = apply(&flags, "wss://127.0.0.1:1/").unwrap().wire.trust.unwrap();
        assert!(trust.is_insecure && !trust.resumes);
        let flags = WireFlags { ca: Some("/no/such/file".into()), ..WireFlags::default() };
        let error = apply(&flags, "wss://127.0.0.1:1/").unwrap_err();
        assert!(error.starts_with("--ca /no/such/file: "), "{error}");
    }
}
