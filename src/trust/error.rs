//! Errors of certificates, private keys and revocation lists that cannot be trusted.
//!
//! Each says what to do about it: a node writes them into its log and its record, where nobody else could add that.

use super::SvidError;
use super::file::FileError;
use jiff::Timestamp;
use model::{Host, NodeId};
use std::path::{Path, PathBuf};

/// The error of certificates or keys that cannot be trusted.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum TrustError {
    /// A file that is missing or cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the private key {path} is not safe: {problem}; {fix}")]
    UnsafeKey { path: PathBuf, problem: String, fix: String },
    #[error("the authority in {path} cannot be used: {problem}")]
    Ca { path: PathBuf, problem: CaProblem },
    #[error("the revocation list {path} cannot be used: {problem}")]
    Crl { path: PathBuf, problem: CrlProblem },
    /// A certificate that breaks the profile.
    #[error("the certificate {path} is not an identity")]
    Svid { path: PathBuf, source: SvidError },
    #[error("the certificate {path} belongs to {found}, not to {wanted}: copy the folder of {wanted} to this machine")]
    Identity { path: PathBuf, found: String, wanted: String },
    #[error("{key} is not the key of {certificate}: use two that belong together, such as both of one folder")]
    KeyMismatch { key: PathBuf, certificate: PathBuf },
    /// A certificate of another authority, or revoked, or otherwise refused by rustls.
    #[error("the certificate {path} is not accepted under {authority}: {detail}")]
    Chain { path: PathBuf, authority: PathBuf, detail: String },
    #[error(
        "the certificate {path} expired at {not_after}, local clock {now}: make a new one, or check this machine's clock"
    )]
    Expired { path: PathBuf, not_after: Timestamp, now: Timestamp },
    #[error(
        "{path}: certificate not yet valid: local clock {now}, valid from {not_before}: check this machine's clock"
    )]
    NotYetValid { path: PathBuf, not_before: Timestamp, now: Timestamp },
    #[error(
        "{variable}={configured} contradicts the certificate {path}, which is for {names}: correct {variable}, or make a certificate for the new address with `canary pki node {node} --addr {configured} --force`"
    )]
    Address { node: NodeId, variable: String, configured: Host, path: PathBuf, names: String },
    #[error("{path} does not fit the files beside it: {detail}; copy the whole folder of {node} again")]
    Bundle { path: PathBuf, detail: String, node: NodeId },
}

impl TrustError {
    /// The certificate at `path` breaks a rule of the profile.
    pub fn svid(path: &Path) -> impl FnOnce(SvidError) -> Self {
        let path = path.to_owned();
        move |source| Self::Svid { path, source }
    }

    /// The error that what is at `path` belongs to `found`, not to `wanted`.
    pub fn identity(path: &Path, found: &impl ToString, wanted: &impl ToString) -> Self {
        Self::Identity { path: path.to_owned(), found: found.to_string(), wanted: wanted.to_string() }
    }
}

/// The problem of an authority that cannot be used; rustls checks none of these. In logs: `ca_expired` and `ca_invalid`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what they are")]
pub enum CaProblem {
    #[error("the file holds no certificate")]
    None,
    #[error("the file holds {0} certificates, more than the {1} that a change of authority needs")]
    TooMany(usize, usize),
    #[error("it is not one DER certificate")]
    Malformed,
    #[error("{0} is not an authority: {1}")]
    NotAnAuthority(String, &'static str),
    #[error("{0} expired at {1}: every certificate under it is void; make a new authority")]
    Expired(String, Timestamp),
    #[error("{0}: certificate not yet valid: local clock {2}, valid from {1}: check this machine's clock")]
    NotYetValid(String, Timestamp, Timestamp),
    #[error("{0} has a key of kind {1}: use P-256, P-384, Ed25519 or RSA of 2048 bits or more")]
    WeakKey(String, String),
    #[error("the signature of {0} on itself is wrong")]
    BadSignature(String),
    #[error("two authorities are called {0}: their revocation lists cannot be told apart")]
    SameName(String),
}

/// The problem of a revocation list that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what they are")]
pub enum CrlProblem {
    #[error("it is not a DER revocation list")]
    Malformed,
    #[error("it is of {0}, which is not in ca.pem")]
    UnknownIssuer(String),
    /// Not signed by the authority it names. In logs: `crl_bad_signature`.
    #[error("its signature is not that of {0}: with it, every connection would be refused")]
    BadSignature(String),
    #[error("it holds no list of {0}: without one, every certificate of it is refused")]
    Absent(String),
}
