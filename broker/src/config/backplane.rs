//! The settings about nodes that are joined by NATS.
//!
//! Values only; a part of `Config`, which says how they are read. `cluster` makes of them a
//! connection. Secrets stand in files, so that nothing that shows the settings shows one.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, Parser, ValueEnum, value_parser};
use serde::Serialize;

/// The longest name of a node.
pub const NODE_BYTES_MAX: usize = 64;
/// The longest name of a cluster.
const CLUSTER_BYTES_MAX: usize = 32;

/// What joins this broker with others.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Backplane {
    /// What joins this broker with other nodes: none, or nats, which needs nats-url
    #[serde(rename = "backplane")]
    #[arg(id = "backplane", long = "backplane", help_heading = "Cluster", value_name = "ENGINE")]
    #[arg(value_enum, default_value_t = Engine::None, hide_possible_values = true)]
    pub engine: Engine,

    /// Address of a NATS server, such as nats://10.0.0.5:4222 or tls://nats.example.com; repeatable
    /// or comma-separated. Further servers of its cluster are learned from it
    #[arg(long, help_heading = "Cluster", value_name = "URL", value_delimiter = ',')]
    #[arg(value_parser = url)]
    pub nats_url: Vec<String>,

    /// Name of the cluster: only nodes with the same one hear of each other, and all their subjects
    /// begin with it
    #[arg(long, help_heading = "Cluster", value_name = "NAME", default_value = "altavoz")]
    #[arg(value_parser = cluster)]
    pub cluster: String,

    /// File with a secret that all nodes share: what is not signed with it is not taken, where
    /// others may publish on the same NATS. 32 bytes at least
    #[arg(long, help_heading = "Cluster", value_name = "FILE", default_value = "")]
    #[arg(hide_default_value = true, value_parser = super::path)]
    pub cluster_secret_file: PathBuf,

    /// Name of this node, different from all others; not set: the machine's name and random digits
    #[arg(long, help_heading = "Cluster", value_name = "NAME", default_value = "")]
    #[arg(hide_default_value = true, value_parser = node)]
    pub node: String,

    /// File of credentials for NATS (a JWT and its key, as nsc writes it)
    #[arg(long, help_heading = "Cluster", value_name = "FILE", default_value = "")]
    #[arg(hide_default_value = true, value_parser = super::path)]
    pub nats_credentials_file: PathBuf,

    /// File with the seed of an nkey for NATS
    #[arg(long, help_heading = "Cluster", value_name = "FILE", default_value = "")]
    #[arg(hide_default_value = true, value_parser = super::path)]
    pub nats_nkey_file: PathBuf,

    /// File with a token for NATS
    #[arg(long, help_heading = "Cluster", value_name = "FILE", default_value = "")]
    #[arg(hide_default_value = true, value_parser = super::path)]
    pub nats_token_file: PathBuf,

    /// User for NATS, with nats-password-file
    #[arg(long, help_heading = "Cluster", value_name = "NAME", default_value = "")]
    #[arg(hide_default_value = true)]
    pub nats_user: String,

    /// File with that user's password
    #[arg(long, help_heading = "Cluster", value_name = "FILE", default_value = "")]
    #[arg(hide_default_value = true, value_parser = super::path)]
    pub nats_password_file: PathBuf,

    /// File with the certificates, in PEM, of those who vouch for the NATS servers; not set: those
    /// that the system trusts
    #[arg(long, help_heading = "Cluster", value_name = "FILE", default_value = "")]
    #[arg(hide_default_value = true, value_parser = super::path)]
    pub nats_tls_ca: PathBuf,

    /// File with a certificate to show to the NATS servers, in PEM, with nats-tls-key
    #[arg(long, help_heading = "Cluster", value_name = "FILE", default_value = "")]
    #[arg(hide_default_value = true, value_parser = super::path)]
    pub nats_tls_cert: PathBuf,

    /// File with that certificate's private key, in PEM
    #[arg(long, help_heading = "Cluster", value_name = "FILE", default_value = "")]
    #[arg(hide_default_value = true, value_parser = super::path)]
    pub nats_tls_key: PathBuf,

    /// On how many NATS servers what is kept of topics is stored: 1, or 3 or 5 of a cluster, which
    /// makes the level of publishes `replicated`
    #[arg(long, help_heading = "Cluster", value_name = "COUNT", default_value_t = 1)]
    #[arg(value_parser = value_parser!(u8).range(1..=5))]
    pub nats_replicas: u8,

    /// The NATS servers write what they store to disk before they confirm it (`sync_interval:
    /// always` in their settings, which can't be seen from here): makes the level of publishes
    /// `durable`
    #[arg(long, help_heading = "Cluster", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, default_missing_value = "true", hide_possible_values = true)]
    #[arg(default_value_t = false)]
    pub nats_synced: bool,

    /// Most bytes that NATS stores for one topic rule; beyond, the oldest are dropped
    #[arg(long, help_heading = "Cluster", value_name = "BYTES", default_value_t = 1 << 30)]
    #[arg(value_parser = value_parser!(u64).range(1 << 20..=1 << 50))]
    pub stream_bytes_max: u64,
}

