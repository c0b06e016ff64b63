//! What became of groups that were closed and opened again: the time to all current values, and who
//! saw whom join and leave. Puts side by side what the workers noted; shown by the text and JSON
//! forms of a report.

use std::collections::HashMap;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::json::times;
use super::{Report, grouped, text};
use crate::engine::{GroupBook, Move, Plan, histogram};

/// The groups of a run.
#[derive(Debug)]
pub struct Groups {
    /// What the workers noted, added up; its moves and sightings are taken out once matched.
    pub book: GroupBook,
    /// Who joined.
    pub joins: Presence,
    /// Who left.
    pub leaves: Presence,
}

/// What was seen of comings, or of goings, by those who stayed.
#[derive(Debug)]
pub struct Presence {
    /// How often someone came, or went.
    pub happened: u64,
    /// How often that should have been seen.
    pub expected: u64,
    /// How often it was; more than expected if something was told twice.
    pub seen: u64,
    /// From the command to the sight, in nanoseconds.
    pub latency: Histogram<u64>,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self { book: GroupBook::new(&[]), joins: Presence::new(), leaves: Presence::new() }
    }

    /// Puts every sighting to the last move before it that it can be of. What is of none is from
    /// before the run or after it.
    pub(super) fn match_moves(&mut self, plan: &Plan) {
        let Some(layout) = &plan.layout else { return };
        let movers = layout.flips.map_or(0, |flips| flips.subscribers);
        let mut stay = vec![0_u64; plan.topics.len()];
        for subscriber in movers..plan.subscribers {
            for &topic in layout.topics_of(subscriber) {
                stay[topic as usize] += 1;
            }
        }
        let mut moves: HashMap<(u64, u32, bool), Vec<u64>> = HashMap::new();
        for Move { session, topic, is_join, at_ns } in std::mem::take(&mut self.book.moves) {
            let presence = self.presence(is_join);
            presence.happened += 1;
            presence.expected += stay[topic as usize];
            moves.entry((session, topic, is_join)).or_default().push(at_ns);
        }
        let ended_ns = self.book.ended_ns;
        let sightings = std::mem::take(&mut self.book.sightings);
        for Move { session, topic, is_join, at_ns } in sightings {
            if at_ns >= ended_ns {
                continue; // when everybody leaves
            }
            let Some(times) = moves.get(&(session, topic, is_join)) else { continue };
            let before = times.partition_point(|&moved_ns| moved_ns <= at_ns);
            let Some(moved_ns) = before.checked_sub(1).map(|last| times[last]) else { continue };
            let presence = self.presence(is_join);
            presence.seen += 1;
            presence.latency.saturating_record(at_ns - moved_ns);
        }
    }

    fn presence(&mut self, is_join: bool) -> &mut Presence {
        if is_join { &mut self.joins } else { &mut self.leaves }
    }
}

impl Presence {
    fn new() -> Self {
        Self { happened: 0, expected: 0, seen: 0, latency: histogram() }
    }

    fn line(&self) -> String {
        format!(
            "{} happened, seen {} of {}; {}",
            grouped(self.happened),
            grouped(self.seen),
            text::count(self.expected, "time", "times"),
            text::times(&self.latency)
        )
    }

    fn json(&self) -> Value {
        json!({
            "happened": self.happened,
            "expected": self.expected,
            "seen": self.seen,
            "latency_us": times(&self.latency),
        })
    }
}

/// The lines about groups; none where there are none.
pub(super) fn summary(out: &mut String, report: &Report) {
    let Some(layout) = &report.plan.layout else { return };
    let Groups { book, joins, leaves } = &report.groups;
    if layout.last {
        let line = format!(
            "{} in all, {} closed meanwhile, {} opened again",
            grouped(layout.group_count() as u64),
            grouped(book.closed),
            grouped(book.opened)
        );
        text::line(out, "panels", &line);
        text::line(out, "snapshot", &text::times(&book.snapshot));
        text::line(out, "the newest", &text::times(&book.newest));
    }
    if layout.presence {
        text::line(out, "joins", &joins.line());
        text::line(out, "leaves", &leaves.line());
    }
}

/// For programs; null where there are none.
pub(super) fn json(report: &Report) -> Value {
    let Some(layout) = &report.plan.layout else { return Value::Null };
    let book = &report.groups.book;
    json!({
        "count": layout.group_count(),
        "closed": book.closed,
        "opened": book.opened,
        "without_value": book.without_value,
        "after_end": book.after_end,
        "snapshot_us": times(&book.snapshot),
        "newest_latency_us": times(&book.newest),
    })
}

/// For programs; null where nobody is told who joins and leaves.
pub(super) fn presence_json(report: &Report) -> Value {
    match &report.plan.layout {
        Some(layout) if layout.presence => json!({
            "joins": report.groups.joins.json(),
            "leaves": report.groups.leaves.json(),
        }),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;
    use crate::engine::{Flips, Group, Layout};

    #[test]
    fn a_sighting_belongs_to_the_last_move_before_it_and_those_from_outside_the_run_to_none() {
        let mut report = report(3, 0);
        let mut layout = Layout::new(1);
        layout.presence = true;
        layout.flips = Some(Flips { subscribers: 1, per_second: 1.0, away_ns: 0 });
        for _ in 0..3 {
            layout.push(vec![Group::of(vec![0])]);
        }
        report.plan.layout = Some(layout);
        let at = |is_join, at_ns| Move { session: 7, topic: 0, is_join, at_ns };
        report.groups.book.moves =
            vec![at(false, 100), at(true, 200), at(false, 300), at(true, 400)];
        // The first join was before the run; of the last leave, only one of two was told.
        report.groups.book.sightings =
            vec![at(true, 50), at(false, 110), at(false, 120), at(true, 205), at(true, 230)];
        report.groups.book.sightings.extend([
            at(false, 303),
            at(true, 401),
            at(true, 402),
            at(false, 500),
        ]);
        report.groups.book.ended_ns = 500;
        let plan = report.plan.clone();
        report.groups.match_moves(&plan);
        let (joins, leaves) = (&report.groups.joins, &report.groups.leaves);
        assert_eq!((joins.happened, joins.expected, joins.seen), (2, 4, 4));
        assert_eq!((leaves.happened, leaves.expected, leaves.seen), (2, 4, 3));
        assert_eq!((joins.latency.min(), joins.latency.max()), (1, 30));
        let mut out = String::new();
        summary(&mut out, &report);
        assert!(out.contains("leaves  2 happened, seen 3 of 4 times; "), "{out}");
    }
}
