//! The reasons for which connections are refused, in words that never change, and how to find the word in an error of rustls.

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};
use std::fmt;
use std::io;
use std::sync::Arc;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// The reason for which a peer or client was refused. Operators search logs for these words and alert on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable word.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

reasons! {
    /// The certificate is of another authority.
    UnknownCa = "unknown_ca",
    /// The certificate's signature is not that of the authority it names.
    BadSignature = "bad_signature",
    /// The certificate has expired.
    Expired = "expired",
    /// The certificate is not valid yet.
    NotYetValid = "not_yet_valid",
    /// The certificate was revoked.
    Revoked = "revoked",
    /// The list of revoked certificates is too old, and the policy is to enforce its date.
    CrlExpired = "crl_expired",
    /// The list of revoked certificates is not by this authority.
    CrlBadSignature = "crl_bad_signature",
    /// The certificate chain is right but is not the profile of an identity.
    BadSvid = "bad_svid",
    /// No certificate was shown where one is needed.
    NoCertificate = "no_certificate",
    /// A node that is not configured here.
    NotAMember = "not_a_member",
    /// An identity of another role than this port is for, or of another trust domain.
    RoleNotAllowed = "role_not_allowed",
    /// The peer connected from an address that is not configured for it.
    AddressMismatch = "address_mismatch",
    /// The host name configured for the peer has no known address.
    AddressUnresolvable = "address_unresolvable",
    /// The node that answers at a peer's address is another one.
    ServerIdentityMismatch = "server_identity_mismatch",
    /// The node met itself: a wrong address, or a copied key.
    SelfConnection = "self_connection",
    /// Two live connections claim one identity from two addresses.
    DuplicateIdentity = "duplicate_identity",
    /// The peer belongs to another cluster.
    ClusterMismatch = "cluster_mismatch",
    /// The peer has another set of members configured.
    MembersDiffer = "members_differ",
    /// The peer speaks another version of the protocol after TLS.
    WireVersion = "wire_version",
    /// A frame number was left out or repeated.
    BadSequence = "bad_sequence",
    /// A greeting or frame speaks for another node than the certificate does.
    IdentityFrameMismatch = "identity_frame_mismatch",
    /// The node may not send this kind of frame for this transaction.
    RoleViolation = "role_violation",
    /// A frame is longer than allowed.
    FrameTooLarge = "frame_too_large",
    /// A frame is not what it should be.
    FrameMalformed = "frame_malformed",
    /// The handshake or greeting took too long.
    HandshakeTimeout = "handshake_timeout",
    /// Too many handshakes are in flight.
    HandshakeLimit = "handshake_limit",
    /// The handshake failed in another way.
    HandshakeFailed = "handshake_failed",
    /// Another version of TLS than 1.3.
    ProtocolVersion = "protocol_version",
    /// Another application protocol than this port speaks.
    AlpnMismatch = "alpn_mismatch",
    /// What was received is not TLS.
    NotTls = "not_tls",
    /// The other side refused this node's certificate without saying why.
    PeerRefused = "peer_refused",
    /// The other side refused with a word that this version does not know.
    Other = "other",
}

impl Reason {
    /// The reason with this word; [`Reason::Other`] for a word of a later version.
    pub fn from_word(word: &str) -> Self {
        Self::ALL.iter().copied().find(|reason| reason.word() == word).unwrap_or(Self::Other)
    }

    /// Whether an identity was seen where it does not belong.
    pub const fn is_identity_conflict(self) -> bool {
        matches!(
            self,
            Self::AddressMismatch | Self::ServerIdentityMismatch | Self::SelfConnection | Self::DuplicateIdentity
        )
    }

    /// Whether only an operator can change it, so that trying again soon is useless.
    pub fn needs_operator(self) -> bool {
        let another_time = [
            Self::AddressUnresolvable,
            Self::DuplicateIdentity,
            Self::BadSequence,
            Self::IdentityFrameMismatch,
            Self::RoleViolation,
            Self::FrameTooLarge,
            Self::FrameMalformed,
            Self::HandshakeTimeout,
            Self::HandshakeLimit,
            Self::HandshakeFailed,
            Self::NotTls,
            Self::Other,
        ];
        !another_time.contains(&self)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A reason with the particulars, for the log line.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Refusal {
    /// The stable word.
    pub reason: Reason,
    /// The particulars, for people.
    pub detail: String,
}

/// rustls shows what it does not know with `Debug`; people shall read the same as with `Display`.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Refusal {
    /// A refusal for this reason.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// The refusal behind an error of rustls; none for errors that refuse nobody, such as a lost connection.
    pub fn in_tls(error: &Error) -> Option<Self> {
        if let Error::InvalidCertificate(CertificateError::Other(other)) = error {
            let known = other.0.downcast_ref::<Self>().cloned();
            return Some(known.unwrap_or_else(|| Self::new(Reason::BadSvid, error.to_string())));
        }
        if let Error::AlertReceived(alert) = error {
            let detail = format!("the other side answered {}", alert_name(*alert));
            return alert_reason(*alert).map(|reason| Self::new(reason, detail));
        }
        Some(Self::new(local_reason(error), at_the_wrong_time(error).unwrap_or_else(|| error.to_string())))
    }

    /// The refusal behind an I/O error of a TLS stream; none when the connection was simply lost.
    pub fn in_io(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?;
        if let Some(refusal) = inner.downcast_ref::<Self>() {
            return Some(refusal.clone());
        }
        inner.downcast_ref::<Error>().and_then(Self::in_tls)
    }
}

impl From<Refusal> for Error {
    /// As a verifier reports it: the other side sees `certificate_unknown`, this side gets the refusal back.
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(refusal))))
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(io::ErrorKind::InvalidData, refusal)
    }
}

