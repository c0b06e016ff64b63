//! One agent as its run sees it: a socket, a thread that hears what the agent says, and what was
//! heard. Starts an agent's process or calls one on another host; decides nothing about the run.
//! Owned by the crew. An agent whose seat is dropped ends.

use std::io;
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Socket, TcpKeepalive};

use super::clock::{Estimate, Exchange};
use super::frame::{self, FRAME_BYTES_MAX, STRANGER_BYTES_MAX};
use super::message::{Answer, Claim, Done, Greeting, Order, PROTOCOL, Status, Welcome};
use super::secret;
use crate::engine::Ledger;
use crate::sys;

/// How long an agent may take to answer at the beginning, and to take an order.
const PATIENCE: Duration = Duration::from_secs(10);

/// An agent that says nothing for so long is lost, though its connection may still be there.
const SILENCE: Duration = Duration::from_secs(15);

/// How long the process of an agent may take to end once its run is gone; then it is killed.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// How long after its socket the process of an agent may end.
const EXIT_PATIENCE: Duration = Duration::from_millis(100);

/// One agent, hired.
#[derive(Debug)]
pub(super) struct Seat {
    /// How it is called in reports.
    pub(super) name: String,
    pub(super) welcome: Welcome,
    socket: Socket,
    /// Its process, if it is ours.
    child: Mutex<Option<Child>>,
    heard: Arc<Heard>,
    ear: Option<JoinHandle<()>>,
}

/// What an agent said so far.
#[derive(Debug, Default)]
struct Heard {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: Status,
    pub(super) ledgers: Vec<Ledger>,
    pub(super) done: Option<Done>,
    is_planned: bool,
    /// The number of the last probe that was answered, what the agent's clock showed, and when the
    /// answer was here.
    probed: (u64, u64, u64),
    last: Instant,
    /// Why there will be no more.
    end: Option<String>,
    /// Whether the agent itself said why.
    is_refusal: bool,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            status: Status::default(),
            ledgers: Vec::new(),
            done: None,
            is_planned: false,
            probed: (0, 0, 0),
            last: Instant::now(),
            end: None,
            is_refusal: false,
        }
    }
}

impl Seat {
    /// Starts an agent as a process of this machine, of the very program that runs.
    pub(super) fn start(number: usize) -> Result<Self, String> {
        let name = format!("process {number}");
        let cannot = |error: io::Error| format!("cannot start {name}: {error}");
        let (ours, its) = UnixStream::pair().map_err(cannot)?;
        let program = std::env::current_exe().map_err(cannot)?;
        let child = Command::new(program)
            .arg("agent")
            .stdin(Stdio::from(OwnedFd::from(its)))
            .stdout(Stdio::null())
            .spawn()
            .map_err(cannot)?;
        Self::hire(name, Socket::from(ours), Some(child), "")
    }

