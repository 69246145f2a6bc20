//! The checks that rustls does not make.
//!
//! Chain, dates, names and revocation are rustls' to check, and it does so first. What follows is whose certificate it
//! is, by the rules of [`trust::svid`], and whether that one may come in by this door. Nothing here verifies a
//! signature.

use super::identity::note_claim;
use super::{Reason, Refusal};
use model::{NodeId, NodeSet, Role};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use trust::NodeFiles;
use trust::svid::{self, SvidError};

/// Who may come in by a door.
#[derive(Clone, Debug)]
pub(super) enum Admission {
    /// The control plane: members other than this node.
    Members { members: NodeSet, me: NodeId },
    /// The data plane: any identity of the cluster. What it may do is decided for each request.
    Anyone,
}

/// How many certificates may stand between the authorities and a peer. rustls keeps nothing of an authority's
/// certificate but its name, key and name constraints, so that a path length of the authority itself goes unseen.
#[derive(Clone, Debug)]
pub(super) struct Depth {
    authorities: Vec<CertificateDer<'static>>,
    most: Option<usize>,
}

impl Depth {
    /// The most that any of these authorities allows.
    pub(super) fn of(files: &NodeFiles) -> Self {
        let lengths =
            files.ca_facts.iter().map(|facts| Some(usize::try_from(facts.path_length?).unwrap_or(usize::MAX)));
        let most = lengths.collect::<Option<Vec<usize>>>().and_then(|lengths| lengths.into_iter().max());
        Self { authorities: files.ca.clone(), most }
    }

    /// Some peers also send the authority's own certificate, which does not count.
    fn check(&self, intermediates: &[CertificateDer<'_>]) -> Result<(), Refusal> {
        let between = intermediates.iter().filter(|found| !self.authorities.contains(found)).count();
        match self.most {
            Some(most) if between > most => Err(Refusal::new(
                Reason::BadSvid,
                format!("there are {between} certificates between it and the authority, whose path length is {most}"),
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// The part of a verifier that is about signatures, which rustls' own verifier of the chain is asked for. Both kinds of
/// verifier have it, each in a trait of its own.
macro_rules! signatures_as_the_chain_has_them {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.chain.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.chain.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.chain.supported_verify_schemes()
        }
    };
}

/// Verifies the certificates of those who connect.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    pub(super) chain: Arc<dyn ClientCertVerifier>,
    pub(super) depth: Depth,
    pub(super) trust_domain: String,
    pub(super) admission: Admission,
}

impl ClientCertVerifier for ClientVerifier {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        note_claim(end_entity);
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        self.depth.check(intermediates)?;
        let role = role_of(end_entity, &self.trust_domain)?;
        match self.admission {
            Admission::Members { members, me } => admit_member(&role, members, me)?,
            Admission::Anyone => {}
        }
        Ok(verified)
    }

    fn offer_client_auth(&self) -> bool {
        self.chain.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    signatures_as_the_chain_has_them!();
}

/// Verifies that the server at a peer's address is that peer.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    pub(super) chain: Arc<dyn ServerCertVerifier>,
    pub(super) depth: Depth,
    pub(super) trust_domain: String,
    pub(super) peer: NodeId,
    pub(super) me: NodeId,
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        note_claim(end_entity);
        let verified = self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        // The name is checked last, when the chain is known to be good. Another node's certificate fails there
        // already, and who it is says more than which names it has.
        match &verified {
            Ok(_) => {}
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {}
            Err(_) => return verified,
        }
        self.depth.check(intermediates)?;
        self.expect_peer(&role_of(end_entity, &self.trust_domain)?)?;
        verified
    }

    signatures_as_the_chain_has_them!();
}

impl PeerVerifier {
    fn expect_peer(&self, role: &Role) -> Result<(), Refusal> {
        match role {
            Role::Node(id) if *id == self.peer => Ok(()),
            Role::Node(id) if *id == self.me => Err(Refusal::new(
                Reason::SelfConnection,
                format!("the address configured for {} leads back to this node", self.peer),
            )),
            Role::Node(id) => Err(Refusal::new(
                Reason::ServerIdentityMismatch,
                format!("the node at the address configured for {} is {id}", self.peer),
            )),
            Role::Operator(_) | Role::App(_) | Role::Monitor(_) => Err(not_a_node(role)),
        }
    }
}

fn role_of(certificate: &CertificateDer<'_>, trust_domain: &str) -> Result<Role, Refusal> {
    match svid::peer_identity(certificate, trust_domain) {
        Ok(spiffe) => Ok(spiffe.role),
        Err(error @ SvidError::TrustDomain { .. }) => Err(Refusal::new(Reason::ClusterMismatch, error.to_string())),
        Err(error) => Err(Refusal::new(Reason::BadSvid, error.to_string())),
    }
}

fn admit_member(role: &Role, members: NodeSet, me: NodeId) -> Result<(), Refusal> {
    match role {
        Role::Node(id) if *id == me => Err(Refusal::new(
            Reason::SelfConnection,
            "the peer shows this node's own identity: a copied key, or a wrong address in PEERS_NODE_*",
        )),
        Role::Node(id) if members.contains(*id) => Ok(()),
        Role::Node(id) => {
            Err(Refusal::new(Reason::NotAMember, format!("{id} is not among the configured members {members}")))
        }
        Role::Operator(_) | Role::App(_) | Role::Monitor(_) => Err(not_a_node(role)),
    }
}

fn not_a_node(role: &Role) -> Refusal {
    Refusal::new(Reason::RoleNotAllowed, format!("{role} is not a node: the control plane is for nodes only"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificates(names: &[&str]) -> Vec<CertificateDer<'static>> {
        names.iter().map(|name| name.as_bytes().to_vec().into()).collect()
    }

    #[test]
    fn the_path_length_of_an_authority_counts() {
        let depth = |most| Depth { authorities: certificates(&["authority"]), most };
        for (most, chain, allowed) in [
            (Some(0), &[][..], true),
            (Some(0), &["authority"], true),
            (Some(0), &["between"], false),
            (Some(1), &["between", "authority"], true),
            (Some(1), &["lower", "upper"], false),
            (None, &["lower", "upper"], true),
        ] {
            let said = depth(most).check(&certificates(chain));
            assert_eq!(said.is_ok(), allowed, "{chain:?} below {most:?}: {said:?}");
        }
    }
}
