//! What must hold of every sequence of bytes that a stranger may send: each a function that panics
//! if it does not. The fuzz targets call them with what they think up, a test of the broker with the
//! files in `corpus/`, which stand for what was found or thought of before.

pub mod commands;
pub mod protocol;
#[cfg(feature = "tokens")]
pub mod tokens;
