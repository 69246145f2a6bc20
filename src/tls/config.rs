//! The configurations of rustls: for the control plane both ways, for the HTTPS port, and for the command line.

use super::provider::{ConfigError, provider, roots};
use super::verify::{Admission, ClientVerifier, Depth, PeerVerifier};
use super::{Reason, Refusal, Signer};
use jiff::Timestamp;
use model::{NodeId, NodeSet};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientCertVerifierBuilder, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use trust::{ClientFiles, NodeFiles};

/// The application protocol of the control plane; whoever does not ask for it is turned away in the handshake.
pub const CONTROL_ALPN: &[u8] = b"canary/1";

/// The meaning of an out-of-date list of revoked certificates: `CANARY_CRL_EXPIRED`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrlPolicy {
    /// It still counts. One forgotten signature must not stop the cluster.
    #[default]
    Warn,
    /// Nobody is let in until there is a new one.
    Enforce,
}

/// Whether the HTTPS port asks for a client certificate: `CANARY_HTTPS_CLIENT_AUTH`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Never: for clients that cannot take the question. Nobody can then change anything over HTTPS.
    Off,
    /// A client may show one. A bad one fails the handshake and does not make its holder anonymous.
    #[default]
    Optional,
    /// Nobody comes in without one.
    Required,
}

/// The word is not one of a setting's values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is none of {allowed}")]
pub struct WordError {
    /// What was there.
    pub word: String,
    /// What may be there.
    pub allowed: &'static str,
}

impl WordError {
    /// For the text `word` where one of `allowed` has to stand; long texts are cut.
    pub fn new(word: &str, allowed: &'static str) -> Self {
        Self { word: word.chars().take(64).collect(), allowed }
    }
}

impl FromStr for CrlPolicy {
    type Err = WordError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "warn" => Ok(Self::Warn),
            "enforce" => Ok(Self::Enforce),
            _ => Err(WordError::new(word, "warn, enforce")),
        }
    }
}

impl FromStr for ClientAuth {
    type Err = WordError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "off" => Ok(Self::Off),
            "optional" => Ok(Self::Optional),
            "required" => Ok(Self::Required),
            _ => Err(WordError::new(word, "off, optional, required")),
        }
    }
}

/// All that the mesh needs of TLS, built at once so that it can be exchanged at once.
#[derive(Debug)]
pub struct ControlPlane {
    /// For those who dial this node.
    pub server: Arc<ServerConfig>,
    /// For each peer that this node dials.
    pub clients: BTreeMap<NodeId, Arc<ClientConfig>>,
    /// The cluster.
    pub trust_domain: String,
    /// What this node puts its name to is signed with this.
    pub signer: Arc<Signer>,
    /// When the own certificate ends.
    pub not_after: Timestamp,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ControlPlane {
    /// The configurations of node `me` among `members`. Fails when the certificates, key or revocation lists cannot be
    /// used.
    pub fn new(files: &NodeFiles, me: NodeId, members: NodeSet, policy: CrlPolicy) -> Result<Self, ConfigError> {
        let verifier = client_verifier(files, policy, Admission::Members { members, me }, |builder| builder)?;
        let server = control_server(files, Arc::clone(&verifier))?;
        let clients = members
            .without(me)
            .iter()
            .map(|peer| Ok((peer, control_client(files, me, peer, policy)?)))
            .collect::<Result<_, ConfigError>>()?;
        Ok(Self {
            server,
            clients,
            trust_domain: files.bundle.trust_domain.clone(),
            signer: Arc::new(Signer::new(files)?),
            not_after: files.leaf.not_after,
            verifier,
        })
    }

    /// Whether a peer that showed this chain would be let in now. Else why it would not.
    pub fn judge(&self, chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
        judge(self.verifier.as_ref(), chain)
    }
}

/// All that the HTTPS port needs of TLS, built at once so that it can be exchanged at once.
#[derive(Debug)]
pub struct HttpsPlane {
    /// For those who connect.
    pub server: Arc<ServerConfig>,
    /// None when nobody is asked for a certificate.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl HttpsPlane {
    /// The configuration of the HTTPS port. Fails when the certificates, key or revocation lists cannot be used.
    pub fn new(files: &NodeFiles, auth: ClientAuth, policy: CrlPolicy) -> Result<Self, ConfigError> {
        let verifier = match auth {
            ClientAuth::Off => None,
            ClientAuth::Optional => {
                let optional = ClientCertVerifierBuilder::allow_unauthenticated;
                Some(client_verifier(files, policy, Admission::Anyone, optional)?)
            }
            ClientAuth::Required => Some(client_verifier(files, policy, Admission::Anyone, |builder| builder)?),
        };
        let asking = verifier.clone().unwrap_or_else(WebPkiClientVerifier::no_client_auth);
        let mut config = server_config(files, asking)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { server: Arc::new(config), verifier })
    }

