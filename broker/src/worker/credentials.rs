//! Where a handshake may carry a token: `Authorization: Bearer`, a subprotocol `bearer.<token>`
//! beside the real one, or the cookie that the settings name. Finds it, judges nothing about it.
//! What it says never holds any of it. Called once per handshake where tokens are looked at.

use broker_proto::handshake::{Refusal, Request, Upgrade};

/// What the name of a subprotocol with a token begins with.
const SUBPROTOCOL: &str = "bearer.";
/// The scheme in `Authorization` (RFC 6750 §2.1), in any case.
const SCHEME: &str = "bearer";

/// The token of a handshake. One that is shown on purpose wins over a cookie, which browsers add
/// by themselves; a cookie counts only together with an `Origin`, which the caller has checked.
///
/// # Errors
/// 400: there are two tokens of one kind, or one is not text. 403: neither token nor `Origin`
/// although a cookie may carry one.
pub(super) fn token_of<'h>(
    request: &Request<'h>,
    upgrade: &Upgrade<'h>,
    cookie: &str,
) -> Result<Option<&'h str>, Refusal> {
    let header = in_header(request)?;
    let protocols = upgrade.protocols().iter();
    let named = protocols.filter_map(|name| name.strip_prefix(SUBPROTOCOL));
    let protocol = single(named, "bearer. subprotocol")?;
    if let Some(token) = header.or(protocol) {
        return Ok(Some(token));
    }
    if cookie.is_empty() {
        return Ok(None);
    }
    if upgrade.origin().is_none() {
        return Err(Refusal::forbidden("no Origin, and tokens may come in a cookie here"));
    }
    in_cookie(request, cookie)
}

/// The token of a request for events, which has no subprotocols. A page can read the answer only if
/// it is of the broker's own origin, for which browsers name none, or of one that is allowed.
///
/// # Errors
/// 400: there are two tokens of one kind.
pub(super) fn token_of_stream<'h>(
    request: &Request<'h>,
    cookie: &str,
) -> Result<Option<&'h str>, Refusal> {
    match in_header(request)? {
        None if !cookie.is_empty() => in_cookie(request, cookie),
        token => Ok(token),
    }
}

fn in_header<'h>(request: &Request<'h>) -> Result<Option<&'h str>, Refusal> {
    single(request.headers("Authorization").filter_map(bearer), "Authorization")
}

fn in_cookie<'h>(request: &Request<'h>, cookie: &str) -> Result<Option<&'h str>, Refusal> {
    single(request.headers("Cookie").flat_map(|value| of_cookie(value, cookie)), "cookie")
}

fn single<'h>(
    mut tokens: impl Iterator<Item = &'h str>,
    what: &str,
) -> Result<Option<&'h str>, Refusal> {
    let first = tokens.next();
    match tokens.next() {
        None => Ok(first),
        Some(_) => Err(Refusal::bad_request(format!("two tokens: {what}"))),
    }
}

fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_matches(' '))
}

/// The values of this name in a `Cookie` header (RFC 6265 §4.2.1).
fn of_cookie<'h>(value: &'h [u8], name: &str) -> impl Iterator<Item = &'h str> {
    let pairs = std::str::from_utf8(value).unwrap_or_default().split(';');
    pairs.filter_map(move |pair| {
        let (key, value) = pair.split_once('=')?;
        (key.trim() == name).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use broker_proto::handshake::HeadLimits;

    use super::*;

    fn found(headers: &str, cookie: &str) -> Result<Option<String>, u16> {
        let head = format!(
            "GET /ws?token=q HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {headers}\r\n"
        );
        let request = Request::parse(head.as_bytes(), &HeadLimits::default()).unwrap();
        let upgrade = Upgrade::from_request(&request).unwrap();
        let token = token_of(&request, &upgrade, cookie);
        token.map(|token| token.map(str::to_owned)).map_err(|refusal| refusal.status())
    }

    fn some(token: &str) -> Result<Option<String>, u16> {
        Ok(Some(token.to_owned()))
    }

    #[test]
    fn a_token_is_found_in_header_subprotocol_and_cookie_in_this_order() {
        let header = "Authorization: bEaReR  a.b.c \r\n";
        let protocol = "Sec-WebSocket-Protocol: altavoz.v1.json, bearer.d.e.f\r\n";
        let cookie = "Origin: https://a\r\nCookie: x=y; t=\"g.h.i\"; tt=z\r\n";
        assert_eq!(found(header, ""), some("a.b.c"));
        assert_eq!(found(protocol, ""), some("d.e.f"));
        assert_eq!(found(cookie, "t"), some("g.h.i"));
        assert_eq!(found(cookie, ""), Ok(None), "no cookie is looked at");
        assert_eq!(found(&format!("{header}{protocol}{cookie}"), "t"), some("a.b.c"));
        assert_eq!(found(&format!("{protocol}{cookie}"), "t"), some("d.e.f"));
        assert_eq!(found("Authorization: Basic YTpi\r\n", ""), Ok(None));
        assert_eq!(found("", ""), Ok(None), "nothing in the query counts");
    }

    #[test]
    fn where_a_cookie_may_carry_it_an_origin_is_needed_unless_a_token_is_shown() {
        assert_eq!(found("Cookie: t=a.b.c\r\n", "t"), Err(403));
        assert_eq!(found("", "t"), Err(403));
        assert_eq!(found("Authorization: Bearer a.b.c\r\n", "t"), some("a.b.c"));
        assert_eq!(found("Origin: https://a\r\n", "t"), Ok(None));
    }

    #[test]
    fn two_tokens_of_one_kind_are_refused() {
        let header = "Authorization: Bearer a\r\n";
        assert_eq!(found(&format!("{header}{header}"), ""), Err(400));
        assert_eq!(found("Sec-WebSocket-Protocol: bearer.a, bearer.b\r\n", ""), Err(400));
        assert_eq!(found("Origin: https://a\r\nCookie: t=a; t=b\r\n", "t"), Err(400));
    }
}