    /// Calls an agent that listens at `address`.
    pub(super) fn call(address: &str, token: &str) -> Result<Self, String> {
        let cannot = |error: io::Error| format!("cannot reach agent {address}: {error}");
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for found in address.to_socket_addrs().map_err(cannot)? {
            match TcpStream::connect_timeout(&found, PATIENCE) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(cannot)?;
                    let socket = Socket::from(stream);
                    keep_alive(&socket).map_err(cannot)?;
                    return Self::hire(format!("agent {address}"), socket, None, token);
                }
                Err(error) => last = error,
            }
        }
        Err(cannot(last))
    }

    fn hire(
        name: String,
        socket: Socket,
        child: Option<Child>,
        token: &str,
    ) -> Result<Self, String> {
        // From here on, the child ends with the seat.
        let child = Mutex::new(child);
        let heard = Arc::<Heard>::default();
        let welcome = Welcome { pid: 0, cores: 1, open_files: 0, clock: None };
        let mut seat = Self { name, welcome, socket, child, heard, ear: None };
        seat.welcome = seat.shake_hands(token).map_err(|why| match seat.loss() {
            Some(loss) => format!("{loss}: {why}"),
            None => format!("{}: {why}", seat.name),
        })?;
        let listen = |error: io::Error| format!("{}: {error}", seat.name);
        let (heard, ear) = (Arc::clone(&seat.heard), seat.socket.try_clone().map_err(listen)?);
        let listening = thread::Builder::new().name("agent".to_owned()).spawn(move || {
            heard.listen(&ear);
        });
        seat.ear = Some(listening.map_err(|error| format!("{}: {error}", seat.name))?);
        Ok(seat)
    }

    fn shake_hands(&self, token: &str) -> Result<Welcome, String> {
        let socket = &self.socket;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => "it does not answer; is that an agent?".to_owned(),
            io::ErrorKind::InvalidData => format!("it is no agent: {error}"),
            _ => error.to_string(),
        };
        let ended = || "it ended the connection".to_owned();
        socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        socket.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        let greeting: Greeting =
            frame::receive(socket, STRANGER_BYTES_MAX).map_err(failed)?.ok_or_else(ended)?;
        let loadgen = env!("CARGO_PKG_VERSION");
        let proof = secret::proof(token, &greeting.nonce);
        let claim = Claim { protocol: PROTOCOL, loadgen: loadgen.to_owned(), proof };
        frame::send(socket, &claim).map_err(failed)?;
        match frame::receive(socket, STRANGER_BYTES_MAX).map_err(failed)?.ok_or_else(ended)? {
            Answer::Welcome(welcome) => {
                socket.set_read_timeout(None).map_err(failed)?;
                Ok(welcome)
            }
            Answer::Refused(why) => Err(why),
            other => Err(format!("it said {other:?}, where a welcome belongs")),
        }
    }

    /// Gives an order. What can't be given is noticed as the end of the agent.
    pub(super) fn order(&self, order: &Order) {
        if let Err(error) = frame::send(&self.socket, order) {
            self.heard.said().end.get_or_insert(error.to_string());
        }
    }

    /// Waits until the agent is ready for its part.
    pub(super) fn wait_planned(&self) -> Result<(), String> {
        self.wait(PATIENCE, |said| said.is_planned)
    }

    /// Waits for all ledgers and takes them.
    pub(super) fn wait_done(&self) -> Result<(Vec<Ledger>, Done), String> {
        // As long as it says something, it is not given up.
        loop {
            let before = self.heard.said().ledgers.len();
            let waited = self.wait(SILENCE, |said| said.done.is_some());
            let mut said = self.heard.said();
            if let Some(done) = said.done {
                return Ok((std::mem::take(&mut said.ledgers), done));
            }
            if said.ledgers.len() == before {
                drop(said);
                waited?;
            }
        }
    }

    /// Asks the agent for its clock so many times; none if it is not there any more.
    pub(super) fn ask_clock(&self, times: u64) -> Option<Estimate> {
        let first = self.heard.said().probed.0 + 1;
        let exchanges = (first..first + times).map_while(|probe| {
            let sent_ns = sys::machine_ns();
            self.order(&Order::Probe(probe));
            self.wait(PATIENCE, |said| said.probed.0 >= probe).ok()?;
            let (_, there_ns, back_ns) = self.heard.said().probed;
            Some(Exchange { sent_ns, there_ns, back_ns })
        });
        Estimate::from_exchanges(exchanges)
    }

    /// What was heard.
    pub(super) fn said(&self) -> MutexGuard<'_, Said> {
        self.heard.said()
    }

    /// Why the agent is lost, if it is: before all that was asked of it is done.
    pub(super) fn loss(&self) -> Option<String> {
        let Said { end, is_refusal, last, .. } = &*self.heard.said();
        match end {
            Some(why) if *is_refusal => Some(format!("{}: {why}", self.name)),
            Some(why) => Some(match self.exit() {
                Some(exit) => format!("{} (pid {}) ended: {exit}", self.name, self.welcome.pid),
                None => format!("{} is lost: {why}", self.name),
            }),
            None if last.elapsed() > SILENCE => {
                Some(format!("{} said nothing for {} s", self.name, SILENCE.as_secs()))
            }
            None => None,
        }
    }

    /// How its process ended, if it is ours. It is gone from its socket: it ends in a moment.
    fn exit(&self) -> Option<String> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + EXIT_PATIENCE;
        loop {
            match child.as_mut()?.try_wait() {
                Ok(Some(status)) => return Some(status.to_string()),
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(1)),
                _ => return None,
            }
        }
    }

    fn wait(&self, patience: Duration, is_there: impl Fn(&Said) -> bool) -> Result<(), String> {
        let until = Instant::now() + patience;
        let mut said = self.heard.said();
        loop {
            if is_there(&said) {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if said.end.is_some() || left.is_zero() {
                drop(said);
                let late =
                    || format!("{} did not answer within {} s", self.name, patience.as_secs());
                return Err(self.loss().unwrap_or_else(late));
            }
            let waited = self.heard.more.wait_timeout(said, left);
            said = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both); // fails if the other end is gone
        if let Some(ear) = self.ear.take() {
            let _ = ear.join();
        }
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(child) = child else { return };
        let until = Instant::now() + END_PATIENCE;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(Duration::from_millis(2));
        }
        let _ = child.kill(); // fails if it has ended, as it should
        let _ = child.wait();
    }
}

impl Heard {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the connection ends.
    fn listen(&self, socket: &Socket) {
        let (end, is_refusal) = loop {
            match frame::receive(socket, FRAME_BYTES_MAX) {
                Ok(Some(Answer::Refused(why))) => break (why, true),
                Ok(Some(answer)) => self.handle(answer, sys::machine_ns()),
                Ok(None) => break ("it ended the connection".to_owned(), false),
                Err(error) => break (error.to_string(), false),
            }
        };
        let mut said = self.said();
        if is_refusal || said.end.is_none() {
            (said.end, said.is_refusal) = (Some(end), is_refusal);
        }
        drop(said);
        self.more.notify_all();
    }

    fn handle(&self, answer: Answer, now_ns: u64) {
        let mut said = self.said();
        said.last = Instant::now();
        match answer {
            Answer::Probed { probe, now_ns: there_ns } => said.probed = (probe, there_ns, now_ns),
            Answer::Planned => said.is_planned = true,
            Answer::Status(mut status) => {
                if status.pulse.is_none() {
                    status.pulse = said.status.pulse.take();
                }
                said.status = *status;
            }
            Answer::Ledger(ledger) => said.ledgers.push(*ledger),
            Answer::Done(done) => said.done = Some(done),
            Answer::Welcome(_) | Answer::Refused(_) => {}
        }
        drop(said);
        self.more.notify_all();
    }
}

/// So that the end of a host or of the way to it is noticed, in some ten seconds.
pub(super) fn keep_alive(socket: &Socket) -> io::Result<()> {
    let often = Duration::from_secs(3);
    let keepalive = TcpKeepalive::new().with_time(often).with_interval(often).with_retries(3);
    socket.set_tcp_keepalive(&keepalive)
}
