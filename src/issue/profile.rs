//! The profile of each kind of certificate, request and list.
//!
//! Every field is set here, since the defaults of rcgen are unfit: serials from the key, an end in the year 4096, no
//! authority key identifier.

use super::error::IssueError;
use super::index::{IndexEntry, Reason};
use super::period::Period;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ipnet::IpNet;
use jiff::Timestamp;
use model::{Host, NodeId, Role, SpiffeId};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyIdMethod, KeyUsagePurpose, NameConstraints, RevokedCertParams,
    SanType, SerialNumber,
};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use time::OffsetDateTime;

const ORGANIZATION: &str = "canary";
/// How many bytes a serial number has: 127 random bits, above the 64 that RFC 5280 profiles ask for, below its limit of 20.
const SERIAL_BYTES: usize = 16;
/// Stands in for "no address at all": a kind of name without any permitted subtree would be unconstrained. 192.0.2.0/24 is
/// reserved for documentation.
const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// What an authority may issue for; the members' names are always among the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Permitted {
    pub(super) names: BTreeSet<String>,
    pub(super) blocks: BTreeSet<IpNet>,
}

/// 16 random bytes that are a positive number of exactly that length.
pub(super) fn random_serial() -> Result<[u8; SERIAL_BYTES], IssueError> {
    loop {
        let mut serial = [0; SERIAL_BYTES];
        getrandom::fill(&mut serial).map_err(IssueError::Random)?;
        serial[0] &= 0x7f;
        if serial[0] != 0 {
            return Ok(serial);
        }
    }
}

/// An authority; its name is its own, so that a revocation list is never taken for that of another.
pub(super) fn authority(
    serial: [u8; SERIAL_BYTES],
    period: Period,
    permitted: Option<&Permitted>,
) -> CertificateParams {
    let name = format!("canary CA {}", HEXLOWER.encode(&serial[..4]));
    let mut params = base(serial, period, &name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = permitted.map(name_constraints);
    params
}

/// The certificate of a member or client; only members carry addresses.
pub(super) fn identity(
    serial: [u8; SERIAL_BYTES],
    period: Period,
    id: &SpiffeId,
    hosts: &[Host],
) -> Result<CertificateParams, IssueError> {
    let extended = match id.role {
        Role::Node(_) => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Role::Operator(_) | Role::App(_) | Role::Monitor(_) => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    let mut params = base(serial, period, &id.role.name());
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = extended;
    params.subject_alt_names = vec![SanType::URI(id.to_string().try_into()?)];
    params.subject_alt_names.extend(alternative_names(hosts)?);
    Ok(params)
}

/// What a request says; all of it but the key is for people to read, and is said anew when it is signed.
pub(super) fn request(node: NodeId, hosts: &[Host]) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(&node.to_string());
    params.subject_alt_names = alternative_names(hosts)?;
    Ok(params)
}

fn alternative_names(hosts: &[Host]) -> Result<Vec<SanType>, IssueError> {
    let name = |host: &Host| match host {
        Host::Ip(address) => Ok(SanType::IpAddress(*address)),
        Host::Name(name) => Ok(SanType::DnsName(name.as_str().try_into()?)),
    };
    hosts.iter().map(name).collect()
}

/// A revocation list with these certificates on it.
pub(super) fn list(
    number: u64,
    period: Period,
    revoked: &[IndexEntry],
    key_id: KeyIdMethod,
) -> CertificateRevocationListParams {
    let entry = |entry: &IndexEntry| RevokedCertParams {
        // Serial numbers were read from certificates, or checked to be hexadecimal.
        serial_number: SerialNumber::from_slice(
            &HEXLOWER_PERMISSIVE.decode(entry.serial.as_bytes()).unwrap_or_default(),
        ),
        revocation_time: instant(entry.time),
        reason_code: entry.reason.map(Reason::code),
        invalidity_date: None,
    };
    CertificateRevocationListParams {
        this_update: instant(period.from),
        next_update: instant(period.until),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(entry).collect(),
        key_identifier_method: key_id,
    }
}

fn base(serial: [u8; SERIAL_BYTES], period: Period, common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(common_name);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = instant(period.from);
    params.not_after = instant(period.until);
    params.use_authority_key_identifier_extension = true;
    params
}

fn subject(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, ORGANIZATION);
    name.push(DnType::CommonName, common_name);
    name
}

/// Names and addresses only: with a URI or directory subtree, rustls refuses every certificate.
fn name_constraints(permitted: &Permitted) -> NameConstraints {
    let no_block = permitted.blocks.is_empty().then(|| IpNet::from(NO_ADDRESS));
    let names = permitted.names.iter().cloned().map(GeneralSubtree::DnsName);
    let blocks = permitted.blocks.iter().copied().chain(no_block);
    let blocks =
        blocks.map(|block| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(block.addr(), block.prefix_len())));
    NameConstraints { permitted_subtrees: names.chain(blocks).collect(), excluded_subtrees: Vec::new() }
}

/// The same second as rcgen takes it.
fn instant(time: Timestamp) -> OffsetDateTime {
    // jiff's calendar ends where that of `time` does, at the end of the year 9999.
    OffsetDateTime::from_unix_timestamp(time.as_second()).expect("every timestamp is a date of four-digit years")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_as_it_is_written() {
        assert_eq!(HEXLOWER_PERMISSIVE.decode(HEXLOWER.encode(&[0, 0x8f, 1]).as_bytes()), Ok(vec![0, 0x8f, 1]));
        for wrong in ["0", "0x", "+1", "é", "0g"] {
            assert!(HEXLOWER_PERMISSIVE.decode(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
