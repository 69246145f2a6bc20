//! The rules that make a certificate an identity: those of the SPIFFE X509-SVID standard which rustls does not check.
//!
//! This does not validate a chain, a date or a signature. Call it on a certificate that rustls has accepted.

use super::facts::{is_strong, key_kind};
use model::{Role, SpiffeId, SpiffeIdError};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;

/// The most characters of a foreign name that an error repeats: enough to recognise it, too few to flood a log.
const SHOWN: usize = 120;
/// The longest serial number of RFC 5280, §4.1.2.2, without the zero that DER puts before a high bit.
const MAX_SERIAL_BYTES: usize = 20;

/// The rule that a certificate breaks which is no identity of a member or client.
///
/// In logs: `reason=bad_svid`, with this as the detail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum SvidError {
    #[error("the certificate cannot be read as DER")]
    Malformed,
    #[error("{0} bytes follow the end of the certificate")]
    TrailingBytes(usize),
    #[error("its {0} extension is malformed or there twice")]
    Extension(&'static str),
    #[error("it has {0} URI names instead of exactly one")]
    UriNames(usize),
    #[error("its URI name {uri:?} is not an identity: {source}")]
    Identity { uri: String, source: SpiffeIdError },
    #[error("it belongs to the trust domain {found}, not to {expected}")]
    TrustDomain { found: String, expected: String },
    #[error("it is a certificate authority (CA:TRUE), which cannot be an identity")]
    Authority,
    #[error("its key usage does not contain digitalSignature")]
    NoDigitalSignature,
    #[error("its key usage contains {0}, which only an authority may have")]
    AuthorityKeyUsage(&'static str),
    #[error("its extended key usage does not contain {usage}, which a {role} certificate needs")]
    UsageMissing { usage: &'static str, role: &'static str },
    /// A client's certificate that could be used to pose as a server.
    #[error("its extended key usage contains serverAuth, which a {0} certificate must not have")]
    ServerAuth(&'static str),
    /// Something that no authority may issue, and that verifiers read differently.
    #[error("it breaks RFC 5280: {0}")]
    Form(&'static str),
    /// A key that can be broken, or with which nobody could finish a handshake.
    #[error("its key is of kind {0}: use P-256, P-384, Ed25519 or RSA of 2048 bits or more")]
    WeakKey(String),
}

/// The identity that a certificate carries, which must be of this trust domain; see [`identity`].
///
/// Role, membership and address are for the caller to judge. Fails when the certificate breaks a rule of the profile or
/// belongs to another trust domain.
pub fn peer_identity(certificate: &CertificateDer<'_>, trust_domain: &str) -> Result<SpiffeId, SvidError> {
    let found = identity(certificate)?;
    if found.trust_domain != trust_domain {
        return Err(SvidError::TrustDomain { found: found.trust_domain, expected: trust_domain.to_owned() });
    }
    Ok(found)
}

/// The identity that a certificate carries, in whatever trust domain. Fails when the certificate breaks a rule of the
/// profile.
pub fn identity(certificate: &CertificateDer<'_>) -> Result<SpiffeId, SvidError> {
    let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| SvidError::Malformed)?;
    if !rest.is_empty() {
        return Err(SvidError::TrailingBytes(rest.len()));
    }
    let unread =
        |extension: &X509Extension<'_>| matches!(extension.parsed_extension(), ParsedExtension::ParseError { .. });
    if parsed.extensions().iter().any(unread) {
        return Err(SvidError::Extension("X.509v3"));
    }
    check_form(&parsed)?;
    let id = only_uri(&parsed)?;
    check_is_no_authority(&parsed)?;
    check_extended_usage(&parsed, &id.role)?;
    Ok(id)
}

/// What rustls lets pass although other verifiers do not, or only refuses once the handshake is signed.
fn check_form(certificate: &X509Certificate<'_>) -> Result<(), SvidError> {
    if !is_serial(certificate.raw_serial()) {
        return Err(SvidError::Form("its serial number is not a positive number of at most 20 bytes"));
    }
    if certificate.extensions_map().is_err() {
        return Err(SvidError::Extension("X.509v3"));
    }
    let key = key_kind(certificate.public_key());
    if !is_strong(&key) {
        return Err(SvidError::WeakKey(key));
    }
    let names = certificate.subject_alternative_name().map_err(|_| SvidError::Extension("subject alternative name"))?;
    if certificate.subject().iter().next().is_none() && names.is_some_and(|extension| !extension.critical) {
        return Err(SvidError::Form("its subject is empty, but its alternative names are not critical"));
    }
    Ok(())
}

/// Whether these are the bytes of a positive number in DER. Revocation is by this number, so it must have one form.
pub fn is_serial(bytes: &[u8]) -> bool {
    let number = match bytes {
        [0, rest @ ..] => rest,
        _ => bytes,
    };
    let padded = number.len() < bytes.len();
    let Some(first) = number.first() else { return false };
    (*first >= 0x80) == padded && number.len() <= MAX_SERIAL_BYTES
}

fn only_uri(certificate: &X509Certificate<'_>) -> Result<SpiffeId, SvidError> {
    let names = certificate.subject_alternative_name().map_err(|_| SvidError::Extension("subject alternative name"))?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(SvidError::Extension("subject alternative name"));
    }
    let uris: Vec<&str> =
        names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None }).collect();
    let &[uri] = uris.as_slice() else { return Err(SvidError::UriNames(uris.len())) };
    uri.parse().map_err(|source| SvidError::Identity { uri: uri.chars().take(SHOWN).collect(), source })
}

