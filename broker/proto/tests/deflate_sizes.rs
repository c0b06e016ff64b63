//! What compression makes of messages such as dashboards get, each by itself and with the context
//! of those before: the numbers in the decision about it. Printed, and held to what was concluded
//! from them.

use std::fmt::Write as _;

use broker_proto::ws::deflate::{Deflater, LEVEL_DEFAULT, Terms};

const MESSAGES: u32 = 100;

/// A message with so many rows of a market, the numbers different in each.
fn message(seq: u32, rows: u32) -> Vec<u8> {
    let mut text = format!(r#"{{"topic":"market/board","seq":{seq},"data":["#);
    for row in 0..rows {
        let n = (seq * 97 + row + 1).wrapping_mul(2_654_435_761) >> 7;
        let comma = if row == 0 { "" } else { "," };
        let (price, cents, volume) = (n % 900 + 100, n % 97, n % 50_000);
        let symbol = char::from(b'A' + (row % 26) as u8);
        write!(
            text,
            r#"{comma}{{"symbol":"{symbol}{row}","price":{price}.{cents:02},"volume":{volume}}}"#
        )
        .expect("writing to memory does not fail");
    }
    (text + "]}").into_bytes()
}

/// Bytes of messages of `rows` rows: as they are, each by itself, with context.
fn sizes(rows: u32) -> [usize; 3] {
    let alone = Terms { no_context_takeover: true, window_bits_max: None };
    let mut alone = Deflater::new(alone, LEVEL_DEFAULT);
    let mut with_context = Deflater::new(Terms::default(), LEVEL_DEFAULT);
    let mut sizes = [0; 3];
    for seq in 1..=MESSAGES {
        let message = message(seq, rows);
        sizes[0] += message.len();
        for (deflater, size) in [(&mut alone, 1), (&mut with_context, 2)] {
            let mut out = Vec::new();
            deflater.deflate(&message, &mut out);
            sizes[size] += out.len();
        }
    }
    sizes.map(|size| size / MESSAGES as usize)
}

#[test]
fn short_messages_gain_little_and_long_ones_need_no_context() {
    for (rows, alone_most, alone_least) in
        [(1, 1.3, 0.9), (2, 1.8, 1.0), (10, 3.5, 1.5), (40, 6.0, 2.0), (300, 9.0, 2.5)]
    {
        let [plain, alone, with_context] = sizes(rows);
        let (by_alone, by_context) =
            (plain as f64 / alone as f64, plain as f64 / with_context as f64);
        println!(
            "{plain:>6} B: {alone:>5} B by itself ({by_alone:.1} times), \
             {with_context:>5} B with context ({by_context:.1} times)"
        );
        assert!((alone_least..alone_most).contains(&by_alone), "{by_alone}");
        assert!(with_context < alone);
    }
}
