//! The small grammar HTTP headers share: tokens and comma-separated lists (RFC 9110 §5.6). Knows no
//! header by name. Called by the parsers beside it.

/// Whether `byte` may stand in a token (RFC 9110 §5.6.2).
pub(super) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `bytes` is one token.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_tchar)
}

/// The text of a header value that is ASCII, as all that is parsed here must be.
pub(super) fn ascii(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|text| text.is_ascii())
}

/// The elements of a list header that has no quoted strings. Empty ones are skipped, as RFC 9110
/// §5.6.1.2 asks of a recipient.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim_ows).filter(|element| !element.is_empty())
}

/// Whether a list, spread over any number of header lines, holds `token` in any case.
pub(super) fn holds<'h>(mut values: impl Iterator<Item = &'h [u8]>, token: &str) -> bool {
    values
        .any(|value| elements(value).any(|element| element.eq_ignore_ascii_case(token.as_bytes())))
}

fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_visible_ascii_without_separators() {
        assert!(is_token(b"altavoz.v1.json"));
        assert!(is_token(b"!#$%&'*+-.^_`|~09azAZ"));
        for not in ["", " ", "a b", "a,b", "a;b", "a=b", "a/b", "\"a\"", "(a)", "a@b", "é", "\x7f"]
        {
            assert!(!is_token(not.as_bytes()), "{not:?}");
        }
    }

    #[test]
    fn a_list_is_read_over_spaces_and_empty_elements() {
        let list: Vec<&[u8]> = elements(b" ,a ,\t b,, c d ,").collect();
        assert_eq!(list, [&b"a"[..], b"b", b"c d"]);
        assert_eq!(elements(b" , ,").count(), 0);
        assert!(holds([&b"keep-alive"[..], b"x, UPGRADE"].into_iter(), "upgrade"));
        assert!(!holds([&b"upgraded, not-upgrade"[..]].into_iter(), "upgrade"));
    }
}
