//! The HTTPS server: who gets in, in which role, and what a bad client costs.

use crate::cluster::{Cluster, Node, PATIENCE, Reply, agrees, get, post, until};
use crate::gullible::Gullible;
use crate::world::{state, view};
use edge::Limits;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const WEIGHTS: &str = "/routing/weights";
const TWENTY: &str = r#"{"canary_weight": 0.2}"#;

fn start(cluster: &Cluster) -> Node {
    cluster.start('a', view(state(3, 500)), agrees)
}

async fn refusals(cluster: &Cluster, node: &Node, reason: &str) -> bool {
    let metrics = node.ask(cluster.anonymous(), get("/metrics")).await.body;
    metrics.contains(&format!("canary_tls_rejections_total{{plane=\"https\",dir=\"in\",reason=\"{reason}\"}} "))
}

#[tokio::test]
async fn anyone_reads_and_operators_write() {
    let cluster = Cluster::new(10);
    let node = start(&cluster);
    for path in ["/routing/state", "/health/snapshot", "/history", "/livez", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(node.ask(cluster.anonymous(), get(path)).await.status, 200, "{path}");
    }
    let anonymous = node.ask(cluster.anonymous(), post(WEIGHTS, TWENTY)).await;
    assert_eq!((anonymous.status, &anonymous.json()["code"]), (401, &"unauthenticated".into()));
    let peer = node.ask(cluster.node('b'), post(WEIGHTS, TWENTY)).await;
    assert_eq!((peer.status, &peer.json()["code"]), (403, &"role_not_allowed".into()));
    assert_eq!(peer.json()["have"], "node/node-b");
    let operator = node.ask(cluster.operator(), post(WEIGHTS, TWENTY)).await;
    assert_eq!((operator.status, &operator.json()["state"]["weights"]["v2"]), (200, &0.2.into()), "{}", operator.body);
    assert_eq!(node.ask(cluster.operator(), get("/routing/state")).await.status, 200);
}

#[tokio::test]
async fn both_versions_of_http_are_spoken() {
    let cluster = Cluster::new(11);
    let node = start(&cluster);
    for (protocol, version) in [("h2", http::Version::HTTP_2), ("http/1.1", http::Version::HTTP_11)] {
        let mut config = cluster.operator();
        config.alpn_protocols = vec![protocol.into()];
        let stream = node.connect(config).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        let uri = format!("https://{}{WEIGHTS}", node.address);
        let request = http::Request::post(uri).body(Full::<bytes::Bytes>::from(TWENTY)).unwrap();
        let response = if version == http::Version::HTTP_2 {
            let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let (mut sender, connection) = shaken.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        };
        assert_eq!(response.version(), version);
        assert!(!response.headers().contains_key("server"));
        assert_eq!(Reply::of(response).await.status, 200);
    }
}

