//! What a storm was like: how long it took until all were back, what that took, and what became of
//! what they missed. Shows what the workers noted; called by the text and JSON forms of a report.

use serde_json::{Value, json};

use super::json::{seconds, tally, times};
use super::{Report, grouped, text};

/// The lines about storms; none where there were none.
pub(super) fn summary(out: &mut String, report: &Report) {
    if report.plan.storm.is_none() {
        return;
    }
    let (book, totals) = (&report.storm, &report.totals);
    let storms = text::count(book.last_back_ns.len() as u64, "storm", "storms");
    let back = format!(
        "{storms}, {} cut, {} back; {} failed attempts",
        text::count(book.cut, "connection", "connections"),
        grouped(book.back.len()),
        grouped(book.failed.sum())
    );
    text::line(out, "storm", &back);
    text::line(out, "back after", &text::times(&book.back));
    let last: Vec<String> = book.last_back_ns.iter().map(|&nanos| text::time(nanos)).collect();
    text::line(out, "all back", &format!("after {}", last.join(", ")));
    let missed = format!("{} missed while disconnected", grouped(totals.missed));
    let past = match (book.resumed + book.not_resumed, book.refused) {
        (0, 0) => format!("not asked for; {missed}"),
        (0, _) => format!("the target has no recovery, subscribed anew without; {missed}"),
        _ => format!(
            "{} recovered, {} in part or not, {} delivered late; {missed}",
            text::count(book.resumed, "subscription", "subscriptions"),
            grouped(book.not_resumed),
            text::count(book.made_up, "message", "messages")
        ),
    };
    text::line(out, "the past", &past);
    text::tally(out, "not back", &book.failed);
}

/// For programs; null where there were none.
pub(super) fn json(report: &Report) -> Value {
    let Some(storm) = report.plan.storm else { return Value::Null };
    let book = &report.storm;
    let last_back = book.last_back_ns.iter().map(|&nanos| seconds(nanos)).collect::<Value>();
    json!({
        "subscribers": storm.subscribers,
        "times": storm.times,
        "every_s": seconds(storm.every_ns),
        "spread_s": seconds(storm.spread_ns),
        "cut": book.cut,
        "back": book.back.len(),
        "not_back": book.absent,
        "back_after_us": times(&book.back),
        "all_back_after_s": last_back,
        "failed_attempts": tally(&book.failed),
        "recovered": book.resumed,
        "not_recovered": book.not_resumed,
        "refused": book.refused,
        "delivered_late": book.made_up,
        "missed": report.totals.missed,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;
    use crate::engine::Storm;
    use crate::report::Outcome;

    #[test]
    fn a_storm_is_shown_with_what_became_of_the_past_and_none_without_one() {
        let mut report = report(4, 0);
        let mut out = String::new();
        summary(&mut out, &report);
        assert_eq!((out.as_str(), json(&report)), ("", Value::Null));
        report.plan.storm = Some(Storm {
            subscribers: 4,
            times: 1,
            first_ns: 0,
            every_ns: 1,
            spread_ns: 0,
            resumes: true,
        });
        report.storm.cut = 4;
        report.storm.refused = 4;
        summary(&mut out, &report);
        assert!(out.contains("4 connections cut, 0 back; 0 failed attempts"), "{out}");
        assert!(out.contains("the target has no recovery, subscribed anew without"), "{out}");
        report.storm.absent = 1;
        assert_eq!(report.outcome(), Outcome::Broken);
        assert!(super::super::verdict(&report).ends_with("1 subscriber not back"));
    }
}
