//! Certificates that the authority of a world would never issue, signed with its key all the same.

use super::world::World;
use data_encoding::HEXLOWER;
use model::NodeId;
use rcgen::{
    CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::net::IpAddr;
use time::{Duration, OffsetDateTime};
use trust::NodeFiles;

/// A certificate and its key.
pub(crate) struct Credentials {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl From<NodeFiles> for Credentials {
    fn from(files: NodeFiles) -> Self {
        Self { chain: files.chain, key: files.key.clone_key() }
    }
}

/// A certificate for `role` at `ip`, of the profile, but for what `change` does to it.
pub(crate) fn forge(world: &World, role: &str, ip: IpAddr, change: impl FnOnce(&mut CertificateParams)) -> Credentials {
    signed(&issuer(world, &authority_key(world)), params(world, role, ip, change))
}

/// A certificate of the profile, by an authority of the same name with another key.
pub(crate) fn forge_by_namesake(world: &World, role: &str, ip: IpAddr) -> Credentials {
    let rogue = KeyPair::generate().expect("a key");
    signed(&issuer(world, &rogue), params(world, role, ip, |_| ()))
}

/// A revocation list with the certificates of these members on it.
pub(crate) fn revoke(
    world: &World,
    revoked: &[NodeId],
    next_update: Duration,
) -> CertificateRevocationListDer<'static> {
    let now = OffsetDateTime::now_utc();
    let serial = |id: &NodeId| {
        let digits = world.files(*id).leaf.serial;
        RevokedCertParams {
            serial_number: SerialNumber::from(HEXLOWER.decode(digits.as_bytes()).expect("digits")),
            revocation_time: now - Duration::minutes(1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        }
    };
    let list = CertificateRevocationListParams {
        this_update: now - Duration::days(30),
        next_update: now + next_update,
        crl_number: SerialNumber::from(7_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(serial).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&issuer(world, &authority_key(world))).expect("a list").into()
}

fn params(world: &World, role: &str, ip: IpAddr, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let uri = format!("spiffe://{}/{role}", world.trust_domain());
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, role);
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(1);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII")), SanType::IpAddress(ip)];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(SerialNumber::from(vec![0x5a; 16]));
    change(&mut params);
    params
}

fn signed(issuer: &Issuer<'_, &KeyPair>, params: CertificateParams) -> Credentials {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    Credentials { chain: vec![certificate.der().clone()], key }
}

fn authority_key(world: &World) -> KeyPair {
    let pem = std::fs::read_to_string(world.certs().join("ca/ca.key")).expect("the authority's key");
    KeyPair::from_pem(&pem).expect("the authority's key")
}

/// The authority of this world, with whatever key.
fn issuer<'a>(world: &World, key: &'a KeyPair) -> Issuer<'static, &'a KeyPair> {
    let pem = std::fs::read_to_string(world.certs().join("ca.pem")).expect("the authority");
    Issuer::from_ca_cert_pem(&pem, key).expect("the authority")
}
