//! Further operators, with certificates that the authority of a cluster has signed.

use super::world::{A, Cluster};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use time::{Duration, OffsetDateTime};

/// Makes `operator-NAME`, as `pki init` makes that of the first operator.
pub(crate) fn enroll(cluster: &Cluster, name: &str) {
    let read = |path: PathBuf| fs::read_to_string(path).expect("it is ours");
    let authority = KeyPair::from_pem(&read(cluster.path("certs/ca/ca.key"))).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(&read(cluster.path("certs/ca.pem")), authority).expect("the authority");
    let bundle: Value = serde_json::from_str(&read(cluster.machine(A).join("certs/node-a/bundle.json"))).expect("JSON");
    let uri = format!("spiffe://{}/operator/{name}", bundle["trust_domain"].as_str().expect("a name"));
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(1);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
    params.use_authority_key_identifier_extension = true;
    let serial = name.bytes().cycle().take(16).collect::<Vec<_>>();
    params.serial_number = Some(SerialNumber::from(serial));
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");

    let folder = cluster.path(&format!("certs/operator-{name}"));
    fs::create_dir(&folder).expect("it is new");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("it is ours");
    fs::write(folder.join("client.pem"), certificate.pem()).expect("it is ours");
    fs::write(folder.join("client.key"), key.serialize_pem()).expect("it is ours");
    fs::set_permissions(folder.join("client.key"), fs::Permissions::from_mode(0o600)).expect("it is ours");
    fs::copy(cluster.path("certs/ca.pem"), folder.join("ca.pem")).expect("it is there");
}
