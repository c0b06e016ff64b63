//! The screen that a terminal shows while a run goes on: draws moments, reads two keys, and gives
//! the terminal back on every way out. Draws on the standard error, where progress lines go
//! otherwise, so that results can be redirected. Measures nothing; driven by `scenario::follow`.

mod screen;
mod terminal;

use std::io::{self, BufWriter, Stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::live::{About, Moment};

pub use terminal::{is_open, is_possible};

/// A whole frame of a large terminal goes out in one write.
const FRAME_BYTES: usize = 64 * 1024;

/// An open screen. Closed when dropped.
#[derive(Debug)]
pub struct View {
    terminal: Terminal<CrosstermBackend<BufWriter<Stderr>>>,
    has_colours: bool,
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
        let screen = terminal::Screen::enter()?;
        let out = BufWriter::with_capacity(FRAME_BYTES, io::stderr());
        let terminal = Terminal::new(CrosstermBackend::new(out))?;
        let has_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Ok(Self { terminal, has_colours, screen })
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

    /// Waits so long for a key, and says whether the run is to end: with `q` or Ctrl-C, or when the
    /// interrupt signal set `interrupted`. A signal to terminate ends the process here.
    pub fn is_asked_to_end(&mut self, wait: Duration, interrupted: &AtomicBool) -> bool {
        let has_key = event::poll(wait).unwrap_or_else(|_| {
            std::thread::sleep(wait); // no keys from this terminal
            false
        });
        let key = if has_key { event::read().ok() } else { None };
        self.screen.end_if_terminated();
        interrupted.load(Ordering::Relaxed) || key.is_some_and(|event| ends(&event))
    }
}

fn ends(event: &Event) -> bool {
    match event {
        Event::Key(KeyEvent { code: KeyCode::Char(key), modifiers, kind, .. }) => {
            let is_interrupt = *key == 'c' && modifiers.contains(KeyModifiers::CONTROL);
            *kind == KeyEventKind::Press && (is_interrupt || *key == 'q')
        }
        _ => false,
    }
}
