//! Publishes that come again with the same `Idempotency-Key` are answered as the first was, and
//! published once: what an application does that got no answer and doesn't know whether it arrived.
//!
//! Here are the answers of this node. On topics whose order a cluster makes, the messages themselves
//! are known by the key on all nodes. Remembers for five minutes, bounded in number and bytes; the
//! oldest are forgotten first. No clock: the time is passed in.

use std::collections::{HashMap, VecDeque};

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::problem::Problem;

/// The header that names a publish.
pub(super) const HEADER: &str = "idempotency-key";
/// Answers that are remembered.
const ENTRIES_MAX: usize = 10_000;
/// Bytes of answers that are remembered.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long they are, and how long the nodes of a cluster know a message by its request's key.
pub(super) const KEPT_MS: u64 = 5 * 60 * 1_000;
/// The longest key.
const KEY_BYTES_MAX: usize = 255;

/// A visitor's name for a publish.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    visitor: Box<str>,
    text: Box<str>,
}

/// The answers of the last minutes.
#[derive(Default)]
pub(super) struct Window {
    answers: HashMap<Key, Answered>,
    /// The same, oldest first, with the time of each.
    order: VecDeque<(Key, u64)>,
    bytes: usize,
}

struct Answered {
    body: [u8; 32],
    answer: Bytes,
}

impl Key {
    /// What the visitor calls it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The key that a request brings, if it brings one.
    ///
    /// # Errors
    /// 400: there are two, or it is no text of 1 to 255 visible ASCII characters.
    pub(super) fn of(visitor: &str, headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let text = value.as_bytes();
        let is_key = (1..=KEY_BYTES_MAX).contains(&text.len())
            && text.iter().all(u8::is_ascii_graphic)
            && values.next().is_none();
        let text = std::str::from_utf8(text).ok().filter(|_| is_key).ok_or_else(|| {
            let message = "Idempotency-Key must be there once, 1 to 255 visible ASCII characters";
            Problem::bad_request(message).last()
        })?;
        Ok(Some(Self { visitor: visitor.into(), text: text.into() }))
    }
}

impl Window {
    /// What this publish was answered before, if it was.
    ///
    /// # Errors
    /// 422: the key was used for another body.
    pub(super) fn find(
        &mut self,
        key: &Key,
        body: &[u8],
        now_ms: u64,
    ) -> Result<Option<Bytes>, Problem> {
        self.forget(now_ms, 0);
        let Some(answered) = self.answers.get(key) else { return Ok(None) };
        if answered.body == digest(body) {
            return Ok(Some(answered.answer.clone()));
        }
        Err(reused())
    }

    /// Remembers an answer under a key that is not known yet.
    pub(super) fn remember(&mut self, key: Key, body: &[u8], answer: Bytes, now_ms: u64) {
        self.forget(now_ms, answer.len());
        self.bytes += answer.len();
        self.order.push_back((key.clone(), now_ms));
        self.answers.insert(key, Answered { body: digest(body), answer });
    }

    /// Forgets what is too old, and what is too much with so many bytes more.
    fn forget(&mut self, now_ms: u64, more: usize) {
        while let Some((key, at_ms)) = self.order.front() {
            let is_much =
                more > 0 && (self.order.len() >= ENTRIES_MAX || self.bytes + more > BYTES_MAX);
            if now_ms.saturating_sub(*at_ms) < KEPT_MS && !is_much {
                break;
            }
            if let Some(answered) = self.answers.remove(key) {
                self.bytes -= answered.answer.len();
            }
            self.order.pop_front();
        }
    }
}

/// 422: the key was used for another body.
pub(super) fn reused() -> Problem {
    let message = "this Idempotency-Key was used for another body";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", message)
}

/// A digest of a body that is short enough to stand beside each message of it; never 0.
pub(super) fn short_digest(body: &[u8]) -> u64 {
    digest(body)[..8].iter().fold(0, |number, &byte| number << 8 | u64::from(byte)).max(1)
}

fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key { visitor: "a".into(), text: text.into() }
    }

    #[test]
    fn an_answer_is_given_again_for_five_minutes_and_never_to_another_visitor_or_body() {
        let mut window = Window::default();
        window.remember(key("a"), b"body", Bytes::from_static(b"answer"), 0);
        assert_eq!(window.find(&key("a"), b"body", KEPT_MS - 1).unwrap().unwrap(), "answer");
        assert!(window.find(&key("a"), b"other", 1).is_err());
        let stranger = Key { visitor: "b".into(), ..key("a") };
        assert!(window.find(&stranger, b"body", 1).unwrap().is_none());
        assert!(window.find(&key("a"), b"body", KEPT_MS).unwrap().is_none());
        assert_eq!((window.bytes, window.answers.len()), (0, 0));
    }

    #[test]
    fn the_oldest_make_room_in_number_and_in_bytes() {
        let mut window = Window::default();
        for number in 0..=ENTRIES_MAX {
            window.remember(key(&number.to_string()), b"", Bytes::from_static(b"x"), 0);
        }
        assert_eq!((window.answers.len(), window.bytes), (ENTRIES_MAX, ENTRIES_MAX));
        assert!(window.find(&key("0"), b"", 0).unwrap().is_none());
        window.remember(key("large"), b"", Bytes::from(vec![0; BYTES_MAX]), 0);
        assert_eq!((window.answers.len(), window.bytes), (1, BYTES_MAX));
    }

    #[test]
    fn a_key_is_there_once_and_can_be_read() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, value.parse().unwrap());
            }
            Key::of("", &headers).map(|key| key.map(|key| key.text.into_string())).ok()
        };
        assert_eq!(of(&[]), Some(None));
        assert_eq!(of(&["a-1"]), Some(Some("a-1".to_owned())));
        assert_eq!(of(&["a", "a"]), None);
        assert_eq!(of(&["a b"]), None);
        assert_eq!(of(&[""]), None);
        assert_eq!(of(&[&"x".repeat(256)]), None);
    }
}
