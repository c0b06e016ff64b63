//! The flags that let the load generator in: headers, a subprotocol, secrets. Checks them against
//! the protocol; what it says about one that is wrong never holds its value.

use clap::Args;

use crate::target::{Access, Protocol, Secret};

/// The longest user name and token: what MQTT has room for.
const TEXT_BYTES_MAX: usize = 65_535;

/// Headers that the handshake writes itself (RFC 6455 §4.1).
const OWN_HEADERS: [&str; 4] = ["host", "upgrade", "connection", "content-length"];

/// Likewise, all that begin with this.
const OWN_PREFIX: &str = "sec-websocket-";

/// What it takes to be let in by the target.
#[derive(Clone, Debug, Args)]
pub struct AccessFlags {
    /// Subprotocol to ask for instead of the protocol's own; '' to ask for none.
    #[arg(long, value_name = "NAME")]
    pub subprotocol: Option<String>,
    /// A further header of the handshake, as 'Name: value'; can be given many times.
    #[arg(long, value_name = "HEADER", value_parser = clap::value_parser!(Secret))]
    pub header: Vec<Secret>,
    /// Who we are. json and bin: sent with the command connect. mqtt: the password. nats: the
    /// token, or with --user the password. redis: the password. Never shown.
    #[arg(long, env = "LOADGEN_TOKEN", hide_env_values = true, value_parser = clap::value_parser!(Secret))]
    pub token: Option<Secret>,
    /// User name for mqtt, nats and redis [default for mqtt, if there is a token: loadgen]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Key of the app, for pusher; the path of --url names it too.
    #[arg(long, value_name = "KEY")]
    pub app_key: Option<String>,
    /// Secret of the app, for pusher. Never shown.
    #[arg(long, value_name = "SECRET", env = "LOADGEN_APP_SECRET", hide_env_values = true, value_parser = clap::value_parser!(Secret))]
    pub app_secret: Option<Secret>,
}

impl AccessFlags {
    /// What the flags say, for a target that speaks this.
    ///
    /// # Errors
    ///
    /// A sentence for the user, which holds no secret.
    pub fn access(&self, protocol: Protocol) -> Result<Access, String> {
        if self.subprotocol.as_ref().is_some_and(|name| !name.bytes().all(is_token_byte)) {
            return Err("--subprotocol is not one name".into());
        }
        let logs_in = matches!(protocol, Protocol::Mqtt | Protocol::Nats | Protocol::Redis);
        let name = protocol.name();
        if self.user.is_some() && !logs_in {
            return Err(format!("--user: {name} has no place for it"));
        }
        let has_place = logs_in || matches!(protocol, Protocol::Json | Protocol::Bin);
        if self.token.is_some() && !has_place {
            return Err(format!(
                "--token (LOADGEN_TOKEN): {name} has no place for it; see --header"
            ));
        }
        let texts = [self.user.as_deref(), self.token.as_ref().map(Secret::reveal)];
        if texts.into_iter().flatten().any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(format!("--user and --token take at most {TEXT_BYTES_MAX} bytes"));
        }
        Ok(Access {
            subprotocol: self.subprotocol.clone(),
            headers: self.header.iter().map(header).collect::<Result<_, _>>()?,
            user: self.user.clone(),
            token: self.token.clone(),
            app: self.app(protocol)?,
        })
    }

    fn app(&self, protocol: Protocol) -> Result<Option<(String, Secret)>, String> {
        match (protocol, &self.app_key, &self.app_secret) {
            (Protocol::Pusher, Some(key), Some(secret)) => Ok(Some((key.clone(), secret.clone()))),
            (Protocol::Pusher, ..) => {
                Err("pusher needs --app-key and --app-secret (LOADGEN_APP_SECRET)".into())
            }
            (_, None, _) => Ok(None),
            _ => Err(format!("--app-key: {} has no place for it", protocol.name())),
        }
    }
}

/// Name and value of a header (RFC 9110 §5.5).
fn header(text: &Secret) -> Result<(String, Secret), String> {
    let (name, value) = text.reveal().split_once(':').unwrap_or_default();
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        return Err("--header is not of the form 'Name: value'".into());
    }
    let lower = name.to_ascii_lowercase();
    if OWN_HEADERS.contains(&lower.as_str()) || lower.starts_with(OWN_PREFIX) {
        return Err(format!("--header {name}: the handshake writes it itself"));
    }
    let value = value.trim_matches([' ', '\t']);
    if !value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
        return Err(format!("--header {name}: the value is not printable ASCII"));
    }
    Ok((name.to_owned(), Secret::new(value)))
}

/// RFC 9110 §5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> AccessFlags {
        AccessFlags {
            subprotocol: None,
            header: Vec::new(),
            token: None,
            user: None,
            app_key: None,
            app_secret: None,
        }
    }

    #[test]
    fn headers_are_taken_apart_and_those_of_the_handshake_refused() {
        let access = |text: &str| {
            AccessFlags { header: vec![Secret::new(text)], ..flags() }.access(Protocol::Json)
        };
        let headers = access("Authorization: Bearer a:b ").unwrap().headers;
        assert_eq!(headers, [("Authorization".to_owned(), Secret::new("Bearer a:b"))]);
        for (text, why) in [
            ("hunter2", "--header is not of the form 'Name: value'"),
            ("a b: hunter2", "--header is not of the form 'Name: value'"),
            ("HOST: hunter2", "--header HOST: the handshake writes it itself"),
            (
                "Sec-WebSocket-Key: hunter2",
                "--header Sec-WebSocket-Key: the handshake writes it itself",
            ),
            ("X: hunter2\r\nY: 1", "--header X: the value is not printable ASCII"),
        ] {
            assert_eq!(access(text).unwrap_err(), why);
        }
    }

    #[test]
    fn what_a_protocol_has_no_place_for_is_refused_and_no_secret_is_ever_shown() {
        let token = AccessFlags { token: Some(Secret::new("hunter2")), ..flags() };
        for protocol in [Protocol::Json, Protocol::Bin, Protocol::Mqtt, Protocol::Nats] {
            assert_eq!(token.access(protocol).unwrap().token, token.token);
        }
        for protocol in [Protocol::Pusher, Protocol::Echo] {
            assert!(!token.access(protocol).unwrap_err().contains("hunter2"));
        }
        assert!(!format!("{token:?}").contains("hunter2"));
        let user = AccessFlags { user: Some("me".into()), ..flags() };
        assert_eq!(user.access(Protocol::Nats).unwrap().user.as_deref(), Some("me"));
        assert!(user.access(Protocol::Json).is_err());
        let secret = Some(Secret::new("hunter2"));
        let app = AccessFlags { app_key: Some("k".into()), app_secret: secret, ..flags() };
        assert!(app.access(Protocol::Pusher).unwrap().app.is_some());
        assert!(app.access(Protocol::Mqtt).is_err());
        assert!(flags().access(Protocol::Pusher).is_err());
    }

    #[test]
    fn a_subprotocol_is_one_name_or_none() {
        let access = |name: &str| {
            AccessFlags { subprotocol: Some(name.into()), ..flags() }.access(Protocol::Mqtt)
        };
        assert!(access("mqttv3.1").is_ok() && access("").is_ok());
        assert!(access("a, b").is_err());
    }
}
