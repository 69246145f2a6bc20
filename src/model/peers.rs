//! Where the members are: the `PEERS_NODE_*` values, parsed and checked as a set.

use super::{MAX_NODES, MIN_NODES, NodeId, NodeSet};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

const PREFIX: &str = "PEERS_NODE_";
const MAX_HOST_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// One address as configured: an IP address or a host name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IPv4 or IPv6 address; a v4-mapped one is held as IPv4.
    Ip(IpAddr),
    /// A host name in lower case, to be looked up.
    Name(String),
}

/// The text is not an address or host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing there.
    #[error("the address is empty: use an IPv4 address, an IPv6 address or a host name")]
    Empty,
    /// An address with a `%zone`.
    #[error("{0:?} has a zone: link-local addresses with a zone cannot identify a machine, use a routable address")]
    Zone(String),
    /// An address that stands for many or for none.
    #[error("{0} cannot be a machine's address: use the address that the others reach it at")]
    NotAMachine(IpAddr),
    /// With a port, scheme or path, or with characters that no host name has.
    #[error("{0:?} is not an IPv4 address, IPv6 address or host name (no port, no scheme)")]
    Invalid(String),
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let shown = || text.chars().take(MAX_HOST_NAME).collect::<String>();
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.contains('%') {
            return Err(HostError::Zone(shown()));
        }
        let bare = match text.strip_prefix('[') {
            Some(rest) => {
                rest.strip_suffix(']').filter(|inner| inner.contains(':')).ok_or_else(|| HostError::Invalid(shown()))?
            }
            None => text,
        };
        if let Ok(address) = bare.parse::<IpAddr>() {
            return machine(address.to_canonical()).map(Self::Ip);
        }
        if is_host_name(bare) { Ok(Self::Name(bare.to_ascii_lowercase())) } else { Err(HostError::Invalid(shown())) }
    }
}

fn machine(address: IpAddr) -> Result<IpAddr, HostError> {
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.is_unspecified() || address.is_multicast() || broadcast {
        return Err(HostError::NotAMachine(address));
    }
    Ok(address)
}

/// RFC 1123 names, with the last label not all digits so that a mistyped IPv4 address is not taken for a name.
fn is_host_name(text: &str) -> bool {
    let label_is_valid = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_number = text.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= MAX_HOST_NAME && text.split('.').all(label_is_valid) && !last_is_number
}

impl Host {
    /// The host as it stands in a URL: IPv6 addresses in brackets.
    pub fn in_url(&self) -> String {
        match self {
            Self::Ip(IpAddr::V6(address)) => format!("[{address}]"),
            Self::Ip(IpAddr::V4(_)) | Self::Name(_) => self.to_string(),
        }
    }

    /// Whether this is a loopback address.
    pub const fn is_loopback(&self) -> bool {
        match self {
            Self::Ip(address) => address.is_loopback(),
            Self::Name(_) => false,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// All members and their addresses: three at least, letters without gaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Peers(BTreeMap<NodeId, Host>);

/// The addresses do not make a mesh.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum PeersError {
    /// A value that cannot be read.
    #[error("{variable}: {source}")]
    Host { variable: String, source: HostError },
    /// A variable whose last part is not one letter.
    #[error("{0} is not a member's variable: use {PREFIX}A, {PREFIX}B, {PREFIX}C …")]
    Variable(String),
    /// One letter in both cases, or one node twice.
    #[error("{0} is configured twice: give each member one address")]
    Twice(NodeId),
    /// A letter is missing before another.
    #[error("{missing} is not set but {present} is: letters must follow one another without gaps")]
    Gap { missing: String, present: String },
    /// Fewer than three.
    #[error("only {0} of at least {MIN_NODES} members configured: set {PREFIX}A, {PREFIX}B and {PREFIX}C")]
    TooFew(usize),
}

impl Peers {
    /// Three members on 127.0.0.1, the default when nothing is configured.
    pub fn local() -> Self {
        Self(NodeSet::first(MIN_NODES).iter().map(|id| (id, Host::Ip(Ipv4Addr::LOCALHOST.into()))).collect())
    }

    /// Checks a list of members. Fails when a member is there twice, a letter is left out, or there are fewer than
    /// three.
    pub fn new(hosts: impl IntoIterator<Item = (NodeId, Host)>) -> Result<Self, PeersError> {
        let mut by_id = BTreeMap::new();
        for (id, host) in hosts {
            if by_id.insert(id, host).is_some() {
                return Err(PeersError::Twice(id));
            }
        }
        for (position, id) in by_id.keys().enumerate() {
            if usize::from(id.index()) != position {
                let missing = u8::try_from(position).ok().and_then(NodeId::from_index).unwrap_or(NodeId::A).variable();
                return Err(PeersError::Gap { missing, present: id.variable() });
            }
        }
        if by_id.len() < MIN_NODES {
            return Err(PeersError::TooFew(by_id.len()));
        }
        debug_assert!(by_id.len() <= MAX_NODES, "there are only {MAX_NODES} letters");
        Ok(Self(by_id))
    }

    /// Reads the `PEERS_NODE_*` variables among `variables`; none when there is none of them. Fails when a name or
    /// value is wrong, or the members do not make a mesh.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Option<Self>, PeersError> {
        let mut hosts = Vec::new();
        for (variable, value) in variables {
            let Some(suffix) = variable.strip_prefix(PREFIX) else { continue };
            let mut letters = suffix.chars();
            let id = match (letters.next(), letters.next()) {
                (Some(letter), None) => NodeId::from_letter(letter),
                _ => None,
            };
            let Some(id) = id else { return Err(PeersError::Variable(variable)) };
            let host = value.parse().map_err(|source| PeersError::Host { variable, source })?;
            hosts.push((id, host));
        }
        if hosts.is_empty() { Ok(None) } else { Self::new(hosts).map(Some) }
    }

    /// The address of a member.
    pub fn host(&self, id: NodeId) -> Option<&Host> {
        self.0.get(&id)
    }

    /// All members.
    pub fn members(&self) -> NodeSet {
        self.0.keys().copied().collect()
    }

    /// All members with their addresses, in id order.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Host)> {
        self.0.iter().map(|(id, host)| (*id, host))
    }

