//! The other end of a connection, and what it may do.
//!
//! Reading needs nothing. Changing the routing needs a certificate with the operator role; a node's certificate never
//! changes anything here, so that a stolen node key cannot move traffic over HTTPS. Reporting outcomes, which count for or
//! against a model, needs an operator's or an application's certificate, unless the node is told otherwise.

use crate::Problem;
use axum::extract::Request;
use model::{Actor, Role, SpiffeId, UnixMillis};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The other end of one connection; in the extensions of each of its requests as `Arc<Caller>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Where it connects from.
    pub remote: SocketAddr,
    /// The address of this node that it connects to.
    pub local: SocketAddr,
    /// Whom its certificate proves it to be; none without a certificate.
    pub identity: Option<Identity>,
}

/// The identity in a verified client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its SPIFFE id.
    pub spiffe: SpiffeId,
    /// Its serial number in lower-case hexadecimal.
    pub serial: String,
    /// When it expires.
    pub not_after: UnixMillis,
}

impl Caller {
    /// The operator that asks, for a request at `now`. Refused with 401 without a valid certificate, with 403 with one of
    /// another role. A certificate that was valid when the connection began may have expired since; it counts as none.
    pub fn operator(&self, now: UnixMillis) -> Result<Actor, Problem> {
        let needed = "this changes the routing: present an operator's client certificate (certs/operator-admin)";
        let identity = self.valid(now, needed)?;
        match &identity.spiffe.role {
            Role::Operator(_) => Ok(self.actor(identity)),
            role @ (Role::Node(_) | Role::App(_) | Role::Monitor(_)) => {
                Err(Problem::role_not_allowed(&role.to_string(), "operator"))
            }
        }
    }

    /// Whether its certificate lets it report outcomes at `now`. Refused with 401 without a valid one, and with 403 with one of
    /// another role.
    pub fn reporter(&self, now: UnixMillis) -> Result<(), Problem> {
        let needed = "outcomes are taken with an application's or operator's client certificate";
        match &self.valid(now, needed)?.spiffe.role {
            Role::Operator(_) | Role::App(_) => Ok(()),
            role @ (Role::Node(_) | Role::Monitor(_)) => {
                Err(Problem::role_not_allowed(&role.to_string(), "app or operator"))
            }
        }
    }

    /// Whether `client` is on the node's own host: it has the address that the connection came in on, or one of loopback.
    pub fn is_host_of(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        client.is_loopback() || client == self.local.ip().to_canonical()
    }

    /// Whether a certificate that is valid at `now` proves it to be anybody of the cluster.
    pub fn is_certified(&self, now: UnixMillis) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.not_after > now)
    }

    /// Whom a certificate proves it to be, whatever it may do.
    pub fn proved(&self) -> Option<Actor> {
        self.identity.as_ref().map(|identity| self.actor(identity))
    }

    fn valid(&self, now: UnixMillis, needed: &str) -> Result<&Identity, Problem> {
        match &self.identity {
            None => Err(Problem::unauthenticated(needed)),
            Some(identity) if identity.not_after <= now => {
                Err(Problem::unauthenticated("the client certificate has expired: issue a new one"))
            }
            Some(identity) => Ok(identity),
        }
    }

    fn actor(&self, identity: &Identity) -> Actor {
        Actor { id: identity.spiffe.role.to_string(), serial: identity.serial.clone(), remote: self.remote.to_string() }
    }
}

/// Let whoever sent `request` do what `allow` says. A refusal goes to the log, as `refused`.
pub fn admit<T>(
    request: &Request,
    refused: &'static str,
    allow: impl FnOnce(&Caller) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let Some(caller) = request.extensions().get::<Arc<Caller>>() else {
        return Err(Problem::unauthenticated("the connection has no client certificate"));
    };
    allow(caller).inspect_err(|problem| {
        let claimed = caller.identity.as_ref().map(|identity| identity.spiffe.to_string());
        tracing::warn!(
            target: "canary::security",
            event = "request_refused",
            plane = "https",
            remote = %caller.remote,
            claimed = claimed.as_deref().unwrap_or("-"),
            status = problem.status().as_u16(),
            "{refused}"
        );
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    const HERE: &str = "192.168.1.20:50052";
    const ELSEWHERE: &str = "192.168.1.7:4711";

    fn caller(role: Option<&str>, not_after: u64, remote: &str) -> Caller {
        let address = |text: &str| text.parse().expect("an address");
        let identity = role.map(|role| Identity {
            spiffe: format!("spiffe://c-1.canary/{role}").parse().expect("a SPIFFE id"),
            serial: "0a".into(),
            not_after: UnixMillis(not_after),
        });
        Caller { remote: address(remote), local: address(HERE), identity }
    }

    fn status<T>(allowed: Result<T, Problem>) -> Option<StatusCode> {
        allowed.err().map(|problem| problem.status())
    }

    fn refused(role: Option<&str>, not_after: u64) -> Option<StatusCode> {
        status(caller(role, not_after, "127.0.0.1:1").operator(NOW))
    }

    #[test]
    fn only_an_operator_with_a_valid_certificate_may_change() {
        assert_eq!(refused(Some("operator/admin"), 2_000_000), None);
        assert_eq!(refused(Some("operator/admin"), 1_000_000), Some(StatusCode::UNAUTHORIZED));
        assert_eq!(refused(None, 2_000_000), Some(StatusCode::UNAUTHORIZED));
        for role in ["node/node-a", "app/shop", "monitor/prom"] {
            assert_eq!(refused(Some(role), 2_000_000), Some(StatusCode::FORBIDDEN), "{role}");
        }
    }

    #[test]
    fn outcomes_come_with_a_certificate() {
        let reporter = |role, not_after, remote| status(caller(role, not_after, remote).reporter(NOW));
        for role in ["app/shop", "operator/admin"] {
            assert_eq!(reporter(Some(role), 2_000_000, ELSEWHERE), None, "{role}");
            assert_eq!(reporter(Some(role), 1_000_000, ELSEWHERE), Some(StatusCode::UNAUTHORIZED), "{role} expired");
        }
        for role in ["node/node-a", "monitor/prom"] {
            assert_eq!(reporter(Some(role), 2_000_000, ELSEWHERE), Some(StatusCode::FORBIDDEN), "{role}");
        }
        for anywhere in [ELSEWHERE, "127.0.0.1:1"] {
            assert_eq!(reporter(None, 0, anywhere), Some(StatusCode::UNAUTHORIZED), "{anywhere}");
        }
        for here in ["127.0.0.1", "::1", "::ffff:127.9.9.9", "192.168.1.20", "::ffff:192.168.1.20"] {
            assert!(caller(None, 0, ELSEWHERE).is_host_of(here.parse().expect("an address")), "{here}");
        }
        assert!(!caller(None, 0, HERE).is_host_of("192.168.1.7".parse().expect("an address")));
    }
}
