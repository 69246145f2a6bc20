//! Lists of networks.

use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Whoever has an address of IPv6 mostly has all that begin with the same so many bits.
const NETWORK_BITS: u32 = 64;

/// Networks, of which none is nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// The text is not a list of networks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address nor a network: write 10.0.0.7 or 10.0.0.0/24, with commas between")]
pub struct NetworksError(String);

impl FromStr for Networks {
    type Err = NetworksError;

    /// `10.0.0.0/24,2001:db8::7`.
    fn from_str(text: &str) -> Result<Self, NetworksError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let network = |part: &str| {
            let network = part.parse().or_else(|_| part.parse().map(|address: IpAddr| IpNet::from(address)));
            network.map_err(|_| NetworksError(part.chars().take(64).collect()))
        };
        parts.map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&networks.join(","))
    }
}

impl Networks {
    /// Whether `address` is in one of them. An IPv4 address is the same where a socket of IPv6 writes it.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The client that an address belongs to, as far as addresses tell clients apart: an address of IPv4, also where a socket of
/// IPv6 writes it; a /64 of IPv6.
pub fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> NETWORK_BITS))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(text: &str) -> Networks {
        text.parse().expect("networks")
    }

    #[test]
    fn networks_are_read_and_what_is_none_is_named() {
        let list = networks("10.0.0.0/8, 192.168.1.7,2001:db8::/32");
        for (address, there) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("192.168.1.7", true),
            ("192.168.1.8", false),
            ("2001:db8::1", true),
            ("::1", false),
        ] {
            assert_eq!(list.contain(address.parse().expect("an address")), there, "{address}");
        }
        assert_eq!(
            (networks("").to_string(), list.to_string()),
            (String::new(), "10.0.0.0/8,192.168.1.7/32,2001:db8::/32".into())
        );
        assert!("10.0.0.0/33".parse::<Networks>().expect_err("no network").to_string().contains("10.0.0.0/33"));
    }
}
