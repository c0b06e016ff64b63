//! Altavoz: a publish/subscribe broker for the live web.
//!
//! | module | what it is |
//! |---|---|
//! | [`auth`] | tokens, and what they allow; no sockets, no clock |
//! | [`keys`] | the keys for tokens: files, variables, sets of keys at an address |
//! | [`config`] | every setting, from flags, environment and file |
//! | [`server`] | starts workers and control plane, and stops them |
//! | [`worker`] | one event loop per core: accept, read, flush, deadlines |
//! | [`transport`] | a connection's socket |
//! | [`tls`] | the certificate, and TLS as functions of bytes |
//! | [`hub`] | topics, subscriptions, delivery; no sockets, no clock |
//! | [`cluster`] | other nodes, by NATS |
//! | [`control`] | HTTP: the page, health, metrics |
//! | [`metrics`] | what is counted |
//! | [`proxies`] | whom the broker believes about who a client is |
//! | [`slots`] | tables of things that are known by their place |
//! | [`store`] | messages on disk |
//! | [`sys`] | the operating system: descriptors, cores |

pub mod auth;
pub mod cluster;
pub mod config;
pub mod control;
pub mod demo;
pub mod hub;
pub mod keys;
pub mod metrics;
pub mod proxies;
pub mod server;
pub mod slots;
pub mod store;
pub mod sys;
pub mod tls;
pub mod transport;
pub mod worker;

/// Frees and allocates in the pattern of a broker, per-thread caches included.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
