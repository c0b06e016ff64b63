//! What strangers and bad days do to a broker, each attack as a test named by its id in
//! docs/ATTACKS.md: H the opening handshake, F frames, P publish and subscribe, W the HTTP API,
//! R resources, D compression, A tokens, T TLS. All against the real process over TCP, never
//! against a part of it. X, the process, and some others stand in suites of their own; `table`
//! prints where.
//!
//! Around every attack stand a `canary` (two bystanders that must lose nothing) and a `guard`
//! (memory, descriptors and threads return to where they were).

#[path = "support/support.rs"]
mod support;

#[path = "attacks/canary.rs"]
mod canary;
#[path = "attacks/deflate.rs"]
mod deflate;
#[path = "attacks/frames.rs"]
mod frames;
#[path = "attacks/guard.rs"]
mod guard;
#[path = "attacks/handshake.rs"]
mod handshake;
#[path = "attacks/http.rs"]
mod http;
#[path = "attacks/proxies.rs"]
mod proxies;
#[path = "attacks/publish.rs"]
mod publish;
#[path = "attacks/resources.rs"]
mod resources;
#[path = "attacks/table.rs"]
mod table;
#[path = "attacks/tls.rs"]
mod tls;
#[path = "attacks/tokens.rs"]
mod tokens;