/// What is wrong with the date of a certificate, in dates: it may be this machine's clock that is.
fn at_the_wrong_time(error: &Error) -> Option<String> {
    let date = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).ok();
        seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(Timestamp::MAX)
    };
    let Error::InvalidCertificate(error) = error else { return None };
    if let CertificateError::NotValidYetContext { time, not_before } = error {
        let (now, from) = (date(time), date(not_before));
        return Some(format!("certificate not yet valid: local clock {now}, valid from {from}"));
    }
    if let CertificateError::ExpiredContext { time, not_after } = error {
        let (now, until) = (date(time), date(not_after));
        return Some(format!("certificate expired: local clock {now}, valid until {until}"));
    }
    None
}

/// What this side found wrong itself.
#[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds variants in minor versions")]
fn local_reason(error: &Error) -> Reason {
    match error {
        Error::InvalidCertificate(certificate) => certificate_reason(certificate),
        Error::InvalidCertRevocationList(_) => Reason::CrlBadSignature,
        Error::NoCertificatesPresented => Reason::NoCertificate,
        Error::NoApplicationProtocol => Reason::AlpnMismatch,
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            Reason::NotTls
        }
        Error::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => Reason::ProtocolVersion,
        _ => Reason::HandshakeFailed,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds variants in minor versions")]
fn certificate_reason(error: &CertificateError) -> Reason {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Reason::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Reason::NotYetValid,
        CertificateError::Revoked => Reason::Revoked,
        CertificateError::UnknownIssuer | CertificateError::UnknownRevocationStatus => Reason::UnknownCa,
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            Reason::CrlExpired
        }
        CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Reason::BadSignature,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Reason::ServerIdentityMismatch
        }
        _ => Reason::BadSvid,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "alerts are an open set")]
fn alert_reason(alert: AlertDescription) -> Option<Reason> {
    match alert {
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => None,
        AlertDescription::UnknownCA => Some(Reason::UnknownCa),
        AlertDescription::DecryptError => Some(Reason::BadSignature),
        AlertDescription::CertificateRevoked => Some(Reason::Revoked),
        AlertDescription::CertificateExpired => Some(Reason::Expired),
        AlertDescription::UnsupportedCertificate | AlertDescription::BadCertificate => Some(Reason::BadSvid),
        AlertDescription::CertificateRequired => Some(Reason::NoCertificate),
        AlertDescription::CertificateUnknown | AlertDescription::AccessDenied => Some(Reason::PeerRefused),
        AlertDescription::ProtocolVersion => Some(Reason::ProtocolVersion),
        AlertDescription::NoApplicationProtocol => Some(Reason::AlpnMismatch),
        _ => Some(Reason::HandshakeFailed),
    }
}

fn alert_name(alert: AlertDescription) -> String {
    alert.as_str().map_or_else(|| format!("alert {}", u8::from(alert)), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_find_their_reason() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_word(reason.word()), *reason);
        }
        assert_eq!(Reason::from_word("of_a_later_version"), Reason::Other);
    }

    #[test]
    fn a_refusal_survives_the_way_through_rustls_and_io() {
        let refusal = Refusal::new(Reason::NotAMember, "node-z is not configured here");
        let error = Error::from(refusal.clone());
        assert!(error.to_string().contains("node-z is not configured here"), "{error}");
        assert_eq!(Refusal::in_io(&io::Error::new(io::ErrorKind::InvalidData, error)), Some(refusal));
        assert_eq!(Refusal::in_io(&io::ErrorKind::ConnectionReset.into()), None);
    }

    #[test]
    fn alerts_tell_what_the_other_side_thought() {
        let reason = |alert| Refusal::in_tls(&Error::AlertReceived(alert)).map(|refusal| refusal.reason);
        assert_eq!(reason(AlertDescription::CertificateRevoked), Some(Reason::Revoked));
        assert_eq!(reason(AlertDescription::CertificateUnknown), Some(Reason::PeerRefused));
        assert_eq!(reason(AlertDescription::CloseNotify), None);
    }
}
