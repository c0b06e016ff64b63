//! The settings about topics whose messages are kept on disk.
//!
//! Values only; a part of `Config`, which says how they are read.

use std::path::PathBuf;

use clap::{Args, value_parser};
use serde::Serialize;

/// Most bytes of the store, unless the operator says otherwise: 4 GiB.
pub const BYTES_MAX_DEFAULT: u64 = 4 << 30;

/// Where messages are kept on disk, and how many.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Store {
    /// Folder for the messages of topics whose rule has store = "accepted" or "durable"; made if it
    /// is not there. One broker has it to itself
    #[serde(rename = "store_dir")]
    #[arg(id = "store_dir", long = "store-dir", help_heading = "Store", value_name = "FOLDER")]
    #[arg(default_value = "", hide_default_value = true, value_parser = super::values::path)]
    pub dir: PathBuf,

    /// Most bytes that it may take; beyond, publishes to these topics are answered unavailable. Twice
    /// what is kept is needed, and the same again for a moment, while the log is written anew
    #[serde(rename = "store_bytes_max")]
    #[arg(id = "store_bytes_max", long = "store-bytes-max", help_heading = "Store")]
    #[arg(value_name = "BYTES", default_value_t = BYTES_MAX_DEFAULT)]
    #[arg(value_parser = value_parser!(u64).range(1_048_576..=super::TIB))]
    pub bytes_max: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self { dir: PathBuf::new(), bytes_max: BYTES_MAX_DEFAULT }
    }
}