/// What joins nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Nothing: this broker is alone.
    None,
    /// NATS.
    Nats,
}

impl Backplane {
    /// Whether this broker is one of several.
    pub fn is_on(&self) -> bool {
        self.engine != Engine::None
    }

    /// What can't hold together, as a line for the operator.
    pub(super) fn conflict(&self) -> Option<String> {
        if !self.is_on() {
            let is_set = !self.nats_url.is_empty();
            return is_set
                .then(|| "nats_url without backplane = \"nats\": it would not be used".to_owned());
        }
        if self.nats_url.is_empty() {
            return Some("backplane = \"nats\" needs nats_url".to_owned());
        }
        let ways = [
            is_named(&self.nats_credentials_file),
            is_named(&self.nats_nkey_file),
            is_named(&self.nats_token_file),
            !self.nats_user.is_empty(),
        ];
        if ways.iter().filter(|is_set| **is_set).count() > 1 {
            let names = "nats_credentials_file, nats_nkey_file, nats_token_file, nats_user";
            return Some(format!("more than one of {names}: only one of them can hold"));
        }
        if self.nats_user.is_empty() == is_named(&self.nats_password_file) {
            return Some("nats_user and nats_password_file need each other".to_owned());
        }
        if is_named(&self.nats_tls_cert) != is_named(&self.nats_tls_key) {
            return Some("nats_tls_cert and nats_tls_key need each other".to_owned());
        }
        None
    }
}

/// Whether a setting names a file.
pub fn is_named(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

impl Default for Backplane {
    fn default() -> Self {
        /// The settings as a program of their own, for their defaults stand in the attributes.
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            backplane: Backplane,
        }
        let no_arguments = std::iter::empty::<&str>();
        let alone = Alone::try_parse_from(no_arguments);
        alone.expect("every default is within its own range").backplane
    }
}

/// An address without a password in it, for settings are shown.
fn url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let rest = text
        .split_once("://")
        .map_or(Some(text), |(scheme, rest)| matches!(scheme, "nats" | "tls").then_some(rest));
    match rest {
        None => Err("an address that begins with nats:// or tls://".to_owned()),
        Some("") => Err("an address, such as nats://127.0.0.1:4222".to_owned()),
        Some(rest) if rest.contains('@') => {
            Err("no user or password in it: nats_user and nats_password_file are for these".into())
        }
        Some(_) => Ok(text.to_owned()),
    }
}

fn cluster(text: &str) -> Result<String, String> {
    name(text, CLUSTER_BYTES_MAX, "-_")
}

fn node(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { name(text, NODE_BYTES_MAX, "-_.") }
}

fn name(text: &str, bytes_max: usize, marks: &str) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    match !text.is_empty() && text.len() <= bytes_max && text.chars().all(is_fine) {
        true => Ok(text.to_owned()),
        false => Err(format!("1 to {bytes_max} letters, digits and {marks}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_stands_in_an_address() {
        assert_eq!(url(" nats://a:4222").unwrap(), "nats://a:4222");
        assert_eq!(url("127.0.0.1:4222").unwrap(), "127.0.0.1:4222");
        for wrong in ["", "nats://", "http://a", "nats://me:secret@a:4222"] {
            assert!(url(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_needs_each_other_is_asked_for_together() {
        let of = |change: fn(&mut Backplane)| {
            let urls = vec!["nats://a".to_owned()];
            let nats = Backplane { engine: Engine::Nats, nats_url: urls, ..Backplane::default() };
            let mut settings = nats;
            change(&mut settings);
            settings.conflict()
        };
        assert_eq!(of(|_| {}), None);
        assert!(of(|it| it.nats_url.clear()).unwrap().contains("nats_url"));
        assert!(of(|it| it.nats_user = "a".into()).unwrap().contains("nats_password_file"));
        assert!(of(|it| it.nats_tls_cert = "a".into()).unwrap().contains("nats_tls_key"));
        let both = of(|it| {
            it.nats_token_file = "a".into();
            it.nats_nkey_file = "b".into();
        });
        assert!(both.unwrap().contains("only one"));
        assert!(of(|it| it.engine = Engine::None).unwrap().contains("backplane"));
        assert!(cluster("a.b").is_err() && node("a.b").is_ok() && node("a b").is_err());
    }
}
