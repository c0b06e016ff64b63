//! `loadgen agent`: waits for runs that need a hand, on an address or on the socket that the run
//! gave this process as its standard input. Lets nobody in who does not know the token, and one run
//! at a time. Called by `main`'s way into the scenarios.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::net::sockopt::socket_type;
use signal_hook::consts::SIGINT;
use socket2::Socket;

use super::frame::{self, STRANGER_BYTES_MAX};
use super::message::{Answer, Claim, Greeting, PROTOCOL};
use super::seat::keep_alive;
use super::secret;
use super::serve::{AtEnd, serve, welcome};

/// How long a caller may take to prove that he may call.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a run may take no byte of what it is told.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a caller waits for the run before his to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Callers at one time, the run included; further ones are hung up on.
const CALLERS_MAX: usize = 16;

/// The shortest token.
const TOKEN_BYTES_MIN: usize = 8;

/// Exit code of a command line that makes no sense.
const USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  On each of two hosts that are to help:
      LOADGEN_AGENT_TOKEN=correct-horse loadgen agent --listen 0.0.0.0:7100

  And where the run is started:
      LOADGEN_AGENT_TOKEN=correct-horse loadgen fanout --url ws://10.0.0.5:8080/ws \\
          --agents 10.0.0.7:7100,10.0.0.8:7100 --subscribers 100000

An agent opens connections to whatever target a run names. Whoever knows the token can have it do
that, so choose one that can't be guessed, and do not leave agents running. What is said between run
and agent is not encrypted; the token itself is never sent.

It serves one run at a time, one after the other, until it is stopped. When a run ends or is gone,
its connections are closed.";

/// The flags of `loadgen agent`.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true, after_long_help = EXAMPLES)]
pub struct AgentFlags {
    /// Where runs call, as ADDR:PORT; port 0 takes a free one. Without it, the process serves the
    /// run that started it, which is how --processes works.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// What runs must know, at least 8 characters; only on a loopback address it may be left out.
    #[arg(long, env = "LOADGEN_AGENT_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
}

/// Serves and returns the exit code.
///
/// # Errors
///
/// If the system fails the agent.
pub fn run(flags: &AgentFlags) -> anyhow::Result<u8> {
    match flags.listen {
        None => Ok(serve_parent()?),
        Some(address) => {
            let token = flags.token.as_deref().unwrap_or_default();
            if let Err(why) = check(address, token) {
                return Ok(refuse(&why));
            }
            let listener = match TcpListener::bind(address) {
                Ok(listener) => listener,
                Err(error) => return Ok(refuse(&format!("cannot listen on {address}: {error}"))),
            };
            writeln!(io::stdout().lock(), "listening on {}", listener.local_addr()?)?;
            Agent::new(token).answer(&listener)
        }
    }
}

fn refuse(why: &str) -> u8 {
    let _ = writeln!(io::stderr().lock(), "loadgen: {why}"); // nobody may be looking
    USAGE
}

fn check(address: SocketAddr, token: &str) -> Result<(), String> {
    let is_short = token.len() < TOKEN_BYTES_MIN;
    match (address.ip().is_loopback(), token.is_empty()) {
        (true, true) => Ok(()),
        (false, true) => Err(format!(
            "--listen {address} can be reached from other hosts: it needs a --token, so that not \
             everybody can aim this machine at somebody"
        )),
        _ if is_short => {
            Err(format!("--token is too short: at least {TOKEN_BYTES_MIN} characters"))
        }
        _ => Ok(()),
    }
}

fn serve_parent() -> io::Result<u8> {
    let stdin = io::stdin();
    if socket_type(&stdin).is_err() {
        return Ok(refuse("agent: --listen ADDR:PORT is missing"));
    }
    // The interrupt key is pressed for all processes of a terminal; the run says what follows.
    signal_hook::flag::register(SIGINT, Arc::default())?;
    let socket = Socket::from(stdin.as_fd().try_clone_to_owned()?);
    if shake_hands(&socket, "", || Some(()))?.is_some() {
        serve(socket, AtEnd::Exit)?;
    }
    Ok(0)
}

