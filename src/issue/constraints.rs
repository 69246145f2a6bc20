//! The name constraints of an authority, read before they refuse a finished certificate.

use super::error::Refusal;
use model::Host;
use trust::{CertificateFacts, parse_network};

/// Checks that an authority may issue for all of these addresses. Fails when it may not: every member would refuse the
/// certificate.
pub(super) fn check(authority: &CertificateFacts, hosts: &[Host]) -> Result<(), Refusal> {
    let Some(host) = outside(authority, hosts) else { return Ok(()) };
    let permitted = authority.permitted_names.join(", ");
    Err(Refusal::Outside { host: host.clone(), authority: authority.subject.clone(), permitted })
}

/// The first address that an authority may not issue for.
pub(super) fn outside<'a>(authority: &CertificateFacts, hosts: &'a [Host]) -> Option<&'a Host> {
    hosts.iter().find(|host| !permits(authority, host))
}

/// A kind of name without any permitted subtree is unconstrained; an excluded subtree always holds.
fn permits(authority: &CertificateFacts, host: &Host) -> bool {
    let prefix = match host {
        Host::Ip(_) => "IP:",
        Host::Name(_) => "DNS:",
    };
    let of_kind = |names: &[String]| -> Vec<String> {
        names.iter().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect()
    };
    let (permitted, excluded) = (of_kind(&authority.permitted_names), of_kind(&authority.excluded_names));
    let within = |subtrees: &[String]| subtrees.iter().any(|subtree| is_within(host, subtree));
    (permitted.is_empty() || within(&permitted)) && !within(&excluded)
}

fn is_within(host: &Host, subtree: &str) -> bool {
    match host {
        Host::Name(name) => {
            let domain = subtree.strip_prefix('.').unwrap_or(subtree).to_ascii_lowercase();
            domain.is_empty() || *name == domain || name.ends_with(&format!(".{domain}"))
        }
        Host::Ip(address) => parse_network(subtree).is_ok_and(|block| block.contains(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_within_or_outside() {
        for (host, subtree, within) in [
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.0.0.1", "10.0.0.1/32", true),
            ("10.0.0.2", "10.0.0.1/32", false),
            ("1.2.3.4", "0.0.0.0/0", true),
            ("2001:db8::9", "2001:db8::/32", true),
            ("2001:db9::9", "2001:db8::/32", false),
            ("::2", "::/0", true),
            ("10.0.0.1", "::/0", false),
            ("a.example", "a.example", true),
            ("deep.a.example", "a.example", true),
            ("ba.example", "a.example", false),
            ("example", "a.example", false),
        ] {
            let host: Host = host.parse().expect("an address");
            assert_eq!(is_within(&host, subtree), within, "{host} in {subtree}");
        }
    }
}
