//! The grammar of Sec-WebSocket-Extensions (RFC 6455 §9.1). Only reads what is offered: which
//! extension is known and which parameters make sense is for the extension to say. Called by
//! `upgrade` for offers and by `client` for the answer, which has the same grammar.

use std::borrow::Cow;

use super::{Refusal, token};

/// Most extensions one request may offer. More: 400.
pub const OFFERS_MAX: usize = 32;

/// Most parameters one offer may have. More: 400.
pub const OFFER_PARAMS_MAX: usize = 32;

/// One extension as the client offers it, in the client's order of preference. Names and values
/// are tokens; a name may be there twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer<'h> {
    /// Such as `permessage-deflate`.
    pub name: &'h str,
    /// Each parameter with its value, if it has one; quotes and escapes are already resolved.
    pub params: Vec<(&'h str, Option<Cow<'h, str>>)>,
}

/// Reads all offers of all header lines. Time is linear in the bytes.
pub(super) fn parse<'h>(values: impl Iterator<Item = &'h [u8]>) -> Result<Vec<Offer<'h>>, Refusal> {
    let mut offers = Vec::new();
    for value in values {
        token::ascii(value)
            .and_then(|text| parse_list(text, &mut offers))
            .ok_or_else(|| Refusal::bad_request("Sec-WebSocket-Extensions is malformed"))?;
    }
    Ok(offers)
}

/// Appends the offers of one line; `None` for a syntax error, no offer at all, or too many.
fn parse_list<'h>(line: &'h str, offers: &mut Vec<Offer<'h>>) -> Option<()> {
    let before = offers.len();
    let mut rest = skip_ows(line);
    while !rest.is_empty() {
        // Empty elements are skipped (RFC 9110 §5.6.1.2).
        if !rest.starts_with(',') {
            if offers.len() == OFFERS_MAX {
                return None;
            }
            let (offer, after) = parse_offer(rest)?;
            offers.push(offer);
            rest = after;
        }
        if !rest.is_empty() {
            rest = skip_ows(rest.strip_prefix(',')?);
        }
    }
    (offers.len() > before).then_some(())
}

/// `token *( ";" param )`; what is left begins with no space.
fn parse_offer(text: &str) -> Option<(Offer<'_>, &str)> {
    let (name, mut rest) = parse_token(text)?;
    let mut params = Vec::new();
    while let Some(after) = rest.strip_prefix(';') {
        if params.len() == OFFER_PARAMS_MAX {
            return None;
        }
        let (param, after) = parse_token(skip_ows(after))?;
        rest = after;
        let mut value = None;
        if let Some(after) = rest.strip_prefix('=') {
            let (text, after) = parse_value(skip_ows(after))?;
            value = Some(text);
            rest = after;
        }
        params.push((param, value));
    }
    Some((Offer { name, params }, rest))
}

fn parse_value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    match text.strip_prefix('"') {
        Some(quoted) => parse_quoted(quoted),
        None => parse_token(text).map(|(token, rest)| (Cow::Borrowed(token), rest)),
    }
}

/// The rest of a quoted string after its opening quote. What it says must be a token (§9.1), so an
/// escape can only stand before a token character.
fn parse_quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut len = text.find(['"', '\\'])?;
    let mut value = Cow::Borrowed(&text[..len]);
    while text[len..].starts_with('\\') {
        let escaped = &text[len + 1..];
        // An escaped character is taken as it is, even a quote or a backslash.
        let next = 1 + escaped.get(1..)?.find(['"', '\\'])?;
        value.to_mut().push_str(&escaped[..next]);
        len += 1 + next;
    }
    token::is_token(value.as_bytes()).then(|| (value, skip_ows(&text[len + 1..])))
}

/// A token and what follows it, spaces skipped.
fn parse_token(text: &str) -> Option<(&str, &str)> {
    let len = text.bytes().position(|byte| !token::is_tchar(byte)).unwrap_or(text.len());
    let (token, rest) = text.split_at(len);
    (!token.is_empty()).then(|| (token, skip_ows(rest)))
}

fn skip_ows(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&'static str]) -> Option<Vec<Offer<'static>>> {
        parse(lines.iter().map(|line| line.as_bytes())).ok()
    }

    fn offer(
        name: &'static str,
        params: &[(&'static str, Option<&'static str>)],
    ) -> Offer<'static> {
        let params = params.iter().map(|&(name, value)| (name, value.map(Cow::Borrowed)));
        Offer { name, params: params.collect() }
    }

    #[test]
    fn offers_are_read_in_order_over_lines_and_spaces() {
        assert_eq!(
            read(&["a ; b = 1;c , ,\tpermessage-deflate; server_max_window_bits=10", "d"]),
            Some(vec![
                offer("a", &[("b", Some("1")), ("c", None)]),
                offer("permessage-deflate", &[("server_max_window_bits", Some("10"))]),
                offer("d", &[]),
            ])
        );
        assert_eq!(read(&[]), Some(vec![]));
    }

    #[test]
    fn quoted_values_are_tokens_in_disguise() {
        assert_eq!(
            read(&[r#"a;b="10";c"#]),
            Some(vec![offer("a", &[("b", Some("10")), ("c", None)])])
        );
        assert_eq!(read(&[r#"a;b="\1\0x""#]), Some(vec![offer("a", &[("b", Some("10x"))])]));
        for bad in [
            r#"a;b="""#,
            r#"a;b="x y""#,
            r#"a;b="x,y""#,
            r#"a;b="x"#,
            r#"a;b=""#,
            r#"a;b="\"#,
            r#"a;b="\""#,
            r#"a;b="\"""#,
            r#"a;b="\\""#,
            r#"a;b="x\"#,
            r#"a;b="x"y"#,
            r#"a;b="x\\"#,
        ] {
            assert_eq!(read(&[bad]), None, "{bad}");
        }
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for bad in [
            "", " ", ",", ";", "a;", "a;;b", "a;=1", "a;b=", "a;b=;c", "a b", "a;b c", "a;b=1 2",
            "a=1", "\"a\"", "a/b", "a;b=é", "a;b=1=2",
        ] {
            assert_eq!(read(&[bad]), None, "{bad:?}");
        }
    }

    #[test]
    fn more_offers_or_parameters_than_the_limit_are_refused() {
        let list = |count: usize, separator: &str| vec!["a"; count].join(separator);
        let is_read = |line: &str| parse([line.as_bytes()].into_iter()).is_ok();
        assert!(is_read(&list(OFFERS_MAX, ",")) && !is_read(&list(OFFERS_MAX + 1, ",")));
        assert!(is_read(&list(OFFER_PARAMS_MAX + 1, ";")));
        assert!(!is_read(&list(OFFER_PARAMS_MAX + 2, ";")));
    }
}
