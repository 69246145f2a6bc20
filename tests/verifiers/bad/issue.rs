//! Bad by who issued them, when, with what key, or because they were taken back.

use super::super::der::{Der, ECDSA_SHA1, ECDSA_SHA384};
use super::super::mint::{Mint, REVOKED, name};
use super::{Bad, bad};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose as Usage, SerialNumber};
use time::{Duration, OffsetDateTime};
use tls::Reason;

/// Public keys that are too weak, or of a curve that TLS 1.3 does not have. Nobody kept the private halves.
const RSA_1024: &str = "30819f300d06092a864886f70d010101050003818d0030818902818100bdb00f35708f91d5d4e528468301a8bce232ef54d6f4f6c9139c0b77054d0dd5e78250e3fbcc9a4b6a6407b48bcd9303cda7b243c107eb44382d985b22e00f5947725db015333bf238d21ac672ed6abf6d44911dccfcf6fdce68e10f51eb624825f0e6c2eee8e0ca1d9334f32d72c293fdc431bc300c561164633ea0124b7ecf0203010001";
const P224: &str = "304e301006072a8648ce3d020106052b81040021033a0004b192aa64794944b81fe0f53975fed1bee45c1997b886cba8dcaf4b235367bd57c7b5903aa220527280d1014665ecaabbbc82dffbfd95d7bf";
const SECP256K1: &str = "3056301006072a8648ce3d020106052b8104000a034200043654dca3085bafcccae30a390475658a1ba832c65078f8fd27191cae0213c84c80b307a1adf58a255b2518b6e670d9ff8df55a136a5b13a51ca79ba6ab8cfe00";

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn may_issue(params: &mut CertificateParams, constraint: BasicConstraints) {
    params.is_ca = IsCa::Ca(constraint);
    params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
    params.extended_key_usages.clear();
    params.subject_alt_names.clear();
}

pub(super) fn rows() -> Vec<Bad> {
    [issuers(), signatures()].into_iter().flatten().collect()
}

/// The time is wrong, or the issuer.
fn issuers() -> Vec<Bad> {
    vec![
        bad(
            "expired",
            |m| m.leaf(|p| p.not_after = now() - Duration::minutes(1)),
            (Reason::Expired, "certificate expired"),
            "ognp",
        ),
        bad(
            "expired for years",
            |m| m.leaf(|p| (p.not_before, p.not_after) = (now() - Duration::days(900), now() - Duration::days(800))),
            (Reason::Expired, "certificate expired"),
            "ognp",
        ),
        // NSS lets clocks be wrong by a day.
        bad(
            "not yet valid for an hour",
            |m| m.leaf(|p| p.not_before = now() + Duration::hours(1)),
            (Reason::NotYetValid, "certificate not yet valid"),
            "ogp",
        ),
        bad(
            "not yet valid for days",
            |m| m.leaf(|p| (p.not_before, p.not_after) = (now() + Duration::days(2), now() + Duration::days(3))),
            (Reason::NotYetValid, "certificate not yet valid"),
            "ognp",
        ),
        bad(
            "ends before it begins",
            |m| m.leaf(|p| (p.not_before, p.not_after) = (now() - Duration::minutes(2), now() - Duration::minutes(3))),
            (Reason::Expired, "Expired"),
            "ognp",
        ),
        bad(
            "revoked",
            |m| m.leaf(|p| p.serial_number = Some(SerialNumber::from(REVOKED.to_vec()))),
            (Reason::Revoked, "Revoked"),
            "ogn",
        ),
        bad("another authority", another_authority, (Reason::UnknownCa, "UnknownIssuer"), "ognp"),
        bad(
            "another authority of the same name",
            Mint::leaf_by_namesake,
            (Reason::BadSignature, "BadSignature"),
            "ognp",
        ),
        bad(
            "signed by itself",
            |m| Some(vec![m.params().self_signed(&m.leaf_key).ok()?.into()]),
            (Reason::UnknownCa, "UnknownIssuer"),
            "ognp",
        ),
        bad(
            "below an intermediate, which the authority's path length forbids",
            |m| m.leaf_below(|p| may_issue(p, BasicConstraints::Constrained(0))),
            (Reason::BadSvid, "between it and the authority"),
            "ognp",
        ),
        bad("issued by a member", |m| m.leaf_below(|_| ()), (Reason::BadSvid, "EndEntityUsedAsCa"), "ognp"),
    ]
}

/// The signature is not what it should be, or the key is too weak for one.
fn signatures() -> Vec<Bad> {
    vec![
        bad(
            "a signature with one bit changed",
            |m| {
                m.sealed(
                    |_| (),
                    |inner| {
                        let mut signature = m.signed(inner)?;
                        *signature.last_mut()? ^= 1;
                        Some(signature)
                    },
                    None,
                )
            },
            (Reason::BadSignature, "BadSignature"),
            "ognp",
        ),
        bad(
            "a signature over other bytes",
            |m| m.sealed(|_| (), |_| m.signed(b"other bytes"), None),
            (Reason::BadSignature, "BadSignature"),
            "ognp",
        ),
        bad(
            "no signature",
            |m| m.sealed(|_| (), |_| Some(Vec::new()), None),
            (Reason::BadSignature, "BadSignature"),
            "ognp",
        ),
        bad(
            "signed with SHA-1",
            |m| {
                m.sealed(
                    |inner| inner.parts()[2] = Der::algorithm(ECDSA_SHA1),
                    |inner| m.signed_with_sha1(inner),
                    Some(ECDSA_SHA1),
                )
            },
            (Reason::BadSignature, "UnsupportedSignatureAlgorithmContext"),
            "gp",
        ),
        bad(
            "a signature of SHA-256 that says SHA-384",
            |m| {
                m.sealed(
                    |inner| inner.parts()[2] = Der::algorithm(ECDSA_SHA384),
                    |inner| m.signed(inner),
                    Some(ECDSA_SHA384),
                )
            },
            (Reason::BadSignature, "BadSignature"),
            "ognp",
        ),
        bad(
            "inner and outer signature algorithms that differ",
            |m| m.sealed(|inner| inner.parts()[2] = Der::algorithm(ECDSA_SHA384), |inner| m.signed(inner), None),
            (Reason::BadSvid, "SignatureAlgorithmMismatch"),
            "ognp",
        ),
        bad("a key of RSA-1024", |m| m.keyed(RSA_1024), (Reason::BadSvid, "kind RSA-1024"), "n"),
        bad("a key on P-224", |m| m.keyed(P224), (Reason::BadSvid, "kind EC 1.3.132.0.33"), ""),
        bad("a key on secp256k1", |m| m.keyed(SECP256K1), (Reason::BadSvid, "kind EC 1.3.132.0.10"), ""),
    ]
}

fn another_authority(mint: &Mint) -> Option<super::Chain> {
    let key = KeyPair::generate().ok()?;
    let mut params = mint.params();
    params.distinguished_name = name("another authority");
    may_issue(&mut params, BasicConstraints::Constrained(0));
    mint.leaf_by(&Issuer::new(params, key), |_| ())
}
