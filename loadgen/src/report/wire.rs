//! What was agreed on below the protocol, as lines and as JSON: TLS, compression, and what travelled
//! for a delivery. Returns text
//! and values; called by the text and JSON forms of a report.

use serde_json::{Value, json};

use super::grouped;
use super::json::tally;
use crate::engine::{Amount, WireBook};

/// The lines of a summary, each with its name; none where there was nothing to agree on.
pub(super) fn lines(book: &WireBook) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for (what, count) in book.tls.iter() {
        lines.push(("tls", format!("{} × {what}", grouped(count))));
    }
    if book.tls.sum() > 0 {
        let (all, resumed) = (book.tls.sum(), book.tls_resumed);
        let text = format!(
            "{} with a full handshake, {} that went on from an earlier session",
            grouped(all - resumed),
            grouped(resumed)
        );
        lines.push(("tls", text));
    }
    for (what, count) in book.deflate.iter() {
        lines.push(("deflate", format!("{} × {what}", grouped(count))));
    }
    for (way, amount) in [("in", book.inflated), ("out", book.deflated)] {
        if let Some(factor) = amount.factor() {
            let text = format!(
                "{way}: {} bytes travelled as {}, {factor:.2} times smaller",
                grouped(amount.message_bytes),
                grouped(amount.wire_bytes)
            );
            lines.push(("deflate", text));
        }
    }
    let traffic = &book.traffic;
    if let Some((received, sent)) = traffic.received_each().zip(traffic.sent_each()) {
        let mut text = format!("{received:.1} bytes in and {sent:.1} out for a delivery");
        if traffic.requests > 0 {
            text += &format!(", {} requests", grouped(traffic.requests));
        }
        if traffic.reconnects > 0 {
            text += &format!(", {} connections made anew", grouped(traffic.reconnects));
        }
        lines.push(("on the wire", text));
    }
    lines
}

/// The same for programs; null where it was not asked for.
pub(super) fn to_json(book: &WireBook) -> Value {
    let amount = |amount: Amount| {
        json!({
            "message_bytes": amount.message_bytes,
            "wire_bytes": amount.wire_bytes,
        })
    };
    json!({
        "tls": (book.tls.sum() > 0).then(|| json!({
            "sessions": tally(&book.tls),
            "resumed": book.tls_resumed,
        })),
        "deflate": (book.deflate.sum() > 0).then(|| json!({
            "answers": tally(&book.deflate),
            "in": amount(book.inflated),
            "out": amount(book.deflated),
        })),
        "traffic": (book.traffic.deliveries > 0).then(|| json!({
            "received_bytes": book.traffic.received_bytes,
            "sent_bytes": book.traffic.sent_bytes,
            "deliveries": book.traffic.deliveries,
            "requests": book.traffic.requests,
            "reconnects": book.traffic.reconnects,
            "received_bytes_per_delivery": book.traffic.received_each(),
            "sent_bytes_per_delivery": book.traffic.sent_each(),
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_agreed_on_is_shown_and_nothing_where_nothing_was_asked_for() {
        let mut book = WireBook::default();
        assert!(lines(&book).is_empty());
        assert_eq!(to_json(&book), json!({"tls": null, "deflate": null, "traffic": null}));

        for _ in 0..3 {
            book.tls.add("TLS 1.3 X25519".into());
        }
        book.tls_resumed = 2;
        book.deflate.add("permessage-deflate".into());
        book.deflate.add("declined".into());
        book.inflated = Amount { message_bytes: 3000, wire_bytes: 1000 };
        let traffic = &mut book.traffic;
        (traffic.received_bytes, traffic.sent_bytes) = (700, 50);
        (traffic.deliveries, traffic.requests) = (4, 1200);
        let text: Vec<_> =
            lines(&book).into_iter().map(|(name, text)| format!("{name}: {text}")).collect();
        assert_eq!(
            text,
            [
                "tls: 3 × TLS 1.3 X25519",
                "tls: 1 with a full handshake, 2 that went on from an earlier session",
                "deflate: 1 × declined",
                "deflate: 1 × permessage-deflate",
                "deflate: in: 3,000 bytes travelled as 1,000, 3.00 times smaller",
                "on the wire: 175.0 bytes in and 12.5 out for a delivery, 1,200 requests",
            ]
        );
        let value = to_json(&book);
        assert_eq!(
            (&value["tls"]["resumed"], &value["deflate"]["in"]["wire_bytes"]),
            (&json!(2), &json!(1000))
        );
    }
}
