//! A certificate directory for the tests of this room, made without the room that makes those of a mesh.

use crate::facts::sha256;
use crate::{Bundle, layout};
use jiff::Timestamp;
use model::{Host, Peers};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose as Extended, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose as Usage, SanType,
    SerialNumber,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

const TRUST_DOMAIN: &str = "c-1.canary";
/// How many days a certificate lasts.
const DAYS: i64 = 90;
/// How many days the authority lasts.
const CA_DAYS: i64 = 3650;

/// The certificates of three members at 127.0.0.1 and an operator, made anew, and what removes them in the end.
pub(super) fn tree() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let certs = dir.path().join("certs");
    let (key, authority) = authority();
    let issuer = Issuer::from_ca_cert_der(authority.der(), &key).expect("an authority");
    let list = empty_list(&issuer);
    write(&certs.join(layout::CA), &authority.pem());
    write(&certs.join(layout::CRL), &list);
    write(&certs.join(layout::AUTHORITY).join(layout::CA_KEY), &key.serialize_pem());
    let peers = Peers::local();
    for (id, host) in peers.iter() {
        let folder = certs.join(id.to_string());
        write(&folder.join(layout::CA), &authority.pem());
        write(&folder.join(layout::CRL), &list);
        let ca_sha256 = sha256(authority.der());
        let bundle = Bundle { id, trust_domain: TRUST_DOMAIN.to_owned(), peers: peers.clone(), ca_sha256 };
        write(&folder.join(layout::BUNDLE), &bundle.text());
        issue(&issuer, &format!("node/{id}"), Some(host), &folder, layout::NODE);
    }
    let folder = certs.join("operator-admin");
    write(&folder.join(layout::CA), &authority.pem());
    issue(&issuer, "operator/admin", None, &folder, layout::CLIENT);
    (dir, certs)
}

fn authority() -> (KeyPair, Certificate) {
    let key = KeyPair::generate().expect("a key");
    let mut params = lasting(CA_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
    // Of its own, so that two authorities can be told apart.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("test CA {}", sha256(key.public_key_raw())));
    let certificate = params.self_signed(&key).expect("a certificate");
    (key, certificate)
}

fn issue(issuer: &Issuer<'_, &KeyPair>, who: &str, host: Option<&Host>, folder: &Path, names: (&str, &str)) {
    let mut params = lasting(DAYS);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![Usage::DigitalSignature];
    params.extended_key_usages = vec![Extended::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let uri = format!("spiffe://{TRUST_DOMAIN}/{who}");
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("an ASCII name"))];
    match host {
        Some(Host::Ip(address)) => params.subject_alt_names.push(SanType::IpAddress(*address)),
        Some(Host::Name(name)) => panic!("{name} is not an address"),
        None => {}
    }
    if host.is_some() {
        params.extended_key_usages.push(Extended::ServerAuth);
    }
    let key = KeyPair::generate().expect("a key");
    write(&folder.join(names.0), &params.signed_by(&key, issuer).expect("a certificate").pem());
    write(&folder.join(names.1), &key.serialize_pem());
}

fn empty_list(issuer: &Issuer<'_, &KeyPair>) -> String {
    let dates = lasting(DAYS);
    let params = CertificateRevocationListParams {
        this_update: dates.not_before,
        next_update: dates.not_after,
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).expect("a list").pem().expect("PEM")
}

/// Valid from an hour ago until so many days from now.
fn lasting(days: i64) -> CertificateParams {
    let now = OffsetDateTime::from_unix_timestamp(Timestamp::now().as_second()).expect("a date of this century");
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (now - Duration::hours(1), now + Duration::days(days));
    params
}

/// Writes a file as its owner alone may read it, in a folder that only its owner may change.
fn write(path: &Path, contents: &str) {
    let folder = path.parent().expect("it is in a folder");
    fs::create_dir_all(folder).expect("made");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("own folder");
    fs::write(path, contents).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("own file");
}
