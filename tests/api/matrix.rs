//! Who may change what: every route that changes something, for every kind of certificate, however much a node insists
//! on one.

use crate::cluster::{Cluster, Node, PATIENCE, Play, get, post};
use crate::world::{state, view};
use edge::Limits;
use member::{Answer, Refusal};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::ClientConfig;
use rustls_pki_types::PrivateKeyDer;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use time::{Duration, OffsetDateTime};
use tls::ClientAuth;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Each route with a body that it takes.
const ROUTES: [(&str, &str); 12] = [
    ("/routing/weights", r#"{"canary_weight": 0.2}"#),
    ("/rollouts", r#"{"canary_model_id": "v3"}"#),
    ("/rollouts/current/pause", ""),
    ("/rollouts/current/resume", ""),
    ("/rollouts/current/promote", r#"{"full": true}"#),
    ("/rollouts/current/approve", ""),
    ("/rollouts/current/abort", ""),
    ("/rollouts/current/retry", ""),
    ("/rollouts/undo", ""),
    ("/models", r#"{"id": "v2", "upstream": null}"#),
    ("/members/{id}/drain", ""),
    ("/members/{id}/undrain", ""),
];
/// What models take is theirs; outcomes have rules of their own, which depend on the host.
const OTHERS: [&str; 4] = ["/predict", "/v2", "/v2/{path}", "/outcomes"];

/// An agreement that takes nothing: who hears of it was let in.
const BUSY: Play = |_| Answer::Refused(Refusal::Busy);

/// Who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visitor {
    Nobody,
    Operator,
    App,
    Monitor,
    Node,
}

impl Visitor {
    const ALL: [Self; 5] = [Self::Nobody, Self::Operator, Self::App, Self::Monitor, Self::Node];

    fn config(self, cluster: &Cluster) -> ClientConfig {
        match self {
            Self::Nobody => cluster.anonymous(),
            Self::Operator => cluster.operator(),
            Self::App => forge(cluster, "app/shop"),
            Self::Monitor => forge(cluster, "monitor/prometheus"),
            Self::Node => cluster.node('b'),
        }
    }

    const fn role(self) -> &'static str {
        match self {
            Self::Nobody => "",
            Self::Operator => "operator/admin",
            Self::App => "app/shop",
            Self::Monitor => "monitor/prometheus",
            Self::Node => "node/node-b",
        }
    }
}

/// What a visitor is told at every one of the routes; none where the handshake already ends it.
const fn expected(auth: ClientAuth, visitor: Visitor) -> Option<(u16, &'static str)> {
    match (auth, visitor) {
        (ClientAuth::Required, Visitor::Nobody) => None,
        // Nobody is asked for a certificate, so nobody has shown one.
        (ClientAuth::Off, _) | (ClientAuth::Optional, Visitor::Nobody) => Some((401, "unauthenticated")),
        (ClientAuth::Optional | ClientAuth::Required, Visitor::Operator) => Some((409, "busy")),
        (ClientAuth::Optional | ClientAuth::Required, Visitor::App | Visitor::Monitor | Visitor::Node) => {
            Some((403, "role_not_allowed"))
        }
    }
}

async fn try_all(cluster: &Cluster, auth: ClientAuth) {
    let node = cluster.start_asking(auth, 'a', view(state(3, 500)), BUSY, Limits::default());
    for visitor in Visitor::ALL {
        let Some((status, code)) = expected(auth, visitor) else {
            refused_in_the_handshake(&node, visitor.config(cluster)).await;
            continue;
        };
        let before = node.asked.load(Ordering::Relaxed);
        for (path, body) in ROUTES {
            let what = format!("{visitor:?} at {path} with {auth:?}");
            let reply = node.ask(visitor.config(cluster), post(&path.replace("{id}", "node-c"), body)).await;
            let problem = reply.json();
            assert_eq!((reply.status, &problem["code"]), (status, &code.into()), "{what}: {}", reply.body);
            assert_eq!(reply.headers["content-type"], "application/problem+json", "{what}");
            if status == 403 {
                assert_eq!(
                    (&problem["have"], &problem["need"]),
                    (&visitor.role().into(), &"operator".into()),
                    "{what}"
                );
            }
        }
        let heard = node.asked.load(Ordering::Relaxed) - before;
        assert_eq!(heard, if status == 409 { ROUTES.len() } else { 0 }, "{visitor:?} with {auth:?}");
    }
    let reader = if auth == ClientAuth::Required { Visitor::Monitor } else { Visitor::Nobody };
    let shown = node.ask(reader.config(cluster), get("/routing/state")).await.json();
    assert_eq!((&shown["version"], &shown["weights"]["v2"]), (&3.into(), &0.05.into()), "nothing has changed");
}

/// The client may think that it is in until it reads.
async fn refused_in_the_handshake(node: &Node, config: ClientConfig) {
    let Ok(mut stream) = node.connect(config).await else { return };
    let _ = stream.write_all(b"POST /rollouts/undo HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    let read = timeout(PATIENCE, stream.read(&mut [0])).await.unwrap();
    assert!(!matches!(read, Ok(1)), "who has no certificate was answered");
    assert_eq!(node.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn nobody_is_known_where_no_certificate_is_asked_for() {
    try_all(&Cluster::new(60), ClientAuth::Off).await;
}

#[tokio::test]
async fn only_operators_change_anything() {
    try_all(&Cluster::new(61), ClientAuth::Optional).await;
}

#[tokio::test]
async fn only_operators_change_anything_where_everyone_shows_a_certificate() {
    try_all(&Cluster::new(62), ClientAuth::Required).await;
}

#[tokio::test]
async fn no_route_that_changes_something_is_left_out() {
    let cluster = Cluster::new(63);
    let node = cluster.start('a', view(state(3, 500)), BUSY);
    let document = node.ask(cluster.anonymous(), get("/openapi.json")).await.json();
    let paths = document["paths"].as_object().unwrap().iter();
    let changing = paths.filter(|(path, methods)| {
        methods.as_object().unwrap().keys().any(|method| method != "get") && !OTHERS.contains(&path.as_str())
    });
    let with_verbs = changing.flat_map(|(path, methods)| match path.contains("{verb}") {
        false => vec![path.clone()],
        true => {
            let verbs = methods["post"]["parameters"][0]["schema"]["enum"].as_array().unwrap();
            verbs.iter().filter_map(Value::as_str).map(|verb| path.replace("{verb}", verb)).collect()
        }
    });
    let tried: BTreeSet<String> = ROUTES.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(with_verbs.collect::<BTreeSet<_>>(), tried);
}

/// A client's certificate for `role`, signed by the authority of this cluster.
fn forge(cluster: &Cluster, role: &str) -> ClientConfig {
    let read = |name: &str| std::fs::read_to_string(cluster.certs.path().join(name)).unwrap();
    let authority = KeyPair::from_pem(&read("ca/ca.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), authority).unwrap();
    let bundle: Value = serde_json::from_str(&read("node-a/bundle.json")).unwrap();
    let uri = format!("spiffe://{}/{role}", bundle["trust_domain"].as_str().unwrap());
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, role);
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(1);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(SerialNumber::from(vec![0x5a; 16]));
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    cluster.client(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}
