//! Which web pages may connect: an exact match of scheme, host and port (RFC 6454 §5). No patterns,
//! no suffixes. Stops foreign pages in browsers (cross-site WebSocket hijacking), nothing else: any
//! other client can claim what it likes. Asked by the broker before it accepts an upgrade.

use super::authority::Authority;

/// A checked list of origins.
///
/// ```
/// use broker_proto::handshake::AllowedOrigins;
///
/// let allowed = AllowedOrigins::parse(&["https://good.example".to_owned()])?;
/// assert!(allowed.allows(Some("https://GOOD.example:443")));
/// assert!(!allowed.allows(Some("https://good.example.evil.com")));
/// # Ok::<(), broker_proto::handshake::OriginError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins(Vec<AllowedOrigin>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct AllowedOrigin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// An entry of the list is not `scheme://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin: scheme://host[:port], no path, no wildcard")]
pub struct OriginError(pub String);

impl AllowedOrigins {
    /// Checks each entry. An empty list is valid and allows every page.
    pub fn parse(list: &[String]) -> Result<Self, OriginError> {
        let read = |text: &String| {
            let origin = Origin::parse(text).ok_or_else(|| OriginError(text.clone()))?;
            Ok(AllowedOrigin {
                scheme: origin.scheme.to_owned(),
                host: origin.host.to_owned(),
                port: origin.port,
            })
        };
        list.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a request with this Origin header may connect. Everything may if the list is empty;
    /// a request without the header may always, for it comes from no browser. `null` (a sandboxed
    /// frame, a local file) and what is no origin may not if there is a list.
    pub fn allows(&self, origin: Option<&str>) -> bool {
        let (false, Some(text)) = (self.0.is_empty(), origin) else {
            return true;
        };
        Origin::parse(text).is_some_and(|origin| self.0.iter().any(|entry| origin.is(entry)))
    }
}

/// One origin, its port filled in if the scheme has a default.
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let Authority { host, port } = Authority::parse(rest).filter(|_| is_scheme)?;
        Some(Self { scheme, host, port: port.or(default_port(scheme)) })
    }

    fn is(&self, entry: &AllowedOrigin) -> bool {
        self.scheme.eq_ignore_ascii_case(&entry.scheme)
            && self.host.eq_ignore_ascii_case(&entry.host)
            && self.port == entry.port
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(list: &[&str]) -> AllowedOrigins {
        let list: Vec<String> = list.iter().map(|&text| text.to_owned()).collect();
        AllowedOrigins::parse(&list).unwrap()
    }

    #[test]
    fn an_empty_list_allows_everything() {
        for origin in [None, Some("https://a.example"), Some("null"), Some(""), Some("?")] {
            assert!(allowed(&[]).allows(origin), "{origin:?}");
        }
    }

    #[test]
    fn default_ports_are_the_same_as_none() {
        let list = allowed(&["HTTP://A.example:80", "https://[::1]:8443", "tauri://localhost"]);
        for same in ["http://a.example", "http://a.EXAMPLE:80", "https://[::1]:8443"] {
            assert!(list.allows(Some(same)), "{same}");
        }
        assert!(list.allows(Some("tauri://localhost")));
        for other in [
            "https://a.example",
            "https://a.example:80",
            "http://a.example:8080",
            "https://[::1]",
            "https://[::2]:8443",
            "tauri://localhost:80",
        ] {
            assert!(!list.allows(Some(other)), "{other}");
        }
    }

    #[test]
    fn an_entry_that_could_never_match_is_an_error() {
        for entry in [
            "",
            "*",
            "null",
            "a.example",
            "https://",
            "https://a.example/",
            "https://*.example",
            "https://a.example:0x50",
            "https://u@a.example",
            "1s://a",
            "://a",
            "https://a b",
        ] {
            let error = AllowedOrigins::parse(&[entry.to_owned()]);
            assert_eq!(error, Err(OriginError(entry.to_owned())));
        }
    }
}
