//! Every setting of the broker, each defined once: flag, environment variable, key in the TOML
//! file, default, unit, limit and meaning all come from the fields of this one struct.
//!
//! A field `head_bytes_max` is the flag `--head-bytes-max`, the variable `ALTAVOZ_HEAD_BYTES_MAX`
//! and the key `head_bytes_max`. Holds plain values only; `config::load` reads them when the
//! process starts, and again when it is asked to.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{ArgAction, Parser, ValueEnum, value_parser};
use serde::Serialize;

pub mod auth;
pub mod backplane;
mod changed;
mod check;
pub mod deflate;
mod demo;
mod examples;
mod file;
pub mod keys;
pub mod load;
pub mod proxies;
pub mod rules;
pub mod store;
pub mod tls;
mod values;

use self::auth::KeyEntry;
use self::backplane::Backplane;
pub use self::changed::changed;
use self::deflate::Deflate;
use self::examples::EXAMPLES;
use self::keys::ApiKey;
use self::proxies::Proxies;
use self::rules::{FLUSH_MS_MAX, Overload, Presence, RuleEntry};
use self::store::Store;
use self::tls::Tls;
use self::values::{address_or_none, cookie_name, filter, log_filter, origin, path};

/// Most worker threads one broker can have: a topic keeps its interested workers in one 64-bit word.
pub const WORKERS_MAX: usize = 64;

/// Longest deadline or interval that can be set: one hour.
pub const DEADLINE_MS_MAX: u64 = 3_600_000;

/// Longest time for which something of a topic can be kept: thirty days.
pub const KEEP_MS_MAX: u64 = 30 * 24 * 3_600_000;

/// Longest time, in milliseconds, from the signal to stop until the process is gone: what is left
/// to draining and to the last closing handshakes together.
pub const SHUTDOWN_MS_MAX: u64 = 30_000;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;

/// The settings of a broker.
///
/// ```
/// let config = broker::config::Config::default();
/// assert_eq!(config.listen.port(), 8080);
/// assert_eq!(config.message_bytes_max, 65_536);
/// ```
#[derive(Clone, Debug, Parser, Serialize)]
#[command(
    name = "broker",
    version,
    about = "Altavoz: a publish/subscribe broker for the live web, over WebSocket",
    long_about = None,
    after_help = EXAMPLES,
    max_term_width = 100,
    next_line_help = true
)]
pub struct Config {
    /// Address and port to serve WebSocket and HTTP on; port 0 takes a free one
    #[arg(long, help_heading = "Network", value_name = "ADDR:PORT")]
    #[arg(default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Address and port for operators, without TLS: once it is set, /metrics and /console are there
    /// and nowhere else. PROXY headers are not expected there
    #[arg(long, help_heading = "Network", value_name = "ADDR:PORT", default_value = "")]
    #[arg(hide_default_value = true, value_parser = address_or_none)]
    pub admin_listen: String,

    /// Worker threads, each with its own event loop; 0 means one per core; at most 64
    #[arg(long, help_heading = "Network", value_name = "N", default_value_t = 0)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(0..=WORKERS_MAX as u64))]
    pub workers: usize,

    /// Hand all sends of a turn to the kernel in one call, by io_uring: less CPU where a message goes
    /// to very many. Needs Linux 6.1 or newer, and a container that allows it
    #[arg(long, help_heading = "Network", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, default_missing_value = "true", hide_possible_values = true)]
    #[arg(default_value_t = false)]
    pub io_uring: bool,

    /// Keep each worker on a core of its own
    #[arg(long, help_heading = "Network", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, default_missing_value = "true", hide_possible_values = true)]
    #[arg(default_value_t = true)]
    pub pin: bool,

    /// Serve /echo, which sends every WebSocket message back as it came (for conformance tests)
    #[arg(long, help_heading = "Network", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, default_missing_value = "true", hide_possible_values = true)]
    #[arg(default_value_t = false)]
    pub echo: bool,

    /// Origin whose pages may open a WebSocket; repeatable or comma-separated; none means any.
    /// Clients that send no Origin are no browsers and are always let in
    #[arg(long, help_heading = "Network", value_name = "ORIGIN", value_delimiter = ',')]
    #[arg(value_parser = origin)]
    pub allow_origin: Vec<String>,

