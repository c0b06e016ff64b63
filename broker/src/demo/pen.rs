//! The pen that draws on the whiteboard while nobody else does: a rose, then a rest. Called by
//! `demo`.

use std::f64::consts::TAU;

use super::{Now, Publish};

/// A piece of line every so often.
const STEP_MS: u64 = 100;
/// Pieces of one rose, and of one rose with the rest after it.
const PIECES: u64 = 80;
const PIECES_AND_REST: u64 = 300;
/// Points of one piece.
const POINTS: u64 = 6;

#[derive(Default)]
pub(super) struct Pen {
    steps: u64,
}

impl Pen {
    pub(super) fn advance(&mut self, now: Now, publish: &mut Publish<'_>) {
        let due = now.running_ms / STEP_MS;
        for step in self.steps..due {
            let (rose, piece) = (step / PIECES_AND_REST, step % PIECES_AND_REST);
            if piece < PIECES {
                publish("demo/board/lines", draw(rose, piece).as_bytes());
            }
        }
        self.steps = due.max(self.steps);
    }
}

/// A piece of a rose with 3, 4, 5 … petals, each at another place. The board is 1,000 by 625.
fn draw(rose: u64, piece: u64) -> String {
    let petals = 3 + rose % 5;
    let (centre_x, centre_y) = (200 + rose * 310 % 640, 180 + rose * 170 % 280);
    let points: Vec<String> = (0..=POINTS)
        .map(|point| {
            let turn = TAU * (piece * POINTS + point) as f64 / (PIECES * POINTS) as f64;
            let radius = 150.0 * (turn * petals as f64).cos();
            let x = centre_x as f64 + radius * turn.cos();
            let y = centre_y as f64 + radius * turn.sin();
            format!("[{x:.0},{y:.0}]")
        })
        .collect();
    format!(r#"{{"pen":"rose","hue":{},"points":[{}]}}"#, rose * 67 % 360, points.join(","))
}
