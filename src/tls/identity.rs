//! The identity of the other end: what a checked certificate proves, and what an unchecked one claims.

use super::{Reason, Refusal};
use data_encoding::HEXLOWER;
use model::SpiffeId;
use rustls_pki_types::CertificateDer;
use std::cell::RefCell;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use trust::svid;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Octets of a serial number that are shown; RFC 5280 allows no more.
const MAX_SERIAL: usize = 20;
/// Connections end this long after the certificate they rest on, which leaves room for clocks that differ.
const EXPIRY_GRACE: Duration = Duration::from_secs(60);
/// The furthest deadline that is waited for; a certificate that lasts longer ends the connection then, harmlessly.
const FOREVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// The identity that the certificate of a connected peer or client proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Who it is.
    pub spiffe: SpiffeId,
    /// The serial number, in lower-case hexadecimal.
    pub serial: String,
    /// When the certificate ends.
    pub not_after: SystemTime,
}

/// The time that a connection which rests on a certificate until `not_after` may still last. A far end is brought near, so
/// that it can be waited for.
pub fn time_left(not_after: SystemTime) -> Duration {
    let left = (not_after + EXPIRY_GRACE).duration_since(SystemTime::now()).unwrap_or_default();
    left.min(FOREVER)
}

/// The identity in the chain that a handshake has accepted (`peer_certificates()` of the connection, or what
/// `axum_server::tls::TlsInfo` holds). It reads the certificate; that it is genuine was for the handshake to check.
/// Fails when there is no certificate, or it is not the profile of an identity.
pub fn peer_identity(chain: &[CertificateDer<'_>]) -> Result<PeerIdentity, Refusal> {
    let Some(leaf) = chain.first() else {
        return Err(Refusal::new(Reason::NoCertificate, "no certificate was shown"));
    };
    let spiffe = svid::identity(leaf).map_err(|error| Refusal::new(Reason::BadSvid, error.to_string()))?;
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|error| Refusal::new(Reason::BadSvid, format!("the certificate cannot be read: {error}")))?;
    let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
    Ok(PeerIdentity { spiffe, serial: serial(&parsed), not_after: UNIX_EPOCH + Duration::from_secs(not_after) })
}

/// The claim of a certificate, genuine or not: for log lines about refusals only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The first URI name that is an identity.
    pub spiffe: Option<SpiffeId>,
    /// The serial number, in lower-case hexadecimal.
    pub serial: Option<String>,
}

impl Claim {
    /// Reads what there is to read.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Self::default() };
        let names = parsed.subject_alternative_name().ok().flatten();
        // Parsing also keeps out whatever a log line must not contain.
        let id = |name: &GeneralName<'_>| if let GeneralName::URI(uri) = name { uri.parse().ok() } else { None };
        let spiffe = names.and_then(|names| names.value.general_names.iter().find_map(id));
        Self { spiffe, serial: Some(serial(&parsed)) }
    }
}

impl From<&PeerIdentity> for Claim {
    fn from(identity: &PeerIdentity) -> Self {
        Self { spiffe: Some(identity.spiffe.clone()), serial: Some(identity.serial.clone()) }
    }
}

fn serial(certificate: &X509Certificate<'_>) -> String {
    let serial = certificate.raw_serial();
    HEXLOWER.encode(&serial[..serial.len().min(MAX_SERIAL)])
}

tokio::task_local! {
    /// A failed handshake leaves no trace of the certificate that made it fail. The verifiers leave a note here.
    static CLAIM: RefCell<Claim>;
}

/// Runs a handshake and gives back what the other side's certificate claimed, also when the handshake failed.
pub async fn noting_claims<F: Future>(handshake: F) -> (F::Output, Claim) {
    CLAIM
        .scope(RefCell::default(), async {
            let output = handshake.await;
            (output, CLAIM.with(RefCell::take))
        })
        .await
}

/// Called by the verifiers; does nothing outside [`noting_claims`].
pub(super) fn note_claim(certificate: &CertificateDer<'_>) {
    let _ = CLAIM.try_with(|claim| claim.replace(Claim::of(certificate)));
}
