//! Authorities that are bad in exactly one way. rustls does not look at them, so ours must when it loads them.

use super::der::{BASIC_CONSTRAINTS, Der, ECDSA_SHA1, KEY_USAGE, RSA_SHA256, UNKNOWN};
use super::mint::{Chain, Mint, PEER_ADDRESS, name, openssl_key, sign_with, write_pem};
use super::needs::Need;
use super::programs::{Program, Question};
use issue::{Expectations, verify};
use jiff::{SignedDuration, Timestamp};
use model::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose as Usage,
    SerialNumber, SigningKey,
};
use rustls_pki_types::CertificateDer;
use std::fs;
use time::{Duration, OffsetDateTime};
use trust::{FileError, NodeFiles, TrustError, load_ca};

/// An authority, and a good certificate of the peer below it.
struct Rooted {
    root: CertificateDer<'static>,
    chain: Chain,
}

struct BadRoot {
    name: &'static str,
    made: fn(&Mint) -> Option<Rooted>,
    /// A piece of what ours says.
    said: &'static str,
    /// The letters of the other verifiers that refuse what it signed.
    refused_by: &'static str,
}

fn bad(name: &'static str, made: fn(&Mint) -> Option<Rooted>, said: &'static str, refused_by: &'static str) -> BadRoot {
    BadRoot { name, made, said, refused_by }
}

fn params() -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = name("authority of a test");
    params.not_before = now - Duration::days(10);
    params.not_after = now + Duration::days(10);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(SerialNumber::from(vec![0x3c; 16]));
    params
}

/// A good authority, but for what `change` does to it.
fn root(mint: &Mint, change: impl FnOnce(&mut CertificateParams)) -> Option<Rooted> {
    let key = KeyPair::generate().ok()?;
    let mut params = params();
    change(&mut params);
    let root = params.self_signed(&key).ok()?.into();
    Some(Rooted { root, chain: mint.leaf_by(&Issuer::new(params, key), |_| ())? })
}

/// A good authority with `change` done to its inner part, signed again.
fn patched(mint: &Mint, change: impl FnOnce(&mut Der)) -> Option<Rooted> {
    let key = KeyPair::generate().ok()?;
    let made = params().self_signed(&key).ok()?;
    let mut whole = Der::read(made.der());
    change(&mut whole.parts()[0]);
    let signature = key.sign(&whole.parts()[0].bytes()).ok()?;
    whole.parts()[2] = Der::bit_string(&signature);
    let chain = mint.leaf_by(&Issuer::new(params(), key), |_| ())?;
    Some(Rooted { root: whole.bytes().into(), chain })
}

/// A good authority whose bytes are changed after it was signed.
fn spoilt(mint: &Mint, change: impl FnOnce(&mut Vec<u8>)) -> Option<Rooted> {
    let Rooted { root, chain } = root(mint, |_| ())?;
    let mut bytes = root.to_vec();
    change(&mut bytes);
    Some(Rooted { root: bytes.into(), chain })
}

/// An authority, and what it issued, with a key that only OpenSSL still makes.
fn keyed(mint: &Mint, kind: &[&str], algorithm: &Der, digest: &str) -> Option<Rooted> {
    let (path, public) = openssl_key(mint.dir.path(), kind)?;
    let Rooted { root, chain } = root(mint, |_| ())?;
    let signed = |certificate: &[u8], change: &dyn Fn(&mut Der)| {
        let mut whole = Der::read(certificate);
        let parts = whole.parts();
        change(&mut parts[0]);
        parts[0].parts()[2] = algorithm.clone();
        parts[1] = algorithm.clone();
        parts[2] = Der::bit_string(&sign_with(mint.dir.path(), &path, digest, &parts[0].bytes())?);
        Some(CertificateDer::from(whole.bytes()))
    };
    let root = signed(&root, &|inner| inner.parts()[6] = Der::read(&public))?;
    Some(Rooted { root, chain: vec![signed(&chain[0], &|_| ())?] })
}

