//! A client that believes nothing: it knows what was published, what it asked for and what it was
//! told, and holds every message against that.

use std::collections::HashMap;

use serde_json::Value;

/// What was published, and what happened.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// By topic: when each message was published, with its number.
    published: HashMap<String, Vec<(u64, u64)>>,
    /// By topic, epoch and seq: the number of the message.
    numbers: HashMap<(String, u64), u64>,
    count: u64,
    pub(crate) received: u64,
    pub(crate) recovered: u64,
    pub(crate) gaps: u64,
    pub(crate) modes: u64,
    pub(crate) latest: u64,
    pub(crate) skipped: u64,
    pub(crate) hopeless: u64,
    pub(crate) epochs: u64,
    pub(crate) recovered_filters: u64,
}

impl Log {
    /// One more message; returns its number.
    pub(crate) fn publish(&mut self, topic: &str, now_ms: u64) -> u64 {
        self.count += 1;
        self.published.entry(topic.to_owned()).or_default().push((now_ms, self.count));
        self.count
    }
}

/// What a client expects of one topic.
#[derive(Clone, Debug, Default)]
struct View {
    /// The next seq, if it is known.
    next: Option<u64>,
    /// A message before the next that may come once: the last value.
    last: Option<u64>,
    /// Seqs may jump: by request.
    is_latest: bool,
    /// The highest seq and number that came.
    seen: Option<(u64, u64)>,
    /// Under a filter: nothing published after this time may be missing.
    since_ms: Option<u64>,
}

#[derive(Default)]
pub(crate) struct Client {
    pub(crate) is_open: bool,
    /// The topic or filter of its one subscription.
    pub(crate) topic: Option<String>,
    subscribed: bool,
    paused: bool,
    is_latest: bool,
    views: HashMap<String, View>,
    /// Positions known when it was last disconnected: epoch and seq.
    positions: HashMap<String, (String, u64)>,
    epochs: HashMap<String, String>,
    /// Under a filter: the epoch of the positions of topics of which no notice told another.
    filter_epoch: Option<String>,
    /// The seqs of the positions that it asked to go on from under a filter.
    asked_since: Vec<(String, u64)>,
    /// Messages that came since the subscription was made.
    came: u64,
    asked: HashMap<u64, (&'static str, String)>,
    /// What was said last, in both directions, for the message of a failure.
    said: std::collections::VecDeque<String>,
}

impl Client {
    pub(crate) fn is_subscribed(&self) -> bool {
        self.is_open && self.subscribed
    }

