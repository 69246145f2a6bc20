//! The facts of a certificate or revocation list, as plain values for people, JSON and checks.
//!
//! Nothing here is judged, and every text from a certificate is cleaned of control characters before it is kept.

use super::file::{FileError, malformed};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use model::{Host, SpiffeId};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use std::path::Path;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, GeneralSubtree, KeyUsage, ParsedExtension};
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_SIG_ED25519};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;
use x509_parser::x509::SubjectPublicKeyInfo;

/// The most names, usages or serials of one kind that are kept: no certificate of a mesh comes near it.
const MAX_NAMES: usize = 1000;

/// Below 2048 bits an RSA key can be broken, and rustls refuses what it signed.
const MIN_RSA_BITS: usize = 2048;

/// The facts of one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateFacts {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The serial number, in lower-case hexadecimal.
    pub serial: String,
    /// The one SPIFFE id, if there is exactly one and it is of this kind of mesh.
    pub spiffe_id: Option<String>,
    /// All alternative names, each with its kind: `URI:…`, `DNS:…`, `IP:…`.
    pub names: Vec<String>,
    /// The addresses among the alternative names.
    #[serde(skip)]
    pub hosts: Vec<Host>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// The kind of key: `P-256`, `P-384`, `Ed25519`, `RSA-2048` …
    pub key: String,
    /// Whether it may issue certificates.
    pub is_ca: bool,
    /// How many authorities may stand between this one and a certificate.
    pub path_length: Option<u32>,
    /// Key usage.
    pub key_usage: Vec<&'static str>,
    /// Extended key usage.
    pub extended_key_usage: Vec<String>,
    /// The names that this authority may issue for, each with its kind.
    pub permitted_names: Vec<String>,
    /// The names that this authority may not issue for.
    pub excluded_names: Vec<String>,
    /// SHA-256 of the certificate, in lower-case hexadecimal.
    pub sha256: String,
}

/// The facts of one revocation list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CrlFacts {
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The number of the list, in decimal, if it has one.
    pub number: Option<String>,
    /// Made at.
    pub this_update: Timestamp,
    /// To be replaced before; stale from then on.
    pub next_update: Option<Timestamp>,
    /// The serial numbers that are revoked, in lower-case hexadecimal.
    pub revoked: Vec<String>,
}

impl CertificateFacts {
    /// Reads a certificate; nothing when it is not exactly one, in DER.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let names = names(&parsed);
        let constraints = parsed.name_constraints().ok().flatten().map(|extension| extension.value);
        let basic = parsed.basic_constraints().ok().flatten().map(|extension| extension.value);
        Some(Self {
            subject: printable(&parsed.subject().to_string()),
            issuer: printable(&parsed.issuer().to_string()),
            serial: serial(parsed.raw_serial()),
            spiffe_id: spiffe_id(&names),
            names: names.iter().map(|name| shown(name)).collect(),
            hosts: names.iter().filter_map(host).collect(),
            not_before: timestamp(parsed.validity().not_before),
            not_after: timestamp(parsed.validity().not_after),
            key: key_kind(parsed.public_key()),
            is_ca: basic.is_some_and(|basic| basic.ca),
            path_length: basic.and_then(|basic| basic.path_len_constraint),
            key_usage: parsed.key_usage().ok().flatten().map(|found| key_usage(found.value)).unwrap_or_default(),
            extended_key_usage: extended_key_usage(&parsed),
            permitted_names: subtrees(constraints.and_then(|found| found.permitted_subtrees.as_deref())),
            excluded_names: subtrees(constraints.and_then(|found| found.excluded_subtrees.as_deref())),
            sha256: sha256(certificate),
        })
    }

    /// [`of`](Self::of) for the certificate of a file, which has to be one.
    pub fn read(path: &Path, certificate: &CertificateDer<'_>) -> Result<Self, FileError> {
        Self::of(certificate).ok_or_else(|| malformed(path, "a certificate", "it is not DER"))
    }

    /// SHA-256 as `openssl x509 -fingerprint -sha256` prints it.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.sha256)
    }
}

impl CrlFacts {
    /// Reads a revocation list; nothing when it is not exactly one, in DER.
    pub fn of(list: &CertificateRevocationListDer<'_>) -> Option<Self> {
        let (rest, parsed) = CertificateRevocationList::from_der(list).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let revoked = parsed.iter_revoked_certificates().take(MAX_NAMES);
        Some(Self {
            issuer: printable(&parsed.issuer().to_string()),
            number: parsed.crl_number().map(ToString::to_string),
            this_update: timestamp(parsed.last_update()),
            next_update: parsed.next_update().map(timestamp),
            revoked: revoked.map(|entry| serial(entry.raw_serial())).collect(),
        })
    }
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// Hexadecimal in upper-case pairs with colons, as `openssl x509 -fingerprint` prints it.
pub fn fingerprint(hex: &str) -> String {
    let pairs: Vec<&str> = (0..hex.len() / 2).filter_map(|pair| hex.get(2 * pair..2 * pair + 2)).collect();
    pairs.join(":").to_ascii_uppercase()
}

/// The text with control characters spelled out, so that a terminal or a log shows them and obeys none.
pub fn printable(text: &str) -> String {
    let spell = |character: char| {
        if character.is_control() { character.escape_default().to_string() } else { character.to_string() }
    };
    text.chars().map(spell).collect()
}

/// The serial number without the zero byte that DER puts before a high bit.
pub fn serial(raw: &[u8]) -> String {
    let zeros = raw.iter().take_while(|byte| **byte == 0).count();
    HEXLOWER.encode(&raw[zeros.min(raw.len().saturating_sub(1))..])
}

/// The point in time; what lies outside of the calendar is taken to its edge.
fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
}

