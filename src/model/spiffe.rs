//! The identity that a certificate carries: a SPIFFE id whose path names a role and who holds it.

use super::{NodeId, NodeIdError};
use std::fmt;
use std::str::FromStr;

const SCHEME: &str = "spiffe://";
const MAX_TRUST_DOMAIN: usize = 255;
const MAX_NAME: usize = 64;

/// `spiffe://<trust domain>/<role>/<name>`, after the SPIFFE ID standard, §2.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    /// The cluster, as its authority names it.
    pub trust_domain: String,
    /// What the holder is, and its name.
    pub role: Role,
}

/// What the holder of a certificate may be. What each may do is decided where it asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A member of the mesh.
    Node(NodeId),
    /// A person or script that changes routes.
    Operator(String),
    /// An application that reports outcomes.
    App(String),
    /// A monitoring system.
    Monitor(String),
}

/// The text is not an identity of this kind of mesh.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// Another scheme than `spiffe`.
    #[error("it does not begin with {SCHEME}")]
    Scheme,
    /// Empty, too long, or with characters that a trust domain cannot have.
    #[error("its trust domain is not 1 to {MAX_TRUST_DOMAIN} of a-z, 0-9, '.', '-' and '_'")]
    TrustDomain,
    /// A path that is not a role and a name.
    #[error(
        "its path is not /node/…, /operator/…, /app/… or /monitor/… with a name of 1 to {MAX_NAME} of A-Z, a-z, 0-9, '.', '-' and '_'"
    )]
    Path,
    /// A node role with another name than a node's.
    #[error(transparent)]
    Node(#[from] NodeIdError),
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (trust_domain, path) = rest.split_once('/').ok_or(SpiffeIdError::Path)?;
        if !is_trust_domain(trust_domain) {
            return Err(SpiffeIdError::TrustDomain);
        }
        let (role, name) = path.split_once('/').ok_or(SpiffeIdError::Path)?;
        if !is_name(name) {
            return Err(SpiffeIdError::Path);
        }
        let role = match role {
            "node" if name.starts_with("node-") => Role::Node(name.parse()?),
            "operator" => Role::Operator(name.to_owned()),
            "app" => Role::App(name.to_owned()),
            "monitor" => Role::Monitor(name.to_owned()),
            _ => return Err(SpiffeIdError::Path),
        };
        Ok(Self { trust_domain: trust_domain.to_owned(), role })
    }
}

/// Whether `text` can be a trust domain: SPIFFE ID standard §2.1, lower case.
pub fn is_trust_domain(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    (1..=MAX_TRUST_DOMAIN).contains(&text.len()) && text.bytes().all(allowed)
}

/// Whether `text` can be the name of an operator, application or monitor: SPIFFE ID standard §2.2.
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(allowed) && text != "." && text != ".."
}

impl Role {
    /// The first word of the path: `node`, `operator`, `app` or `monitor`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Node(_) => "node",
            Self::Operator(_) => "operator",
            Self::App(_) => "app",
            Self::Monitor(_) => "monitor",
        }
    }

    /// The second word of the path: `node-a`, or the client's name.
    pub fn name(&self) -> String {
        match self {
            Self::Node(node) => node.to_string(),
            Self::Operator(name) | Self::App(name) | Self::Monitor(name) => name.clone(),
        }
    }
}

impl fmt::Display for Role {
    /// The path without its first slash: `node/node-a`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "node/{id}"),
            Self::Operator(name) | Self::App(name) | Self::Monitor(name) => write!(f, "{}/{name}", self.word()),
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.trust_domain, self.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_survive_their_text_form() {
        for text in ["spiffe://c-1a2b.canary/node/node-a", "spiffe://x/operator/alice", "spiffe://x/monitor/prom_1"] {
            assert_eq!(text.parse::<SpiffeId>().map(|id| id.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        let wrong = [
            "",
            "http://x/node/node-a",
            "spiffe://x",
            "spiffe:///node/node-a",
            "spiffe://X/node/node-a",
            "spiffe://x/node/coordinator",
            "spiffe://x/node/node-a/",
            "spiffe://x/operator/",
            "spiffe://x/operator/..",
            "spiffe://x/operator/a b",
            "spiffe://x/root/a",
            "spiffe://x:1/node/node-a",
            "spiffe://x/operator/é",
        ];
        for text in wrong {
            assert!(text.parse::<SpiffeId>().is_err(), "{text:?} must be refused");
        }
    }
}
