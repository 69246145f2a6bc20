//! The address of a client behind proxies that are trusted.

use http::{HeaderMap, HeaderValue};
use model::Networks;
use std::net::{IpAddr, SocketAddr};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of the client behind `proxies`, for a connection from `remote`: the last one on the way that none of
/// them wrote. What others write into `x-forwarded-for` is not believed, and who writes what is no address is the last.
pub fn client_behind(proxies: &Networks, remote: IpAddr, headers: &HeaderMap) -> IpAddr {
    client_along(proxies, remote, headers.get_all(FORWARDED_FOR).iter().rev().map(HeaderValue::as_bytes))
}

/// The same for the values of all `x-forwarded-for` that there are, the last one first.
pub fn client_along<'a>(proxies: &Networks, remote: IpAddr, ways: impl Iterator<Item = &'a [u8]>) -> IpAddr {
    let mut client = remote.to_canonical();
    let stations = ways.flat_map(|way| str::from_utf8(way).unwrap_or("?").rsplit(',').map(str::trim));
    for station in stations {
        if !proxies.contain(client) {
            break;
        }
        let Some(address) = address_in(station) else { break };
        client = address.to_canonical();
    }
    client
}

/// The address that a proxy wrote, with a port or without.
fn address_in(station: &str) -> Option<IpAddr> {
    let bare = station.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| station.parse().ok().map(|socket: SocketAddr| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_who_no_trusted_proxy_vouches_for() {
        let client = |trusted: &str, remote: &str, ways: &[&str]| {
            let mut headers = HeaderMap::new();
            for way in ways {
                headers.append(FORWARDED_FOR, HeaderValue::from_str(way).expect("a value"));
            }
            let proxies: Networks = trusted.parse().expect("networks");
            client_behind(&proxies, remote.parse().expect("an address"), &headers).to_string()
        };
        assert_eq!(client("", "10.0.0.1", &["203.0.113.9"]), "10.0.0.1", "nobody is believed unless told");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &["198.51.100.1, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &["203.0.113.9", "10.0.0.2:4711"]), "203.0.113.9");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &["203.0.113.9, somebody"]), "10.0.0.1");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.0/8", "203.0.113.1", &["10.0.0.9"]), "203.0.113.1");
    }
}
