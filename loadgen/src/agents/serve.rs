//! An agent's end of a run: takes orders from a socket, has an engine do the work, says many times
//! a second how it does, and hands over the ledgers. When the run is gone, so is the work. Knows no
//! target and no flags; called for a process that a run started, and for each run that calls.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::Socket;

use super::frame::{self, FRAME_BYTES_MAX};
use super::message::{Answer, Done, Order, Status, Welcome};
use super::spread::{connections_max, connections_of};
use crate::engine::{Engine, PULSE_EVERY_NS, Phase, Plan};
use crate::host::HostCpu;
use crate::sys;
use crate::target_process::Usage;

/// How often the run is told how the agent does.
const STATUS_EVERY: Duration = Duration::from_millis(20);

/// Orders that were heard and not followed yet; with more, no more are read.
const ORDERS_MAX: usize = 16;

/// What to do when the run is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtEnd {
    /// The process was there for it alone: it ends at once, whatever it is doing.
    Exit,
    /// Stop the work and return.
    Return,
}

/// What this process has to offer.
pub(super) fn welcome() -> Welcome {
    Welcome {
        pid: std::process::id(),
        cores: thread::available_parallelism().map_or(1, usize::from),
        open_files: sys::raise_open_files(),
        clock: sys::clock_name(),
    }
}

/// Does the work of one run, which was welcomed on this socket.
///
/// # Errors
///
/// If the system fails the agent, or the run asks for what can't be. The run is told.
pub(super) fn serve(socket: Socket, at_end: AtEnd) -> io::Result<()> {
    sys::set_clock_offset(0);
    let line = Arc::new(Line { socket, sending: Mutex::default() });
    let (sender, orders) = sync_channel(ORDERS_MAX);
    let ear = Arc::clone(&line);
    let listening = thread::Builder::new().name("orders".to_owned());
    listening.spawn(move || listen(&ear, &sender, at_end))?;
    let served = follow(&line, &orders);
    if let Err(why) = &served {
        let _ = line.say(&Answer::Refused(why.to_string())); // it may be gone
    }
    // What was said must be heard before the line is cut: the run ends it.
    while orders.recv().is_ok() {}
    served
}

/// The socket, which two threads write to.
struct Line {
    socket: Socket,
    sending: Mutex<()>,
}

impl Line {
    fn say(&self, answer: &Answer) -> io::Result<()> {
        let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        frame::send(&self.socket, answer)
    }
}

/// Passes orders on, and answers at once where the time counts.
fn listen(line: &Line, orders: &SyncSender<Order>, at_end: AtEnd) {
    while let Ok(Some(order)) = frame::receive(&line.socket, FRAME_BYTES_MAX) {
        let is_passed_on = match order {
            Order::Probe(probe) => {
                let now_ns = sys::machine_ns();
                line.say(&Answer::Probed { probe, now_ns }).is_ok()
            }
            order => orders.send(order).is_ok(),
        };
        if !is_passed_on {
            break;
        }
    }
    if at_end == AtEnd::Exit {
        std::process::exit(0);
    }
}

