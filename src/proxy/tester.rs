//! A tester's wish for one of the two models, and who may have one.

use crate::answer::Problem;
use crate::headers::Remote;
use edge::client_behind;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use model::{Networks, NetworksError};
use schema::code;
use std::str::FromStr;

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

/// Who may choose a model by `x-canary`, and so reach a canary that was not given to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Testers {
    /// Everybody.
    Any,
    /// Who presents a client certificate of the cluster, of whatever role.
    #[default]
    Certificate,
    /// Who has an address in one of these networks, behind proxies that are trusted.
    From(Networks),
}

impl FromStr for Testers {
    type Err = NetworksError;

    /// `any`, `certificate`, or networks with commas between.
    fn from_str(text: &str) -> Result<Self, NetworksError> {
        match text.trim() {
            "any" => Ok(Self::Any),
            "certificate" => Ok(Self::Certificate),
            networks => networks.parse().map(Self::From),
        }
    }
}

impl Testers {
    /// Refuses a wish from `remote` with 401 or 403, unless it may have one. What proxies in `trusted` say of the way is believed.
    pub(super) fn admit(
        &self,
        remote: Option<Remote>,
        headers: &HeaderMap,
        trusted: &Networks,
    ) -> Result<(), edge::Problem> {
        match (self, remote) {
            (Self::Any, _) => Ok(()),
            (Self::Certificate, Some(remote)) if remote.is_certified => Ok(()),
            (Self::Certificate, _) => {
                let needed = "x-canary chooses a model: present a client certificate of this cluster, or leave it out";
                Err(edge::Problem::unauthenticated(needed))
            }
            (Self::From(networks), remote) => {
                let client = remote.map(|remote| client_behind(trusted, remote.address.ip(), headers));
                if client.is_some_and(|client| networks.contain(client)) {
                    return Ok(());
                }
                let title = "This address may not choose a model";
                let detail = "x-canary is taken from the networks that --testers names: leave it out";
                Err(edge::Problem::new(StatusCode::FORBIDDEN, code::ROLE_NOT_ALLOWED, title, detail))
            }
        }
    }
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