/// Whoever listens.
struct Agent {
    token: String,
    is_busy: AtomicBool,
    callers: AtomicUsize,
}

impl Agent {
    fn new(token: &str) -> Arc<Self> {
        let (is_busy, callers) = (AtomicBool::default(), AtomicUsize::default());
        Arc::new(Self { token: token.to_owned(), is_busy, callers })
    }

    /// For as long as the process runs.
    fn answer(self: Arc<Self>, listener: &TcpListener) -> anyhow::Result<u8> {
        loop {
            let (stream, caller) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(_) => {
                    // No file is left, as a rule: the end of a run brings some.
                    thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            if self.callers.fetch_add(1, Ordering::AcqRel) >= CALLERS_MAX {
                self.callers.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let agent = Arc::clone(&self);
            let builder = thread::Builder::new().name("caller".to_owned());
            builder.spawn(move || {
                let _leaving = Leaving(&agent);
                if let Err(error) = agent.talk(stream) {
                    let _ = writeln!(io::stderr().lock(), "{caller}: {error}");
                }
            })?;
        }
    }

    fn talk(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = Socket::from(stream);
        keep_alive(&socket)?;
        socket.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
        socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let Some(_hired) = shake_hands(&socket, &self.token, || Hired::of(&self.is_busy))? else {
            return Ok(());
        };
        socket.set_read_timeout(None)?;
        serve(socket, AtEnd::Return)
    }
}

/// A caller leaves, however that comes.
struct Leaving<'a>(&'a Agent);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.callers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The agent is not free, until this is dropped.
struct Hired<'a>(&'a AtomicBool);

impl<'a> Hired<'a> {
    /// The run before may just be leaving.
    fn of(is_busy: &'a AtomicBool) -> Option<Self> {
        let until = Instant::now() + LEAVE_TIMEOUT;
        while is_busy.swap(true, Ordering::AcqRel) {
            if Instant::now() >= until {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
        Some(Self(is_busy))
    }
}

impl Drop for Hired<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Hires the agent out, which is tried last, if the caller speaks its language and knows the token.
/// If he may not have it, he is told why.
fn shake_hands<T>(
    socket: &Socket,
    token: &str,
    hire: impl FnOnce() -> Option<T>,
) -> io::Result<Option<T>> {
    let (nonce, loadgen) = (secret::nonce()?, env!("CARGO_PKG_VERSION").to_owned());
    frame::send(socket, &Greeting { protocol: PROTOCOL, loadgen: loadgen.clone(), nonce })?;
    let Some(claim) = frame::receive::<Claim>(socket, STRANGER_BYTES_MAX)? else {
        return Ok(None);
    };
    let refusal = if (claim.protocol, &claim.loadgen) != (PROTOCOL, &loadgen) {
        format!("the agent is loadgen {loadgen}, the run {}: they must be the same", claim.loadgen)
    } else if !secret::is_proof(token, &nonce, &claim.proof) {
        "the token is wrong".to_owned()
    } else if let Some(hired) = hire() {
        frame::send(socket, &Answer::Welcome(welcome()))?;
        return Ok(Some(hired));
    } else {
        "the agent is busy with another run".to_owned()
    };
    frame::send(socket, &Answer::Refused(refusal))?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_address_that_others_can_reach_needs_a_token_that_is_not_short() {
        let check = |address: &str, token| super::check(address.parse().unwrap(), token).is_ok();
        assert!(check("127.0.0.1:0", "") && check("[::1]:7100", ""));
        assert!(check("0.0.0.0:7100", "12345678") && check("127.0.0.1:7100", "12345678"));
        assert!(!check("0.0.0.0:7100", "") && !check("[::]:7100", "") && !check("10.0.0.1:1", ""));
        assert!(!check("0.0.0.0:7100", "1234567") && !check("127.0.0.1:7100", "1234567"));
    }
}
