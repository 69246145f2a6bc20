//! Our own verdicts: by the judge of a live link, and by handshakes of rustls in memory.

use super::gullible::Gullible;
use super::mint::{Chain, Mint, PEER, PEER_ADDRESS};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, Error, ServerConfig, ServerConnection, SideData};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use std::sync::Arc;
use tls::{self, CONTROL_ALPN, ControlPlane, Refusal};

/// What this node thinks of whoever dials it with this chain.
pub(crate) fn of_client(mint: &Mint, plane: &ControlPlane, chain: &Chain) -> Result<(), Refusal> {
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
        .with_client_cert_resolver(shown(mint, chain));
    config.alpn_protocols = vec![CONTROL_ALPN.to_vec()];
    let name = ServerName::try_from("10.0.0.1").expect("an address");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut server = ServerConnection::new(Arc::clone(&plane.server)).expect("a server");
    shake(&mut client, &mut server).1
}

/// What this node thinks of whoever answers with this chain where it dialed the peer.
pub(crate) fn of_server(mint: &Mint, plane: &ControlPlane, chain: &Chain) -> Result<(), Refusal> {
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(shown(mint, chain));
    config.alpn_protocols = vec![CONTROL_ALPN.to_vec()];
    let name = ServerName::try_from(PEER_ADDRESS).expect("an address");
    let mut client = ClientConnection::new(Arc::clone(&plane.clients[&PEER]), name).expect("a client");
    let mut server = ServerConnection::new(Arc::new(config)).expect("a server");
    shake(&mut client, &mut server).0
}

/// What both sides say when one dials `host` with its configuration and the other answers with its own.
pub(crate) fn between(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    host: &str,
) -> (Result<(), Refusal>, Result<(), Refusal>) {
    let name = ServerName::try_from(host.to_owned()).expect("an address or a name");
    let mut client = ClientConnection::new(Arc::clone(client), name).expect("a client");
    let mut server = ServerConnection::new(Arc::clone(server)).expect("a server");
    shake(&mut client, &mut server)
}

/// The chain with the key of every leaf; nothing is checked before it is shown.
fn shown(mint: &Mint, chain: &Chain) -> Arc<SingleCertAndKey> {
    let key = PrivateKeyDer::try_from(mint.leaf_key.serialize_der()).expect("a key");
    let key = tls::provider().key_provider.load_private_key(key).expect("a key that rustls takes");
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain.clone(), key)))
}

/// Carries bytes to and fro until both sides are silent, and says how it ended for each.
fn shake(client: &mut ClientConnection, server: &mut ServerConnection) -> (Result<(), Refusal>, Result<(), Refusal>) {
    let (mut of_client, mut of_server) = (Ok(()), Ok(()));
    loop {
        let there = carry(client, server, &mut of_server);
        let back = carry(server, client, &mut of_client);
        if !there && !back {
            break;
        }
    }
    let end = |said: Result<(), Error>, unfinished: bool| match said {
        Ok(()) => {
            assert!(!unfinished, "a handshake without an error comes to an end");
            Ok(())
        }
        Err(error) => Err(Refusal::in_tls(&error).expect("an error that refuses")),
    };
    (end(of_client, client.is_handshaking()), end(of_server, server.is_handshaking()))
}

/// Whether there was anything to carry.
fn carry<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
    said: &mut Result<(), Error>,
) -> bool {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).expect("memory takes all");
    }
    let mut left = bytes.as_slice();
    while !left.is_empty() && said.is_ok() {
        to.read_tls(&mut left).expect("memory gives all");
        if let Err(error) = to.process_new_packets() {
            *said = Err(error);
        }
    }
    !bytes.is_empty()
}
