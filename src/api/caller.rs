//! Who is at the other end of a connection, and what it may do.
//!
//! Reading needs nothing. Changing the routing needs a certificate with the operator role; a node's certificate never
//! changes anything here, so that a stolen node key cannot move traffic over HTTPS.

use super::problem::Problem;
use crate::model::{Actor, Role, SpiffeId, UnixMillis};
use std::net::SocketAddr;

/// The other end of one connection; in the extensions of each of its requests as `Arc<Caller>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Where it connects from.
    pub remote: SocketAddr,
    /// Whom its certificate proves it to be; none without a certificate.
    pub identity: Option<Identity>,
}

/// What a verified client certificate says.
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
    /// The operator that asks, for a request at `now`.
    ///
    /// # Errors
    /// 401 without a valid certificate, 403 with one of another role. A certificate that was valid when the connection
    /// began may have expired since; it counts as none.
    pub fn operator(&self, now: UnixMillis) -> Result<Actor, Problem> {
        let Some(identity) = &self.identity else {
            return Err(Problem::unauthenticated(
                "this changes the routing: present an operator's client certificate (certs/operator-admin)",
            ));
        };
        if identity.not_after <= now {
            return Err(Problem::unauthenticated("the client certificate has expired: issue a new one"));
        }
        match &identity.spiffe.role {
            Role::Operator(_) => Ok(self.actor(identity)),
            role @ (Role::Node(_) | Role::App(_) | Role::Monitor(_)) => {
                Err(Problem::role_not_allowed(&role.to_string(), "operator"))
            }
        }
    }

    fn actor(&self, identity: &Identity) -> Actor {
        Actor { id: identity.spiffe.role.to_string(), serial: identity.serial.clone(), remote: self.remote.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn refused(role: Option<&str>, not_after: u64) -> Option<StatusCode> {
        let identity = role.map(|role| Identity {
            spiffe: format!("spiffe://c-1.canary/{role}").parse().expect("a SPIFFE id"),
            serial: "0a".into(),
            not_after: UnixMillis(not_after),
        });
        let caller = Caller { remote: "127.0.0.1:1".parse().expect("an address"), identity };
        caller.operator(NOW).err().map(|problem| problem.status())
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
}
