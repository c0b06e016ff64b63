//! Two hubs over one shared state, in virtual time: what clients say to them, and what each is sent.

use std::sync::Arc;

use broker::config::Config;
use broker::hub::protocol::Protocol;
use broker::hub::{Hub, MailStep, Shared};
use broker::metrics::Metrics;
use broker_proto::json::Parser;

/// Two workers with four clients each.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    pub(crate) hubs: Vec<Hub>,
    parser: Parser,
    pub(crate) now_ms: u64,
}

impl World {
    pub(crate) fn new(config: Config, shared: Shared) -> Self {
        let (config, shared) = (Arc::new(config), Arc::new(shared));
        let metrics = Arc::new(Metrics::new(2));
        let hub = |at| Hub::new(at, shared.clone(), config.clone(), metrics.clone());
        let mut hubs: Vec<Hub> = (0..2).map(hub).collect();
        for hub in &mut hubs {
            (0..4).for_each(|slot| hub.open(slot, slot.into(), Protocol::Json));
        }
        Self { shared, hubs, parser: Parser::new(), now_ms: 1 }
    }

    /// A client says something; what it gets at once.
    pub(crate) fn say(&mut self, worker: usize, slot: u32, text: &str) -> Vec<String> {
        let (hub, now_ms) = (&mut self.hubs[worker], self.now_ms);
        self.parser.parse(text, |request| {
            hub.handle_request(slot, &request, now_ms).expect("no limit is passed");
        });
        let sent = self.flush(worker);
        assert!(sent.iter().all(|(to, _)| *to == slot), "{sent:?}");
        sent.into_iter().map(|(_, text)| text).collect()
    }

    pub(crate) fn publish(&mut self, worker: usize, topic: &str) {
        let text = format!(r#"{{"op":"publish","topic":"{topic}","data":0}}"#);
        assert_eq!(self.say(worker, 3, &text), [""; 0]);
    }

    pub(crate) fn subscribe(&mut self, worker: usize, slot: u32, filter: &str) -> Vec<String> {
        let text = format!(r#"{{"id":1,"op":"subscribe","topic":"{filter}"}}"#);
        let mut sent = self.say(worker, slot, &text);
        assert!(sent.remove(0).starts_with(r#"{"id":1,"ok""#));
        sent
    }

    /// Time goes on; then each worker has its turn, the first of them first. What was sent: worker,
    /// slot and text.
    pub(crate) fn pass(&mut self, ms: u64) -> Vec<(usize, u32, String)> {
        self.now_ms += ms;
        let mut sent = Vec::new();
        for worker in 0..2 {
            let now_ms = self.now_ms;
            self.hubs[worker].handle_time(now_ms);
            while self.hubs[worker].handle_mail() != MailStep::Done {}
            let texts = self.flush(worker);
            sent.extend(texts.into_iter().map(|(slot, text)| (worker, slot, text)));
        }
        sent
    }

    fn flush(&mut self, worker: usize) -> Vec<(u32, String)> {
        let (mut touched, mut list, mut sent) = (Vec::new(), Vec::new(), Vec::new());
        let hub = &mut self.hubs[worker];
        hub.outbox.take_touched(&mut touched);
        touched.sort_unstable();
        for slot in touched {
            let Some((pending, protocol)) = hub.take_pending(slot) else { continue };
            hub.outbox.list(pending, &mut list);
            for frame in &list {
                let text = &hub.outbox.bytes_of(*frame, protocol)[2..];
                sent.push((slot, String::from_utf8(text.to_vec()).expect("UTF-8")));
            }
        }
        hub.outbox.clear();
        sent
    }
}
