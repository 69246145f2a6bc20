//! A client that keeps to no rule: any certificate, any bytes, from any address.

use super::forge::Credentials;
use super::gullible::Gullible;
use super::world::{World, within};
use format::{Version, messages};
use model::NodeId;
use rustls::{ClientConfig, Error};
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use service::Message;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection from `from` without TLS.
pub(crate) async fn plain(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(from, 0)).expect("an address of this machine");
    within(socket.connect(to)).await.expect("somebody listens")
}

/// A configuration that trusts everybody and shows these credentials.
pub(crate) fn config(credentials: Option<Credentials>, alpn: &[&[u8]]) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let mut config = match credentials {
        Some(Credentials { chain, key }) => builder.with_client_auth_cert(chain, key).expect("a pair"),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

/// What became of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A fatal alert, by its name.
    Alert(String),
    /// A REJECT frame with this reason.
    Rejected(String),
    /// Closed or reset without a word; a reset can overtake an alert.
    Closed,
}

/// A connection after the handshake, as far as this side knows.
pub(crate) struct Intruder {
    stream: TlsStream<TcpStream>,
}

impl Intruder {
    /// Connects with the control plane's protocol and these credentials.
    pub(crate) async fn connect(from: IpAddr, to: SocketAddr, credentials: Credentials) -> io::Result<Self> {
        Self::connect_with(from, to, Arc::new(config(Some(credentials), &[tls::CONTROL_ALPN]))).await
    }

    pub(crate) async fn connect_with(from: IpAddr, to: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        let stream = plain(from, to).await;
        let name = ServerName::IpAddress(to.ip().into());
        within(TlsConnector::from(config).connect(name, stream)).await.map(|stream| Self { stream })
    }

    /// Connects as a member with its own certificate from its own address.
    pub(crate) async fn member(world: &World, id: NodeId, to: SocketAddr) -> Self {
        Self::connect(world.ip(id), to, world.files(id).into()).await.expect("a member gets through the handshake")
    }

    /// Connects as a member and says hello.
    pub(crate) async fn welcome_member(world: &World, id: NodeId, to: NodeId) -> Self {
        let mut intruder = Self::member(world, id, world.address(to)).await;
        intruder.send(&frame(&hello(world, id, to))).await;
        let answer = intruder.frame().await.expect("an answer");
        assert!(answer.get("welcome").is_some(), "{answer}");
        intruder
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // Whoever is refused may find the door closed already.
        let _ = within(async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await;
    }

    /// The next greeting.
    pub(crate) async fn frame(&mut self) -> io::Result<Value> {
        let reading = async {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).await?;
            let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("64 bit")];
            self.stream.read_exact(&mut body).await?;
            Ok(serde_json::from_slice(&body)?)
        };
        within(reading).await
    }

    /// Waits for the end, which must come without a welcome.
    pub(crate) async fn fate(mut self) -> Fate {
        match self.frame().await {
            Ok(greeting) => match greeting.pointer("/reject/reason").and_then(Value::as_str) {
                Some(reason) => Fate::Rejected(reason.to_owned()),
                None => panic!("let in with {greeting}"),
            },
            Err(error) => fate_of(&error),
        }
    }

    /// Whether this session came from an earlier one.
    pub(crate) fn handshake_kind(&self) -> Option<rustls::HandshakeKind> {
        self.stream.get_ref().1.handshake_kind()
    }

    pub(crate) fn holds_tickets(&self) -> u32 {
        self.stream.get_ref().1.tls13_tickets_received()
    }
}

/// Knocks, and says what came of it.
pub(crate) async fn knock(from: IpAddr, to: SocketAddr, credentials: Credentials) -> Fate {
    match Intruder::connect(from, to, credentials).await {
        Ok(intruder) => intruder.fate().await,
        Err(error) => fate_of(&error),
    }
}

pub(crate) fn fate_of(error: &io::Error) -> Fate {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => Fate::Alert(format!("{alert:?}")),
        Some(other) => panic!("this side gave up: {other}"),
        None => Fate::Closed,
    }
}

/// A greeting as a frame.
pub(crate) fn frame(greeting: &Value) -> Vec<u8> {
    prefixed(greeting.to_string().as_bytes())
}

/// A message as a frame.
pub(crate) fn message_frame(sequence: u64, message: &Message) -> Vec<u8> {
    let number = postcard::to_stdvec(&sequence).expect("it fits");
    let message = messages::encode(message, Version::V5).expect("version 5 can say it");
    prefixed(&[number, message].concat())
}

/// Bytes with their length before them.
pub(crate) fn prefixed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short");
    [&length.to_be_bytes(), body].concat()
}

/// What member `from` would say to `to`.
pub(crate) fn hello(world: &World, from: NodeId, to: NodeId) -> Value {
    json!({ "hello": {
        "to": to,
        "version": 5,
        "cluster": world.trust_domain(),
        "members": world.peers.members(),
        "peers_digest": "00".repeat(32),
        "node": from,
        "incarnation": "00000000000000aa",
        "nonce": "0123456789abcdef",
        "clock": 1_800_000_000_000_u64,
    }})
}
