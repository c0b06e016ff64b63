//! Subscribers that poll: each has its turn once in an interval. Part of the worker, which calls it
//! in every turn of its own.

use super::{Phase, Worker};
use crate::engine::Plan;
use crate::engine::client::{Change, Client};
use crate::engine::turns::Turns;
use crate::sys;
use crate::target::Transport;

/// The turns to poll, where a plan's subscribers do.
pub(super) fn polls_of(plan: &Plan) -> Option<Turns> {
    match plan.target.wire.transport {
        Transport::Poll(polling) => Some(Turns::new(polling.every_ns, sys::now_ns())),
        Transport::Ws | Transport::Sse => None,
    }
}

impl Worker {
    /// Lets those poll whose turn has come. Who has no connection any more, since the server closes
    /// one after a while, gets another first.
    pub(super) fn poll_due(&mut self) {
        let Some(polls) = &mut self.polls else { return };
        if self.phase == Phase::Close {
            return;
        }
        let (now_ns, count) = (sys::now_ns(), self.clients.len());
        for turn in polls.due(now_ns, count) {
            let index = turn as usize % count;
            if self.clients[index].is_idle() && self.phase > Phase::Connect {
                self.clients[index].reset();
                self.open(index, now_ns);
            } else {
                self.with_desk(index, |client: &mut Client, desk| {
                    // A broken connection is reported by its next read.
                    let _ = client.poll(desk);
                    Change::None
                });
            }
        }
        if self.phase > Phase::Connect {
            self.connect(); // for the time limit of those that were opened here
        }
    }

    /// When the next turn to poll comes.
    pub(super) fn next_poll_ns(&self) -> u64 {
        let next = self.polls.as_ref().and_then(|polls| polls.next_due_ns(self.clients.len()));
        next.unwrap_or(u64::MAX)
    }
}
