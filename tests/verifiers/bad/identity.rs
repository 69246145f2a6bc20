//! Bad by whom or what they name.

use super::super::der::{ALT_NAMES, Der};
use super::super::mint::{Chain, Mint, PEER_ADDRESS, name, uri};
use super::{Bad, LET_IN, bad, differs};
use rcgen::{ExtendedKeyUsagePurpose as Extended, SanType};
use tls::Reason;

const URI: u8 = 0x86;
const IP: u8 = 0x87;
const DNS: u8 = 0x82;

/// The peer's certificate with this path of the own trust domain.
fn with_path(mint: &Mint, path: &str) -> Option<Chain> {
    mint.leaf(|params| params.subject_alt_names[0] = mint.uri(path))
}

/// The peer's certificate with this URI in place of its own.
fn with_uri(mint: &Mint, text: &str) -> Option<Chain> {
    mint.leaf(|params| params.subject_alt_names[0] = uri(text))
}

/// The certificate of a client, as the authority would issue it.
fn client(mint: &Mint, path: &str) -> Option<Chain> {
    mint.leaf(|params| {
        params.subject_alt_names = vec![mint.uri(path)];
        params.extended_key_usages = vec![Extended::ClientAuth];
    })
}

/// The peer's certificate with one more name.
fn with_name(mint: &Mint, more: SanType) -> Option<Chain> {
    mint.leaf(|params| params.subject_alt_names.push(more))
}

/// The peer's certificate with these bytes as its URI, and its address.
fn with_bytes(mint: &Mint, text: &[u8]) -> Option<Chain> {
    mint.named(&[(URI, text), (IP, &[10, 0, 0, 2]), (DNS, b"b.example")])
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("ASCII"))
}

fn ip(text: &str) -> SanType {
    SanType::IpAddress(text.parse().expect("an address"))
}

pub(super) fn rows() -> Vec<Bad> {
    [ids(), others(), hosts(), lists()].into_iter().flatten().collect()
}