fn check_is_no_authority(certificate: &X509Certificate<'_>) -> Result<(), SvidError> {
    let constraints = certificate.basic_constraints().map_err(|_| SvidError::Extension("basic constraints"))?;
    let constraints = constraints.map(|extension| extension.value);
    if constraints.is_some_and(|found| found.ca) {
        return Err(SvidError::Authority);
    }
    if constraints.is_some_and(|found| found.path_len_constraint.is_some()) {
        return Err(SvidError::Form("it has a path length, which only an authority may have"));
    }
    let usage = certificate.key_usage().map_err(|_| SvidError::Extension("key usage"))?;
    let usage = usage.map(|extension| extension.value).ok_or(SvidError::NoDigitalSignature)?;
    if usage.key_cert_sign() {
        return Err(SvidError::AuthorityKeyUsage("keyCertSign"));
    }
    if usage.crl_sign() {
        return Err(SvidError::AuthorityKeyUsage("cRLSign"));
    }
    if usage.digital_signature() { Ok(()) } else { Err(SvidError::NoDigitalSignature) }
}

/// A member is server and client; all others are clients only. `anyExtendedKeyUsage` stands for neither.
fn check_extended_usage(certificate: &X509Certificate<'_>, role: &Role) -> Result<(), SvidError> {
    let usage = certificate.extended_key_usage().map_err(|_| SvidError::Extension("extended key usage"))?;
    let (server, client) = usage.map_or((false, false), |found| (found.value.server_auth, found.value.client_auth));
    let role_word = role.word();
    if !client {
        return Err(SvidError::UsageMissing { usage: "clientAuth", role: role_word });
    }
    match role {
        Role::Node(_) if server => Ok(()),
        Role::Node(_) => Err(SvidError::UsageMissing { usage: "serverAuth", role: role_word }),
        Role::Operator(_) | Role::App(_) | Role::Monitor(_) if server => Err(SvidError::ServerAuth(role_word)),
        Role::Operator(_) | Role::App(_) | Role::Monitor(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Extended, IsCa, KeyPair,
        KeyUsagePurpose as Usage, SanType,
    };

    const NODE: &str = "spiffe://x.canary/node/node-a";

    /// A good certificate of this URI, changed by `change`.
    fn made(uri: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![Usage::DigitalSignature];
        params.extended_key_usages = vec![Extended::ServerAuth, Extended::ClientAuth];
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("an ASCII name"))];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").into()
    }

    #[test]
    fn certificates_of_the_profile_are_identities() {
        let node = made(NODE, |_| ());
        assert_eq!(peer_identity(&node, "x.canary").map(|id| id.to_string()), Ok(NODE.to_owned()));
        for role in ["operator", "app", "monitor"] {
            let uri = format!("spiffe://x.canary/{role}/alice");
            let client = made(&uri, |params| params.extended_key_usages = vec![Extended::ClientAuth]);
            assert_eq!(identity(&client).map(|id| id.to_string()), Ok(uri));
        }
    }

    #[test]
    fn another_trust_domain_is_refused() {
        let wanted = Err(SvidError::TrustDomain { found: "x.canary".into(), expected: "y.canary".into() });
        assert_eq!(peer_identity(&made(NODE, |_| ()), "y.canary"), wanted);
    }

    #[test]
    fn exactly_one_uri_counts() {
        let none = made(NODE, |params| params.subject_alt_names.clear());
        assert_eq!(identity(&none), Err(SvidError::UriNames(0)));
        let two =
            made(NODE, |params| params.subject_alt_names.push(SanType::URI("http://a/".try_into().expect("ASCII"))));
        assert_eq!(identity(&two), Err(SvidError::UriNames(2)));
        for wrong in ["spiffe://X/node/node-a", "spiffe://x/node/node-a/", "https://x/node/node-a", "spiffe://x/node/b"]
        {
            let found = identity(&made(wrong, |_| ()));
            assert!(matches!(found, Err(SvidError::Identity { .. })), "{wrong}: {found:?}");
        }
    }

    #[test]
    fn what_may_issue_is_no_identity() {
        let authority = made(NODE, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        assert_eq!(identity(&authority), Err(SvidError::Authority));
        let signs = made(NODE, |params| params.key_usages.push(Usage::KeyCertSign));
        assert_eq!(identity(&signs), Err(SvidError::AuthorityKeyUsage("keyCertSign")));
        let revokes = made(NODE, |params| params.key_usages.push(Usage::CrlSign));
        assert_eq!(identity(&revokes), Err(SvidError::AuthorityKeyUsage("cRLSign")));
    }

    #[test]
    fn usages_must_fit_the_role() {
        let no_usage = made(NODE, |params| params.key_usages.clear());
        assert_eq!(identity(&no_usage), Err(SvidError::NoDigitalSignature));
        let other_usage = made(NODE, |params| params.key_usages = vec![Usage::KeyAgreement]);
        assert_eq!(identity(&other_usage), Err(SvidError::NoDigitalSignature));
        let extended = |uri: &str, usages: &[Extended]| {
            let usages = usages.to_vec();
            identity(&made(uri, |params| params.extended_key_usages = usages))
        };
        let missing = |usage, role| Err(SvidError::UsageMissing { usage, role });
        assert_eq!(extended(NODE, &[]), missing("clientAuth", "node"));
        assert_eq!(extended(NODE, &[Extended::Any]), missing("clientAuth", "node"));
        assert_eq!(extended(NODE, &[Extended::ServerAuth]), missing("clientAuth", "node"));
        assert_eq!(extended(NODE, &[Extended::ClientAuth]), missing("serverAuth", "node"));
        let both = [Extended::ServerAuth, Extended::ClientAuth];
        assert_eq!(extended("spiffe://x/operator/alice", &both), Err(SvidError::ServerAuth("operator")));
    }

    #[test]
    fn serial_numbers_have_one_form() {
        for good in [&[1][..], &[0x7f], &[0, 0x80], &[0x11; 20], &[&[0], &[0xff; 20][..]].concat()] {
            assert!(is_serial(good), "{good:?}");
        }
        for bad in [&[][..], &[0], &[0, 0], &[0, 1], &[0x80], &[0x80, 1], &[0x11; 21]] {
            assert!(!is_serial(bad), "{bad:?}");
        }
    }

    #[test]
    fn what_rfc_5280_forbids_is_no_identity() {
        let zero = made(NODE, |params| params.serial_number = Some(vec![0].into()));
        assert!(matches!(identity(&zero), Err(SvidError::Form(text)) if text.contains("serial number")));
        let twice = made(NODE, |params| {
            let more = || rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
            params.custom_extensions = vec![more(), more()];
        });
        assert_eq!(identity(&twice), Err(SvidError::Extension("X.509v3")));
        let length = made(NODE, |params| {
            let constraint = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 3, 2, 1, 0]);
            (params.is_ca, params.custom_extensions) = (IsCa::NoCa, vec![constraint]);
        });
        assert!(matches!(identity(&length), Err(SvidError::Form(text)) if text.contains("path length")));
    }

    #[test]
    fn keys_that_nobody_accepts_are_no_identity() {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(NODE.try_into().expect("an ASCII name"))];
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").into();
        assert_eq!(identity(&certificate), Err(SvidError::WeakKey("EC 1.3.132.0.35".into())));
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        let good = made(NODE, |_| ());
        let mut longer = good.to_vec();
        longer.extend([0, 0]);
        assert_eq!(identity(&longer.into()), Err(SvidError::TrailingBytes(2)));
        for end in 0..good.len() {
            assert_eq!(identity(&good[..end].into()), Err(SvidError::Malformed), "cut after {end} bytes");
        }
    }
}
