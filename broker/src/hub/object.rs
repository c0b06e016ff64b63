//! The members of a JSON payload as they were written: what `fields`, `key` and `deadband` look
//! at. Values stay byte for byte; nothing is decoded that is not asked for. Read once per message
//! and worker, however many subscribers want it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The top-level members of a JSON object, in their order.
#[derive(Debug)]
pub struct Object<'a>(Vec<(Name<'a>, &'a RawValue)>);

type Name<'a> = Cow<'a, str>;

impl<'a> Object<'a> {
    /// Reads a payload; None if it is no object.
    pub fn read(payload: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    /// The value of a member, as it was written; of several of one name the last.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.get())
    }

    /// The value of a member that is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.value(name)?.parse().ok()
    }

    /// The value that a JSON pointer (RFC 6901) leads to, as it was written.
    pub fn pointed(&self, pointer: &str) -> Option<&'a str> {
        let (name, rest) = first_segment(pointer)?;
        follow(self.value(&name)?, rest)
    }

    /// Appends an object with those of the members that have one of these names, in their order
    /// and as they were written.
    pub fn project(&self, names: &[Box<str>], out: &mut Vec<u8>) {
        out.push(b'{');
        let mut is_first = true;
        for (name, value) in &self.0 {
            if !names.iter().any(|wanted| **wanted == **name) {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            serde_json::to_writer(&mut *out, name.as_ref()).expect("a Vec takes all");
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
        out.push(b'}');
    }
}

/// `/a~1b/c` is the name `a/b` and the rest `/c`.
fn first_segment(pointer: &str) -> Option<(String, &str)> {
    let path = pointer.strip_prefix('/')?;
    let end = path.find('/').unwrap_or(path.len());
    Some((path[..end].replace("~1", "/").replace("~0", "~"), &path[end..]))
}

fn follow<'a>(value: &'a str, pointer: &str) -> Option<&'a str> {
    if pointer.is_empty() {
        return Some(value);
    }
    if value.starts_with('{') {
        return Object::read(value.as_bytes())?.pointed(pointer);
    }
    let (index, rest) = first_segment(pointer)?;
    let elements: Vec<&'a RawValue> = serde_json::from_str(value).ok()?;
    follow(elements.get(index.parse::<usize>().ok()?)?.get(), rest)
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(Name<'de>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    match members.len() {
                        0..MEMBERS_MAX => members.push((name.0, map.next_value()?)),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Self)
    }
}

/// Members that are looked at; further ones are as if they were not there.
const MEMBERS_MAX: usize = 4_096;

/// A string that is borrowed where it has no escapes.
struct Text<'a>(Name<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Borrowed).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTE: &[u8] =
        br#"{ "symbol":"A\u0043ME", "price": 101.50,"n":{"a/b":[7,{"c":1e2}]},"price2":null}"#;

    #[test]
    fn a_projection_keeps_the_spelling_and_the_order() {
        let object = Object::read(QUOTE).unwrap();
        let mut out = Vec::new();
        object.project(&["price".into(), "symbol".into(), "none".into()], &mut out);
        assert_eq!(out, br#"{"symbol":"A\u0043ME","price":101.50}"#);
        out.clear();
        object.project(&["none".into()], &mut out);
        assert_eq!(out, b"{}");
    }

    #[test]
    fn a_pointer_leads_through_objects_and_arrays() {
        let object = Object::read(QUOTE).unwrap();
        assert_eq!(object.pointed("/n/a~1b/1/c"), Some("1e2"));
        assert_eq!(object.pointed("/n/a~1b/0"), Some("7"));
        assert_eq!(object.number("price"), Some(101.5));
        assert_eq!(object.number("symbol"), None);
        for pointer in ["/n/x", "/n/a~1b/2", "/n/a~1b/x", "/price/0", "/"] {
            assert_eq!(object.pointed(pointer), None, "{pointer}");
        }
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for payload in [&b"[1]"[..], b"1", b"null", b"\"x\"", b"{", b"\xff"] {
            assert!(Object::read(payload).is_none());
        }
        assert_eq!(Object::read(br#"{"a":1,"a":2}"#).unwrap().value("a"), Some("2"));
    }
}