fn names<'a>(certificate: &X509Certificate<'a>) -> Vec<GeneralName<'a>> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    extension.map(|found| found.value.general_names.iter().take(MAX_NAMES).cloned().collect()).unwrap_or_default()
}

fn spiffe_id(names: &[GeneralName<'_>]) -> Option<String> {
    let uris: Vec<&str> =
        names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None }).collect();
    let &[uri] = uris.as_slice() else { return None };
    uri.parse::<SpiffeId>().ok().map(|id| id.to_string())
}

fn host(name: &GeneralName<'_>) -> Option<Host> {
    if let GeneralName::IPAddress(bytes) = name {
        return ip(bytes).map(Host::Ip);
    }
    if let GeneralName::DNSName(name) = name { name.parse().ok() } else { None }
}

/// The addresses of an extension; none unless it is one of alternative names.
pub fn hosts_of(extension: &ParsedExtension<'_>) -> Vec<Host> {
    if let ParsedExtension::SubjectAlternativeName(names) = extension {
        return names.general_names.iter().take(MAX_NAMES).filter_map(host).collect();
    }
    Vec::new()
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn shown(name: &GeneralName<'_>) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "kinds that no certificate of a mesh carries are shown alike")]
    match name {
        GeneralName::URI(uri) => format!("URI:{}", printable(uri)),
        GeneralName::DNSName(name) => format!("DNS:{}", printable(name)),
        GeneralName::RFC822Name(name) => format!("email:{}", printable(name)),
        GeneralName::IPAddress(bytes) => {
            ip(bytes).map_or_else(|| format!("IP:{}", HEXLOWER.encode(bytes)), |ip| format!("IP:{ip}"))
        }
        other => printable(&other.to_string()),
    }
}

/// An address and a mask, as they stand in a name constraint.
fn block(bytes: &[u8]) -> Option<String> {
    let (address, mask) = bytes.split_at_checked(bytes.len() / 2)?;
    let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    Some(format!("{}/{ones}", ip(address)?))
}

fn subtrees(found: Option<&[GeneralSubtree<'_>]>) -> Vec<String> {
    found.unwrap_or_default().iter().take(MAX_NAMES).map(|subtree| subtree_shown(&subtree.base)).collect()
}

/// In a constraint, 8 bytes are an IPv4 block and 32 an IPv6 one, and none is a single address.
fn subtree_shown(base: &GeneralName<'_>) -> String {
    if let GeneralName::IPAddress(bytes) = base {
        return block(bytes).map_or_else(|| format!("IP:{}", HEXLOWER.encode(bytes)), |block| format!("IP:{block}"));
    }
    shown(base)
}

/// The kind of key, as people call it.
pub fn key_kind(key: &SubjectPublicKeyInfo<'_>) -> String {
    if key.algorithm.algorithm == OID_SIG_ED25519 {
        return "Ed25519".into();
    }
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    match (key.parsed(), curve) {
        (Ok(PublicKey::EC(_)), Some(curve)) if curve == OID_EC_P256 => "P-256".into(),
        (Ok(PublicKey::EC(_)), Some(curve)) if curve == OID_NIST_EC_P384 => "P-384".into(),
        (Ok(PublicKey::EC(_)), Some(curve)) => format!("EC {curve}"),
        (Ok(PublicKey::RSA(key)), _) => format!("RSA-{}", key.key_size()),
        _ => format!("algorithm {}", key.algorithm.algorithm),
    }
}

/// Tell whether a key of this kind may stand in a certificate of a mesh.
pub(super) fn is_strong(key: &str) -> bool {
    let rsa_bits = key.strip_prefix("RSA-").and_then(|bits| bits.parse::<usize>().ok());
    ["P-256", "P-384", "Ed25519"].contains(&key) || rsa_bits.is_some_and(|bits| bits >= MIN_RSA_BITS)
}

fn key_usage(usage: &KeyUsage) -> Vec<&'static str> {
    let all = [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
        (usage.encipher_only(), "encipherOnly"),
        (usage.decipher_only(), "decipherOnly"),
    ];
    all.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect()
}

fn extended_key_usage(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Some(usage) = certificate.extended_key_usage().ok().flatten().map(|extension| extension.value) else {
        return Vec::new();
    };
    let known = [
        (usage.any, "anyExtendedKeyUsage"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let known = known.iter().filter(|(set, _)| *set).map(|(_, name)| (*name).to_owned());
    known.chain(usage.other.iter().take(MAX_NAMES).map(ToString::to_string)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_keep_no_padding() {
        assert_eq!(serial(&[0, 0x8f, 1]), "8f01");
        assert_eq!(serial(&[0]), "00");
        assert_eq!(serial(&[]), "");
    }

    #[test]
    fn terminals_get_no_control_characters() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }

    #[test]
    fn fingerprints_look_like_those_of_openssl() {
        assert_eq!(fingerprint("00ffa1"), "00:FF:A1");
    }
}
