//! `host[:port]` as it stands in a Host header, an origin and a URI (RFC 3986 §3.2), without user
//! information. Resolves nothing. Called by `request`, `origin` and `uri`.

/// A checked authority that borrows its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    /// As written; an IPv6 address keeps its brackets.
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Accepts names of letters, digits and `-._~%`, and bracketed IPv6 addresses. The sub-delims
    /// that RFC 3986 also allows in a name occur in no real one and are refused.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let host_len = match text.strip_prefix('[') {
            Some(rest) => rest.find(']')? + 2,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at(host_len);
        if !is_name(host) && !is_bracketed_address(host) {
            return None;
        }
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(parse_port(digits)?),
            None if port.is_empty() => None,
            None => return None,
        };
        Some(Self { host, port })
    }
}

fn is_name(host: &str) -> bool {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
    !host.is_empty() && host.bytes().all(is_name_byte)
}

fn is_bracketed_address(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or("");
    address.contains(':')
        && address.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
}

/// Digits only: `u16::from_str` alone would take a sign.
fn parse_port(digits: &str) -> Option<u16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_with_and_without_port() {
        for (text, host, port) in [
            ("example.com", "example.com", None),
            ("h:8080", "h", Some(8080)),
            ("127.0.0.1:0", "127.0.0.1", Some(0)),
            ("[::1]", "[::1]", None),
            ("[::ffff:1.2.3.4]:443", "[::ffff:1.2.3.4]", Some(443)),
        ] {
            assert_eq!(Authority::parse(text), Some(Authority { host, port }), "{text}");
        }
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        for text in [
            "",
            ":80",
            "h:",
            "h:+80",
            "h:65536",
            "h:8 0",
            "h:80:80",
            "a b",
            "a,b",
            "u@h",
            "h/",
            "é",
            "[::1",
            "[::1]80",
            "[]",
            "[1]",
            "[::1%eth0]",
            "::1",
            "h?",
            "h#",
        ] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }
}
