//! The two headers in which proxies list whom they speak for: `X-Forwarded-For`, which is nobody's
//! standard, and `Forwarded` of RFC 7239. Each proxy adds the one it got the request from at the end,
//! so they are read from there.

use super::ClientAddress;

/// One place of a list.
enum Hop {
    Known(ClientAddress),
    /// The proxy does not tell (RFC 7239 §6.2, §6.3).
    Hidden,
}

/// A list of forwarders that can't be read: whoever follows the rules did not write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a list of forwarders that can't be read")]
pub struct ForwardedError;

/// The client in the values of all `X-Forwarded-For` of a request, in their order: from the end on,
/// the first address that `trusts` does not; if there is none, the last that was named, and None if
/// the list is empty.
///
/// ```
/// use broker_proto::forwarded::x_forwarded_for;
///
/// let lists = [&b"198.51.100.7, 192.0.2.1"[..], b"10.0.0.2"];
/// let is_ours = |ip: std::net::IpAddr| ip.to_string().starts_with("10.");
/// let client = x_forwarded_for(lists.into_iter(), is_ours)?.expect("it is named");
/// assert_eq!(client.to_string(), "192.0.2.1");
/// # Ok::<(), broker_proto::forwarded::ForwardedError>(())
/// ```
///
/// # Errors
///
/// [`ForwardedError`]: what a trusted proxy has added is no address.
pub fn x_forwarded_for<'v>(
    values: impl DoubleEndedIterator<Item = &'v [u8]>,
    trusts: impl Fn(core::net::IpAddr) -> bool,
) -> Result<Option<ClientAddress>, ForwardedError> {
    let places = values.rev().flat_map(|value| value.rsplit(|&byte| byte == b','));
    let places = places.map(<[u8]>::trim_ascii).filter(|place| !place.is_empty());
    nearest(places.map(|place| text(place).and_then(hop)), trusts)
}

/// The same for the values of all `Forwarded` (RFC 7239 §4).
///
/// ```
/// use broker_proto::forwarded::forwarded;
///
/// let list = br#"for=198.51.100.7, for="[2001:db8::1]:4711";proto=https;by=10.0.0.1"#;
/// let client = forwarded([&list[..]].into_iter(), |_| false)?.expect("it is named");
/// assert_eq!(client.to_string(), "[2001:db8::1]:4711");
/// # Ok::<(), broker_proto::forwarded::ForwardedError>(())
/// ```
///
/// # Errors
///
/// [`ForwardedError`]: a list breaks the grammar anywhere, so that where its places end can't be
/// known, or what a trusted proxy has added is no address.
pub fn forwarded<'v>(
    values: impl DoubleEndedIterator<Item = &'v [u8]>,
    trusts: impl Fn(core::net::IpAddr) -> bool,
) -> Result<Option<ClientAddress>, ForwardedError> {
    let mut places = Vec::new();
    for value in values {
        let mut rest = text(value)?;
        while !rest.is_empty() {
            let (node, behind) = element(rest)?;
            places.extend(node);
            rest = behind;
        }
    }
    nearest(places.iter().rev().map(|node| hop(node)), trusts)
}

fn nearest(
    hops: impl Iterator<Item = Result<Hop, ForwardedError>>,
    trusts: impl Fn(core::net::IpAddr) -> bool,
) -> Result<Option<ClientAddress>, ForwardedError> {
    let mut last = None;
    for hop in hops {
        match hop? {
            // What is known of whoever stands before the one that keeps it to itself.
            Hop::Hidden => break,
            Hop::Known(address) => last = Some(address),
        }
        if last.is_some_and(|address| !trusts(address.ip)) {
            break;
        }
    }
    Ok(last)
}

fn text(bytes: &[u8]) -> Result<&str, ForwardedError> {
    core::str::from_utf8(bytes).ok().filter(|text| text.is_ascii()).ok_or(ForwardedError)
}

fn hop(node: &str) -> Result<Hop, ForwardedError> {
    let (name, port) = node.split_once(':').unwrap_or((node, ""));
    if name.eq_ignore_ascii_case("unknown") || (name.starts_with('_') && !port.contains(']')) {
        return Ok(Hop::Hidden);
    }
    // A port may be kept back by itself.
    let shown = match node.rsplit_once(":_") {
        Some((address, hidden)) if !hidden.contains(']') => address,
        _ => node,
    };
    shown.parse().map(Hop::Known).map_err(|_| ForwardedError)
}

/// Takes the first element off a list: what its `for` says, empty elements aside.
fn element(list: &str) -> Result<(Option<String>, &str), ForwardedError> {
    let mut rest = list.trim_start_matches([' ', '\t']);
    let (mut node, mut has_pairs) = (None, false);
    loop {
        let name_len = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(name_len);
        if let Some(value) = behind.strip_prefix('=').filter(|_| !name.is_empty()) {
            let (value, behind) = pair_value(value)?;
            has_pairs = true;
            if name.eq_ignore_ascii_case("for") && node.replace(value).is_some() {
                return Err(ForwardedError);
            }
            rest = behind;
        } else if !name.is_empty() {
            return Err(ForwardedError);
        }
        rest = rest.trim_start_matches([' ', '\t']);
        if let Some(more) = rest.strip_prefix(';') {
            rest = more.trim_start_matches([' ', '\t']);
            continue;
        }
        let behind = match rest.strip_prefix(',') {
            Some(behind) => behind,
            None if rest.is_empty() => rest,
            None => return Err(ForwardedError),
        };
        // An element without `for` is a proxy that does not tell.
        let told = node.or_else(|| has_pairs.then(|| "unknown".to_owned()));
        return Ok((told, behind));
    }
}

