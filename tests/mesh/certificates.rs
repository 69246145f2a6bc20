//! Who is refused in the handshake, or for the address they come from.

use super::forge::{Credentials, forge, forge_by_namesake, revoke};
use super::intruder::{Fate, Intruder, config, fate_of, frame, hello, knock, plain};
use super::world::{A, B, C, Member, World, message, within};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Extended, IsCa, KeyUsagePurpose, SanType};
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use tls::{ControlPlane, CrlPolicy, Direction, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;
use trust::ClientFiles;

fn alert(name: &str) -> Fate {
    Fate::Alert(name.to_owned())
}

/// Knocks at `a` from the address of `b`, and expects to be refused in the handshake. An alert may be overtaken by
/// the reset that follows it; the reason in the log may not.
async fn refuse(world: &World, a: &Member, credentials: Credentials, reason: Reason, wire: &str) {
    let fate = knock(world.ip(B), world.address(A), credentials).await;
    assert!(fate == alert(wire) || fate == Fate::Closed, "{reason}: {fate:?}");
    a.wait_rejection(Direction::In, reason).await;
}

#[tokio::test]
async fn the_right_certificate_from_the_right_address_is_welcome() {
    let world = World::new(10);
    let a = world.start(A);
    drop(Intruder::welcome_member(&world, B, A).await);
    assert!(a.refused_nobody(), "{:?}", a.rejections.counts());
}

#[tokio::test]
async fn certificates_of_another_authority_are_refused() {
    let (world, other) = (World::new(11), World::new(12));
    let a = world.start(A);
    refuse(&world, &a, other.files(B).into(), Reason::UnknownCa, "UnknownCA").await;
    let namesake = forge_by_namesake(&world, "node/node-b", world.ip(B));
    refuse(&world, &a, namesake, Reason::BadSignature, "DecryptError").await;
}

#[tokio::test]
async fn nodes_that_are_not_members_are_refused() {
    let world = World::new(13);
    let a = world.start(A);
    let stranger = forge(&world, "node/node-z", world.ip(B), |_| ());
    refuse(&world, &a, stranger, Reason::NotAMember, "CertificateUnknown").await;
}

#[tokio::test]
async fn operators_and_others_are_refused_at_the_control_plane() {
    let world = World::new(14);
    let operator = ClientFiles::load(&world.certs().join("operator-admin")).expect("the operator's files");
    let operator = Credentials { chain: operator.chain, key: operator.key.clone_key() };
    // What its profile says of a client, so that nothing but the role speaks against it.
    let client = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![Extended::ClientAuth];
        params.subject_alt_names.retain(|name| matches!(name, SanType::URI(_)));
    };
    let forged = ["app/shop", "monitor/prometheus"].map(|role| forge(&world, role, world.ip(B), client));
    for credentials in std::iter::once(operator).chain(forged) {
        let a = world.start(A);
        refuse(&world, &a, credentials, Reason::RoleNotAllowed, "CertificateUnknown").await;
        a.stop().await;
    }
}

#[tokio::test]
async fn an_own_certificate_seen_from_outside_is_refused() {
    let world = World::new(15);
    let a = world.start(A);
    refuse(&world, &a, world.files(A).into(), Reason::SelfConnection, "CertificateUnknown").await;
}

#[tokio::test]
async fn expired_and_early_certificates_are_told_apart() {
    let world = World::new(16);
    let a = world.start(A);
    let now = OffsetDateTime::now_utc();
    let expired = forge(&world, "node/node-b", world.ip(B), |params| params.not_after = now - Duration::minutes(1));
    refuse(&world, &a, expired, Reason::Expired, "CertificateExpired").await;
    let early = forge(&world, "node/node-b", world.ip(B), |params| params.not_before = now + Duration::minutes(1));
    refuse(&world, &a, early, Reason::NotYetValid, "CertificateExpired").await;
}

#[tokio::test]
async fn a_revoked_certificate_ends_its_live_connections_and_gets_no_new_ones() {
    let world = World::new(17);
    let tls = watch::Sender::new(Arc::new(world.plane(A)));
    let mut a = world.start_with(A, |fresh| fresh.tls = tls.subscribe());
    let (mut b, mut c) = (world.start(B), world.start(C));
    a.wait_up(&[B, C]).await;
    b.wait_up(&[A]).await;
    c.wait_up(&[A]).await;
    let mut files = world.files(A);
    files.crls = vec![revoke(&world, &[B], Duration::days(1))];
    let plane = ControlPlane::new(&files, A, world.peers.members(), CrlPolicy::Warn).expect("a configuration");
    tls.send_replace(Arc::new(plane));
    // Both connections of the pair end, each at the side that no longer trusts the other.
    a.wait_down(B).await;
    b.wait_down(A).await;
    a.wait_rejection(Direction::In, Reason::Revoked).await;
    a.wait_rejection(Direction::Out, Reason::Revoked).await;
    assert_eq!(a.mesh.links().keys().copied().collect::<Vec<_>>(), [C], "who is not revoked stays");
    c.mesh.send(A, &message(C, 1));
    assert_eq!(a.message().await, (C, message(C, 1)));
    b.stop().await;
    refuse(&world, &a, world.files(B).into(), Reason::Revoked, "CertificateRevoked").await;
}

