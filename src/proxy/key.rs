//! Finds the stickiness key in a JSON body, and checks that the body is JSON, without building a tree of it.

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// The value of the top-level `"key"` of `body`, if the body is an object that has one that is a non-empty string or a
/// number. As in most JSON readers the last one counts when there are several. Numbers are written as JSON writes them.
/// Fails when the body is not one JSON value, or is nested deeper than 127 levels: with the reason and the place.
pub(super) fn key_of(body: &[u8]) -> Result<Option<Cow<'_, [u8]>>, serde_json::Error> {
    // serde_json counts the levels that `deserialize_any` enters; skipping values with `IgnoredAny` would not.
    let mut json = serde_json::Deserializer::from_slice(body);
    let key = if body.trim_ascii_start().starts_with(b"{") {
        json.deserialize_map(Members)?
    } else {
        json.deserialize_any(Any::<()>(PhantomData))?;
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
                Field::Key => key = map.next_value_seed(Any(PhantomData))?,
                Field::Other => map.next_value_seed(Any(PhantomData))?,
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

/// A value that was checked, and what is kept of it.
trait Checked<'de>: Sized {
    /// It is a string or a number.
    fn told(value: impl FnOnce() -> Cow<'de, [u8]>) -> Self;

    /// It is anything else.
    fn other() -> Self;
}

/// The value of the key: kept when it is a string or a number.
impl<'de> Checked<'de> for Option<Cow<'de, [u8]>> {
    fn told(value: impl FnOnce() -> Cow<'de, [u8]>) -> Self {
        Some(value())
    }

    fn other() -> Self {
        None
    }
}

/// Any other value.
impl<'de> Checked<'de> for () {
    fn told(_: impl FnOnce() -> Cow<'de, [u8]>) {}

    fn other() {}
}

/// Accepts any value. Unlike serde's `IgnoredAny` it is counted against the depth limit.
struct Any<T>(PhantomData<T>);

impl<'de, T: Checked<'de>> de::DeserializeSeed<'de> for Any<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Checked<'de>> Visitor<'de> for Any<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<T, E> {
        Ok(T::told(|| Cow::Borrowed(text.as_bytes())))
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::told(|| Cow::Owned(text.as_bytes().to_vec())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::told(|| Cow::Owned(number.to_string().into_bytes())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(T::told(|| Cow::Owned(number.to_string().into_bytes())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<T, E> {
        Ok(T::told(|| Cow::Owned(number.to_string().into_bytes())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(Any::<()>(PhantomData))?;
        }
        Ok(T::other())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        while seq.next_element_seed(Any::<()>(PhantomData))?.is_some() {}
        Ok(T::other())
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
