//! Bad by what they say their key may be used for.

use super::super::der::{BASIC_CONSTRAINTS, Der, KEY_USAGE, UNKNOWN};
use super::{Bad, bad};
use canary::tls::Reason;
use rcgen::{BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose as Extended, IsCa, KeyUsagePurpose as Usage};

pub(super) fn rows() -> Vec<Bad> {
    vec![
        bad("for clients only", |m| m.leaf(|p| p.extended_key_usages = vec![Extended::ClientAuth]), (Reason::BadSvid, ""), "ognp"),
        bad("for servers only", |m| m.leaf(|p| p.extended_key_usages = vec![Extended::ServerAuth]), (Reason::BadSvid, ""), "ognp"),
        bad("for e-mail only", |m| m.leaf(|p| p.extended_key_usages = vec![Extended::EmailProtection]), (Reason::BadSvid, ""), "ognp"),
        bad("for code only", |m| m.leaf(|p| p.extended_key_usages = vec![Extended::CodeSigning]), (Reason::BadSvid, ""), "ognp"),
        bad("for anything at all", |m| m.leaf(|p| p.extended_key_usages = vec![Extended::Any]), (Reason::BadSvid, ""), "gp"),
        bad("no extended key usage", |m| m.leaf(|p| p.extended_key_usages.clear()), (Reason::BadSvid, ""), "p"),
        bad("may sign certificates", |m| m.leaf(|p| p.key_usages.push(Usage::KeyCertSign)), (Reason::BadSvid, ""), "p"),
        bad("may sign revocation lists", |m| m.leaf(|p| p.key_usages.push(Usage::CrlSign)), (Reason::BadSvid, ""), ""),
        bad("an authority", |m| m.leaf(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), (Reason::BadSvid, ""), "p"),
        bad("an authority of path length 0", |m| m.leaf(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))), (Reason::BadSvid, ""), "p"),
        bad("may not sign a handshake", |m| m.leaf(|p| p.key_usages = vec![Usage::KeyEncipherment]), (Reason::BadSvid, ""), "ogn"),
        bad("may only agree on keys", |m| m.leaf(|p| p.key_usages = vec![Usage::KeyAgreement]), (Reason::BadSvid, ""), "ogn"),
        bad("may only vouch for content", |m| m.leaf(|p| p.key_usages = vec![Usage::ContentCommitment]), (Reason::BadSvid, ""), "ogn"),
        bad("no key usage", |m| m.leaf(|p| p.key_usages.clear()), (Reason::BadSvid, ""), ""),
        bad("a key usage without a bit", |m| m.patched(|inner| { let place = inner.place(KEY_USAGE); inner.extensions()[place] = Der::extension(KEY_USAGE, &[0xff], &[3, 2, 7, 0]); }), (Reason::BadSvid, ""), "o"),
        bad("a key usage that cannot be read", |m| m.patched(|inner| { let place = inner.place(KEY_USAGE); inner.extensions()[place] = Der::extension(KEY_USAGE, &[0xff], &[5, 0]); }), (Reason::BadSvid, ""), "ognp"),
        bad("a path length without an authority", |m| m.patched(|inner| { let place = inner.place(BASIC_CONSTRAINTS); inner.extensions()[place] = Der::extension(BASIC_CONSTRAINTS, &[0xff], &[0x30, 3, 2, 1, 0]); }), (Reason::BadSvid, ""), "o"),
        bad("an unknown critical extension", |m| m.leaf(|p| { let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]); unknown.set_criticality(true); p.custom_extensions.push(unknown); }), (Reason::BadSvid, ""), "ognp"),
        bad("an extension that is there twice", |m| m.patched(|inner| { let place = inner.place(KEY_USAGE); let twice = inner.extensions()[place].clone(); inner.extensions().push(twice); }), (Reason::BadSvid, ""), "ognp"),
        bad("an unknown extension that is there twice", |m| m.patched(|inner| { let unknown = Der::extension(UNKNOWN, &[], &[5, 0]); inner.extensions().extend([unknown.clone(), unknown]); }), (Reason::BadSvid, ""), "ognp"),
    ]
}
