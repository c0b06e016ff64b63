//! Topics of which something is kept: JetStream keeps it, and makes their order.
//!
//! Whatever is published on such a topic, on whichever node, becomes a record in a stream, and what
//! is in the stream is published, on every node, in the stream's order. There is no leader among
//! the nodes: a record is stored only if the newest before it is the one its writer has seen.

pub mod identities;
pub mod link;
pub mod offer;
pub mod order;
pub mod plan;
pub mod reader;
pub mod record;
pub mod replica;
pub mod sequencer;
