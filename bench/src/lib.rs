//! What the benchmarks share, and the comparison with other servers.
//!
//! | module | what it is |
//! |---|---|
//! | [`audience`] | a hub with subscribers, without sockets |
//! | [`dashboards`] | what the parts made for dashboards cost, and what they bear |
//! | [`durable`] | publishes a second that are on disk when they are answered |
//! | [`figures`] | numbers for tables |
//! | [`functions`] | criterion's benchmarks, run briefly, as a table |
//! | [`inputs`] | what a live dashboard sends, for `benches/` |
//! | [`machine`] | what was measured on, in words |
//! | [`page`] | measured tables in our pages |
//! | [`peers`] | the broker and other servers under the same load |
//! | [`plot`] | its result as SVG |
//! | [`servers`] | two small servers to compare with |
//! | [`transports`] | one feed over WebSocket, server-sent events and polls |
//! | [`workers`] | two workers against one, and what more workers add to a delivery |

pub mod audience;
pub mod dashboards;
pub mod durable;
pub mod figures;
pub mod functions;
pub mod inputs;
pub mod machine;
pub mod page;
pub mod peers;
pub mod plot;
mod progress;
pub mod servers;
pub mod transports;
pub mod workers;