#[tokio::test]
async fn new_certificates_are_tried_at_once() {
    let world = World::new(70);
    let mut files = world.files(A);
    files.crls = vec![revoke(&world, &[B], Duration::days(1))];
    let revoking = ControlPlane::new(&files, A, world.peers.members(), CrlPolicy::Warn).expect("a configuration");
    let tls = watch::Sender::new(Arc::new(revoking));
    let mut a = world.start_with(A, |fresh| fresh.tls = tls.subscribe());
    let mut b = world.start(B);
    a.wait_rejection(Direction::In, Reason::Revoked).await;
    a.wait_rejection(Direction::Out, Reason::Revoked).await;
    // Whoever was refused for good waits 5 s before every attempt, unless the certificates have changed.
    tls.send_replace(Arc::new(world.plane(A)));
    let both = async { tokio::join!(a.wait_up(&[B]), b.wait_up(&[A])) };
    timeout(std::time::Duration::from_secs(4), both).await.expect("they met before the next attempt was due");
}

#[tokio::test]
async fn a_stale_revocation_list_counts_as_the_policy_says() {
    let world = World::new(18);
    let mut files = world.files(A);
    files.crls = vec![revoke(&world, &[], Duration::days(-1))];
    let plane = |policy| ControlPlane::new(&files, A, world.peers.members(), policy).expect("a configuration");
    let (warn, enforce) = (Arc::new(plane(CrlPolicy::Warn)), Arc::new(plane(CrlPolicy::Enforce)));
    let tls = watch::Sender::new(warn);
    let a = world.start_with(A, |fresh| fresh.tls = tls.subscribe());
    drop(Intruder::welcome_member(&world, B, A).await);
    tls.send_replace(enforce);
    refuse(&world, &a, world.files(B).into(), Reason::CrlExpired, "UnknownCA").await;
}

#[tokio::test]
async fn a_revocation_list_must_be_there() {
    let world = World::new(19);
    let mut files = world.files(A);
    files.crls.clear();
    assert!(ControlPlane::new(&files, A, world.peers.members(), CrlPolicy::Warn).is_err());
}

