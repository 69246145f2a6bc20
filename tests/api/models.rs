//! Requests to the models through the real HTTPS server, and through the routes that other servers use.

use crate::cluster::{Cluster, Node, Reply, agrees};
use crate::world::{World, state, view};
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::{NodeId, RequestId};
use service::RoutingState;
use std::collections::HashSet;
use std::convert::Infallible;
use tokio::net::TcpListener;

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];

/// A model server that tells what it was asked; it ends with the test's runtime.
pub(crate) async fn telling() -> String {
    let listener = TcpListener::bind("127.25.0.99:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<hyper::body::Incoming>| async {
                let (parts, body) = request.into_parts();
                let length = body.collect().await.map_or(0, |body| body.to_bytes().len());
                let header = |name: &str| parts.headers.get(name).map_or("-", |value| value.to_str().unwrap());
                let told = format!(
                    "{} {} {length} {} {} {}",
                    parts.method,
                    parts.uri,
                    header("x-forwarded-for"),
                    header("x-forwarded-proto"),
                    header("x-forwarded-host")
                );
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(told)))
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    format!("http://{address}/model")
}

fn served(upstream: String) -> RoutingState {
    let mut state = state(3, 0);
    state.stable.upstream = Some(upstream);
    state
}

async fn ask(node: &Node, cluster: &Cluster, protocol: &str, method: &str, target: &str, body: &'static str) -> Reply {
    let mut config = cluster.anonymous();
    config.alpn_protocols = vec![protocol.into()];
    let stream = TokioIo::new(node.connect(config).await.unwrap());
    let request = |uri: String| Request::builder().method(method).uri(uri);
    let response = if protocol == "h2" {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let request = request(format!("https://front.example{target}"));
        sender.send_request(request.body(Full::<Bytes>::from(body)).unwrap()).await.unwrap()
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = request(target.into()).header("host", "front.example");
        sender.send_request(request.body(Full::<Bytes>::from(body)).unwrap()).await.unwrap()
    };
    Reply::of(response).await
}

#[tokio::test]
async fn every_method_reaches_the_model_over_both_versions_of_http() {
    let cluster = Cluster::new(52);
    let node = cluster.start('a', view(served(telling().await)), agrees);
    let (remote, mut seen) = ("127.25.52.65", HashSet::new());
    for protocol in ["h2", "http/1.1"] {
        for method in METHODS {
            for (target, there) in
                [("/v2/models/m/infer?x=1", "/v2/models/m/infer?x=1"), ("/predict?x=1", "/model?x=1")]
            {
                let reply = ask(&node, &cluster, protocol, method, target, "{}").await;
                let told = format!("{method} {there} 2 {remote} https front.example");
                let expected = if method == "HEAD" { "" } else { &told };
                assert_eq!((reply.status, reply.body.as_str()), (200, expected), "{protocol} {method} {target}");
                assert_eq!(reply.headers["content-length"], told.len().to_string(), "{protocol} {method} {target}");
                assert_eq!(reply.headers["x-canary-model"], "v1");
                assert_eq!(reply.headers["x-content-type-options"], "nosniff");
                let names: Vec<_> = reply.headers.get_all("x-canary-request").iter().collect();
                let [name] = names.as_slice() else { panic!("{protocol} {method} {target}: {names:?}") };
                let name: RequestId = name.to_str().unwrap().parse().unwrap();
                assert!(name.node == NodeId::A && seen.insert(name), "{protocol} {method} {target}: {name}");
            }
        }
    }
}

#[tokio::test]
async fn other_servers_reach_the_models_by_the_routes() {
    let world = World::new(view(served(telling().await)));
    for method in METHODS.into_iter().filter(|method| *method != "HEAD") {
        for (target, there) in
            [("/v2", "/v2"), ("/v2/models/m?x=1", "/v2/models/m?x=1"), ("/predict?x=1", "/model?x=1")]
        {
            let request = Request::builder().method(method).uri(target).body(Body::from("{}")).unwrap();
            let reply = world.send("", request).await;
            let told = format!("{method} {there} 2 192.168.1.7 https -");
            assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, told.as_str()));
        }
    }
    let trace = Request::builder().method("TRACE").uri("/v2").body(Body::empty()).unwrap();
    assert_eq!(world.send("", trace).await.problem(), (405, "method_not_allowed".into()));
}