/// A token or a quoted string (RFC 9110 §5.6), and what is behind it.
fn pair_value(text: &str) -> Result<(String, &str), ForwardedError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let len = text.find(|c: char| !is_token(c)).unwrap_or(text.len());
        let (value, behind) = text.split_at(len);
        return if value.is_empty() { Err(ForwardedError) } else { Ok((value.into(), behind)) };
    };
    let (mut value, mut chars) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next().ok_or(ForwardedError)?.1),
            _ => value.push(c),
        }
    }
    Err(ForwardedError)
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    fn ours(ip: IpAddr) -> bool {
        ip.to_string().starts_with("10.")
    }

    fn by(
        read: impl Fn(&[&str]) -> Result<Option<ClientAddress>, ForwardedError>,
        values: &[&str],
    ) -> Option<String> {
        let client = read(values).unwrap_or_else(|_| panic!("{values:?}"));
        client.map(|client| client.to_string())
    }

    fn listed(values: &[&str]) -> Result<Option<ClientAddress>, ForwardedError> {
        x_forwarded_for(values.iter().map(|value| value.as_bytes()), ours)
    }

    fn standard(values: &[&str]) -> Result<Option<ClientAddress>, ForwardedError> {
        forwarded(values.iter().map(|value| value.as_bytes()), ours)
    }

    #[test]
    fn from_the_end_the_first_that_is_not_trusted_is_the_client() {
        for (values, client) in [
            (&["192.0.2.1"][..], Some("192.0.2.1")),
            (&["198.51.100.7, 192.0.2.1, 10.0.0.2"], Some("192.0.2.1")),
            (&["198.51.100.7", "192.0.2.1,10.0.0.2", "10.0.0.3"], Some("192.0.2.1")),
            (&["10.0.0.9, 10.0.0.2"], Some("10.0.0.9")),
            (&["invented, 192.0.2.1:80"], Some("192.0.2.1:80")),
            (&["[2001:db8::1]:7 , ,"], Some("[2001:db8::1]:7")),
            (&["2001:db8::1"], Some("2001:db8::1")),
            (&["192.0.2.1, unknown"], None),
            (&["192.0.2.1, unknown, 10.0.0.2"], Some("10.0.0.2")),
            (&[], None),
            (&["", " , "], None),
        ] {
            assert_eq!(by(listed, values).as_deref(), client, "{values:?}");
        }
        assert!(listed(&["192.0.2.1, garbage, 10.0.0.2"]).is_err());
        assert!(listed(&["192.0.2.1 10.0.0.2"]).is_err());
        assert!(x_forwarded_for([&b"\xff"[..]].into_iter(), ours).is_err());
    }

    #[test]
    fn the_standard_header_is_read_with_its_quotes_and_its_hidden_names() {
        for (values, client) in [
            (&["for=192.0.2.1"][..], Some("192.0.2.1")),
            (&["For=\"[2001:db8:cafe::17]:4711\""], Some("[2001:db8:cafe::17]:4711")),
            (&["for=192.0.2.43, for=198.51.100.17;by=10.0.0.1;proto=http"], Some("198.51.100.17")),
            (&["for=192.0.2.43", "proto=http ; for=\"10.0.0.5:1\""], Some("192.0.2.43")),
            (&["for=192.0.2.43, for=\"_gazonk\", for=10.0.0.1"], Some("10.0.0.1")),
            (&["for=192.0.2.43, proto=https"], None),
            (&["for=unknown"], None),
            (&["for=\"192.0.2.1:_hidden\""], Some("192.0.2.1")),
            (&["for=\"1\\92.0.2.1\""], Some("192.0.2.1")),
            (&["by=\"a, for=198.51.100.9\", for=192.0.2.1"], Some("192.0.2.1")),
            (&["", ","], None),
        ] {
            assert_eq!(by(standard, values).as_deref(), client, "{values:?}");
        }
    }

    /// What is open at its end would swallow what the next proxy adds.
    #[test]
    fn a_list_whose_places_can_not_be_told_apart_is_refused() {
        for values in [
            "for=\"198.51.100.9, for=192.0.2.1",
            "for=\"198.51.100.9\\",
            "for=192.0.2.1 for=198.51.100.9",
            "for=192.0.2.1;for=198.51.100.9",
            "for",
            "for=",
            "=192.0.2.1",
            "for=2001:db8::1",
            "for=192.0.2.1\"",
            "for=nobody",
        ] {
            assert!(standard(&[values]).is_err(), "{values}");
        }
    }
}