    /// Whether a client that showed this chain would be let in with it now. Else why it would not.
    pub fn judge(&self, chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
        match &self.verifier {
            Some(verifier) => judge(verifier.as_ref(), chain),
            None => Err(Refusal::new(Reason::RoleNotAllowed, "this port takes no certificates")),
        }
    }
}

fn judge(verifier: &dyn ClientCertVerifier, chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(Refusal::new(Reason::NoCertificate, "no certificate was shown"));
    };
    match verifier.verify_client_cert(leaf, intermediates, UnixTime::now()) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(Refusal::in_tls(&error).unwrap_or_else(|| Refusal::new(Reason::HandshakeFailed, error.to_string())))
        }
    }
}

/// For those who dial this node's control plane.
fn control_server(files: &NodeFiles, verifier: Arc<dyn ClientCertVerifier>) -> Result<Arc<ServerConfig>, ConfigError> {
    let mut config = server_config(files, verifier)?;
    config.alpn_protocols = vec![CONTROL_ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// For dialing `peer` as node `me`: whoever answers must prove to be that peer. Fails when the certificates, key or
/// revocation lists cannot be used.
pub fn control_client(
    files: &NodeFiles,
    me: NodeId,
    peer: NodeId,
    policy: CrlPolicy,
) -> Result<Arc<ClientConfig>, ConfigError> {
    if files.crls.is_empty() {
        return Err(ConfigError::NoCrl);
    }
    let builder = WebPkiServerVerifier::builder_with_provider(roots(&files.ca)?, provider());
    let builder = builder.with_crls(files.crls.iter().cloned());
    let chain = match policy {
        CrlPolicy::Warn => builder,
        CrlPolicy::Enforce => builder.enforce_revocation_expiration(),
    }
    .build()?;
    let trust_domain = files.bundle.trust_domain.clone();
    let verifier = PeerVerifier { chain, depth: Depth::of(files), trust_domain, peer, me };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(ConfigError::Provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(files.chain.clone(), files.key.clone_key())
        .map_err(ConfigError::Own)?;
    config.alpn_protocols = vec![CONTROL_ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// For the command line: trusts the cluster's authority alone, and shows the client's certificate if there is one.
/// The application protocols are for the HTTP client to set. Fails when the certificates or key cannot be used.
pub fn api_client(ca: &[CertificateDer<'static>], identity: Option<&ClientFiles>) -> Result<ClientConfig, ConfigError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(ConfigError::Provider)?
        .with_root_certificates(roots(ca)?);
    let mut config = match identity {
        Some(files) => {
            builder.with_client_auth_cert(files.chain.clone(), files.key.clone_key()).map_err(ConfigError::Own)?
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn client_verifier(
    files: &NodeFiles,
    policy: CrlPolicy,
    admission: Admission,
    with_auth: impl FnOnce(ClientCertVerifierBuilder) -> ClientCertVerifierBuilder,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    if files.crls.is_empty() {
        return Err(ConfigError::NoCrl);
    }
    let builder = WebPkiClientVerifier::builder_with_provider(roots(&files.ca)?, provider());
    let builder = with_auth(builder.with_crls(files.crls.iter().cloned()));
    let chain = match policy {
        CrlPolicy::Warn => builder,
        CrlPolicy::Enforce => builder.enforce_revocation_expiration(),
    }
    .build()?;
    let trust_domain = files.bundle.trust_domain.clone();
    Ok(Arc::new(ClientVerifier { chain, depth: Depth::of(files), trust_domain, admission }))
}

fn server_config(files: &NodeFiles, verifier: Arc<dyn ClientCertVerifier>) -> Result<ServerConfig, ConfigError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(ConfigError::Provider)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(files.chain.clone(), files.key.clone_key())
        .map_err(ConfigError::Own)?;
    // A resumed session would skip the look at the certificate: revocation and expiry would go unseen.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Check what must hold after a handshake and is not for rustls to see: it lets in whoever names no application protocol.
/// Fails when the other side did not ask for the control plane's protocol.
pub fn require_control_alpn(negotiated: Option<&[u8]>) -> Result<(), Refusal> {
    match negotiated {
        Some(CONTROL_ALPN) => Ok(()),
        Some(_) | None => Err(Refusal::new(
            Reason::AlpnMismatch,
            "the other side did not ask for the protocol canary/1: this is the control plane, HTTPS is at 5005x",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::NamedGroup;

    #[test]
    fn the_hybrid_key_exchange_comes_first() {
        let provider = provider();
        assert_eq!(provider.kx_groups.first().map(|group| group.name()), Some(NamedGroup::X25519MLKEM768));
    }

    #[test]
    fn settings_are_read_and_mistakes_named() {
        assert_eq!("enforce".parse(), Ok(CrlPolicy::Enforce));
        assert_eq!("optional".parse(), Ok(ClientAuth::Optional));
        let error = "maybe".parse::<ClientAuth>().expect_err("no such setting").to_string();
        assert_eq!(error, "\"maybe\" is none of off, optional, required");
    }
}
