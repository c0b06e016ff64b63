//! Questions to this worker, from those who are no worker: answered out of its connections and what
//! its hub knows of them.

use broker_proto::ws::CloseCode;

use super::Worker;
use super::connection::Connection;
use crate::hub::Disconnect;
use crate::hub::ask::{Ask, Connected, Told, Whom};
use crate::metrics::CloseReason;

impl Worker {
    /// Answers what came with the mail.
    pub(super) fn answer_asked(&mut self) {
        for question in self.core.hub.take_asked() {
            let told = match &question.ask {
                Ask::Subscribers(topics) => Told::Subscribers(self.core.hub.subscribers_of(topics)),
                Ask::Connections { after, limit, user } => {
                    Told::Connections(self.list_connections(*after, *limit, user.as_deref()))
                }
                Ask::Disconnect { whom, code, reason } => {
                    Told::Disconnected(self.disconnect(whom, *code, reason))
                }
            };
            question.answer(told);
        }
    }

    fn list_connections(&mut self, after: u64, limit: usize, user: Option<&str>) -> Vec<Connected> {
        let mut found: Vec<(u64, usize)> = self
            .sessions()
            .filter(|(id, of, _)| *id > after && (user.is_none() || of.as_deref() == user))
            .map(|(id, _, slot)| (id, slot))
            .collect();
        if found.len() > limit {
            found.select_nth_unstable(limit);
            found.truncate(limit);
        }
        found.sort_unstable();
        let describe = |(_, slot): (u64, usize)| {
            let address = self.connections.get(slot)?.address();
            Some(Connected { address, ..self.core.hub.describe(slot as u32)? })
        };
        found.into_iter().filter_map(describe).collect()
    }

    fn disconnect(&mut self, whom: &Whom, code: CloseCode, reason: &str) -> u64 {
        let is_meant = |id: u64, user: Option<&str>| match whom {
            Whom::Session(session) => id == *session,
            Whom::User(name) => user == Some(&**name),
        };
        let found: Vec<usize> = self
            .sessions()
            .filter(|(id, user, _)| is_meant(*id, user.as_deref()))
            .map(|(_, _, slot)| slot)
            .collect();
        let message = reason.to_owned().into();
        let disconnect = Disconnect { code, message, reason: CloseReason::Disconnected };
        let is_open = |slot: &usize| self.connections.get(*slot).is_some_and(Connection::is_open);
        let open: Vec<usize> = found.into_iter().filter(is_open).collect();
        for &slot in &open {
            match code {
                // Only sent elsewhere: what waits for it is still its own.
                CloseCode::GOING_AWAY => self.close(slot, &disconnect),
                _ => self.end_session(slot, &disconnect),
            }
        }
        open.len() as u64
    }

    /// The number, the user and the slot of every session.
    fn sessions(&mut self) -> impl Iterator<Item = (u64, Option<std::sync::Arc<str>>, usize)> {
        let hub = &mut self.core.hub;
        self.connections.iter().filter_map(move |(slot, _)| {
            let session = hub.session(slot as u32)?;
            Some((session.id, session.grants.shared_user().cloned(), slot))
        })
    }
}
