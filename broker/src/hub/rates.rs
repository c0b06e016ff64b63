//! What sessions and users may ask for in a second, beyond the allowance for commands that every
//! connection has: publishes of a connection, and both of a user, whichever connections they come
//! by. Where nothing is set nothing is counted.

use std::sync::Arc;

use broker_proto::command::{CommandError, ErrorCode};
use dashmap::DashMap;
use foldhash::fast::RandomState;

use super::Hub;
use super::session::Budget;

/// Users that are remembered; beyond it all are forgotten at once, and start with a full burst.
const USERS_MAX: usize = 65_536;

/// The allowances of users, shared by the workers.
#[derive(Debug, Default)]
pub struct Users(DashMap<Arc<str>, Allowance, RandomState>);

#[derive(Debug, Default)]
struct Allowance {
    commands: Budget,
    publishes: Budget,
}

impl Users {
    fn take(
        &self,
        user: &Arc<str>,
        of: impl FnOnce(&mut Allowance) -> &mut Budget,
        now_ms: u64,
        rate: u32,
    ) -> bool {
        if self.0.len() >= USERS_MAX {
            self.0.clear();
        }
        let mut allowance = self.0.entry(user.clone()).or_default();
        of(&mut allowance).take(now_ms, rate, rate.saturating_mul(2))
    }
}

impl Hub {
    /// Takes a publish out of the allowances of its connection and its user.
    pub(super) fn allow_publish(&mut self, slot: u32, now_ms: u64) -> Result<(), CommandError> {
        let rate = self.config.publishes_per_second_max;
        let Some(session) = self.session(slot) else { return Ok(()) };
        let budget = &mut session.published.get_or_insert_default().budget;
        if !budget.take(now_ms, rate, rate.saturating_mul(2)) {
            return Err(too_many("publishes_per_second_max"));
        }
        let rate = self.config.publishes_per_second_per_user_max;
        match self.takes_of_user(slot, |allowance| &mut allowance.publishes, now_ms, rate) {
            true => Ok(()),
            false => Err(too_many("publishes_per_second_per_user_max")),
        }
    }

    /// Takes any other command out of the allowance of its user.
    pub(super) fn allow_command(&mut self, slot: u32, now_ms: u64) -> Result<(), CommandError> {
        let rate = self.config.commands_per_second_per_user_max;
        match self.takes_of_user(slot, |allowance| &mut allowance.commands, now_ms, rate) {
            true => Ok(()),
            false => Err(too_many("commands_per_second_per_user_max")),
        }
    }

    fn takes_of_user(
        &mut self,
        slot: u32,
        of: impl FnOnce(&mut Allowance) -> &mut Budget,
        now_ms: u64,
        rate: u32,
    ) -> bool {
        if rate == 0 {
            return true;
        }
        let Some(session) = self.sessions.get(slot as usize) else { return true };
        let Some(user) = session.grants.shared_user() else { return true };
        self.shared.users.take(user, of, now_ms, rate)
    }
}

fn too_many(setting: &str) -> CommandError {
    CommandError::new(ErrorCode::RateLimited, format!("too many a second ({setting})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_has_an_allowance_and_so_has_each_kind() {
        let users = Users::default();
        let (ana, bea): (Arc<str>, Arc<str>) = ("ana".into(), "bea".into());
        let taken = |user: &Arc<str>| {
            (0..100).filter(|_| users.take(user, |held| &mut held.publishes, 0, 5)).count()
        };
        assert_eq!((taken(&ana), taken(&ana), taken(&bea)), (10, 0, 10));
        assert!(users.take(&ana, |held| &mut held.commands, 0, 5));
        assert!(users.take(&ana, |held| &mut held.publishes, 1_000, 5));
    }
}
