//! The load generator of Altavoz: opens very many WebSockets, publishes on a constant schedule and
//! proves, message by message, what was delivered, when and in which order.
//!
//! | module | what it is |
//! |---|---|
//! | [`options`] | the command line, checked |
//! | [`library`] | scenarios as files: those built in, and the user's |
//! | [`scenario`] | one file per subcommand: what is opened, subscribed and published, and when |
//! | [`target`] | where to connect and which protocol is spoken there, one file per protocol |
//! | [`agents`] | one run in many processes, on many hosts |
//! | [`engine`] | the threads: sockets, schedule, reading and counting; knows no scenario |
//! | [`stamp`] | what every payload carries so that it can be timed and accounted for |
//! | [`payload`] | what follows the stamp: padding, or a market's quote |
//! | [`account`] | delivered, lost, duplicated, out of order: per subscriber and topic |
//! | [`seconds`] | latency by the second |
//! | [`counts`] | histograms as data |
//! | [`live`] | what a run shows of itself while it goes on, as one plain struct |
//! | [`exposition`] | the same for Prometheus to fetch |
//! | [`view`] | the screen that a terminal shows meanwhile |
//! | [`watch`] | looks on during a run: rates, processor time of both sides |
//! | [`target_process`] | what the target uses, seen from outside |
//! | [`report`] | the result as text, JSON, CSV and a page, and what the files are |
//! | [`verdict`] | whether the measurement can be trusted |
//! | [`threshold`] | what is demanded of a result |
//! | [`tls`] | what a `wss://` target has to prove, and sessions with it |
//! | [`compare`] | results side by side |
//! | [`doctor`] | whether this machine is fit to measure with |
//! | [`sink`] | a small target with set faults |
//! | [`sys`] | clocks, limits, ports, signals |
//! | [`host`] | what the machine says of itself in `/proc` |
//!
//! A run goes from a scenario's plan through the engine's phases to a report. It never uses the
//! broker's code, only `broker-proto`, so that a fault in one does not hide one in the other.

pub mod account;
pub mod agents;
pub mod compare;
pub mod counts;
pub mod doctor;
pub mod engine;
pub mod exposition;
pub mod host;
pub mod library;
pub mod live;
pub mod options;
pub mod payload;
pub mod report;
pub mod scenario;
pub mod seconds;
pub mod sink;
pub mod stamp;
pub mod sys;
pub mod target;
pub mod target_process;
pub mod threshold;
pub mod tls;
pub mod verdict;
pub mod view;
pub mod watch;
