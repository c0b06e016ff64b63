//! The servers under comparison: what each is, how it is fetched and how it is started on a port.
//! Measures nothing; the rounds start them.

use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

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
}

impl Contender {
    /// Those that the broker is compared with unless others are asked for.
    pub const USUAL: [Self; 7] = [
        Self::Uring,
        Self::Bare,
        Self::Uws,
        Self::Tungstenite,
        Self::Ws,
        Self::Mosquitto,
        Self::Nats,
    ];

    /// As it is called in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::BrokerAgain => "broker again",
            Self::Uring => "broker --io-uring",
            Self::Delayed => "broker --flush-ms 20",
            Self::Bare => "bare loop",
            Self::Uws => "uWebSockets.js",
            Self::Tungstenite => "tokio-tungstenite",
            Self::Ws => "ws",
            Self::Mosquitto => "mosquitto",
            Self::Nats => "nats-server",
        }
    }

    /// Whether it is the broker as it is by default.
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Broker | Self::BrokerAgain)
    }

    /// Gets what it needs, unless that was done before.
    ///
    /// # Errors
    /// If it can't be had: no network, no Node.
    pub fn fetch(self, tools: &Tools) -> anyhow::Result<()> {
        match self {
            Self::Broker | Self::BrokerAgain | Self::Uring | Self::Delayed => Ok(()),
            Self::Bare | Self::Tungstenite => Ok(()),
            Self::Uws | Self::Ws => tools.fetch_node(),
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
        let node = |script: &str| {
            let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
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
            Self::Broker | Self::BrokerAgain | Self::Uring | Self::Delayed => {
                let mut command = Command::new(tools.own("broker"));
                command.args(["--workers", "1", "--pin", "false", "--listen"]);
                command.arg(format!("127.0.0.1:{port}"));
                match self {
                    Self::Uring => command.arg("--io-uring"),
                    Self::Delayed => command.args(["--flush-ms", "20"]),
                    _ => &mut command,
                };
                command
            }
            Self::Bare => serve("bare"),
            Self::Tungstenite => serve("tungstenite"),
            Self::Uws => node("uws.mjs"),
            Self::Ws => node("ws.mjs"),
            Self::Mosquitto => mosquitto(&tools.mosquitto_folder(), port)?,
            Self::Nats => nats(&tools.nats_folder(), port)?,
        })
    }

    /// Where its sockets are.
    #[must_use]
    pub fn url(self, port: u16) -> String {
        format!("ws://127.0.0.1:{port}/ws")
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
            Self::Bare | Self::Uws | Self::Tungstenite | Self::Ws => Vec::new(),
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
    let libraries = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    command.env("LD_LIBRARY_PATH", folder.join(libraries));
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
