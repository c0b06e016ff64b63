//! Takes the terminal over and gives it back: when the screen is dropped, when a thread panics, and
//! when the process is told to terminate. Draws nothing.

use std::io::{self, IsTerminal as _};
use std::panic;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;
use signal_hook::consts::{SIGHUP, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::{flag, low_level};

/// The signals that end the process.
const SIGNALS: [i32; 3] = [SIGTERM, SIGHUP, SIGQUIT];

/// How long a terminal may take to be given back when a signal came.
const GRACE: Duration = Duration::from_secs(1);

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
    /// Ends the thread that sees to it that a signal is obeyed.
    obeyed: Handle,
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
        let (terminated, is_over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        for signal in SIGNALS {
            flag::register_conditional_default(signal, Arc::clone(&is_over))?;
            flag::register_usize(signal, Arc::clone(&terminated), signal as usize)?;
        }
        let obeyed = obey_in_the_end(&is_over)?;
        let screen = Self { terminated, is_over, obeyed };
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
        self.obeyed.close();
    }
}

/// After a signal, who draws has so long to give the terminal back. A terminal that takes nothing
/// any more would hold that up for ever: then the process ends without. A second signal ends it
/// at once.
fn obey_in_the_end(is_over: &Arc<AtomicBool>) -> io::Result<Handle> {
    let mut signals = Signals::new(SIGNALS)?;
    let (obeyed, is_over) = (signals.handle(), Arc::clone(is_over));
    thread::Builder::new().name("signals".into()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            is_over.store(true, Ordering::Release);
            thread::sleep(GRACE);
            let _ = disable_raw_mode();
            let _ = low_level::emulate_default_handler(signal);
        }
    })?;
    Ok(obeyed)
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
