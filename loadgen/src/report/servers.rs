//! What each of several servers brought to its subscribers. Adds up accounts by the server that
//! their subscriber is connected to; part of the report.

use serde_json::{Value, json};

use super::{Report, grouped};
use crate::account::Totals;
use crate::engine::{Ledger, Plan};

/// The sums of one server's subscribers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerTotals {
    /// How many subscribers it has.
    pub subscribers: u64,
    /// Their accounts.
    pub totals: Totals,
}

/// By server, where there are several; `published` is by topic.
pub(super) fn totals(plan: &Plan, ledgers: &[Ledger], published: &[u64]) -> Vec<ServerTotals> {
    let servers = plan.target.servers.subscribed();
    // With groups, a subscriber's accounts are not as many as another's.
    if servers < 2 || plan.layout.is_some() || plan.topics_each == 0 {
        return Vec::new();
    }
    let mut sums = vec![ServerTotals::default(); servers];
    for ledger in ledgers {
        for (index, (topic, account)) in ledger.accounts.iter().enumerate() {
            let place = index / plan.topics_each as usize;
            let subscriber = (place * plan.part.workers + ledger.worker) as u32;
            let sum = &mut sums[plan.target.servers.of_subscriber(subscriber)];
            sum.subscribers += u64::from(index % plan.topics_each as usize == 0);
            sum.totals.add(&account.close(published[*topic as usize]));
        }
    }
    sums
}

/// The lines of a summary; none for one server alone.
pub(super) fn lines(report: &Report) -> Vec<String> {
    let servers = report.plan.target.servers.all();
    let line = |(server, sum): (&crate::target::Server, &ServerTotals)| {
        let Totals { expected, delivered, lost, .. } = sum.totals;
        format!(
            "{}: {} subscribers, {} of {} delivered, {} lost",
            server.url,
            grouped(sum.subscribers),
            grouped(delivered),
            grouped(expected),
            grouped(lost)
        )
    };
    servers.iter().zip(&report.servers).map(line).collect()
}

/// The same for programs; null for one server alone.
pub(super) fn json(report: &Report) -> Value {
    let servers = report.plan.target.servers.all();
    let entry = |(number, server): (usize, &crate::target::Server)| {
        let sum = report.servers.get(number);
        json!({
            "url": server.url,
            "address": server.address.to_string(),
            "subscribers": sum.map(|sum| sum.subscribers),
            "expected": sum.map(|sum| sum.totals.expected),
            "delivered": sum.map(|sum| sum.totals.delivered),
            "lost": sum.map(|sum| sum.totals.lost),
        })
    };
    match servers.len() {
        1 => Value::Null,
        _ => servers.iter().enumerate().map(entry).collect(),
    }
}
