//! TLS: the broker's certificate, and sessions with clients as functions of bytes.
//!
//! Opens no socket and knows no thread: a `Session` takes sealed bytes and gives plain ones, and
//! the other way. The transport and the control plane move the bytes; `server` makes the
//! [`Keyring`] and reloads it.

mod keyring;
mod session;

pub use keyring::{Certificate, Current, Keyring, KeyringError};
pub use session::{Refused, Session, UNSEALED_SURPLUS_BYTES_MAX};