    /// The members that share an address with another, so that it does not tell them apart.
    pub fn sharing(&self) -> NodeSet {
        let shared = |id: &NodeId, host: &Host| self.0.iter().any(|(other, address)| other != id && address == host);
        self.0.iter().filter(|(id, host)| shared(id, host)).map(|(id, _)| *id).collect()
    }
}

impl<'de> Deserialize<'de> for Peers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(BTreeMap::<NodeId, Host>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(variables: &[(&str, &str)]) -> Result<Option<Peers>, PeersError> {
        Peers::from_variables(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn addresses_of_every_kind_are_read() {
        let hosts = [
            ("10.0.0.1", "10.0.0.1"),
            ("[2001:DB8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            (" A.Example ", "a.example"),
        ];
        for (text, shown) in hosts {
            assert_eq!(text.parse::<Host>().map(|host| host.to_string()), Ok(shown.to_owned()));
        }
    }

    #[test]
    fn what_names_no_machine_is_refused() {
        for text in [
            "",
            " ",
            "10.0.0.1:60001",
            "http://a",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "fe80::1%eth0",
            "[10.0.0.1]",
            "10.0.0.256",
            "a b",
            "-a",
            "ä",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn a_set_has_three_members_without_gaps() {
        assert_eq!(peers(&[("HOME", "/root")]), Ok(None));
        let three = peers(&[("PEERS_NODE_C", "10.0.0.3"), ("PEERS_NODE_A", "10.0.0.1"), ("PEERS_NODE_B", "b.example")]);
        assert_eq!(
            three.map(|peers| peers.map(|peers| peers.members().to_string())),
            Ok(Some("node-a, node-b, node-c".into()))
        );
        assert_eq!(peers(&[("PEERS_NODE_A", "10.0.0.1")]), Err(PeersError::TooFew(1)));
        let gap = peers(&[("PEERS_NODE_A", "10.0.0.1"), ("PEERS_NODE_B", "10.0.0.2"), ("PEERS_NODE_D", "10.0.0.4")]);
        assert_eq!(gap, Err(PeersError::Gap { missing: "PEERS_NODE_C".into(), present: "PEERS_NODE_D".into() }));
        let twice = peers(&[("PEERS_NODE_A", "10.0.0.1"), ("PEERS_NODE_a", "10.0.0.2")]);
        assert_eq!(twice, Err(PeersError::Twice(NodeId::A)));
        assert!(matches!(peers(&[("PEERS_NODE_1", "10.0.0.1")]), Err(PeersError::Variable(_))));
        assert!(matches!(peers(&[("PEERS_NODE_A", "")]), Err(PeersError::Host { .. })));
    }

    #[test]
    fn shared_addresses_are_found() {
        let shared = peers(&[("PEERS_NODE_A", "10.0.0.1"), ("PEERS_NODE_B", "10.0.0.1"), ("PEERS_NODE_C", "10.0.0.3")]);
        assert_eq!(
            shared.map(|peers| peers.map(|peers| peers.sharing().to_string())),
            Ok(Some("node-a, node-b".into()))
        );
    }
}
