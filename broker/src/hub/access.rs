//! Who a session is and what it may do: tokens come, are renewed and expire, and every command is
//! held against what they allow. The worker tells the time of day and ends the sessions named here.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_proto::command::{Answer, CommandError, ErrorCode, Id, Notice};
use broker_proto::topic::{Filter, Topic as TopicName};
use broker_proto::ws::CloseCode;

use super::{Disconnect, Hub};
use crate::auth::{Grants, TokenError};
use crate::metrics::CloseReason;

/// Commands that a token costs: its signature takes longer to check than most commands take.
const TOKEN_COMMANDS: u32 = 20;
/// A step of the wall clock beyond this moves the ends of all tokens.
const STEP_MS: u64 = 1_000;

/// The hub's part of it.
#[derive(Debug, Default)]
pub(super) struct Access {
    /// When whose token is to be looked at: a warning is due, or its end.
    due: BTreeSet<(u64, u32)>,
    /// Sessions that must end, by slot and number.
    ended: Vec<(u32, u64, Disconnect)>,
    /// The time of day, in ms since 1970, when the broker's clock began.
    began_unix_ms: u64,
}

impl Hub {
    /// Tells the time of day; once a second is enough. If it has jumped, tokens end by the new one.
    pub fn handle_clock(&mut self, now_ms: u64, unix_ms: u64) {
        let began_unix_ms = unix_ms.saturating_sub(now_ms);
        let step_ms = began_unix_ms.abs_diff(self.access.began_unix_ms);
        self.access.began_unix_ms = began_unix_ms;
        if step_ms > STEP_MS {
            let due = self.access.due.clone();
            due.into_iter().for_each(|(_, slot)| self.watch_token(slot));
        }
    }

    /// What the bearer of a token may do now.
    ///
    /// # Errors
    /// The token is not valid.
    pub fn verify(&self, token: &str) -> Result<Arc<Grants>, TokenError> {
        let now_unix_s = (self.access.began_unix_ms + self.now_ms) / 1_000;
        let verified = self.shared.verifier.verify(token, now_unix_s);
        match verified {
            Ok(_) => self.counters().tokens_accepted.add(1),
            Err(_) => self.counters().tokens_refused.add(1),
        }
        verified
    }

    /// Gives a session what its token allows. Subscriptions that are not among it end, and the
    /// client is told of each.
    pub fn admit(&mut self, slot: u32, grants: Arc<Grants>) {
        let Some(session) = self.session(slot) else { return };
        let is_named = session.grants.user() != grants.user();
        session.grants = grants;
        self.watch_token(slot);
        self.drop_forbidden(slot);
        if is_named {
            self.rename_member(slot);
        }
    }

    /// Whether a session can do nothing before a token comes.
    pub fn needs_token(&mut self, slot: u32) -> bool {
        let is_active = self.shared.verifier.is_active();
        let session = self.session(slot);
        is_active && session.is_some_and(|session| session.grants.is_nothing_without_user())
    }

    /// Sessions that must end, because a token has expired or was taken back.
    pub fn take_ended(&mut self) -> Vec<(u32, Disconnect)> {
        let ended = std::mem::take(&mut self.access.ended);
        let still = |(slot, id, why): (u32, u64, Disconnect)| {
            let session = self.session(slot)?;
            (session.id == id).then_some((slot, why))
        };
        ended.into_iter().filter_map(still).collect()
    }

    /// When a token is to be looked at, or a session to be ended.
    pub(super) fn access_due_ms(&self) -> Option<u64> {
        if !self.access.ended.is_empty() {
            return Some(0);
        }
        self.access.due.first().map(|&(at_ms, _)| at_ms)
    }

    /// Warns of tokens that expire soon, and ends the sessions of those that have.
    pub(super) fn look_at_tokens(&mut self) {
        while let Some(&(at_ms, slot)) = self.access.due.first()
            && at_ms <= self.now_ms
        {
            let Some(expires_ms) = self.token_ends_ms(slot) else {
                self.access.due.pop_first();
                continue;
            };
            if expires_ms <= self.now_ms {
                self.forget_token(slot);
                self.end(slot, unauthorized("the token has expired"));
                continue;
            }
            let in_ms = expires_ms - self.now_ms;
            if in_ms > self.config.token_warning_ms {
                // The two clocks have drifted apart since: it is too early by that.
                self.watch_token(slot);
                continue;
            }
            self.watch_until(slot, expires_ms);
            self.tell_notice(slot, &Notice::Expiring { in_ms });
        }
    }

    /// A session is gone, or has no token any more.
    pub(super) fn forget_token(&mut self, slot: u32) {
        let Some(session) = self.session(slot) else { return };
        let at_ms = std::mem::take(&mut session.look_at_ms);
        self.access.due.remove(&(at_ms, slot));
    }

    /// Carries out a `connect`.
    pub(super) fn answer_connect(
        &mut self,
        slot: u32,
        id: Option<Id<'_>>,
        token: Option<&str>,
    ) -> Result<(), Disconnect> {
        if let Err(why) = self.connect(slot, token) {
            let code = match why.code {
                CloseCode::FORBIDDEN => ErrorCode::Forbidden,
                CloseCode::UNAUTHORIZED => ErrorCode::Unauthorized,
                _ => ErrorCode::RateLimited,
            };
            let error = CommandError::new(code, why.message.clone());
            self.answer(slot, id, &Answer::Error(&error));
            return Err(why);
        }
        let session = self.session(slot).map_or(0, |session| session.id);
        if id.is_some() {
            self.answer(slot, id, &Answer::Connected { session });
        }
        Ok(())
    }