    /// File with the secret that tokens (JWT, HS256) are signed with: 32 bytes at least. Other
    /// algorithms, public keys and sets of keys are tables `[[auth.key]]` of the settings file
    #[arg(long, help_heading = "Access", value_name = "FILE", default_value = "")]
    #[arg(hide_default_value = true, value_parser = path)]
    pub auth_hmac_secret_file: PathBuf,

    /// Keys that tokens are held against, as tables `[[auth.key]]` in the file
    #[arg(skip)]
    pub auth: Vec<KeyEntry>,

    /// Name of a cookie that may hold the token; needs allow-origin, and refuses who sends no Origin
    #[arg(long, help_heading = "Access", value_name = "NAME", default_value = "")]
    #[arg(hide_default_value = true, value_parser = cookie_name)]
    pub auth_cookie: String,

    /// What clients without a token may subscribe to, as filters; repeatable or comma-separated;
    /// not set: nothing if there are keys, everything if there are none
    #[arg(long, help_heading = "Access", value_name = "FILTER", value_delimiter = ',')]
    #[arg(value_parser = filter)]
    pub anonymous_subscribe: Vec<String>,

    /// What clients without a token may publish on, likewise
    #[arg(long, help_heading = "Access", value_name = "FILTER", value_delimiter = ',')]
    #[arg(value_parser = filter)]
    pub anonymous_publish: Vec<String>,

    /// Time before a token expires at which its bearer is told, in milliseconds; 0 tells nobody
    #[arg(long, help_heading = "Access", value_name = "MS", default_value_t = 30_000)]
    #[arg(value_parser = value_parser!(u64).range(0..=DEADLINE_MS_MAX))]
    pub token_warning_ms: u64,

    /// Time after which a set of keys (JWKS) is looked at again, in milliseconds
    #[arg(long, help_heading = "Access", value_name = "MS", default_value_t = 300_000)]
    #[arg(value_parser = value_parser!(u64).range(100..=KEEP_MS_MAX))]
    pub jwks_refresh_ms: u64,

    /// Least time between two looks at it when tokens name a key that was not in it, in milliseconds
    #[arg(long, help_heading = "Access", value_name = "MS", default_value_t = 30_000)]
    #[arg(value_parser = value_parser!(u64).range(100..=DEADLINE_MS_MAX))]
    pub jwks_retry_ms: u64,

    /// Time for which its keys stay in force when it can't be had, in milliseconds
    #[arg(long, help_heading = "Access", value_name = "MS", default_value_t = 86_400_000)]
    #[arg(value_parser = value_parser!(u64).range(0..=KEEP_MS_MAX))]
    pub jwks_age_ms_max: u64,

    /// Let in everybody although others than this machine can connect and there are no keys
    #[arg(long, help_heading = "Access", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, default_missing_value = "true", hide_possible_values = true)]
    #[arg(default_value_t = false)]
    pub open: bool,

    /// What is asked for under the heading Proxies
    #[command(flatten)]
    #[serde(flatten)]
    pub proxies: Proxies,

    /// What is asked for under the heading TLS
    #[command(flatten)]
    #[serde(flatten)]
    pub tls: Tls,

    /// Serve the demos at / and /demo/, and publish what they show on the topics under demo/
    #[arg(long, help_heading = "Demos", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, default_missing_value = "true", hide_possible_values = true)]
    #[arg(default_value_t = false)]
    pub demo: bool,

    /// With --demo: price updates a second, over all 500 symbols
    #[arg(long, help_heading = "Demos", value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = value_parser!(u32).range(1..=100_000))]
    pub demo_updates_per_second: u32,

    /// What is asked for under the heading Compression
    #[command(flatten)]
    #[serde(flatten)]
    pub deflate: Deflate,

    /// What is asked for under the heading Cluster
    #[command(flatten)]
    #[serde(flatten)]
    pub backplane: Backplane,

    /// What is asked for under the heading Store
    #[command(flatten)]
    #[serde(flatten)]
    pub store: Store,

