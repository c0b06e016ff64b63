//! The load generator in a pseudo-terminal of its own, and the screen that a user would see there.
//! It is started from a shell that tells before and after how the terminal is set, so that a test
//! sees whether it was given back.

use std::io::{Read as _, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// How long anything may take to show.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// How the terminal is set, the shell's line is printed, and the program runs; then its exit code
/// and how the terminal is set now.
const SCRIPT: &str = r#"stty -g > "$SETTINGS.before"; echo "before the run"
"$@"; code=$?
stty -g > "$SETTINGS.after"; exit $code"#;

/// A terminal with the program in it; both end with the value.
pub(crate) struct TestTerminal {
    shell: Shell,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    seen: Arc<Mutex<Seen>>,
    folder: tempfile::TempDir,
}

/// The shell that started it.
struct Shell(Box<dyn Child + Send + Sync>);

/// What the terminal shows, and whether it ever showed the other screen.
struct Seen {
    parser: vt100::Parser,
    was_on_the_screen: bool,
    is_over: bool,
    /// What comes next ends the reading.
    is_closing: bool,
}

impl TestTerminal {
    /// Starts `loadgen` with these flags in a terminal of so many columns and rows, with these
    /// variables besides.
    pub(crate) fn start(size: [u16; 2], flags: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pair = native_pty_system().openpty(pty_size(size)).unwrap();
        let mut command = CommandBuilder::new("bash");
        command.args(["-m", "-c", SCRIPT, "bash", LOADGEN]);
        command.args(flags.split_whitespace());
        command.env("TERM", "xterm-256color");
        command.env("SETTINGS", folder.path().join("terminal"));
        command.env_remove("NO_COLOR");
        for (name, value) in variables {
            command.env(name, value);
        }
        let shell = Shell(pair.slave.spawn_command(command).unwrap());
        let parser = vt100::Parser::new(rows(size), columns(size), 1000);
        let seen = Seen { parser, was_on_the_screen: false, is_over: false, is_closing: false };
        let seen = Arc::new(Mutex::new(seen));
        let (mut output, sink) = (pair.master.try_clone_reader().unwrap(), Arc::clone(&seen));
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut chunk) {
                let mut seen = sink.lock().unwrap_or_else(PoisonError::into_inner);
                seen.parser.process(&chunk[..length]);
                seen.was_on_the_screen |= seen.parser.screen().alternate_screen();
                if seen.is_closing {
                    break;
                }
            }
            drop(output);
            sink.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        });
        let keyboard = pair.master.take_writer().unwrap();
        Self { shell, master: pair.master, keyboard, seen, folder }
    }

    /// Waits until the screen is as wanted, and returns its text.
    pub(crate) fn wait_for(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let text = self.text();
            if is_there(&text) {
                return text;
            }
            assert!(Instant::now() < deadline && !self.is_over(), "{what} did not show:\n{text}");
            thread::sleep(POLL);
        }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&self, size: [u16; 2]) {
        // First the screen, so that nothing drawn for the new size meets the old one.
        self.seen().parser.screen_mut().set_size(rows(size), columns(size));
        self.master.resize(pty_size(size)).unwrap();
    }

    /// The program's id: it leads what runs in the foreground.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.master.process_group_leader().unwrap()).unwrap()
    }

    /// From now on nothing that is written is read, and there is no room left for more.
    pub(crate) fn stall(&self) {
        self.stop_reading();
        let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK;
        let name = self.master.tty_name().unwrap();
        let mut line = std::fs::File::from(open(name, flags, Mode::empty()).unwrap());
        while line.write(b"x").is_ok() {}
    }

    fn stop_reading(&self) {
        self.seen().is_closing = true;
        let deadline = Instant::now() + LIMIT;
        while !self.is_over() {
            assert!(Instant::now() < deadline, "nothing is drawn any more:\n{}", self.text());
            thread::sleep(POLL);
        }
    }

    /// Closes the terminal as a window is closed, and waits until nothing of what ran in it runs.
    pub(crate) fn close(self) {
        let program = self.pid();
        self.stop_reading();
        let Self { shell, master, keyboard, .. } = self;
        drop((master, keyboard));
        wait_for_end(program);
        drop(shell);
    }

    /// Waits for the end with this exit code; the terminal must be as it was before. Returns what
    /// it shows then.
    pub(crate) fn finish(&mut self, code: u32) -> String {
        let status = self.wait();
        let text = self.text();
        assert_eq!(status.exit_code(), code, "{text}");
        self.assert_given_back();
        text
    }

    /// The same where this signal ended the process.
    pub(crate) fn finish_by(&mut self, signal: Signal) -> String {
        self.finish(128 + signal.as_raw().cast_unsigned())
    }

    pub(crate) fn is_on_the_screen(&self) -> bool {
        self.seen().parser.screen().alternate_screen()
    }

    pub(crate) fn was_on_the_screen(&self) -> bool {
        self.seen().was_on_the_screen
    }

    /// Whether any letter is in colour.
    pub(crate) fn has_colours(&self) -> bool {
        let seen = self.seen();
        let screen = seen.parser.screen();
        let (rows, columns) = screen.size();
        let mut cells =
            (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column)));
        cells.any(|(row, column)| {
            let cell = screen.cell(row, column).unwrap();
            cell.fgcolor() != vt100::Color::Default || cell.bgcolor() != vt100::Color::Default
        })
    }

    fn assert_given_back(&self) {
        let seen = self.seen();
        let screen = seen.parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "the screen is still taken");
        drop(seen);
        let settings = |when: &str| {
            std::fs::read_to_string(self.folder.path().join(format!("terminal.{when}"))).unwrap()
        };
        assert_eq!(settings("before"), settings("after"), "the terminal is set otherwise");
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            let status = self.shell.0.try_wait().unwrap();
            if let Some(status) = status.filter(|_| self.is_over() || Instant::now() >= deadline) {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.text());
            thread::sleep(POLL);
        }
    }

    fn text(&self) -> String {
        let contents = self.seen().parser.screen().contents();
        contents.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    fn is_over(&self) -> bool {
        self.seen().is_over
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Fails only if it has ended already; what runs in it ends with its terminal.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until this process has ended, whoever's child it is.
pub(crate) fn wait_for_end(process: Pid) {
    let deadline = Instant::now() + LIMIT;
    while is_running(process) {
        if Instant::now() >= deadline {
            let _ = kill_process(process, Signal::KILL);
            panic!("it does not end");
        }
        thread::sleep(POLL);
    }
}

/// Whether the process does anything yet: one that nobody has waited for does not.
fn is_running(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')))
}

fn pty_size([cols, rows]: [u16; 2]) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}

fn rows([_, rows]: [u16; 2]) -> std::num::NonZeroU16 {
    rows.try_into().unwrap()
}

fn columns([columns, _]: [u16; 2]) -> std::num::NonZeroU16 {
    columns.try_into().unwrap()
}
