//! The settings about TLS, and whether the broker listens without it.
//!
//! Values only; a part of `Config`, which says how they are read. `tls` makes of them what the
//! broker proves itself with.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::builder::RangedU64ValueParser;
use clap::{ArgAction, Args, Parser};
use serde::Serialize;

/// The settings about TLS. It is spoken if there is a certificate: by `tls_cert` and `tls_key`,
/// or by `tls_self_signed`.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Tls {
    /// Address and port to serve wss:// and https:// on, once there is a certificate; port 0
    /// takes a free one
    #[serde(rename = "tls_listen")]
    #[arg(id = "tls_listen", long = "tls-listen", help_heading = "TLS", value_name = "ADDR:PORT")]
    #[arg(default_value = "127.0.0.1:8443")]
    pub listen: SocketAddr,

    /// File with the certificate and those of its issuers, in PEM, the broker's own first;
    /// SIGHUP reads it anew
    #[serde(rename = "tls_cert")]
    #[arg(id = "tls_cert", long = "tls-cert", help_heading = "TLS", value_name = "FILE")]
    #[arg(default_value = "", hide_default_value = true, value_parser = super::values::path)]
    pub cert: PathBuf,

    /// File with the certificate's private key, in PEM; SIGHUP reads it anew
    #[serde(rename = "tls_key")]
    #[arg(id = "tls_key", long = "tls-key", help_heading = "TLS", value_name = "FILE")]
    #[arg(default_value = "", hide_default_value = true, value_parser = super::values::path)]
    pub key: PathBuf,

    /// Make a certificate at every start, for trying out: nobody vouches for it, its fingerprint
    /// is printed
    #[serde(rename = "tls_self_signed")]
    #[arg(id = "tls_self_signed", long = "tls-self-signed", help_heading = "TLS")]
    #[arg(value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    #[arg(num_args = 0..=1, default_missing_value = "true", hide_possible_values = true)]
    pub self_signed: bool,

    /// Most TLS handshakes at once in one worker; with one more, the oldest is dropped
    #[serde(rename = "tls_handshakes_max")]
    #[arg(id = "tls_handshakes_max", long = "tls-handshakes-max", help_heading = "TLS")]
    #[arg(value_name = "N", default_value_t = 200)]
    #[arg(value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_000_000))]
    pub handshakes_max: u32,

    /// Serve ws:// and http:// on listen; false leaves TLS alone
    #[arg(long, help_heading = "TLS", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, default_missing_value = "true", hide_possible_values = true)]
    #[arg(default_value_t = true)]
    pub plain: bool,
}

impl Tls {
    /// Whether the broker listens for TLS.
    pub fn is_on(&self) -> bool {
        self.files().is_some() || self.self_signed
    }

    /// The files of certificate and key, if they are named.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        let is_named = !self.cert.as_os_str().is_empty() && !self.key.as_os_str().is_empty();
        is_named.then_some((&self.cert, &self.key))
    }
}

impl Default for Tls {
    fn default() -> Self {
        /// The settings as a program of their own, for their defaults stand in the attributes.
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            tls: Tls,
        }
        let no_arguments = std::iter::empty::<&str>();
        Alone::try_parse_from(no_arguments).expect("every default is within its own range").tls
    }
}
