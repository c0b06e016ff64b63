//! What the benchmarks share, and the comparison with other servers.
//!
//! | module | what it is |
//! |---|---|
//! | [`audience`] | a hub with subscribers, without sockets |
//! | [`inputs`] | what a live dashboard sends, for `benches/` |
//! | [`peers`] | the broker and other servers under the same load |
//! | [`servers`] | two small servers to compare with |

pub mod audience;
pub mod inputs;
pub mod peers;
pub mod servers;
