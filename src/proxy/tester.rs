//! A tester's wish for one of the two models.

use crate::answer::Problem;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

const WISH: HeaderName = HeaderName::from_static("x-canary");
/// Enough to see what was sent.
const SHOWN: usize = 64;

/// Which model a tester asks for. Requests of testers are kept out of what is observed: they are no sample of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tester {
    /// The canary, as long as this node serves it at all.
    Always,
    /// The stable model.
    Never,
}

impl Tester {
    /// The wish in `headers`, if there is one.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut wishes = headers.get_all(WISH).iter();
        let Some(first) = wishes.next() else { return Ok(None) };
        match (first.as_bytes(), wishes.next()) {
            (b"always", None) => Ok(Some(Self::Always)),
            (b"never", None) => Ok(Some(Self::Never)),
            (_, None) => Err(Problem::Tester(shown(first))),
            (_, Some(_)) => Err(Problem::Tester("more than one value".into())),
        }
    }
}

fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&'static str]) -> Result<Option<Tester>, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WISH, HeaderValue::from_static(value));
        }
        Tester::of(&headers).map_err(|problem| problem.to_string())
    }

    #[test]
    fn there_are_two_wishes() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["always"]), Ok(Some(Tester::Always)));
        assert_eq!(of(&["never"]), Ok(Some(Tester::Never)));
        for wrong in [&["Always"][..], &["true"], &[""], &["always, never"], &["always", "never"], &["never", "never"]]
        {
            let problem = of(wrong).expect_err("it must be refused");
            assert!(problem.contains("always") && problem.contains("never"), "{problem}");
        }
    }
}
