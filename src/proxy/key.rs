//! Finds the stickiness key in a JSON body, and checks that the body is JSON, without building a tree of it.

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The value of the top-level `"key"` of `body`, if the body is an object that has one that is a non-empty string or a
/// number. As in most JSON readers the last one counts when there are several. Numbers are written as JSON writes them.
/// Fails when the body is not one JSON value, or is nested deeper than 127 levels: with the reason and the place.
pub(super) fn key_of(body: &[u8]) -> Result<Option<Cow<'_, [u8]>>, serde_json::Error> {
    // serde_json counts the levels that `deserialize_any` enters; skipping values with `IgnoredAny` would not.
    let mut json = serde_json::Deserializer::from_slice(body);
    let key = if body.trim_ascii_start().starts_with(b"{") {
        json.deserialize_map(Members)?
    } else {
        json.deserialize_any(Skipped)?;
        None
    };
    json.end()?;
    Ok(key.filter(|key| !key.is_empty()))
}

/// Accepts an object and keeps nothing of it but the key.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Option<Cow<'de, [u8]>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut key = None;
        while let Some(name) = map.next_key()? {
            match name {
                Field::Key => key = map.next_value_seed(Value)?,
                Field::Other => map.next_value_seed(Skipped)?,
            }
        }
        Ok(key)
    }
}

/// The name of a member: `key`, or any other.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Key,
    #[serde(other)]
    Other,
}

/// The value of the key: kept when it is a string or a number, skipped otherwise.
struct Value;

impl<'de> de::DeserializeSeed<'de> for Value {
    type Value = Option<Cow<'de, [u8]>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Option<Cow<'de, [u8]>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text.as_bytes())))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.as_bytes().to_vec())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string().into_bytes())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string().into_bytes())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string().into_bytes())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Skipped.visit_map(map).map(|()| None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Skipped.visit_seq(seq).map(|()| None)
    }
}

/// A value that is checked and not kept. Unlike serde's `IgnoredAny` it is counted against the depth limit.
#[derive(Clone, Copy)]
struct Skipped;

impl<'de> de::DeserializeSeed<'de> for Skipped {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skipped {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(self)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(body: &str) -> Option<String> {
        let key = key_of(body.as_bytes()).expect("the body is JSON");
        key.map(|key| String::from_utf8(key.into_owned()).expect("keys in these tests are text"))
    }

    #[test]
    fn strings_and_numbers_at_the_top_are_keys() {
        assert_eq!(key(r#"{"key":"alice"}"#).as_deref(), Some("alice"));
        assert_eq!(key(r#" {"input":[1,{"key":"no"}], "key" : "al\u0069ce", "x":null} "#).as_deref(), Some("alice"));
        assert_eq!(key(r#"{"key":42}"#).as_deref(), Some("42"));
        assert_eq!(key(r#"{"key":-1.5}"#).as_deref(), Some("-1.5"));
        assert_eq!(key(r#"{"key":"a","key":"b"}"#).as_deref(), Some("b"));
        assert_eq!(key(r#"{"k\u0065y":"a"}"#).as_deref(), Some("a"));
    }

    #[test]
    fn everything_else_is_json_without_a_key() {
        for body in [
            "{}",
            "[]",
            "1",
            "-1",
            "1.5",
            "true",
            "null",
            r#""key""#,
            r#"["key","a"]"#,
            r#"{"Key":"a"}"#,
            r#"{"key":null}"#,
            r#"{"key":true}"#,
            r#"{"key":{"key":"a"}}"#,
            r#"{"key":["a"]}"#,
            r#"{"key":""}"#,
            r#"{"a":{"key":"b"}}"#,
        ] {
            assert_eq!(key(body), None, "{body}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for body in
            ["", " ", "{", "nul", r#"{"key":}"#, r#"{"key":"a"} x"#, r#"{key:"a"}"#, r#"{"key":"a",}"#, "\u{0}", "'a'"]
        {
            assert!(key_of(body.as_bytes()).is_err(), "{body:?} must be refused");
        }
        assert!(key_of(b"{\"key\":\"\xff\"}").is_err(), "a key must be UTF-8");
    }

    #[test]
    fn nesting_is_bounded_wherever_it_is() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"key\":", "}"), ("{\"key\":[", "]}")] {
            let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(key_of(nested(60).as_bytes()).is_ok());
            assert!(
                key_of(nested(10_000).as_bytes()).is_err_and(|error| error.to_string().contains("recursion limit"))
            );
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_full_parse(body in "[\\[\\]{}\":,key0-9.eE\\\\u -]{0,24}") {
            let full = serde_json::from_str::<serde_json::Value>(&body);
            match key_of(body.as_bytes()) {
                Ok(key) => {
                    let full = full.expect("what this accepts is JSON");
                    let text = full.get("key").and_then(|key| key.as_str()).filter(|key| !key.is_empty());
                    if let Some(text) = text {
                        prop_assert_eq!(key.as_deref(), Some(text.as_bytes()));
                    }
                }
                Err(_) => prop_assert!(full.is_err()),
            }
        }
    }
}
