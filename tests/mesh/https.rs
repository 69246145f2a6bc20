//! The TLS of the HTTPS port: nobody needs a certificate, and nobody gets by with a bad one.

use super::forge::{Credentials, forge, revoke};
use super::intruder::{Fate, config, fate_of};
use super::world::{A, B, World, within};
use model::Role;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use tls::{self, ClientAuth, CrlPolicy, Reason, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use trust::ClientFiles;

/// Who the server thinks the client is, or why it refuses; and what the client hears, one byte when it is let in.
async fn visit(
    world: &World,
    auth: ClientAuth,
    client: ClientConfig,
) -> (Result<Option<Role>, Reason>, io::Result<u8>) {
    let mut files = world.files(A);
    files.crls = vec![revoke(world, &[B], Duration::days(1))];
    let server = tls::HttpsPlane::new(&files, auth, CrlPolicy::Warn).expect("a configuration").server;
    let listener = TcpListener::bind((world.ip(A), 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = async {
        let (stream, _) = listener.accept().await.expect("a client");
        let mut stream = match TlsAcceptor::from(server).accept(stream).await {
            Ok(stream) => stream,
            Err(error) => return Err(Refusal::in_io(&error).expect("a reason").reason),
        };
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let _ = stream.write_all(&[7]).await;
        let _ = stream.shutdown().await;
        match tls::peer_identity(&chain) {
            Ok(identity) => Ok(Some(identity.spiffe.role)),
            Err(refusal) if refusal.reason == Reason::NoCertificate => Ok(None),
            Err(refusal) => Err(refusal.reason),
        }
    };
    let visiting = async {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::IpAddress(world.ip(A).into());
        TlsConnector::from(Arc::new(client)).connect(name, stream).await?.read_u8().await
    };
    within(async { tokio::join!(serving, visiting) }).await
}

fn with(credentials: Credentials) -> ClientConfig {
    config(Some(credentials), &[b"h2"])
}

fn operator(world: &World) -> ClientFiles {
    ClientFiles::load(&world.certs().join("operator-admin")).expect("the operator's files")
}

#[tokio::test]
async fn the_command_line_gets_in_with_and_without_a_certificate() {
    let world = World::new(60);
    let ca = trust::load_ca(world.certs()).expect("the authority");
    let anonymous = tls::api_client(&ca, None).expect("a configuration");
    let (role, heard) = visit(&world, ClientAuth::Optional, anonymous).await;
    assert_eq!((role, heard.expect("let in")), (Ok(None), 7));
    let files = operator(&world);
    let admin = || tls::api_client(&files.ca, Some(&files)).expect("a configuration");
    let (role, heard) = visit(&world, ClientAuth::Optional, admin()).await;
    assert_eq!((role, heard.expect("let in")), (Ok(Some(Role::Operator("admin".into()))), 7));
    let (role, _) = visit(&world, ClientAuth::Required, admin()).await;
    assert_eq!(role, Ok(Some(Role::Operator("admin".into()))));
    let (role, _) = visit(&world, ClientAuth::Off, admin()).await;
    assert_eq!(role, Ok(None), "nobody is asked");
}

#[tokio::test]
async fn a_client_of_one_cluster_does_not_trust_another() {
    let (world, other) = (World::new(61), World::new(62));
    let ca = trust::load_ca(other.certs()).expect("the authority");
    let (role, heard) = visit(&world, ClientAuth::Optional, tls::api_client(&ca, None).expect("a configuration")).await;
    assert!(role.is_err());
    let error = heard.expect_err("not trusted");
    assert_eq!(Refusal::in_io(&error).map(|refusal| refusal.reason), Some(Reason::UnknownCa));
}

#[tokio::test]
async fn a_bad_certificate_fails_the_handshake_instead_of_making_its_holder_anonymous() {
    let (world, other) = (World::new(63), World::new(64));
    let now = OffsetDateTime::now_utc();
    let expired = forge(&world, "node/node-c", world.ip(B), |params| params.not_after = now - Duration::minutes(1));
    let two_names = forge(&world, "node/node-c", world.ip(B), |params| {
        let again = params.subject_alt_names[0].clone();
        params.subject_alt_names.push(again);
    });
    let cases = [
        (other.files(B).into(), Reason::UnknownCa),
        (world.files(B).into(), Reason::Revoked),
        (expired, Reason::Expired),
        (two_names, Reason::BadSvid),
    ];
    for (credentials, reason) in cases {
        let (role, heard) = visit(&world, ClientAuth::Optional, with(credentials)).await;
        assert_eq!(role, Err(reason));
        let fate = fate_of(&heard.expect_err("nothing is served"));
        assert!(matches!(fate, Fate::Alert(_) | Fate::Closed), "{reason}: {fate:?}");
    }
}

#[tokio::test]
async fn without_a_certificate_nobody_enters_where_one_is_required() {
    let world = World::new(65);
    let (role, heard) = visit(&world, ClientAuth::Required, config(None, &[b"h2"])).await;
    assert_eq!(role, Err(Reason::NoCertificate));
    assert!(heard.is_err());
}

#[test]
fn who_is_judged_anew_is_judged_like_a_newcomer() {
    let world = World::new(66);
    let chain = operator(&world).chain;
    let judged = |auth, revoked: &[_]| {
        let mut files = world.files(A);
        files.crls = vec![revoke(&world, revoked, Duration::days(1))];
        let plane = tls::HttpsPlane::new(&files, auth, CrlPolicy::Warn).expect("a configuration");
        (plane.judge(&chain).err(), plane.judge(&world.files(B).chain).err())
    };
    let reason = |refusal: Option<Refusal>| refusal.map(|refusal| refusal.reason);
    for auth in [ClientAuth::Optional, ClientAuth::Required] {
        let (operator, node) = judged(auth, &[B]);
        assert_eq!((reason(operator), reason(node)), (None, Some(Reason::Revoked)));
        let plane = tls::HttpsPlane::new(&world.files(A), auth, CrlPolicy::Warn).expect("a configuration");
        assert_eq!(reason(plane.judge(&[]).err()), Some(Reason::NoCertificate));
    }
    assert_eq!(reason(judged(ClientAuth::Off, &[]).0), Some(Reason::RoleNotAllowed), "a port that asks for none");
}