fn on_curve(mint: &Mint, curve: &str) -> Option<Rooted> {
    let kind = ["-algorithm", "EC", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")];
    keyed(mint, &kind, &Der::algorithm(super::der::ECDSA_SHA256), "-sha256")
}

fn with_usages(mint: &Mint, usages: &[Usage]) -> Option<Rooted> {
    root(mint, |params| params.key_usages = usages.to_vec())
}

fn rows() -> Vec<BadRoot> {
    [authorities(), forms(), keys()].into_iter().flatten().collect()
}

/// It is no authority, or not now.
fn authorities() -> Vec<BadRoot> {
    vec![
        bad(
            "expired",
            |m| root(m, |p| p.not_after = OffsetDateTime::now_utc() - Duration::days(1)),
            "expired at",
            "ognp",
        ),
        bad(
            "not yet valid",
            |m| root(m, |p| p.not_before = OffsetDateTime::now_utc() + Duration::days(2)),
            "certificate not yet valid: local clock",
            "ognp",
        ),
        bad("CA:FALSE", |m| root(m, |p| p.is_ca = IsCa::ExplicitNoCa), "CA:TRUE", "ognp"),
        bad("no basic constraints", |m| root(m, |p| p.is_ca = IsCa::NoCa), "CA:TRUE", "op"),
        bad(
            "a member's certificate",
            |m| {
                root(m, |p| {
                    *p = m.params();
                    p.serial_number = Some(SerialNumber::from(vec![0x3c; 16]));
                })
            },
            "CA:TRUE",
            "ognp",
        ),
        bad("may not sign certificates", |m| with_usages(m, &[Usage::CrlSign]), "keyCertSign", "ogp"),
        bad("may not sign revocation lists", |m| with_usages(m, &[Usage::KeyCertSign]), "cRLSign", ""),
        bad("no key usage", |m| with_usages(m, &[]), "keyCertSign", "op"),
        bad(
            "a key usage that cannot be read",
            |m| {
                patched(m, |inner| {
                    let place = inner.place(KEY_USAGE);
                    inner.extensions()[place] = Der::extension(KEY_USAGE, &[0xff], &[5, 0]);
                })
            },
            "keyCertSign",
            "ogp",
        ),
        bad(
            "basic constraints that cannot be read",
            |m| {
                patched(m, |inner| {
                    let place = inner.place(BASIC_CONSTRAINTS);
                    inner.extensions()[place] = Der::extension(BASIC_CONSTRAINTS, &[0xff], &[5, 0]);
                })
            },
            "CA:TRUE",
            "ognp",
        ),
        bad(
            "basic constraints that are not critical",
            |m| {
                patched(m, |inner| {
                    let place = inner.place(BASIC_CONSTRAINTS);
                    inner.extensions()[place] = Der::extension(BASIC_CONSTRAINTS, &[], &[0x30, 6, 1, 1, 0xff, 2, 1, 0]);
                })
            },
            "critical",
            "op",
        ),
    ]
}

/// It is written as RFC 5280 forbids.
fn forms() -> Vec<BadRoot> {
    vec![
        bad(
            "for e-mail only",
            |m| root(m, |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection]),
            "extended key usage",
            "op",
        ),
        bad(
            "an unknown critical extension",
            |m| patched(m, |inner| inner.extensions().push(Der::extension(UNKNOWN, &[0xff], &[5, 0]))),
            "critical extension",
            "ogp",
        ),
        bad(
            "an extension that is there twice",
            |m| {
                patched(m, |inner| {
                    let twice = inner.extensions()[0].clone();
                    inner.extensions().push(twice);
                })
            },
            "twice",
            "ogp",
        ),
        bad(
            "version 1",
            |m| {
                patched(m, |inner| {
                    inner.parts().truncate(7);
                    inner.parts().remove(0);
                })
            },
            "CA:TRUE",
            "op",
        ),
        bad(
            "a negative serial number",
            |m| patched(m, |inner| inner.parts()[1] = Der::of(2, &[0x80, 1])),
            "serial number",
            "p",
        ),
        bad("serial number zero", |m| patched(m, |inner| inner.parts()[1] = Der::of(2, &[0])), "serial number", ""),
        bad(
            "a serial number of 21 bytes",
            |m| patched(m, |inner| inner.parts()[1] = Der::of(2, &[0x11; 21])),
            "serial number",
            "",
        ),
        bad("an empty name", |m| root(m, |p| p.distinguished_name = rcgen::DistinguishedName::new()), "name", "ogp"),
    ]
}

