//! Live HTTPS connections when certificates are loaded anew: who is no longer admitted has to leave, asleep or not.

use crate::answer::Answer;
use crate::cluster::{Cluster, Node, PATIENCE, agrees, get, until};
use crate::world::{state, view};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber};
use rustls::ClientConfig;
use rustls_pki_types::CertificateRevocationListDer;
use std::fs;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use tls::{ClientAuth, CrlPolicy, HttpsPlane};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use trust::{ClientFiles, NodeFiles};

const KEEP_ALIVE: &str = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
const PREDICT: &str = "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\n\r\n{\"key\": \"a\"} ";

fn start(cluster: &Cluster) -> Node {
    cluster.start('a', view(state(3, 500)), agrees)
}

/// A list of the cluster's authority with the operator's certificate on it.
fn operator_revoked(cluster: &Cluster) -> CertificateRevocationListDer<'static> {
    let read = |name: &str| fs::read_to_string(cluster.certs.path().join(name)).unwrap();
    let key = KeyPair::from_pem(&read("ca/ca.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), key).unwrap();
    let serial = ClientFiles::load(&cluster.certs.path().join("operator-admin")).unwrap().leaf.serial;
    let now = OffsetDateTime::now_utc();
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(HEXLOWER.decode(serial.as_bytes()).unwrap()),
        revocation_time: now,
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: now - Duration::minutes(1),
        next_update: now + Duration::days(1),
        crl_number: SerialNumber::from(2),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&issuer).unwrap().into()
}

/// Loads certificates as a reload does.
fn load(node: &Node, cluster: &Cluster, change: impl FnOnce(&mut NodeFiles)) {
    let mut files = NodeFiles::load(cluster.certs.path(), crate::world::node('a')).unwrap();
    change(&mut files);
    node.tls.send_replace(Arc::new(HttpsPlane::new(&files, ClientAuth::Optional, CrlPolicy::Warn).unwrap()));
}

fn revoke_operator(node: &Node, cluster: &Cluster) {
    load(node, cluster, |files| files.crls = vec![operator_revoked(cluster)]);
}

async fn ends(mut stream: TlsStream<TcpStream>) {
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the connection must end");
}

async fn ask(stream: &mut TlsStream<TcpStream>, request: &str) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    let answer = loop {
        let length = timeout(PATIENCE, stream.read_buf(&mut received)).await.unwrap().unwrap();
        assert!(length > 0, "the connection ended");
        if let Some(answer) = Answer::take(&mut received) {
            break answer;
        }
    };
    assert!(answer.is_ok(), "{:?}", answer.head);
}

/// What polls for a new state, once its question is out: the connection's end.
async fn polling(node: &Node, tag: &str, mut config: ClientConfig, protocol: &str) -> JoinHandle<bool> {
    config.alpn_protocols = vec![protocol.into()];
    let stream = TokioIo::new(node.connect(config).await.unwrap());
    let uri = format!("https://{}/routing/state?wait=60s", node.address);
    let ask = http::Request::get(uri).header("host", "x").header("if-none-match", tag).body(Full::<Bytes>::default());
    let ask = ask.unwrap();
    if protocol == "h2" {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        tokio::spawn(async move { sender.send_request(ask).await.is_err() })
    } else {
        let (mut sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        tokio::spawn(async move { sender.send_request(ask).await.is_err() })
    }
}

#[tokio::test]
async fn a_revoked_operator_leaves_and_everybody_else_stays() {
    let cluster = Cluster::new(30);
    let node = start(&cluster);
    let tag = node.ask(cluster.anonymous(), get("/routing/state")).await.headers["etag"].to_str().unwrap().to_owned();
    let mut silent = node.connect(cluster.operator()).await.unwrap();
    let mut asleep = node.connect(cluster.operator()).await.unwrap();
    ask(&mut asleep, KEEP_ALIVE).await;
    let mut predicting = node.connect(cluster.operator()).await.unwrap();
    ask(&mut predicting, PREDICT).await;
    let mut impatient = node.connect(cluster.operator()).await.unwrap();
    // The second request is there before the first is answered: the server then looks at nothing else.
    let wait = "GET /routing/state?wait=60s HTTP/1.1\r\nhost: x\r\nif-none-match: ";
    impatient.write_all(format!("{wait}{tag}\r\n\r\n{KEEP_ALIVE}").as_bytes()).await.unwrap();
    let first = polling(&node, &tag, cluster.operator(), "http/1.1").await;
    let polls = [first, polling(&node, &tag, cluster.operator(), "h2").await];

    let mut anonymous = node.connect(cluster.anonymous()).await.unwrap();
    ask(&mut anonymous, KEEP_ALIVE).await;
    let anonymous_poll = polling(&node, &tag, cluster.anonymous(), "http/1.1").await;
    let mut config = cluster.node('b');
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut peer = node.connect(config).await.unwrap();
    ask(&mut peer, KEEP_ALIVE).await;
    until("all to be in", async || {
        let metrics = node.ask(cluster.anonymous(), get("/metrics")).await.body;
        metrics.contains("canary_https_connections 10\n")
    })
    .await;

    load(&node, &cluster, |_| ());
    ask(&mut asleep, KEEP_ALIVE).await;
    ask(&mut silent, KEEP_ALIVE).await;
    revoke_operator(&node, &cluster);
    for stream in [silent, asleep, predicting, impatient] {
        ends(stream).await;
    }
    for poll in polls {
        assert!(timeout(PATIENCE, poll).await.expect("the poll must end").unwrap(), "a revoked operator was answered");
    }
    ask(&mut anonymous, KEEP_ALIVE).await;
    ask(&mut peer, KEEP_ALIVE).await;
    assert!(!anonymous_poll.is_finished(), "nobody else's poll ends");
    let metrics = node.ask(cluster.anonymous(), get("/metrics")).await.body;
    let refused = "canary_tls_rejections_total{plane=\"https\",dir=\"in\",reason=\"revoked\"} 6\n";
    assert!(metrics.contains(refused), "{metrics}");
}

#[tokio::test]
async fn who_is_of_an_authority_that_is_gone_leaves() {
    let (cluster, other) = (Cluster::new(31), Cluster::new(32));
    let node = start(&cluster);
    let mut asleep = node.connect(cluster.operator()).await.unwrap();
    ask(&mut asleep, KEEP_ALIVE).await;
    let strangers = NodeFiles::load(other.certs.path(), crate::world::node('a')).unwrap();
    load(&node, &cluster, |files| (files.ca, files.crls) = (strangers.ca, strangers.crls));
    ends(asleep).await;
}
