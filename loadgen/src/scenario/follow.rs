//! Those who look on while a run goes on: the screen of a terminal, and the page for Prometheus. One
//! thread for both, which looks five times a second and touches no connection. Started by `run`
//! beside the phases.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::exposition::Exposition;
use crate::live::{About, Live, Look, Moment};
use crate::view::{self, View, Wish};

/// Between two looks, and so between two frames: what workers tell is no fresher.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How late the end of the run may be noticed.
const NAP: Duration = Duration::from_millis(40);

/// How a run is to be followed.
#[derive(Debug)]
pub(super) struct Follow {
    pub(super) about: About,
    /// The screen, open already: no line must come between.
    pub(super) view: Option<View>,
    /// Shows the end of the run for as long as somebody holds it.
    pub(super) exposition: Option<Arc<Exposition>>,
}

impl Follow {
    /// The screen, if the terminal can show it. One that refuses gets lines.
    pub(super) fn open_view() -> Option<View> {
        if view::is_possible() { View::open().ok() } else { None }
    }

    /// Looks on until `is_over`. Who asks for the end on the screen sets `interrupted`, and gets
    /// the terminal back at once; from then on `is_armed`: the interrupt key ends the process.
    pub(super) fn run(
        mut self,
        look: impl Fn() -> Look,
        is_over: &AtomicBool,
        interrupted: &AtomicBool,
        is_armed: &AtomicBool,
    ) {
        if self.view.is_none() && self.exposition.is_none() {
            return;
        }
        let mut live = Live::new(self.about.clone());
        loop {
            let is_last = is_over.load(Ordering::Acquire);
            let until = Instant::now() + LOOK_EVERY;
            self.show(live.handle_look(look()));
            if is_last {
                return;
            }
            while Instant::now() < until && !is_over.load(Ordering::Acquire) {
                let Some(view) = &mut self.view else {
                    thread::sleep(NAP);
                    continue;
                };
                let wish = view.wait(NAP, interrupted);
                if wish == Wish::End {
                    interrupted.store(true, Ordering::Relaxed);
                }
                if wish != Wish::GoOn {
                    self.view = None;
                }
            }
            if self.view.is_none() && interrupted.load(Ordering::Relaxed) {
                is_armed.store(true, Ordering::Relaxed);
            }
        }
    }

    fn show(&mut self, moment: Moment) {
        // A terminal that is gone is no reason to stop.
        if self.view.as_mut().is_some_and(|view| view.draw(&self.about, &moment).is_err()) {
            self.view = None;
        }
        if let Some(exposition) = &self.exposition {
            exposition.show(moment);
        }
    }
}
