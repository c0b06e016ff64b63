//! The screen that a terminal shows while a run goes on: draws moments, reads two keys, and gives
//! the terminal back on every way out. Draws on the standard error, where progress lines go
//! otherwise, so that results can be redirected. Measures nothing; driven by `scenario::follow`.

mod keys;
mod screen;
mod terminal;

use std::io::{self, BufWriter, Stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use crate::live::{About, Moment};

use keys::{Heard, Keys};

pub use terminal::{is_open, is_possible};

/// A whole frame of a large terminal goes out in one write.
const FRAME_BYTES: usize = 64 * 1024;

/// An open screen. Closed when dropped.
#[derive(Debug)]
pub struct View {
    terminal: Terminal<CrosstermBackend<BufWriter<Stderr>>>,
    has_colours: bool,
    keys: Keys,
    screen: terminal::Screen,
}

impl View {
    /// Takes the terminal over. Colours stay off where the variable `NO_COLOR` is set and not empty
    /// (no-color.org).
    ///
    /// # Errors
    ///
    /// If the terminal refuses: then it is as it was.
    pub fn open() -> io::Result<Self> {
        let keys = Keys::open()?;
        let screen = terminal::Screen::enter()?;
        let out = BufWriter::with_capacity(FRAME_BYTES, io::stderr());
        let terminal = Terminal::new(CrosstermBackend::new(out))?;
        let has_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Ok(Self { terminal, has_colours, keys, screen })
    }

    /// Shows this; follows the size of the terminal.
    ///
    /// # Errors
    ///
    /// If the terminal is gone.
    pub fn draw(&mut self, about: &About, moment: &Moment) -> io::Result<()> {
        if is_open() {
            let has_colours = self.has_colours;
            self.terminal.draw(|frame| screen::draw(frame, about, moment, has_colours))?;
        }
        Ok(())
    }

    /// Waits so long for a key. A signal to terminate ends the process here.
    pub fn wait(&mut self, wait: Duration, interrupted: &AtomicBool) -> Wish {
        let heard = self.keys.wait(wait);
        self.screen.end_if_terminated();
        match heard {
            Heard::End => Wish::End,
            _ if interrupted.load(Ordering::Relaxed) => Wish::End,
            Heard::Gone => Wish::Close,
            Heard::Nothing => Wish::GoOn,
        }
    }
}

/// What is to become of the run that is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wish {
    /// Nothing else than it was.
    GoOn,
    /// It is to end: `q` or Ctrl-C was pressed, or the interrupt signal came.
    End,
    /// The terminal is gone: it is to go on without a screen.
    Close,
}
