//! Whom a member refuses when it dials, and what its log says of it.

use super::forge::{Credentials, forge};
use super::log;
use super::world::{A, B, C, World, node, within};
use model::NodeId;
use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use tls::{self, Direction, Reason};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Listens where `at` should be, with these credentials, asks nobody for a certificate, and gives the error that the
/// first to connect leaves behind.
async fn impersonate(world: &World, at: NodeId, Credentials { chain, key }: Credentials) -> io::Error {
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    config.alpn_protocols = vec![tls::CONTROL_ALPN.to_vec()];
    let listener = TcpListener::bind(world.address(at)).await.expect("the port is free");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let meeting = async {
        let (stream, _) = listener.accept().await.expect("somebody connects");
        acceptor.accept(stream).await.expect_err("the dialer hangs up")
    };
    within(meeting).await
}

#[tokio::test]
async fn another_member_at_a_peers_address_is_refused() {
    let world = World::new(30);
    // Its true certificate, which also has the wrong address; and one that has the right address.
    let cases = [world.files(C).into(), forge(&world, "node/node-c", world.ip(B), |_| ())];
    for credentials in cases {
        let a = world.start(A);
        let error = impersonate(&world, B, credentials).await;
        assert!(error.to_string().contains("CertificateUnknown"), "{error}");
        a.wait_rejection(Direction::Out, Reason::ServerIdentityMismatch).await;
        assert!(a.mesh.links().is_empty());
        a.stop().await;
    }
}

#[tokio::test]
async fn a_peers_certificate_must_have_the_address_that_was_dialed() {
    let world = World::new(31);
    let a = world.start(A);
    let elsewhere = forge(&world, "node/node-b", world.ip(C), |_| ());
    let error = impersonate(&world, B, elsewhere).await;
    assert!(error.to_string().contains("BadCertificate"), "{error}");
    a.wait_rejection(Direction::Out, Reason::ServerIdentityMismatch).await;
}

#[tokio::test]
async fn an_address_that_leads_back_is_refused() {
    let world = World::new(32);
    let a = world.start(A);
    let error = impersonate(&world, B, world.files(A).into()).await;
    assert!(error.to_string().contains("CertificateUnknown"), "{error}");
    a.wait_rejection(Direction::Out, Reason::SelfConnection).await;
}

#[tokio::test]
async fn an_operator_cannot_pose_as_a_peer() {
    let world = World::new(33);
    let a = world.start(A);
    let operator = forge(&world, "operator/alice", world.ip(B), |params| {
        params.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    impersonate(&world, B, operator).await;
    // A client's certificate that may serve is no certificate of the profile, whatever its role.
    a.wait_rejection(Direction::Out, Reason::BadSvid).await;
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    let (world, other) = (World::new(34), World::new(35));
    let a = world.start(A);
    impersonate(&world, B, other.files(B).into()).await;
    a.wait_rejection(Direction::Out, Reason::UnknownCa).await;
}

#[tokio::test]
async fn a_server_that_asks_nobody_and_welcomes_nobody_brings_no_link_up() {
    let world = World::new(36);
    let mut a = world.start(A);
    let Credentials { chain, key } = world.files(B).into();
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    config.alpn_protocols = vec![tls::CONTROL_ALPN.to_vec()];
    let listener = TcpListener::bind(world.address(B)).await.expect("the port is free");
    let (stream, remote) = within(listener.accept()).await.expect("somebody connects");
    assert_eq!(remote.ip(), world.ip(A), "a member dials from its own address");
    let _silent = within(TlsAcceptor::from(Arc::new(config)).accept(stream)).await.expect("a handshake");
    a.wait_rejection(Direction::Out, Reason::HandshakeTimeout).await;
    assert!(a.events.try_recv().is_err(), "no link");
    assert!(a.mesh.links().is_empty());
}

#[tokio::test]
async fn members_that_refuse_one_another_say_so_on_both_sides() {
    let world = World::new(37);
    let mut four: Vec<_> = world.peers.iter().map(|(id, host)| (id, host.clone())).collect();
    four.push((node('d'), world.ip(node('d')).to_string().parse().expect("an address")));
    let four = model::Peers::new(four).expect("four members");
    let a = world.start(A);
    let b = world.start_with(B, |config| config.peers = four);
    for member in [&a, &b] {
        member.wait_rejection(Direction::In, Reason::MembersDiffer).await;
        member.wait_rejection(Direction::Out, Reason::MembersDiffer).await;
    }
    assert!(a.mesh.links().is_empty() && b.mesh.links().is_empty());
}

#[tokio::test]
async fn the_log_has_one_line_for_each_refusal_with_everything_in_it() {
    let world = World::new(38);
    let a = world.start(A);
    let serial = world.files(B).leaf.serial.replace(':', "");
    for _ in 0..5 {
        super::intruder::knock(world.ip(C), world.address(A), world.files(B).into()).await;
    }
    a.wait_rejections(Direction::In, Reason::AddressMismatch, 5).await;
    let lines = log::lines(|line| {
        let from_here =
            line["fields"]["remote"].as_str().is_some_and(|remote| remote.starts_with(&world.ip(C).to_string()));
        line["target"] == "canary::security" && line["fields"]["dir"] == "in" && from_here
    });
    // Five knocks take far less than the second in which a line is not repeated, but a busy machine may pause.
    assert!((1..5).contains(&lines.len()), "{lines:?}");
    assert_eq!(log::lines(|line| line.to_string().contains("PRIVATE KEY")), [] as [serde_json::Value; 0]);
    let fields = &lines[0]["fields"];
    for (name, value) in [
        ("event", "peer_rejected"),
        ("plane", "control"),
        ("claimed", &format!("spiffe://{}/node/node-b", world.trust_domain())),
        ("serial", &serial),
        ("reason", "address_mismatch"),
    ] {
        assert_eq!(fields[name], value, "{name} in {fields}");
    }
    assert!(fields["detail"].as_str().is_some_and(|detail| detail.contains(&world.ip(B).to_string())), "{fields}");
    assert_eq!((lines[0]["level"].as_str(), fields["suppressed"].as_u64()), (Some("WARN"), Some(0)));
}
