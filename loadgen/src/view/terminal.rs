//! Takes the terminal over and gives it back: when the screen is dropped, when a thread panics, and
//! when the process is told to terminate. Draws nothing.

use std::io::{self, IsTerminal as _};
use std::panic;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;
use signal_hook::consts::{SIGHUP, SIGQUIT, SIGTERM};
use signal_hook::{flag, low_level};

/// Whether the terminal is ours: there is one for the whole process, and a panic has nothing else
/// to ask.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// The taken terminal; given back when dropped.
#[derive(Debug)]
pub(super) struct Screen {
    /// The last signal to terminate that came while the terminal was ours; 0 for none.
    terminated: Arc<AtomicUsize>,
    /// Signals do again what they always do.
    is_over: Arc<AtomicBool>,
}

/// Whether a screen can be shown: the standard error is a terminal that knows more than lines, and
/// we are in its foreground; a background job that touched it would be stopped.
#[must_use]
pub fn is_possible() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb");
    let stderr = io::stderr();
    stderr.is_terminal() && !is_dumb && tcgetpgrp(&stderr).is_ok_and(|group| group == getpgrp())
}

/// Whether a screen is shown now: whoever prints a line would spoil it.
#[must_use]
pub fn is_open() -> bool {
    IS_OPEN.load(Ordering::Acquire)
}

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        let screen = Self { terminated: Arc::default(), is_over: Arc::new(AtomicBool::new(false)) };
        for signal in [SIGTERM, SIGHUP, SIGQUIT] {
            flag::register_conditional_default(signal, Arc::clone(&screen.is_over))?;
            flag::register_usize(signal, Arc::clone(&screen.terminated), signal as usize)?;
        }
        close_before_panicking();
        IS_OPEN.store(true, Ordering::Release);
        enable_raw_mode()?;
        execute!(io::stderr(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Gives the terminal back and ends the process as the signal would have, if one came.
    pub(super) fn end_if_terminated(&self) {
        let signal = self.terminated.load(Ordering::Relaxed);
        if signal != 0 {
            close();
            // Fails for no signal that terminates; then the run goes on without a screen.
            let _ = low_level::emulate_default_handler(signal as i32);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        close();
        self.is_over.store(true, Ordering::Release);
        self.end_if_terminated();
    }
}

/// The first time, undoes what [`Screen::enter`] did to the terminal, in any state of it.
fn close() {
    if IS_OPEN.swap(false, Ordering::AcqRel) {
        // A terminal that is gone needs nothing.
        let _ = execute!(io::stderr(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// What a panic says would vanish with the screen.
fn close_before_panicking() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            close();
            tell(info);
        }));
    });
}