/// The name is no identity.
fn ids() -> Vec<Bad> {
    vec![
        bad("two URIs", |m| with_name(m, uri("https://b.example/")), (Reason::BadSvid, "2 URI names"), ""),
        bad("two identities", |m| with_name(m, m.uri("node/node-c")), (Reason::BadSvid, "2 URI names"), ""),
        bad("the same identity twice", |m| with_name(m, m.uri("node/node-b")), (Reason::BadSvid, "2 URI names"), ""),
        bad("no URI", |m| m.leaf(|p| drop(p.subject_alt_names.remove(0))), (Reason::BadSvid, "0 URI names"), ""),
        bad(
            "a web page",
            |m| with_uri(m, "https://b.example/node/node-b"),
            (Reason::BadSvid, "does not begin with spiffe://"),
            "",
        ),
        bad(
            "an upper-case scheme",
            |m| with_uri(m, &format!("SPIFFE://{}/node/node-b", m.domain)),
            (Reason::BadSvid, "does not begin with spiffe://"),
            "",
        ),
        bad("no path", |m| with_uri(m, &format!("spiffe://{}", m.domain)), (Reason::BadSvid, "its path is not"), ""),
        bad("an empty path", |m| with_path(m, ""), (Reason::BadSvid, "its path is not"), ""),
        bad("no role", |m| with_path(m, "node-b"), (Reason::BadSvid, "its path is not"), ""),
        bad("a role without a name", |m| with_path(m, "node/"), (Reason::BadSvid, "its path is not"), ""),
        bad("an unknown role", |m| with_path(m, "root/node-b"), (Reason::BadSvid, "its path is not"), ""),
        bad("one segment too many", |m| with_path(m, "node/node-b/x"), (Reason::BadSvid, "its path is not"), ""),
        bad("a slash at the end", |m| with_path(m, "node/node-b/"), (Reason::BadSvid, "its path is not"), ""),
        bad("an empty segment", |m| with_path(m, "node//node-b"), (Reason::BadSvid, "its path is not"), ""),
        bad("a way back up", |m| with_path(m, "node/node-c/../node-b"), (Reason::BadSvid, "its path is not"), ""),
        bad("an upper-case role", |m| with_path(m, "NODE/node-b"), (Reason::BadSvid, "its path is not"), ""),
        bad("an upper-case name", |m| with_path(m, "node/NODE-B"), (Reason::BadSvid, "its path is not"), ""),
        bad(
            "an upper-case trust domain",
            |m| with_uri(m, &format!("spiffe://{}/node/node-b", m.domain.to_uppercase())),
            (Reason::BadSvid, "its trust domain is not"),
            "",
        ),
        bad("percent-encoding", |m| with_path(m, "node/node%2Db"), (Reason::BadSvid, "its path is not"), ""),
        bad("a query", |m| with_path(m, "node/node-b?x=1"), (Reason::BadSvid, "its path is not"), ""),
        bad("a fragment", |m| with_path(m, "node/node-b#x"), (Reason::BadSvid, "its path is not"), ""),
        bad(
            "a port",
            |m| with_uri(m, &format!("spiffe://{}:443/node/node-b", m.domain)),
            (Reason::BadSvid, "its trust domain is not"),
            "",
        ),
        bad(
            "user info",
            |m| with_uri(m, &format!("spiffe://root@{}/node/node-b", m.domain)),
            (Reason::BadSvid, "its trust domain is not"),
            "",
        ),
        bad("a space at the end", |m| with_path(m, "node/node-b "), (Reason::BadSvid, "its path is not"), ""),
        bad(
            "a NUL in the identity",
            |m| with_bytes(m, format!("spiffe://{}/node/node-b\0.example", m.domain).as_bytes()),
            (Reason::BadSvid, "its path is not"),
            "",
        ),
        bad(
            "a NUL at the end of the identity",
            |m| with_bytes(m, format!("spiffe://{}/node/node-b\0", m.domain).as_bytes()),
            (Reason::BadSvid, "its path is not"),
            "",
        ),
        bad(
            "a letter that only looks like an a",
            |m| with_bytes(m, format!("spiffe://{}/operator/\u{430}dmin", m.domain).as_bytes()),
            (Reason::BadSvid, "its path is not"),
            "",
        ),
        bad(
            "bytes that are no text",
            |m| with_bytes(m, &[format!("spiffe://{}/node/node-b", m.domain).as_bytes(), &[0xff]].concat()),
            (Reason::BadSvid, "subject alternative name extension is malformed"),
            "p",
        ),
        bad(
            "a name of 65 characters",
            |m| with_path(m, &format!("operator/{}", "x".repeat(65))),
            (Reason::BadSvid, "its path is not"),
            "",
        ),
        bad(
            "an identity of more than 2048 characters",
            |m| with_path(m, &format!("operator/{}", "x".repeat(2048))),
            (Reason::BadSvid, "its path is not"),
            "g",
        ),
        bad(
            "a trust domain of 256 characters",
            |m| with_uri(m, &format!("spiffe://{}/node/node-b", "x".repeat(256))),
            (Reason::BadSvid, "its trust domain is not"),
            "g",
        ),
    ]
}

/// The identity is somebody else's.
fn others() -> Vec<Bad> {
    vec![
        bad(
            "another trust domain",
            |m| with_uri(m, "spiffe://other.canary/node/node-b"),
            (Reason::ClusterMismatch, "the trust domain other.canary"),
            "",
        ),
        bad(
            "a trust domain below the own",
            |m| with_uri(m, &format!("spiffe://x.{}/node/node-b", m.domain)),
            (Reason::ClusterMismatch, "trust domain x."),
            "",
        ),
        differs(
            "no member",
            |m| with_path(m, "node/node-z"),
            Some((Reason::NotAMember, "is not among")),
            Some((Reason::ServerIdentityMismatch, "at the address configured for node-b is")),
            "",
        ),
        differs(
            "this node's own identity",
            |m| with_path(m, "node/node-a"),
            Some((Reason::SelfConnection, "own identity")),
            Some((Reason::SelfConnection, "leads back")),
            "",
        ),
        differs(
            "an operator",
            |m| client(m, "operator/admin"),
            Some((Reason::RoleNotAllowed, "is not a node")),
            Some((Reason::BadSvid, "not allow extended key usage for server authentication")),
            "ognp",
        ),
        differs(
            "an application",
            |m| client(m, "app/shop"),
            Some((Reason::RoleNotAllowed, "is not a node")),
            Some((Reason::BadSvid, "not allow extended key usage for server authentication")),
            "ognp",
        ),
        differs(
            "a monitor",
            |m| client(m, "monitor/prom"),
            Some((Reason::RoleNotAllowed, "is not a node")),
            Some((Reason::BadSvid, "not allow extended key usage for server authentication")),
            "ognp",
        ),
        bad(
            "an operator that could be a server",
            |m| with_path(m, "operator/admin"),
            (Reason::BadSvid, "contains serverAuth"),
            "",
        ),
    ]
}

