//! Other people's servers, fetched and started as the comparison does it, under a load so small that
//! each must bear it: whatever the load generator publishes comes to every subscriber.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench::peers::contender::Contender;
use bench::peers::tools::Tools;

/// Those that are not in this workspace, and ours where it is started in a way of its own.
const PEERS: [Contender; 10] = [
    Contender::Tls,
    Contender::Uws,
    Contender::Ws,
    Contender::SocketIo,
    Contender::Mosquitto,
    Contender::Redis,
    Contender::Nchan,
    Contender::Nats,
    Contender::Tornado,
    Contender::Pywebsocket,
];

/// Ended with the value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the server on a free port and returns the port.
fn start(peer: Contender, tools: &Tools) -> (Server, u16) {
    let free = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    let mut command = peer.command(tools, port).expect("its settings can be written");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut server = Server(command.spawn().expect("it is there"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = server.0.try_wait().expect("it is ours");
        assert!(ended.is_none(), "{} ended: {ended:?}", peer.name());
        assert!(Instant::now() < deadline, "{} does not listen", peer.name());
        thread::sleep(Duration::from_millis(20));
    }
    (server, port)
}

/// What the load generator said of 30 subscribers and 20 messages.
fn load(peer: Contender, tools: &Tools) -> String {
    let (_server, port) = start(peer, tools);
    let output = Command::new(tools.own("loadgen"))
        .args(["fanout", "--subscribers", "30", "--rate", "50", "--warmup", "0.1", "--seconds"])
        .args(["0.3", "--threads", "1", "--drain", "3", "--quiet", "--allow-invalid"])
        .args(["--url", &peer.url(port)])
        .args(peer.loadgen_flags(port))
        .output()
        .expect("it is built");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn every_peer_delivers_what_the_load_generator_publishes() {
    let tools = Tools::at_hand().expect("our own programs build");
    let fetched = |peer: &Contender| match peer.fetch(&tools) {
        Ok(()) => true,
        Err(why) => {
            let is_strict = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!is_strict, "{} cannot be had: {why:#}", peer.name());
            eprintln!("{} is not tried: {why:#}", peer.name());
            false
        }
    };
    let peers: Vec<_> = PEERS.into_iter().filter(fetched).collect();
    let failed: Vec<String> = thread::scope(|scope| {
        let tools = &tools;
        let runs: Vec<_> =
            peers.iter().map(|&peer| (peer, scope.spawn(move || load(peer, tools)))).collect();
        let said = runs.into_iter().map(|(peer, run)| {
            (peer, run.join().unwrap_or_else(|_| "the server did not start".to_owned()))
        });
        let expected = "OK: 30 subscribers × 20 messages = 600 delivered, 0 lost, ";
        let wrong = said.filter(|(_, said)| !said.starts_with(expected));
        wrong.map(|(peer, said)| format!("{}: {said}", peer.name())).collect()
    });
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}
