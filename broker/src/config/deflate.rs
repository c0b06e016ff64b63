//! The settings about compressed messages (permessage-deflate, RFC 7692).
//!
//! Values only; a part of `Config`, which says how they are read.

use clap::{ArgAction, Args, value_parser};
use serde::Serialize;

/// Length from which messages are compressed, unless the operator says otherwise.
pub const BYTES_MIN_DEFAULT: u32 = 512;

/// Whether messages are compressed, and which.
#[derive(Args, Clone, Copy, Debug, Serialize)]
pub struct Deflate {
    /// Compress messages for clients that offer it (permessage-deflate). A message is compressed
    /// once for all of them
    #[serde(rename = "deflate")]
    #[arg(id = "deflate", long = "deflate", help_heading = "Compression", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, default_value_t = false)]
    #[arg(num_args = 0..=1, default_missing_value = "true", hide_possible_values = true)]
    pub on: bool,

    /// Shortest message that is compressed, in bytes; shorter ones hardly become shorter
    #[serde(rename = "deflate_bytes_min")]
    #[arg(id = "deflate_bytes_min", long = "deflate-bytes-min", help_heading = "Compression")]
    #[arg(value_name = "BYTES", default_value_t = BYTES_MIN_DEFAULT)]
    #[arg(value_parser = value_parser!(u32).range(0..=1_073_741_824))]
    pub bytes_min: u32,
}

impl Default for Deflate {
    fn default() -> Self {
        Self { on: false, bytes_min: BYTES_MIN_DEFAULT }
    }
}