    /// Longest HTTP request head, in bytes; a longer one is answered 431, or 414 in its first line
    #[arg(long, help_heading = "Limits", value_name = "BYTES", default_value_t = 8192)]
    #[arg(value_parser = value_parser!(u32).range(256..=65_536))]
    pub head_bytes_max: u32,

    /// Most header fields in a request; more are answered 431
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 64)]
    #[arg(value_parser = value_parser!(u32).range(4..=256))]
    pub headers_max: u32,

    /// Longest WebSocket message accepted, in bytes; a longer one closes with 1009
    #[arg(long, help_heading = "Limits", value_name = "BYTES", default_value_t = 65_536)]
    #[arg(value_parser = value_parser!(u32).range(125..=GIB as i64))]
    pub message_bytes_max: u32,

    /// Most bytes that wait for one connection which reads too slowly; beyond, it closes with 4408
    #[arg(long, help_heading = "Limits", value_name = "BYTES", default_value_t = MIB)]
    #[arg(value_parser = value_parser!(u64).range(KIB..=TIB))]
    pub backlog_bytes_max: u64,

    /// Most bytes that wait for all connections together; beyond, the slowest close with 1013
    #[arg(long, help_heading = "Limits", value_name = "BYTES", default_value_t = GIB)]
    #[arg(value_parser = value_parser!(u64).range(KIB..=TIB))]
    pub backlog_total_bytes_max: u64,

    /// Most bytes that wait in a worker's mailbox for other workers' messages; while it is full,
    /// those who fill it are not read
    #[arg(long, help_heading = "Limits", value_name = "BYTES", default_value_t = 8 * MIB)]
    #[arg(value_parser = value_parser!(u64).range(KIB..=TIB))]
    pub mailbox_bytes_max: u64,

    /// Most subscriptions of one connection; more are answered too_many_subscriptions
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub subscriptions_max: u32,

    /// Commands a connection may send in a second, publishes apart, with a burst of twice as many;
    /// more close it with 1008
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub commands_per_second_max: u32,

    /// Commands all connections of a user may send in a second, publishes apart, with a burst of
    /// twice as many; more are answered rate_limited; 0 means no limit
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 0)]
    #[arg(value_parser = value_parser!(u32).range(0..=10_000_000))]
    pub commands_per_second_per_user_max: u32,

    /// Messages a connection may publish in a second, with a burst of twice as many; more are
    /// answered rate_limited; 0 means as many as the broker can take
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 0)]
    #[arg(value_parser = value_parser!(u32).range(0..=10_000_000))]
    pub publishes_per_second_max: u32,

    /// Messages all connections of a user may publish in a second, likewise
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 0)]
    #[arg(value_parser = value_parser!(u32).range(0..=10_000_000))]
    pub publishes_per_second_per_user_max: u32,

    /// Pings and pongs a connection may send in a second, with a burst of ten times as many; more
    /// close with 1008
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 100)]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub control_frames_per_second_max: u32,

    /// Most connections at once; more are answered 503; 0 means what the limit on open files
    /// allows, less a reserve of 64
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 0)]
    #[arg(value_parser = value_parser!(u32).range(0..=100_000_000))]
    pub connections_max: u32,

    /// Most connections at once from one address; more are answered 429; 0 means no limit
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 0)]
    #[arg(value_parser = value_parser!(u32).range(0..=100_000_000))]
    pub connections_per_address_max: u32,

    /// Memory the broker may use, in bytes; from 80 % of it on no new WebSocket is let in, from 90 %
    /// on the largest backlogs are cut, from 95 % on only the last message of a topic is kept; 0
    /// means no limit
    #[arg(long, help_heading = "Limits", value_name = "BYTES", default_value_t = 0)]
    #[arg(value_parser = value_parser!(u64).range(0..=TIB))]
    pub memory_bytes_max: u64,

    /// New connections one address may open in a second, with a burst of ten times as many; more
    /// are answered 429; 0 means no limit
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = value_parser!(u32).range(0..=10_000_000))]
    pub connects_per_second_per_address_max: u32,

    /// Requests to the HTTP API in a second for each key, each user of a token, and each address that
    /// shows neither, with a burst of twice as many; more are answered 429; 0 means no limit
    #[arg(long, help_heading = "Limits", value_name = "N", default_value_t = 0)]
    #[arg(value_parser = value_parser!(u32).range(0..=10_000_000))]
    pub api_requests_per_second_max: u32,

    /// Hold connections from this machine to the limits per address too
    #[arg(long, help_heading = "Limits", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, default_missing_value = "true", hide_possible_values = true)]
    #[arg(default_value_t = false)]
    pub limit_loopback: bool,

    /// Time to send the whole HTTP request head, in milliseconds; then 408
    #[arg(long, help_heading = "Deadlines", value_name = "MS", default_value_t = 5000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DEADLINE_MS_MAX))]
    pub handshake_timeout_ms: u64,

    /// Time from the handshake to the first command, in milliseconds; then 1008; 0 means for ever
    #[arg(long, help_heading = "Deadlines", value_name = "MS", default_value_t = 10_000)]
    #[arg(value_parser = value_parser!(u64).range(0..=DEADLINE_MS_MAX))]
    pub first_command_timeout_ms: u64,

    /// Time from the first to the last byte of a message, in milliseconds; then 1008
    #[arg(long, help_heading = "Deadlines", value_name = "MS", default_value_t = 30_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DEADLINE_MS_MAX))]
    pub message_timeout_ms: u64,

    /// Time a connection with a backlog may take nothing at all, in milliseconds; then it is cut
    #[arg(long, help_heading = "Deadlines", value_name = "MS", default_value_t = 10_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DEADLINE_MS_MAX))]
    pub write_timeout_ms: u64,

    /// Silence after which the broker pings a connection, in milliseconds
    #[arg(long, help_heading = "Deadlines", value_name = "MS", default_value_t = 25_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DEADLINE_MS_MAX))]
    pub ping_interval_ms: u64,

    /// Time for any sign of life after a ping, in milliseconds; then the connection is cut
    #[arg(long, help_heading = "Deadlines", value_name = "MS", default_value_t = 10_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DEADLINE_MS_MAX))]
    pub pong_timeout_ms: u64,

    /// Time for a whole HTTP request with its body until its answer begins, in milliseconds; then
    /// 408
    #[arg(long, help_heading = "Deadlines", value_name = "MS", default_value_t = 30_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DEADLINE_MS_MAX))]
    pub http_request_timeout_ms: u64,

    /// Time for the peer's answer to a close frame, in milliseconds; then the connection is cut
    #[arg(long, help_heading = "Deadlines", value_name = "MS", default_value_t = 5000)]
    #[arg(value_parser = value_parser!(u64).range(1..=SHUTDOWN_MS_MAX))]
    pub close_timeout_ms: u64,

    /// Most topics at once; a publish or subscribe that needs one more is answered unavailable
    #[arg(long, help_heading = "Topics", value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = value_parser!(u32).range(1..=100_000_000))]
    pub topics_max: u32,

    /// Time a topic is kept, with its seq, after its last subscriber and message, in milliseconds
    #[arg(long, help_heading = "Topics", value_name = "MS", default_value_t = 60_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=DEADLINE_MS_MAX))]
    pub topic_linger_ms: u64,

    /// Most messages of a topic that are kept for clients that come back or ask; 0 keeps none
    #[arg(long, help_heading = "Topics", value_name = "N", default_value_t = 100)]
    #[arg(value_parser = value_parser!(u32).range(0..=10_000_000))]
    pub history_messages: u32,

    /// Time for which they are kept, in milliseconds
    #[arg(long, help_heading = "Topics", value_name = "MS", default_value_t = 120_000)]
    #[arg(value_parser = value_parser!(u64).range(0..=KEEP_MS_MAX))]
    pub history_ms: u64,

    /// Most bytes that they take per topic
    #[arg(long, help_heading = "Topics", value_name = "BYTES", default_value_t = MIB)]
    #[arg(value_parser = value_parser!(u64).range(0..=TIB))]
    pub history_bytes: u64,

    /// Most bytes that all topics keep together; beyond, topics keep their last message at most
    #[arg(long, help_heading = "Topics", value_name = "BYTES", default_value_t = 256 * MIB)]
    #[arg(value_parser = value_parser!(u64).range(0..=TIB))]
    pub history_total_bytes_max: u64,

    /// Time for which the last message of a topic is kept for subscribers that ask for it with
    /// `last`, in milliseconds; 0 does not keep it
    #[arg(long, help_heading = "Topics", value_name = "MS", default_value_t = 86_400_000)]
    #[arg(value_parser = value_parser!(u64).range(0..=KEEP_MS_MAX))]
    pub last_ms: u64,

    /// What becomes of the messages of a client that reads too slowly: conflate sends the newest
    /// of each topic, drop_oldest drops the oldest, both with notices; close closes with 4408
    #[arg(long, help_heading = "Topics", value_name = "POLICY", hide_possible_values = true)]
    #[arg(value_enum, default_value_t = Overload::Conflate)]
    pub overload: Overload,

    /// Who may know who is subscribed to a topic: none, or members, which tells every client
    #[arg(long, help_heading = "Topics", value_name = "WHO", hide_possible_values = true)]
    #[arg(value_enum, default_value_t = Presence::None)]
    pub presence: Presence,

    /// Time that a message may wait so that more go out in the same write, in milliseconds: costs
    /// latency, saves CPU where messages come one at a time
    #[arg(long, help_heading = "Topics", value_name = "MS", default_value_t = 0)]
    #[arg(value_parser = value_parser!(u32).range(0..=i64::from(FLUSH_MS_MAX)))]
    pub flush_ms: u32,

    /// Rules for some topics, as tables `[[topic]]` in the file
    #[arg(skip)]
    pub topic: Vec<RuleEntry>,

    /// Keys to the HTTP API, as tables `[[api_key]]` in the file
    #[arg(skip)]
    pub api_key: Vec<ApiKey>,

    /// Time to send clients away when stopping, in milliseconds; at most 25 s, and with
    /// close-timeout-ms at most 30 s
    #[arg(long, help_heading = "Operations", value_name = "MS", default_value_t = 20_000)]
    #[arg(value_parser = value_parser!(u64).range(1..=25_000))]
    pub drain_timeout_ms: u64,

    /// When stopping, the clients of a worker that has a hundred or more are sent away one after
    /// the other within this many milliseconds, half of drain-timeout-ms at most, not all at once
    #[arg(long, help_heading = "Operations", value_name = "MS", default_value_t = 2_000)]
    #[arg(value_parser = value_parser!(u64).range(0..=25_000))]
    pub drain_window_ms: u64,

    /// When stopping, clients are told to come back at a random moment within this many milliseconds
    #[arg(long, help_heading = "Operations", value_name = "MS", default_value_t = 10_000)]
    #[arg(value_parser = value_parser!(u64).range(0..=DEADLINE_MS_MAX))]
    pub reconnect_spread_ms: u64,

    /// What to log: a level, or levels by module such as info,broker::control=debug
    #[arg(long, help_heading = "Operations", value_name = "FILTER", default_value = "info")]
    #[arg(value_parser = log_filter)]
    pub log: String,

    /// How to log: text, a line for people, or json, an object a line
    #[arg(long, help_heading = "Operations", value_name = "FORMAT", hide_possible_values = true)]
    #[arg(value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// File of settings to read, in TOML (not itself a key of that file)
    #[arg(long, help_heading = "Operations", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Show every setting and where it came from, then exit (not a key of the file)
    #[arg(long, help_heading = "Operations")]
    #[serde(skip)]
    pub check: bool,
}

impl Config {
    /// Where operators have a listener of their own, if they have.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_listen.parse().ok()
    }

    /// Whether there are keys that tokens can be held against.
    pub fn has_keys(&self) -> bool {
        !self.auth.is_empty() || !self.auth_hmac_secret_file.as_os_str().is_empty()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::try_parse_from(["broker"]).expect("every default is within its own range")
    }
}

/// How the log is written to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One line for a person to read.
    Text,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests;