#[tokio::test]
async fn predictions_are_signed_and_other_methods_named() {
    let cluster = Cluster::new(12);
    let node = start(&cluster);
    let reply = node.ask(cluster.anonymous(), post("/predict", r#"{"key": "alice"}"#)).await;
    assert_eq!((reply.status, &reply.json()["sticky"]), (200, &true.into()), "{}", reply.body);
    assert_eq!(reply.headers["x-canary-node"], "node-a");
    assert_eq!(reply.headers["x-content-type-options"], "nosniff");
    let wrong = node.ask(cluster.anonymous(), get("/predict")).await;
    assert_eq!((wrong.status, &wrong.headers["allow"]), (405, &"POST".parse().unwrap()));
}

#[tokio::test]
async fn a_certificate_of_another_cluster_does_not_come_in_at_all() {
    let (cluster, other) = (Cluster::new(13), Cluster::new(14));
    let node = start(&cluster);
    let mut config = other.operator();
    config.dangerous().set_certificate_verifier(Arc::new(Gullible));
    // The client may think that it is in until it reads.
    if let Ok(mut stream) = node.connect(config).await {
        let mut byte = [0];
        let read = timeout(PATIENCE, stream.read(&mut byte)).await.unwrap();
        assert!(!matches!(read, Ok(1)), "a stranger was answered");
    }
    until("the refusal to be counted", async || refusals(&cluster, &node, "unknown_ca").await).await;
}

#[tokio::test]
async fn plain_http_is_told_what_to_do() {
    let cluster = Cluster::new(15);
    let node = start(&cluster);
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(b"GET /routing/state HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(&[0x80; 64]).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty(), "{answer:?}");
    until("the refusal to be counted", async || refusals(&cluster, &node, "not_tls").await).await;
}

#[tokio::test]
async fn who_says_nothing_or_half_is_dropped() {
    let cluster = Cluster::new(16);
    let short = Duration::from_millis(300);
    let limits = Limits { handshake: short, first_request: short, idle: short, ..Limits::default() };
    let node = cluster.start_with('a', view(state(3, 500)), agrees, limits);
    let closes = async |mut stream: TcpStream| {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the connection must be closed");
    };
    closes(TcpStream::connect(node.address).await.unwrap()).await;
    let mut half = TcpStream::connect(node.address).await.unwrap();
    half.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    closes(half).await;
    until("the refusal to be counted", async || refusals(&cluster, &node, "handshake_timeout").await).await;
    for head in ["", "GET /livez HT", "GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut stream = node.connect(cluster.anonymous()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("slow headers must time out");
    }
    // One good request does not buy endless headers for the next.
    let mut stream = node.connect(cluster.anonymous()).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\nGET /livez HTTP/1.1\r\nx-slow: ").await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("slow headers must time out");
    assert!(rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn a_connection_that_was_used_may_be_idle_for_longer_than_one_that_was_not() {
    let cluster = Cluster::new(55);
    let (first_request, idle) = (Duration::from_millis(300), Duration::from_secs(4));
    let limits = Limits { first_request, idle, ..Limits::default() };
    let node = cluster.start_with('a', view(state(3, 500)), agrees, limits);
    for head in ["GET /livez", "POST /predict"] {
        let mut stream = node.connect(cluster.anonymous()).await.unwrap();
        let request = format!("{head} HTTP/1.1\r\nhost: x\r\nx-canary-key: a\r\ncontent-length: 2\r\n\r\n{{}}");
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an idle connection must be closed");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        assert!(begun.elapsed() >= idle - first_request, "{head}: closed after {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_flood_of_half_handshakes_only_delays_its_own_address() {
    let cluster = Cluster::new(17);
    // Longer than this test has patience, so that nobody gets in because the flood ran out.
    let limits = Limits { handshake: PATIENCE * 3, handshakes_of_address: 2, ..Limits::default() };
    let node = cluster.start_with('a', view(state(3, 500)), agrees, limits);
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut half = TcpStream::connect(node.address).await.unwrap();
        half.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
        held.push(half);
    }
    until("the flood to be in flight", async || {
        // Asked from another address of the same machine.
        let metrics = node.ask(cluster.anonymous(), get("/metrics")).await.body;
        metrics.contains("canary_https_handshakes_in_flight 2\n") && metrics.contains("canary_https_connections 21\n")
    })
    .await;
    // From the flood's own address one has to wait, until the flood is gone.
    let connector = tokio_rustls::TlsConnector::from(Arc::new(cluster.anonymous()));
    let tcp = TcpStream::connect(node.address).await.unwrap();
    let mut waiting = std::pin::pin!(connector.connect(node.address.ip().into(), tcp));
    assert!(timeout(Duration::from_millis(100), &mut waiting).await.is_err(), "more than two handshakes at once");
    drop(held);
    timeout(PATIENCE, waiting).await.expect("the place must be given on").unwrap();
}

#[tokio::test]
async fn a_body_of_10_mb_is_answered() {
    let cluster = Cluster::new(18);
    let node = start(&cluster);
    let reply = node.ask(cluster.operator(), post(WEIGHTS, &" ".repeat(10 << 20))).await;
    assert_eq!((reply.status, &reply.json()["code"]), (413, &"body_too_large".into()));
    let stranger = node.ask(cluster.anonymous(), post(WEIGHTS, &" ".repeat(10 << 20))).await;
    assert_eq!(stranger.status, 401);
    let good = node.ask(cluster.operator(), post(WEIGHTS, TWENTY)).await;
    assert_eq!(good.status, 200, "the node lives on");
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight() {
    let cluster = Cluster::new(19);
    let mut node = start(&cluster);
    let mut stream = node.connect(cluster.operator()).await.unwrap();
    let head = format!("POST {WEIGHTS} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", TWENTY.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    let (first, second) = TWENTY.split_at(5);
    stream.write_all(first.as_bytes()).await.unwrap();
    until("the request to be in flight", async || {
        let metrics = node.ask(cluster.anonymous(), get("/metrics")).await.body;
        metrics.contains("canary_http_auth_total{result=\"allowed\"} 1")
    })
    .await;
    node.api.stopping.cancel();
    until("the port to be closed", async || TcpStream::connect(node.address).await.is_err()).await;
    stream.write_all(second.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let serving = node.serving.take().unwrap();
    timeout(PATIENCE, serving).await.expect("the server must end").unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_crosses_a_stop_is_answered_and_told_that_it_is_the_last() {
    const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let cluster = Cluster::new(82);
    let mut node = start(&cluster);
    let mut used = node.connect(cluster.anonymous()).await.unwrap();
    used.write_all(LIVEZ).await.unwrap();
    let mut first = [0; 1024];
    let length = timeout(PATIENCE, used.read(&mut first)).await.unwrap().unwrap();
    let first = String::from_utf8_lossy(&first[..length]).to_lowercase();
    assert!(first.starts_with("http/1.1 200") && !first.contains("connection: close"), "{first}");
    let fresh = node.connect(cluster.anonymous()).await.unwrap();
    node.api.stopping.cancel();
    until("the port to be closed", async || TcpStream::connect(node.address).await.is_err()).await;
    for mut stream in [used, fresh] {
        stream.write_all(LIVEZ).await.unwrap();
        let mut answer = String::new();
        let _ = timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap();
        let answer = answer.to_lowercase();
        assert!(answer.starts_with("http/1.1 200") && answer.contains("connection: close"), "{answer}");
    }
    let serving = node.serving.take().unwrap();
    timeout(PATIENCE, serving).await.expect("the server must end").unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_idle() {
    let cluster = Cluster::new(20);
    let mut node = start(&cluster);
    let _idle = node.connect(cluster.anonymous()).await.unwrap();
    node.api.stopping.cancel();
    let serving = node.serving.take().unwrap();
    timeout(PATIENCE, serving).await.expect("the server must end").unwrap().unwrap();
}

#[tokio::test]
async fn no_task_of_a_connection_outlives_the_server() {
    let cluster = Cluster::new(83);
    let limits = Limits { drain: Duration::ZERO, grace: Duration::ZERO, ..Limits::default() };
    let mut node = cluster.start_with('a', view(state(3, 500)), agrees, limits);
    let mut client = node.connect(cluster.anonymous()).await.unwrap();
    client.write_all(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
    let mut answer = [0; 1024];
    assert_ne!(timeout(PATIENCE, client.read(&mut answer)).await.unwrap().unwrap(), 0);
    assert_eq!(node.tasks.len(), 1, "the client rests on the fast way");
    node.api.stopping.cancel();
    let serving = node.serving.take().unwrap();
    timeout(PATIENCE, serving).await.expect("the server must end").unwrap().unwrap();
    assert_eq!(node.tasks.len(), 0);
}
