//! Bad by what they say their key may be used for.

use super::super::der::{BASIC_CONSTRAINTS, Der, KEY_USAGE, UNKNOWN};
use super::{Bad, LET_IN, bad, differs};
use rcgen::{BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose as Extended, IsCa, KeyUsagePurpose as Usage};
use tls::Reason;

pub(super) fn rows() -> Vec<Bad> {
    [purposes(), usages(), extensions()].into_iter().flatten().collect()
}

/// The key is for other purposes than to be server and client.
fn purposes() -> Vec<Bad> {
    vec![
        differs(
            "for clients only",
            |m| m.leaf(|p| p.extended_key_usages = vec![Extended::ClientAuth]),
            Some((Reason::BadSvid, "does not contain serverAuth")),
            Some((Reason::BadSvid, "not allow extended key usage for server authentication")),
            "ognp",
        ),
        differs(
            "for servers only",
            |m| m.leaf(|p| p.extended_key_usages = vec![Extended::ServerAuth]),
            Some((Reason::BadSvid, "not allow extended key usage for client authentication")),
            Some((Reason::BadSvid, "does not contain clientAuth")),
            "ognp",
        ),
        differs(
            "for e-mail only",
            |m| m.leaf(|p| p.extended_key_usages = vec![Extended::EmailProtection]),
            Some((Reason::BadSvid, "not allow extended key usage for client authentication")),
            Some((Reason::BadSvid, "not allow extended key usage for server authentication")),
            "ognp",
        ),
        differs(
            "for code only",
            |m| m.leaf(|p| p.extended_key_usages = vec![Extended::CodeSigning]),
            Some((Reason::BadSvid, "not allow extended key usage for client authentication")),
            Some((Reason::BadSvid, "not allow extended key usage for server authentication")),
            "ognp",
        ),
        differs(
            "for anything at all",
            |m| m.leaf(|p| p.extended_key_usages = vec![Extended::Any]),
            Some((Reason::BadSvid, "not allow extended key usage for client authentication")),
            Some((Reason::BadSvid, "not allow extended key usage for server authentication")),
            "onp",
        ),
        bad(
            "no extended key usage",
            |m| m.leaf(|p| p.extended_key_usages.clear()),
            (Reason::BadSvid, "does not contain clientAuth"),
            "",
        ),
    ]
}

/// The key may do too much or too little.
fn usages() -> Vec<Bad> {
    vec![
        bad(
            "may sign certificates",
            |m| m.leaf(|p| p.key_usages.push(Usage::KeyCertSign)),
            (Reason::BadSvid, "contains keyCertSign"),
            "op",
        ),
        bad(
            "may sign revocation lists",
            |m| m.leaf(|p| p.key_usages.push(Usage::CrlSign)),
            (Reason::BadSvid, "contains cRLSign"),
            "",
        ),
        bad(
            "an authority",
            |m| m.leaf(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            (Reason::BadSvid, "CaUsedAsEndEntity"),
            "np",
        ),
        bad(
            "an authority of path length 0",
            |m| m.leaf(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))),
            (Reason::BadSvid, "CaUsedAsEndEntity"),
            "onp",
        ),
        bad(
            "may not sign a handshake",
            |m| m.leaf(|p| p.key_usages = vec![Usage::KeyEncipherment]),
            (Reason::BadSvid, "does not contain digitalSignature"),
            "on",
        ),
        bad(
            "may only agree on keys",
            |m| m.leaf(|p| p.key_usages = vec![Usage::KeyAgreement]),
            (Reason::BadSvid, "does not contain digitalSignature"),
            "n",
        ),
        bad(
            "may only vouch for content",
            |m| m.leaf(|p| p.key_usages = vec![Usage::ContentCommitment]),
            (Reason::BadSvid, "does not contain digitalSignature"),
            "on",
        ),
        bad(
            "no key usage",
            |m| m.leaf(|p| p.key_usages.clear()),
            (Reason::BadSvid, "does not contain digitalSignature"),
            "",
        ),
        bad(
            "a key usage without a bit",
            |m| {
                m.patched(|inner| {
                    let place = inner.place(KEY_USAGE);
                    inner.extensions()[place] = Der::extension(KEY_USAGE, &[0xff], &[3, 2, 7, 0]);
                })
            },
            (Reason::BadSvid, "does not contain digitalSignature"),
            "on",
        ),
        bad(
            "a key usage that cannot be read",
            |m| {
                m.patched(|inner| {
                    let place = inner.place(KEY_USAGE);
                    inner.extensions()[place] = Der::extension(KEY_USAGE, &[0xff], &[5, 0]);
                })
            },
            (Reason::BadSvid, "X.509v3 extension is malformed"),
            "op",
        ),
    ]
}

/// The extensions themselves are wrong.
fn extensions() -> Vec<Bad> {
    vec![
        bad(
            "a path length without an authority",
            |m| {
                m.patched(|inner| {
                    let place = inner.place(BASIC_CONSTRAINTS);
                    inner.extensions()[place] = Der::extension(BASIC_CONSTRAINTS, &[0xff], &[0x30, 3, 2, 1, 0]);
                })
            },
            (Reason::BadSvid, "has a path length"),
            "o",
        ),
        bad(
            "an unknown critical extension",
            |m| {
                m.leaf(|p| {
                    let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
                    unknown.set_criticality(true);
                    p.custom_extensions.push(unknown);
                })
            },
            (Reason::BadSvid, "UnsupportedCriticalExtension"),
            "ognp",
        ),
        bad(
            "an extension that is there twice",
            |m| {
                m.patched(|inner| {
                    let place = inner.place(KEY_USAGE);
                    let twice = inner.extensions()[place].clone();
                    inner.extensions().push(twice);
                })
            },
            (Reason::BadSvid, "ExtensionValueInvalid"),
            "ogp",
        ),
        // The identifier only helps to find the authority among many; there is one, or the few of a change.
        differs(
            "no authority key identifier",
            |m| m.leaf(|p| p.use_authority_key_identifier_extension = false),
            LET_IN,
            LET_IN,
            "op",
        ),
        bad(
            "an unknown extension that is there twice",
            |m| {
                m.patched(|inner| {
                    let unknown = Der::extension(UNKNOWN, &[], &[5, 0]);
                    inner.extensions().extend([unknown.clone(), unknown]);
                })
            },
            (Reason::BadSvid, "X.509v3 extension is malformed"),
            "gp",
        ),
    ]
}