fn follow(line: &Line, orders: &Receiver<Order>) -> io::Result<()> {
    let mut plan = None;
    let (plan, rss_bytes) = loop {
        match orders.recv() {
            Ok(Order::SetClock { offset_ns }) => sys::set_clock_offset(offset_ns),
            Ok(Order::Plan(asked)) => {
                check(&asked).map_err(io::Error::other)?;
                plan = Some(*asked);
                line.say(&Answer::Planned)?;
            }
            Ok(Order::Begin) => match plan.take() {
                Some(plan) => break (plan, own_memory()),
                None => return Err(io::Error::other("no plan to begin with")),
            },
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    };
    let mut work = Work {
        engine: Engine::start(plan.clone())?,
        stolen: Stolen::default(),
        pulse_ns: 0,
        cpu_before_ns: sys::process_cpu_ns(),
        plan,
    };
    let is_wanted = work.follow(line, orders)?;
    let grown = own_memory().zip(rss_bytes).map(|(now, before)| now.saturating_sub(before));
    let stolen_share = work.stolen.share();
    let ledgers = work.engine.finish()?;
    if !is_wanted {
        return Ok(());
    }
    for ledger in ledgers {
        line.say(&Answer::Ledger(Box::new(ledger)))?;
    }
    line.say(&Answer::Done(Done { rss_grown_bytes: grown, stolen_share }))
}

/// A run's engine and what is seen beside it.
struct Work {
    engine: Engine,
    plan: Plan,
    stolen: Stolen,
    /// When the pulse was last sent.
    pulse_ns: u64,
    /// What the process had used before, for other runs.
    cpu_before_ns: u64,
}

impl Work {
    /// Until the run wants the ledgers, or is gone: then it does not want them.
    fn follow(&mut self, line: &Line, orders: &Receiver<Order>) -> io::Result<bool> {
        loop {
            match orders.recv_timeout(STATUS_EVERY) {
                Ok(Order::SetClock { offset_ns }) => sys::set_clock_offset(offset_ns),
                Ok(Order::Publish { start_ns }) => self.engine.publish(start_ns),
                Ok(Order::Enter(phase @ (Phase::Settle | Phase::Drain))) => {
                    self.stolen.look(phase == Phase::Drain);
                    self.engine.enter(phase);
                }
                Ok(Order::Finish) => return Ok(true),
                Ok(_) => return Err(io::Error::other("an order that does not belong there")),
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
                Err(RecvTimeoutError::Timeout) => {
                    if self.engine.has_stopped() {
                        return Ok(true);
                    }
                    self.look();
                    if line.say(&Answer::Status(Box::new(self.status()))).is_err() {
                        return Ok(false);
                    }
                }
            }
        }
    }

    fn look(&mut self) {
        let start_ns = self.engine.start_ns();
        if start_ns != 0 && sys::now_ns() >= start_ns + self.plan.schedule.measured_after_ns() {
            self.stolen.begin = self.stolen.begin.or_else(HostCpu::read);
        }
    }

    fn status(&mut self) -> Status {
        let at_ns = sys::now_ns();
        let is_due = at_ns >= self.pulse_ns.saturating_add(PULSE_EVERY_NS);
        if is_due {
            self.pulse_ns = at_ns;
        }
        Status {
            at_ns,
            progress: self.engine.progress(),
            cpu_ns: sys::process_cpu_ns() - self.cpu_before_ns,
            pulse: is_due.then(|| self.engine.pulse()),
        }
    }
}

/// The machine's processor time at the begin and the end of measuring.
#[derive(Default)]
struct Stolen {
    begin: Option<HostCpu>,
    end: Option<HostCpu>,
}

impl Stolen {
    fn look(&mut self, is_end: bool) {
        if is_end {
            self.end = HostCpu::read();
        }
    }

    fn share(&self) -> Option<f64> {
        Some(self.end?.stolen_share_since(self.begin?))
    }
}

fn own_memory() -> Option<u64> {
    Usage::of(std::process::id()).map(|usage| usage.rss_bytes)
}

/// That the engine can do what is asked, whoever asks.
fn check(plan: &Plan) -> Result<(), String> {
    let (part, threads) = (plan.part, plan.threads);
    let last = part.first.saturating_add(threads);
    if !(1..=1024).contains(&threads) || last > part.workers || part.workers > 1 << 20 {
        return Err(format!(
            "{threads} threads from {} of {} make no part",
            part.first, part.workers
        ));
    }
    plan.check()?;
    let connections = connections_of(plan, part, threads);
    let possible = connections_max(sys::raise_open_files(), threads);
    match connections > possible {
        true => Err(format!("{possible} of {connections} connections are possible here")),
        false => Ok(()),
    }
}
