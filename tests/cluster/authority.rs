//! The authority of a cluster, which signs what no command of the program makes: expired certificates, and halves.

use super::world::{A, Cluster};
use data_encoding::HEXLOWER;
use rcgen::{
    CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use time::{Duration, OffsetDateTime};

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).expect("it is ours")
}

fn issuer(cluster: &Cluster) -> Issuer<'static, KeyPair> {
    let authority = KeyPair::from_pem(&read(cluster.path("certs/ca/ca.key"))).expect("a key");
    Issuer::from_ca_cert_pem(&read(cluster.path("certs/ca.pem")), authority).expect("the authority")
}

/// A certificate of node-a from two days ago to so many days from now, for `key`, as PEM.
pub(crate) fn certificate(cluster: &Cluster, key: &KeyPair, days: i64) -> String {
    let bundle: Value = serde_json::from_str(&read(cluster.path("certs/node-a/bundle.json"))).expect("JSON");
    let uri = format!("spiffe://{}/node/node-a", bundle["trust_domain"].as_str().expect("a name"));
    let address = cluster.hosts[&A].parse().expect("an address");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "node-a");
    params.not_before = OffsetDateTime::now_utc() - Duration::days(2);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(days);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII")), SanType::IpAddress(address)];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(SerialNumber::from(vec![0x5a; 16]));
    params.signed_by(key, &issuer(cluster)).expect("a certificate").pem()
}

/// A list with the certificates in these files on it, as PEM.
pub(crate) fn revocation_list(cluster: &Cluster, certificates: &[&str]) -> String {
    let now = OffsetDateTime::now_utc();
    let revoked = |name: &&str| {
        let der = CertificateDer::from_pem_file(cluster.path(name)).expect("a certificate");
        let facts = trust::CertificateFacts::of(&der).expect("a certificate");
        let serial_number = SerialNumber::from(HEXLOWER.decode(facts.serial.as_bytes()).expect("hexadecimal"));
        RevokedCertParams { serial_number, revocation_time: now, reason_code: None, invalidity_date: None }
    };
    let list = CertificateRevocationListParams {
        this_update: now - Duration::minutes(1),
        next_update: now + Duration::days(30),
        crl_number: SerialNumber::from(2),
        issuing_distribution_point: None,
        revoked_certs: certificates.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&issuer(cluster)).expect("a list").pem().expect("PEM")
}

/// Replaces a file as a careful copy does: whoever reads it sees the old one or the new one.
pub(crate) fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).expect("it is ours");
    let mode = fs::metadata(path).expect("it was there").permissions();
    fs::set_permissions(&next, mode).expect("it is ours");
    fs::rename(&next, path).expect("it is ours");
}