/// The address or host name is wrong. Whoever dials this node is held against the configured addresses when the
/// handshake is over, not against the names that it shows.
fn hosts() -> Vec<Bad> {
    vec![
        bad(
            "an address outside of the constraints",
            |m| with_name(m, ip("10.0.0.9")),
            (Reason::BadSvid, "NameConstraintViolation"),
            "ognp",
        ),
        bad(
            "an IPv6 address outside of the constraints",
            |m| with_name(m, ip("2001:db8::9")),
            (Reason::BadSvid, "NameConstraintViolation"),
            "ognp",
        ),
        bad(
            "a host outside of the constraints",
            |m| with_name(m, dns("evil.example")),
            (Reason::BadSvid, "NameConstraintViolation"),
            "ognp",
        ),
        bad(
            "a wildcard outside of the constraints",
            |m| with_name(m, dns("*.example")),
            (Reason::BadSvid, "MalformedDnsIdentifier"),
            "ognp",
        ),
        bad(
            "an address of five bytes",
            |m| {
                let own = format!("spiffe://{}/node/node-b", m.domain);
                m.named(&[(URI, own.as_bytes()), (IP, &[10, 0, 0, 2]), (IP, &[10, 0, 0, 2, 0]), (DNS, b"b.example")])
            },
            (Reason::BadSvid, "BadEncoding"),
            "onp",
        ),
        differs(
            "a wildcard in place of the address",
            |m| m.leaf(|p| p.subject_alt_names[1] = dns("*.b.example")),
            LET_IN,
            Some((Reason::ServerIdentityMismatch, "certificate not valid for name")),
            "ogp",
        ),
        differs(
            "the address in the common name only",
            |m| {
                m.leaf(|p| {
                    drop(p.subject_alt_names.remove(1));
                    p.distinguished_name = name(PEER_ADDRESS);
                })
            },
            LET_IN,
            Some((Reason::ServerIdentityMismatch, "certificate not valid for name")),
            "ogp",
        ),
        differs(
            "no address",
            |m| m.leaf(|p| drop(p.subject_alt_names.remove(1))),
            LET_IN,
            Some((Reason::ServerIdentityMismatch, "certificate not valid for name")),
            "ogp",
        ),
        bad(
            "the address as a host name",
            |m| m.leaf(|p| p.subject_alt_names[1] = dns(PEER_ADDRESS)),
            (Reason::BadSvid, "MalformedDnsIdentifier"),
            "ognp",
        ),
        differs(
            "the address of another member",
            |m| m.leaf(|p| p.subject_alt_names[1] = ip("10.0.0.3")),
            LET_IN,
            Some((Reason::ServerIdentityMismatch, "certificate not valid for name")),
            "ogp",
        ),
    ]
}

/// The list of names as a whole is wrong.
fn lists() -> Vec<Bad> {
    vec![
        bad(
            "no names at all",
            |m| {
                m.patched(|inner| {
                    let place = inner.place(ALT_NAMES);
                    inner.extensions().remove(place);
                })
            },
            (Reason::BadSvid, "0 URI names"),
            "ogp",
        ),
        bad("a list of no names", |m| m.named(&[]), (Reason::BadSvid, "0 URI names"), "ogp"),
        bad(
            "names that are there twice",
            |m| {
                m.patched(|inner| {
                    let place = inner.place(ALT_NAMES);
                    let twice = inner.extensions()[place].clone();
                    inner.extensions().push(twice);
                })
            },
            (Reason::BadSvid, "ExtensionValueInvalid"),
            "ogp",
        ),
        bad(
            "names that cannot be read",
            |m| {
                m.patched(|inner| {
                    let place = inner.place(ALT_NAMES);
                    inner.extensions()[place] = Der::extension(ALT_NAMES, &[], &[0x30, 0x20, 0x86]);
                })
            },
            (Reason::BadSvid, "BadEncoding"),
            "ogp",
        ),
        bad(
            "an empty subject, with names that are not critical",
            |m| m.patched(|inner| inner.parts()[5] = Der::sequence(Vec::new())),
            (Reason::BadSvid, "subject is empty"),
            "op",
        ),
    ]
}
