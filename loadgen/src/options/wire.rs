//! The flags for what lies between a protocol and its socket: TLS and compression. Reads the file
//! of certificates; opens no connection.

use std::path::PathBuf;

use clap::Args;

use crate::target::Target;

/// What every scenario has for the way to its target.
#[derive(Clone, Debug, Default, Args)]
pub struct WireFlags {
    /// Offer permessage-deflate, as browsers do; the report says what the server made of it.
    ///
    /// What is sent is then compressed too, each message on its own. A server that refers back to
    /// earlier messages costs the load generator 49 KB per connection.
    #[arg(long)]
    pub deflate: bool,
    /// wss: trust the certificates in this PEM file instead of the system's.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// wss: accept any certificate.
    #[arg(long)]
    pub insecure: bool,
    /// wss: a full handshake for every connection, as from clients that were never there before.
    ///
    /// Otherwise connections go on from earlier ones' sessions where the server lets them, which
    /// spares it the signature.
    #[arg(long)]
    pub no_resumption: bool,
}

impl WireFlags {
    /// Makes the target one that is reached as asked.
    ///
    /// # Errors
    ///
    /// A sentence for the user: a flag that makes no sense for this target, or certificates that
    /// are of no use.
    pub fn apply(&self, target: &mut Target) -> Result<(), String> {
        target.wire.deflates = self.deflate;
        let Some(trust) = &mut target.wire.trust else {
            return match self.tls_flag() {
                Some(flag) => Err(format!("{flag} is for wss:// only")),
                None => Ok(()),
            };
        };
        trust.is_insecure = self.insecure;
        trust.resumes = !self.no_resumption;
        if let Some(path) = &self.ca {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| format!("--ca {}: {error}", path.display()))?;
            trust.roots = Some(text);
        }
        trust.check().map_err(|error| error.to_string())
    }

    fn tls_flag(&self) -> Option<&'static str> {
        match self {
            Self { ca: Some(_), .. } => Some("--ca"),
            Self { insecure: true, .. } => Some("--insecure"),
            Self { no_resumption: true, .. } => Some("--no-resumption"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Protocol;

    fn apply(flags: &WireFlags, url: &str) -> Result<Target, String> {
        let mut target = Target::resolve(url, Protocol::Json).unwrap();
        flags.apply(&mut target).map(|()| target)
    }

    #[test]
    fn flags_of_tls_are_refused_where_there_is_none() {
        let plain = WireFlags::default();
        for (flags, name) in [
            (WireFlags { ca: Some("x".into()), ..plain.clone() }, "--ca"),
            (WireFlags { insecure: true, ..plain.clone() }, "--insecure"),
            (WireFlags { no_resumption: true, ..plain.clone() }, "--no-resumption"),
        ] {
            let error = apply(&flags, "ws://127.0.0.1:1/").unwrap_err();
            assert_eq!(error, format!("{name} is for wss:// only"));
        }
        let flags = WireFlags { deflate: true, ..plain };
        assert!(apply(&flags, "ws://127.0.0.1:1/").unwrap().wire.deflates);
    }

    #[test]
    fn what_is_to_be_trusted_is_read_before_the_run() {
        let flags = WireFlags { insecure: true, no_resumption: true, ..WireFlags::default() };
        let trust = apply(&flags, "wss://127.0.0.1:1/").unwrap().wire.trust.unwrap();
        assert!(trust.is_insecure && !trust.resumes);
        let flags = WireFlags { ca: Some("/no/such/file".into()), ..WireFlags::default() };
        let error = apply(&flags, "wss://127.0.0.1:1/").unwrap_err();
        assert!(error.starts_with("--ca /no/such/file: "), "{error}");
    }
}
