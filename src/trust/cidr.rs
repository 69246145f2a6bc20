//! A block of IP addresses, for the constraints that an authority puts on itself.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address block such as `10.0.0.0/8`; no bits are set behind the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// The text is not an address block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum CidrError {
    /// Not `address/prefix`.
    #[error("{0:?} is not an address block such as 10.0.0.0/8 or 2001:db8::/32")]
    Invalid(String),
    /// Bits behind the prefix.
    #[error("{given} has bits set behind its prefix: use {meant}")]
    HostBits { given: String, meant: Cidr },
}

impl Cidr {
    /// The block of this one address.
    pub const fn of(address: IpAddr) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Self { address, prefix }
    }

    /// The first address.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// How many leading bits are fixed: 0 to 32, or to 128 for IPv6.
    pub const fn prefix(self) -> u8 {
        self.prefix
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || CidrError::Invalid(text.chars().take(64).collect());
        let (address, prefix) = text.trim().split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix =
            prefix.parse().ok().filter(|prefix| digits && *prefix <= Self::of(address).prefix).ok_or_else(wrong)?;
        let meant = Self { address: network(address, prefix), prefix };
        if meant.address != address {
            return Err(CidrError::HostBits { given: format!("{address}/{prefix}"), meant });
        }
        Ok(meant)
    }
}

fn network(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_and_shown() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.168.1.7/32", "2001:db8::/32", "::/0", "::1/128"] {
            assert_eq!(text.parse::<Cidr>().map(|block| block.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for text in
            ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "::/129", "a/8", "10.0.0.0/8/8", "10.0.0/8"]
        {
            assert!(matches!(text.parse::<Cidr>(), Err(CidrError::Invalid(_))), "{text:?} must be refused");
        }
    }

    #[test]
    fn bits_behind_the_prefix_are_pointed_out() {
        let error = "10.1.2.3/8".parse::<Cidr>().expect_err("host bits");
        assert_eq!(error.to_string(), "10.1.2.3/8 has bits set behind its prefix: use 10.0.0.0/8");
        assert!("2001:db8::1/32".parse::<Cidr>().is_err());
    }
}