    fn connect(&mut self, slot: u32, token: Option<&str>) -> Result<(), Disconnect> {
        if !self.shared.verifier.is_active() {
            return Ok(());
        }
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return match self.needs_token(slot) {
                true => Err(unauthorized("a token is needed")),
                false => Ok(()),
            };
        };
        for _ in 1..TOKEN_COMMANDS {
            self.spend(slot, self.now_ms)?;
        }
        let grants = self.verify(token).map_err(|error| unauthorized(error.to_string()))?;
        let user = self.session(slot).and_then(|session| session.grants.shared_user().cloned());
        if user.is_some() && user.as_ref() != grants.shared_user() {
            return Err(forbidden("the token is another user's"));
        }
        self.admit(slot, grants);
        Ok(())
    }

    /// Whether a session may subscribe to a filter.
    pub(super) fn check_subscribe(
        &mut self,
        slot: u32,
        filter: Filter<'_>,
    ) -> Result<(), CommandError> {
        match self.session(slot) {
            Some(session) if !session.grants.may_subscribe(filter) => {
                Err(self.no_right(slot, "subscribe", filter.as_str()))
            }
            _ => Ok(()),
        }
    }

    /// Whether a session may see a topic's past, or who is there.
    pub(super) fn check_see(
        &mut self,
        slot: u32,
        topic: TopicName<'_>,
    ) -> Result<(), CommandError> {
        match self.session(slot) {
            Some(session) if !session.grants.may_see(topic) => {
                Err(self.no_right(slot, "subscribe", topic.as_str()))
            }
            _ => Ok(()),
        }
    }

    /// The answer to a command that is not allowed: a token may help who has shown none.
    pub(super) fn no_right(&mut self, slot: u32, right: &str, name: &str) -> CommandError {
        let is_named = self.session(slot).is_some_and(|session| session.grants.user().is_some());
        let code = match self.shared.verifier.is_active() && !is_named {
            true => ErrorCode::Unauthorized,
            false => ErrorCode::Forbidden,
        };
        CommandError::new(code, format!("no {right} right on {name}"))
    }

    fn end(&mut self, slot: u32, why: Disconnect) {
        if let Some(id) = self.session(slot).map(|session| session.id) {
            self.access.ended.push((slot, id, why));
        }
    }

    /// When a session's token ends, by the broker's clock.
    fn token_ends_ms(&mut self, slot: u32) -> Option<u64> {
        let expires_unix_s = self.session(slot)?.grants.expires_unix_s()?;
        let expires_unix_ms = expires_unix_s.saturating_mul(1_000);
        Some(expires_unix_ms.saturating_sub(self.access.began_unix_ms))
    }

    /// Notes when a session's token is to be looked at next.
    fn watch_token(&mut self, slot: u32) {
        let Some(expires_ms) = self.token_ends_ms(slot) else {
            self.forget_token(slot);
            return;
        };
        let warning_ms = self.config.token_warning_ms;
        self.watch_until(slot, expires_ms.saturating_sub(warning_ms));
    }

    fn watch_until(&mut self, slot: u32, at_ms: u64) {
        self.forget_token(slot);
        // 0 stands for never.
        let at_ms = at_ms.max(1);
        let Some(session) = self.session(slot) else { return };
        session.look_at_ms = at_ms;
        self.access.due.insert((at_ms, slot));
    }

    fn drop_forbidden(&mut self, slot: u32) {
        let Some(session) = self.sessions.get(slot as usize) else { return };
        let is_forbidden = |list: u32| {
            let filter = Filter::new(self.lists.peek(list).filter());
            filter.is_ok_and(|filter| !session.grants.may_subscribe(filter))
        };
        let held = session.subscriptions.iter().map(|held| held.list);
        let forbidden: Vec<u32> = held.filter(|list| is_forbidden(*list)).collect();
        if !forbidden.is_empty() {
            // What was published before is for these subscriptions still.
            self.deliver_waiting();
        }
        for list in forbidden {
            let filter: Box<str> = self.lists.peek(list).filter().into();
            self.leave(slot, list);
            self.tell_notice(slot, &Notice::Unsubscribed { filter: &filter });
        }
    }

    /// Where it is known who is there, a session goes as nobody and comes as its user.
    fn rename_member(&mut self, slot: u32) {
        let Some(session) = self.session(slot) else { return };
        let id = session.id;
        let lists: Vec<u32> = session.subscriptions.iter().map(|held| held.list).collect();
        for list in lists {
            self.forget_member(list, id);
            self.remember_member(slot, list);
        }
    }
}

fn unauthorized(message: impl Into<std::borrow::Cow<'static, str>>) -> Disconnect {
    let reason = CloseReason::Unauthorized;
    Disconnect { code: CloseCode::UNAUTHORIZED, message: message.into(), reason }
}

fn forbidden(message: &'static str) -> Disconnect {
    let reason = CloseReason::Forbidden;
    Disconnect { code: CloseCode::FORBIDDEN, message: message.into(), reason }
}