    /// The option `since` with all positions that it knows, if there are any.
    pub(crate) fn since(&mut self, topic: &str) -> Option<String> {
        let one = |(epoch, seq): &(String, u64)| format!(r#"{{"epoch":"{epoch}","seq":{seq}}}"#);
        if !topic.contains('+') {
            return Some(format!(r#","since":{}"#, one(self.positions.get(topic)?)));
        }
        // Of the topics that came and went only the newest: older ones may be forgotten.
        let new = |name: &str| name.strip_prefix("a/n").and_then(|at| at.parse::<u64>().ok());
        let newest = self.positions.keys().filter_map(|topic| new(topic)).max();
        let is_asked =
            |topic: &str| topic.starts_with("a/") && new(topic).is_none_or(|at| Some(at) == newest);
        let mut asked: Vec<_> =
            self.positions.iter().filter(|(topic, _)| is_asked(topic)).collect();
        asked.sort_unstable();
        self.asked_since = asked.iter().map(|(topic, at)| ((*topic).clone(), at.1)).collect();
        let topics: Vec<_> =
            asked.iter().map(|(topic, at)| format!(r#""{topic}":{}"#, one(at))).collect();
        Some(format!(r#","since":{{{}}}"#, topics.join(",")))
    }

    pub(crate) fn request(&mut self, id: u64, op: &'static str, options: String) -> String {
        let topic = self.topic.clone().unwrap_or_default();
        let member = if op == "stats" && !self.subscribed {
            String::new()
        } else {
            format!(r#","topic":"{topic}""#)
        };
        let text = format!(r#"{{"id":{id},"op":"{op}"{member}{options}}}"#);
        self.asked.insert(id, (op, options));
        self.note(&format!("> {text}"));
        text
    }

    pub(crate) fn disconnect(&mut self, _now_ms: u64) {
        self.note_positions();
        let positions = std::mem::take(&mut self.positions);
        // Who was subscribed comes back to the same, the others choose anew.
        let topic = self.topic.take().filter(|_| self.subscribed);
        *self = Self { positions, topic, ..Self::default() };
    }

    /// What it has of each topic, as of now.
    fn note_positions(&mut self) {
        for (topic, view) in &self.views {
            let epoch = self.epochs.get(topic).or(self.filter_epoch.as_ref());
            if let (Some((seq, _)), Some(epoch)) = (view.seen, epoch) {
                self.positions.insert(topic.clone(), (epoch.clone(), seq));
            }
        }
    }

    fn note(&mut self, line: &str) {
        self.said.push_back(line.chars().filter(|c| *c != 'x').collect());
        if self.said.len() > 40 {
            self.said.pop_front();
        }
    }

    /// What was said last.
    pub(crate) fn said(&self) -> String {
        self.said.iter().fold(String::new(), |all, line| all + line + "\n")
    }

    pub(crate) fn receive(&mut self, text: &str, log: &mut Log) {
        self.note(text);
        let value: Value = serde_json::from_str(text).expect("JSON");
        if value["id"].is_u64() {
            self.receive_answer(&value, log);
        } else if let Some(gap) = value.get("gap") {
            self.receive_gap(gap, log);
        } else if let Some(notice) = value.get("epoch") {
            let member = |name: &str| notice[name].as_str().expect("a text").to_owned();
            assert!(self.filter_epoch.is_some(), "{text} came without a filter");
            self.epochs.insert(member("topic"), member("epoch"));
            log.epochs += 1;
        } else if value.get("mode").is_some() {
            log.modes += 1;
        } else {
            self.receive_message(&value, log);
        }
    }

    fn receive_answer(&mut self, value: &Value, log: &mut Log) {
        let (op, options) =
            self.asked.remove(&value["id"].as_u64().expect("an id")).expect("asked");
        let ok = &value["ok"];
        if value["error"]["code"] == "bad_request" && matches!(op, "pause" | "resume") {
            assert!(!self.subscribed, "{value}"); // the unsubscribe before it was not answered yet
            return;
        }
        assert!(ok.is_object(), "{op} {options}: {value}");
        match op {
            "subscribe" => self.handle_subscribed(ok, &options, log),
            "unsubscribe" => {
                (self.subscribed, self.paused) = (false, false);
                (self.came, self.filter_epoch) = (0, None);
                self.views.clear();
            }
            "pause" => self.paused = true,
            "resume" => {
                log.skipped += ok["skipped"].as_u64().expect("a number");
                if std::mem::take(&mut self.paused) {
                    self.views.values_mut().for_each(|view| view.next = None);
                }
            }
            _ => {
                let number = |name: &str| ok[name].as_u64().expect("a number");
                let parts = ["sent", "conflated", "filtered", "dropped", "skipped", "pending"];
                assert_eq!(number("matched"), parts.map(number).iter().sum::<u64>());
                if self.subscribed {
                    assert_eq!((number("sent"), number("pending")), (self.came, 0), "{ok}");
                }
            }
        }
    }

    fn handle_subscribed(&mut self, ok: &Value, options: &str, log: &mut Log) {
        (self.subscribed, self.paused) = (true, false);
        self.is_latest = options.contains("latest");
        let topic = ok["topic"].as_str().expect("a topic").to_owned();
        let Some(seq) = ok["seq"].as_u64() else {
            self.note_positions();
            self.epochs.clear();
            self.filter_epoch = ok["epoch"].as_str().map(str::to_owned);
            assert!(self.filter_epoch.is_some(), "{ok}");
            if let Some(is_whole) = ok["recovered"].as_bool() {
                self.views.clear();
                log.recovered_filters += u64::from(is_whole && !self.asked_since.is_empty());
                for (topic, seq) in self.asked_since.iter().filter(|_| is_whole) {
                    let view = View { next: Some(seq + 1), ..View::default() };
                    self.views.insert(topic.clone(), view);
                }
                return;
            }
            for view in self.views.values_mut() {
                // A last value may be one that came before.
                let last = view.seen.filter(|_| options.contains("last")).map(|seen| seen.0);
                *view =
                    View { is_latest: self.is_latest, last, seen: view.seen, ..View::default() };
            }
            return;
        };
        let epoch = ok["epoch"].as_str().expect("an epoch").to_owned();
        let mut view = View { next: Some(seq + 1), is_latest: self.is_latest, ..View::default() };
        if options.contains("last") {
            view.last = Some(seq);
        }
        if let Some(recovered) = ok["recovered"].as_bool() {
            let (known, position) = self.positions[&topic].clone();
            // A position learned under a filter has an epoch that may be later than the topic's own.
            let is_as_late = (known.len(), &known) >= (epoch.len(), &epoch);
            let is_comparable = is_as_late && position <= seq;
            assert!(is_comparable || !recovered, "recovered from {known} {position}: {ok}");
            view.next = is_comparable.then_some(position + 1);
            log.recovered += u64::from(recovered);
            if recovered && position == seq {
                view.next = Some(seq + 1);
            }
        }
        self.epochs.insert(topic.clone(), epoch);
        self.views.insert(topic, view);
    }

    fn receive_gap(&mut self, gap: &Value, log: &mut Log) {
        log.gaps += 1;
        let topic = gap["topic"].as_str().expect("a topic");
        let (from, to) = (gap["from"].as_u64().expect("from"), gap["to"].as_u64().expect("to"));
        assert!(from <= to, "{gap}");
        let view = self.views.entry(topic.to_owned()).or_default();
        // The last value may be too old by the time at which a slow client could have it.
        let is_next = view.next.is_none_or(|next| next == from) || view.last == Some(from);
        assert!(is_next, "{view:?}: {gap}");
        let is_new = view.seen.is_none_or(|(seq, _)| from > seq || from == 1);
        assert!(is_new || view.last == Some(from), "{view:?}: {gap}");
        view.next = Some(to + 1);
        view.last = None;
    }

    fn receive_message(&mut self, value: &Value, log: &mut Log) {
        log.received += 1;
        self.came += 1;
        assert!(self.subscribed && !self.paused, "{value} came without a subscription");
        let topic = value["topic"].as_str().expect("a topic").to_owned();
        let seq = value["seq"].as_u64().expect("a seq");
        let number = value["data"][0].as_u64().expect("a number");
        let view = self.views.entry(topic.clone()).or_default();
        view.is_latest |= self.is_latest;
        match view.next {
            _ if view.is_latest => log.latest += 1,
            Some(next) if view.last == Some(seq) && seq < next => {}
            Some(next) => {
                // A new epoch begins at 1 while a filter stays.
                let is_new_epoch = seq == 1 && number > view.seen.map_or(0, |seen| seen.1);
                assert!(seq == next || is_new_epoch, "{topic}: {seq} came, not {next}: {view:?}");
            }
            None => {}
        }
        if let Some((last_seq, last_number)) = view.seen
            && view.last != Some(seq)
        {
            // Numbers go up in a topic; seqs do too, but for a new epoch.
            assert!(number > last_number, "{topic}: {seq} again: {view:?}");
            assert!(seq > last_seq || view.is_latest || seq == 1, "{topic}: {seq}: {view:?}");
        }
        view.last = None;
        view.next = Some(seq + 1);
        view.seen = Some((seq, number));
        // Payloads are numbered in the order of publishing, so they tell the epochs apart.
        let known = log.numbers.entry((topic, seq)).or_insert(number);
        assert!(*known <= number || view.is_latest || view.since_ms.is_none(), "{value}");
        *known = (*known).max(number);
    }

    /// Once all is quiet, a subscription that got anything of a topic has its newest message.
    pub(crate) fn check_newest(&self, log: &Log) {
        if !self.is_subscribed() || self.paused {
            return;
        }
        for (topic, view) in self.views.iter().filter(|(_, view)| view.next.is_some()) {
            let newest = log.published.get(topic).and_then(|all| all.last()).map(|last| last.1);
            if let (Some((_, number)), Some(newest)) = (view.seen, newest) {
                assert_eq!(number, newest, "{topic}: {view:?}");
            }
        }
    }
}