#[tokio::test]
async fn certificates_that_are_not_of_the_profile_are_refused() {
    let world = World::new(20);
    let stranger = world.stranger();
    type Change<'a> = Box<dyn FnOnce(&mut CertificateParams) + 'a>;
    let uri = |text: &str| SanType::URI(text.try_into().expect("ASCII"));
    let cases: Vec<(&str, &str, Change<'_>)> = vec![
        (
            "two URIs",
            "CertificateUnknown",
            Box::new(|params| params.subject_alt_names.push(uri("spiffe://x/node/node-c"))),
        ),
        (
            "no URI",
            "CertificateUnknown",
            Box::new(|params| params.subject_alt_names.retain(|name| !matches!(name, SanType::URI(_)))),
        ),
        ("CA:TRUE", "CertificateUnknown", Box::new(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
        ("keyCertSign", "CertificateUnknown", Box::new(|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign))),
        ("no extended key usage", "CertificateUnknown", Box::new(|params| params.extended_key_usages.clear())),
        (
            "serverAuth only",
            "UnsupportedCertificate",
            Box::new(|params| params.extended_key_usages = vec![Extended::ServerAuth]),
        ),
        (
            "clientAuth only",
            "CertificateUnknown",
            Box::new(|params| params.extended_key_usages = vec![Extended::ClientAuth]),
        ),
        (
            "a name that the authority may not give",
            "CertificateUnknown",
            Box::new(move |params| params.subject_alt_names.push(SanType::IpAddress(stranger))),
        ),
        (
            "a name that is no identity",
            "CertificateUnknown",
            Box::new(|params| params.subject_alt_names = vec![uri("https://example.org/node/node-b")]),
        ),
    ];
    for (what, wire, change) in cases {
        // A member each, so that one reason cannot stand in for another.
        let a = world.start(A);
        let forged = forge(&world, "node/node-b", world.ip(B), change);
        let fate = knock(world.ip(B), world.address(A), forged).await;
        assert!(fate == alert(wire) || fate == Fate::Closed, "{what}: {fate:?}");
        a.wait_rejection(Direction::In, Reason::BadSvid).await;
        a.stop().await;
    }
    let a = world.start(A);
    let foreign =
        |params: &mut CertificateParams| params.subject_alt_names = vec![uri("spiffe://other.canary/node/node-b")];
    let foreign = forge(&world, "node/node-b", world.ip(B), foreign);
    refuse(&world, &a, foreign, Reason::ClusterMismatch, "CertificateUnknown").await;
}

#[tokio::test]
async fn a_certificate_is_needed() {
    let world = World::new(21);
    let a = world.start(A);
    let anonymous = Arc::new(config(None, &[b"canary/1"]));
    let fate = match Intruder::connect_with(world.ip(B), world.address(A), anonymous).await {
        Ok(intruder) => intruder.fate().await,
        Err(error) => fate_of(&error),
    };
    assert!(fate == alert("CertificateRequired") || fate == Fate::Closed, "{fate:?}");
    a.wait_rejection(Direction::In, Reason::NoCertificate).await;
}

#[tokio::test]
async fn a_peer_from_a_foreign_address_is_refused_before_it_says_anything() {
    let world = World::new(22);
    for from in [world.ip(C), world.stranger()] {
        let a = world.start(A);
        let fate = knock(from, world.address(A), world.files(B).into()).await;
        assert_eq!(fate, Fate::Rejected("address_mismatch".into()));
        a.wait_rejection(Direction::In, Reason::AddressMismatch).await;
        assert_eq!(a.rejections.identity_conflicts(), 1);
        a.stop().await;
    }
}

#[tokio::test]
async fn further_sources_and_a_lenient_policy_let_a_foreign_address_in() {
    let world = World::new(23);
    let enter = async || {
        let mut intruder = Intruder::connect(world.stranger(), world.address(A), world.files(B).into()).await?;
        intruder.send(&frame(&hello(&world, B, A))).await;
        intruder.frame().await
    };
    let extra = format!("node-b={}/32", world.stranger());
    let a = world.start_with(A, |config| config.extra_sources = extra.parse().expect("sources"));
    let answer = enter().await.expect("an answer");
    assert!(answer.get("welcome").is_some(), "{answer}");
    a.stop().await;
    for word in ["warn", "off"] {
        let a = world.start_with(A, |config| config.address_check = word.parse().expect("a policy"));
        let answer = enter().await.expect("an answer");
        assert!(answer.get("welcome").is_some(), "{word}: {answer}");
        a.stop().await;
    }
}

#[tokio::test]
async fn an_identity_that_is_alive_elsewhere_is_refused() {
    let world = World::new(24);
    let extra = format!("node-b={}/32", world.stranger());
    let a = world.start_with(A, |config| config.extra_sources = extra.parse().expect("sources"));
    let first = Intruder::welcome_member(&world, B, A).await;
    let copy = knock(world.stranger(), world.address(A), world.files(B).into()).await;
    assert_eq!(copy, Fate::Rejected("duplicate_identity".into()));
    a.wait_rejection(Direction::In, Reason::DuplicateIdentity).await;
    // From its own address the peer takes its own place, and the first connection ends.
    let second = Intruder::welcome_member(&world, B, A).await;
    assert_eq!(first.fate().await, Fate::Closed);
    drop(second);
}

#[tokio::test]
async fn only_tls_1_3_with_the_right_protocol_comes_in() {
    let world = World::new(25);
    let a = world.start(A);
    let mut http = plain(world.ip(B), world.address(A)).await;
    http.write_all(b"GET /routing/state HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    let _ = within(http.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    a.wait_rejection(Direction::In, Reason::NotTls).await;

    let mut old = plain(world.ip(B), world.address(A)).await;
    old.write_all(&hello_of_tls_1_2()).await.expect("sent");
    let mut answer = Vec::new();
    let _ = within(old.read_to_end(&mut answer)).await;
    // A fatal alert: 70, protocol_version.
    assert_eq!((answer.first(), answer.get(5..)), (Some(&21), Some(&[2, 70][..])), "{answer:?}");
    a.wait_rejection(Direction::In, Reason::ProtocolVersion).await;

    let other: &[&[&[u8]]] = &[&[b"h2", b"http/1.1"], &[]];
    for (count, alpn) in (1_u64..).zip(other) {
        let config = Arc::new(config(Some(world.files(B).into()), alpn));
        let fate = match Intruder::connect_with(world.ip(B), world.address(A), config).await {
            Ok(intruder) => intruder.fate().await,
            Err(error) => fate_of(&error),
        };
        assert!(fate != alert("HandshakeFailure"), "{fate:?}");
        a.wait_rejections(Direction::In, Reason::AlpnMismatch, count).await;
    }
}

#[tokio::test]
async fn sessions_are_never_resumed() {
    let world = World::new(26);
    let _a = world.start(A);
    let config = Arc::new(config(Some(world.files(B).into()), &[b"canary/1"]));
    for _ in 0..2 {
        let mut intruder =
            Intruder::connect_with(world.ip(B), world.address(A), Arc::clone(&config)).await.expect("a member");
        intruder.send(&frame(&hello(&world, B, A))).await;
        intruder.frame().await.expect("a welcome");
        assert_eq!(intruder.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(intruder.holds_tickets(), 0);
    }
}

/// A TLS 1.2 client hello as it was before anybody knew of 1.3.
fn hello_of_tls_1_2() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    // No session; one suite, ECDHE-ECDSA-AES128-GCM-SHA256; no compression.
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    // One extension: signatures by ECDSA on P-256 with SHA-256.
    hello.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let length = u8::try_from(hello.len()).expect("short");
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}
