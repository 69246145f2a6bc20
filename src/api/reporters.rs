//! Who may say how requests ended.

use edge::{Caller, Problem, client_behind};
use http::{HeaderMap, StatusCode};
use model::{Networks, UnixMillis};
use schema::code;
use std::str::FromStr;

/// Who may report outcomes, which count for or against a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reporters {
    /// Who presents an operator's or an application's certificate.
    #[default]
    Certificate,
    /// Whoever is on the node's own host, too.
    Local,
    /// Nobody.
    Off,
}

/// The text is none of the policies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not say who may report outcomes: use certificate, local or off")]
pub struct ReportersError(String);

impl FromStr for Reporters {
    type Err = ReportersError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "certificate" => Ok(Self::Certificate),
            "local" => Ok(Self::Local),
            "off" => Ok(Self::Off),
            other => Err(ReportersError(other.chars().take(64).collect())),
        }
    }
}

impl Reporters {
    /// Refuses `caller` with 401 or 403, unless it may report at `now`. What proxies in `trusted` say of the way is believed:
    /// one of them on this host does not make its clients local.
    pub(super) fn admit(
        self,
        caller: &Caller,
        headers: &HeaderMap,
        trusted: &Networks,
        now: UnixMillis,
    ) -> Result<(), Problem> {
        match self {
            Self::Local if caller.is_host_of(client_behind(trusted, caller.remote.ip(), headers)) => Ok(()),
            Self::Certificate | Self::Local => caller.reporter(now),
            Self::Off => {
                let (title, detail) = ("Outcomes are not taken", "this node runs with --outcomes off: send none");
                Err(Problem::new(StatusCode::FORBIDDEN, code::OUTCOMES_OFF, title, detail))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn there_are_three_policies() {
        for (text, policy) in
            [("certificate", Reporters::Certificate), ("local", Reporters::Local), ("off", Reporters::Off)]
        {
            assert_eq!(text.parse(), Ok(policy));
        }
        let error = "any".parse::<Reporters>().expect_err("there is no such policy").to_string();
        assert!(["any", "certificate", "local", "off"].iter().all(|word| error.contains(word)), "{error}");
    }

    #[test]
    fn who_is_local_is_told_by_the_last_address_that_no_trusted_proxy_wrote() {
        let status = |policy: Reporters, remote: &str, trusted: &str, way: Option<&'static str>| {
            let address = |text: &str| text.parse().expect("an address");
            let caller = Caller { remote: address(remote), local: address("192.168.1.20:50052"), identity: None };
            let headers =
                way.map(|way| (http::HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static(way)));
            let (headers, trusted) = (HeaderMap::from_iter(headers), trusted.parse().expect("networks"));
            policy.admit(&caller, &headers, &trusted, UnixMillis(0)).err().map_or(202, |error| error.status().as_u16())
        };
        use Reporters::{Certificate, Local, Off};
        for here in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.9.9.9]:1", "192.168.1.20:4711", "[::ffff:192.168.1.20]:1"] {
            let all = [Certificate, Local, Off].map(|policy| status(policy, here, "", None));
            assert_eq!(all, [401, 202, 403], "{here}");
        }
        assert_eq!(status(Local, "192.168.1.7:1", "", None), 401);
        for (remote, trusted, way, expected) in [
            ("127.0.0.1:1", "", "203.0.113.9", 202),
            ("127.0.0.1:1", "127.0.0.1", "203.0.113.9", 401),
            ("127.0.0.1:1", "127.0.0.1", "127.0.0.1, 203.0.113.9", 401),
            ("127.0.0.1:1", "127.0.0.1", "203.0.113.9, 127.0.0.1", 401),
            ("127.0.0.1:1", "127.0.0.1", "203.0.113.9, 192.168.1.20", 202),
            ("203.0.113.9:1", "127.0.0.1", "127.0.0.1", 401),
        ] {
            assert_eq!(status(Local, remote, trusted, Some(way)), expected, "{remote} {trusted} {way}");
        }
    }
}