/// The key is too weak, or the signature wrong, or it is no certificate.
fn keys() -> Vec<BadRoot> {
    vec![
        bad(
            "a signature with one bit changed",
            |m| {
                spoilt(m, |bytes| {
                    if let Some(last) = bytes.last_mut() {
                        *last ^= 1;
                    }
                })
            },
            "signature",
            "",
        ),
        bad(
            "signed with SHA-1",
            |m| {
                let p256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
                keyed(m, &p256, &Der::algorithm(ECDSA_SHA1), "-sha1")
            },
            "signature",
            "gp",
        ),
        bad(
            "a key of RSA-1024",
            |m| {
                keyed(
                    m,
                    &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
                    &Der::sequence(vec![Der::of(6, RSA_SHA256), Der::of(5, &[])]),
                    "-sha256",
                )
            },
            "RSA-1024",
            "p",
        ),
        bad("a key on P-224", |m| on_curve(m, "secp224r1"), "EC 1.3.132.0.33", "np"),
        bad("a key on secp256k1", |m| on_curve(m, "secp256k1"), "EC 1.3.132.0.10", "gnp"),
        bad(
            "bytes after the certificate",
            |m| spoilt(m, |bytes| bytes.extend([0, 0])),
            "not one DER certificate",
            "gnp",
        ),
        bad("cut short", |m| spoilt(m, |bytes| bytes.truncate(bytes.len() - 1)), "not one DER certificate", "ognp"),
    ]
}

/// What ours says at each place where an authority is read.
fn ours(mint: &Mint, root: &CertificateDer<'_>) -> [Result<(), String>; 3] {
    let dir = mint.dir.path().join("rooted");
    fs::create_dir_all(dir.join("node-a")).expect("a folder");
    for path in [dir.join("ca.pem"), dir.join("node-a/ca.pem")] {
        write_pem(&path, "CERTIFICATE", &[root]);
    }
    let of_files = |error: TrustError| {
        // An authority that passes is followed by files that are not there.
        let passed = matches!(error, TrustError::File(FileError::Missing { .. }));
        assert!(passed || matches!(error, TrustError::Ca { .. }), "{error}");
        if passed { Ok(()) } else { Err(error.to_string()) }
    };
    let expected = Expectations { now: Timestamp::now(), fail_within: SignedDuration::ZERO, node: None, peers: None };
    let found = verify(&dir, &dir, &expected).into_iter().find(|finding| finding.path == dir.join("ca.pem"));
    let problem = found.expect("the authority is looked at").problem;
    [
        NodeFiles::load(&dir, NodeId::A).map(drop).or_else(of_files),
        load_ca(&dir).map(drop).or_else(of_files),
        problem.map_or(Ok(()), |problem| Err(problem.to_string())),
    ]
}

/// Every bad authority that can be made here.
fn made(mint: &Mint) -> Vec<(BadRoot, Rooted)> {
    let make = |row: BadRoot| match (row.made)(mint) {
        Some(rooted) => Some((row, rooted)),
        None if Need::OpenSsl.is_wanted() => Need::OpenSsl.missing(&format!("{:?} could not be made", row.name)),
        None => None,
    };
    rows().into_iter().filter_map(make).collect()
}

#[test]
fn ours_refuses_each_wherever_it_is_read() {
    let mint = Mint::new();
    let mut wrong = Vec::new();
    for (row, rooted) in made(&mint) {
        for said in ours(&mint, &rooted.root) {
            if !matches!(&said, Err(text) if text.contains(row.said)) {
                wrong.push(format!("{}: {said:?} does not say {:?}", row.name, row.said));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_authority_without_a_flaw_is_accepted() {
    let mint = Mint::new();
    let good = root(&mint, |_| ()).expect("nothing is needed");
    assert_eq!(ours(&mint, &good.root), [Ok(()), Ok(()), Ok(())]);
    for program in Program::ALL {
        for answer in program.ask(&[question(&mint, "good", &good)]).into_iter().flatten() {
            assert!(answer.accepted, "{program:?}: {}", answer.said);
        }
    }
}

#[test]
fn others_say_what_the_table_says() {
    let mint = Mint::new();
    let all = made(&mint);
    let questions: Vec<Question> =
        (0..).zip(&all).map(|(at, (_, rooted)): (u16, _)| question(&mint, &at.to_string(), rooted)).collect();
    for program in Program::ALL {
        let Some(answers) = program.ask(&questions) else { continue };
        assert_eq!(answers.len(), all.len());
        let differs = |((row, _), answer): (&(BadRoot, _), _)| program.contradicts(row.refused_by, answer, row.name);
        let wrong: Vec<String> = all.iter().zip(&answers).filter_map(differs).collect();
        assert!(wrong.is_empty(), "{program:?} changed its mind:\n{}", wrong.join("\n"));
    }
}

fn question(mint: &Mint, folder: &str, rooted: &Rooted) -> Question {
    Question::new(mint.dir.path().join(folder), &rooted.chain, &rooted.root, None, Some(PEER_ADDRESS))
}
