//! Nodes behind their real HTTPS server, with real certificates, over agreements that the test plays.

use crate::world::{api, entry, node, peers_on, view};
use api::Api;
use edge::{Entrance, Limits};
use http_body_util::{BodyExt, Full};
use issue::{InitPlan, init};
use member::{Answer, Handle, Publisher, View};
use model::{NodeId, NodeSet, Peers};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use service::{Change, RoutingState};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tls::{self, ClientAuth, CrlPolicy, Rejections};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::TaskTracker;
use trust::{ClientFiles, NodeFiles};

/// Nothing here takes a tenth of it; it ends a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster's certificates and addresses; the nodes are at 127.25.`octet`.1, .2 and .3.
pub(crate) struct Cluster {
    pub(crate) peers: Peers,
    pub(crate) certs: TempDir,
}

/// One node; it stops when it is dropped.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) api: Arc<Api>,
    pub(crate) publisher: Publisher,
    pub(crate) tls: watch::Sender<Arc<tls::HttpsPlane>>,
    /// The tasks of its connections.
    pub(crate) tasks: TaskTracker,
    pub(crate) serving: Option<JoinHandle<std::io::Result<()>>>,
    /// How many changes the agreement was asked for.
    pub(crate) asked: Arc<AtomicUsize>,
    playing: JoinHandle<()>,
}

impl Cluster {
    pub(crate) fn new(octet: u8) -> Self {
        let (peers, certs) = (peers_on(octet), TempDir::new().unwrap());
        init(&InitPlan::for_peers(certs.path(), &peers)).unwrap();
        Self { peers, certs }
    }

    /// Starts a node on its configured address and port.
    pub(crate) fn start(&self, letter: char, shown: View, answer: Play) -> Node {
        self.start_with(letter, shown, answer, Limits::default())
    }

    pub(crate) fn start_with(&self, letter: char, shown: View, answer: Play, limits: Limits) -> Node {
        self.start_asking(ClientAuth::Optional, letter, shown, answer, limits)
    }

    /// With this much insistence on a client certificate.
    pub(crate) fn start_asking(
        &self,
        auth: ClientAuth,
        letter: char,
        shown: View,
        answer: Play,
        limits: Limits,
    ) -> Node {
        self.start_changed(auth, letter, shown, answer, limits, |_| ())
    }

    /// With routes that work with what `change` makes of the usual.
    pub(crate) fn start_changed(
        &self,
        auth: ClientAuth,
        letter: char,
        shown: View,
        answer: Play,
        limits: Limits,
        change: impl FnOnce(&mut Api),
    ) -> Node {
        let id = node(letter);
        let (handle, publisher, mut inbox) = Handle::new(View { me: id, ..shown });
        let rejections = Arc::new(Rejections::default());
        let mut api = api(handle, self.peers.clone(), Arc::clone(&rejections));
        change(&mut api);
        let api = Arc::new(api);
        let files = NodeFiles::load(self.certs.path(), id).unwrap();
        let plane = tls::HttpsPlane::new(&files, auth, CrlPolicy::Warn).unwrap();
        let host: std::net::IpAddr = self.peers.host(id).unwrap().to_string().parse().unwrap();
        let listener = TcpListener::bind((host, id.data_port())).unwrap();
        let address = listener.local_addr().unwrap();
        let tls = watch::Sender::new(Arc::new(plane));
        let tasks = TaskTracker::new();
        let entrance = Entrance {
            tls: tls.subscribe(),
            rejections,
            handshakes: Arc::clone(&api.handshakes),
            gauges: Arc::clone(&api.gauges),
            limits,
            stopping: api.stopping.clone(),
            tasks: tasks.clone(),
        };
        let serving = tokio::spawn(entrance.serve(listener, entry(&api)));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let playing = tokio::spawn(async move {
            while let Some(asked) = inbox.recv().await {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = asked.caller.send(answer(asked.change));
            }
        });
        Node { address, api, publisher, tls, tasks, serving: Some(serving), asked, playing }
    }

    pub(crate) fn operator(&self) -> ClientConfig {
        let files = ClientFiles::load(&self.certs.path().join("operator-admin")).unwrap();
        tls::api_client(&files.ca, Some(&files)).unwrap()
    }

    pub(crate) fn anonymous(&self) -> ClientConfig {
        tls::api_client(&ca(self.certs.path()), None).unwrap()
    }

    /// As who holds a node's key would come.
    pub(crate) fn node(&self, letter: char) -> ClientConfig {
        let files = NodeFiles::load(self.certs.path(), node(letter)).unwrap();
        self.client(files.chain.clone(), files.key.clone_key())
    }

    /// As who holds this certificate and its key would come.
    pub(crate) fn client(&self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        ca(self.certs.path()).into_iter().for_each(|ca| roots.add(ca).unwrap());
        ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap()
    }
}

pub(crate) fn ca(certs: &Path) -> Vec<CertificateDer<'static>> {
    trust::load_ca(certs).unwrap()
}

/// What the agreement answers to a change.
pub(crate) type Play = fn(Change) -> Answer;

pub(crate) fn agrees(change: Change) -> Answer {
    let members = NodeSet::first(3);
    let base = crate::world::state(3, 500);
    let state = change.apply(&base, members, crate::world::txid(4), base.timestamp).unwrap();
    Answer::Committed { state: Arc::new(state), acknowledged: members, others_until: None }
}

pub(crate) fn following(state: RoutingState, coordinator: NodeId) -> View {
    View { coordinator: Some(coordinator), ..view(state) }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.playing.abort();
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

impl Node {
    pub(crate) async fn connect(&self, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        // From an address of its own, so that the limits of one address are no other test client's.
        let socket = tokio::net::TcpSocket::new_v4()?;
        let mut source = self.address;
        source.set_ip(match self.address.ip() {
            std::net::IpAddr::V4(ip) => std::net::Ipv4Addr::from_bits(ip.to_bits() | 0x40).into(),
            v6 @ std::net::IpAddr::V6(_) => v6,
        });
        source.set_port(0);
        socket.bind(source)?;
        let tcp = socket.connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        tokio::time::timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, tcp)).await?
    }

    /// One request over a connection of its own.
    pub(crate) async fn ask(&self, config: ClientConfig, request: http::Request<String>) -> Reply {
        let stream = hyper_util::rt::TokioIo::new(self.connect(config).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection);
        let (mut parts, body) = request.into_parts();
        parts.headers.insert("host", self.address.to_string().parse().unwrap());
        let request = http::Request::from_parts(parts, Full::<bytes::Bytes>::from(body));
        let response = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
        let reply = Reply::of(response).await;
        driver.abort();
        reply
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) async fn of(response: http::Response<hyper::body::Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self { status: parts.status.as_u16(), headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) fn get(path: &str) -> http::Request<String> {
    http::Request::get(path).body(String::new()).unwrap()
}

pub(crate) fn post(path: &str, body: &str) -> http::Request<String> {
    http::Request::post(path).body(body.to_owned()).unwrap()
}

/// Waits until `holds` does.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}
