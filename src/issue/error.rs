//! Errors of making, renewing and revoking certificates.
//!
//! They do not say what to type instead: that is for whoever has a command line.

use super::period::{MAX_CA_DAYS, MAX_DAYS};
use jiff::Timestamp;
use model::{Host, NodeId, PeersError};
use serde::Serialize;
use std::path::PathBuf;
use trust::TrustError;
use trust::file::FileError;

/// The error of a command that made, renewed, revoked and packed nothing.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum IssueError {
    /// What was asked for cannot be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// What was asked for is understood and not done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The addresses do not make a mesh.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// A file that is there cannot be read, or what it holds cannot be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A file or folder that must be there is not, and what part it has.
    #[error("{path} is missing")]
    Missing { path: PathBuf, part: Part },
    #[error("{dir} already holds {entries}")]
    Exists { dir: PathBuf, entries: String },
    /// A run died between its first and last rename.
    #[error("an earlier run in {dir} was interrupted while it moved its files into place")]
    Interrupted { dir: PathBuf },
    #[error("another process is writing to {dir}")]
    Busy { dir: PathBuf },
    #[error("{0} is not a directory")]
    NotADirectory(PathBuf),
    #[error("cannot make a certificate")]
    Generate(#[from] rcgen::Error),
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

impl From<FileError> for IssueError {
    fn from(error: FileError) -> Self {
        Self::Trust(error.into())
    }
}

/// The part of what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The private key of the authority that issues.
    AuthorityKey,
    /// The private key of the newest authority, which does not issue yet.
    NewestKey,
    /// The index of what was issued.
    Index,
    /// The certificate of an authority that was made elsewhere.
    OwnCertificate,
    /// The private key of an authority that was made elsewhere.
    OwnKey,
    /// The folder of a member or client, by its name.
    Folder(String),
    /// A file of the folder of a member or client, by the folder's name.
    InFolder(String),
    /// The certificate that is to be renewed.
    Renewed,
    /// A certificate request.
    Request,
}

/// A stage of the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Make the new authority; both are trusted, the old one issues.
    Prepare,
    /// The new one issues; all whose folders are here get a certificate of it.
    Activate,
    /// The old one is trusted no more, and its key is deleted.
    Retire,
}

/// A fault in what was asked for, whatever there is already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what they are")]
pub enum PlanError {
    /// A member without an address, where one is given with each.
    #[error("{0} has no address")]
    NoAddress(NodeId),
    /// A member of a new mesh without an address.
    #[error("{0} has no address")]
    Unaddressed(NodeId),
    #[error("{0} has {1} addresses, more than {2}")]
    TooManyAddresses(NodeId, usize, usize),
    #[error("there are {0} addresses, more than {1}")]
    TooMany(usize, usize),
    #[error("{0:?} is not a trust domain: use 1 to 255 of a-z, 0-9, '.', '-' and '_'")]
    TrustDomain(String),
    #[error("certificates cannot be valid for {0} days: use 1 to {MAX_DAYS}")]
    Days(u32),
    #[error("an authority cannot be valid for {0} days: use 1 to {MAX_CA_DAYS}")]
    AuthorityDays(u32),
    #[error("a revocation list can be current for an hour to ten years")]
    ListLength,
    #[error("{0:?} cannot be an operator's name: use 1 to 64 of A-Z, a-z, 0-9, '.', '-' and '_'")]
    OperatorName(String),
    #[error("{0:?} cannot be the name of a client: use 1 to 64 of A-Z, a-z, 0-9, '.', '-' and '_'")]
    ClientName(String),
    #[error("{0:?} is not a domain: use one such as example.org")]
    Domain(String),
    /// A member where only clients are made.
    #[error("a node's certificate needs its addresses")]
    NodeAmongClients,
    #[error("only a node's certificate has addresses")]
    AddressOfClient,
    #[error("{0:?} is neither a node such as node-a nor a client such as operator-admin")]
    Holder(String),
}

/// A refusal of what would harm what is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Refusal {
    #[error("{0} holds {1} certificates: give that of the authority alone")]
    NotAlone(PathBuf, usize),
    #[error(
        "{0} is constrained to {1}: with constraints on anything but names and addresses, every member refuses every \
         certificate; use an authority without them"
    )]
    StrangeConstraint(PathBuf, String),
    #[error(
        "{path} may not issue for {host} (it is limited to {permitted}): use addresses within, or another authority"
    )]
    OutsideOwn { path: PathBuf, host: Host, permitted: String },
    #[error(
        "the name of {0} ({1}) has parts that cannot be written again as they are: use an authority whose name has each \
         kind of part once, such as O=example, CN=example CA"
    )]
    StrangeName(PathBuf, String),
    #[error(
        "{host} is outside of what {authority} may issue for ({permitted}), so every member would refuse the certificate"
    )]
    Outside { host: Host, authority: String, permitted: String },
    /// A folder without its certificate: the folder, and the certificate's name.
    #[error("{0} is there without {1}")]
    NoCertificate(PathBuf, &'static str),
    #[error("the certificate of {name} {why}")]
    Unusable { name: String, why: Flaw },
    #[error("{name} has a certificate for {present}, not for {wanted}")]
    OtherAddresses { name: String, present: String, wanted: String },
    #[error("the index in {0} names no identity: put it back from a backup")]
    NoIdentity(PathBuf),
    #[error("{0} is there and holds something else")]
    OtherFile(PathBuf),
    /// A private key that is not here, by the name of its folder.
    #[error("the key of {0} is not here but on its machine")]
    KeyElsewhere(String),
    #[error("the key of {0} is of kind {1}: certificates are issued for {2} only")]
    WeakKey(PathBuf, String, String),
    #[error("the key of {0} is that of the authority: make one of its own")]
    AuthoritysKey(PathBuf),
    /// Another key than that of the request is in the holder's folder, which has this name.
    #[error("{key} is another key than that of {request}")]
    OtherKey { key: PathBuf, request: PathBuf, name: String },
    #[error("{0} is both {1} and {2}: type one of these names")]
    Ambiguous(String, String, String),
    #[error("nothing was issued under the name or serial number {0:?}, and there is no such file")]
    Unknown(String),
    #[error("an authority is not revoked but replaced")]
    Authority,
    #[error("{0} was not issued by an authority in {1}: its own authority must revoke it")]
    NotOurs(PathBuf, PathBuf),
    /// A stage of a rotation whose turn it is not, and the one that comes first.
    #[error("{why}")]
    Stage { why: String, first: Stage },
    #[error("these certificates are of the old authority, and their folders are not here: {0}")]
    LeftBehind(String),
}

/// The flaw of a certificate that is not good any more, as the end of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what they are")]
pub enum Flaw {
    #[error("is revoked")]
    Revoked,
    #[error("expired at {0}")]
    Expired(Timestamp),
    #[error("is of another authority, {0}")]
    OtherAuthority(String),
}
