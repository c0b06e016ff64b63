//! The load generator of Altavoz: opens very many WebSockets, publishes on a constant schedule and
//! proves, message by message, what was delivered, when and in which order.
//!
//! | module | what it is |
//! |---|---|
//! | [`options`] | the command line, checked |
//! | [`scenario`] | one file per subcommand: what is opened, subscribed and published, and when |
//! | [`target`] | where to connect and which protocol is spoken there, one file per protocol |
//! | [`engine`] | the threads: sockets, schedule, reading and counting; knows no scenario |
//! | [`stamp`] | what every payload carries so that it can be timed and accounted for |
//! | [`account`] | delivered, lost, duplicated, out of order: per subscriber and topic |
//! | [`report`] | the result as text and as JSON, and the verdict |
//! | [`sys`] | clocks, limits, ports, signals |
//!
//! A run goes from a scenario's plan through the engine's phases to a report. It never uses the
//! broker's code, only `broker-proto`, so that a fault in one does not hide one in the other.

pub mod account;
pub mod engine;
pub mod options;
pub mod report;
pub mod scenario;
pub mod stamp;
pub mod sys;
pub mod target;
