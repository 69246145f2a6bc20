//! The reasons for which the demo does not come to its end.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use trust::TrustError;

/// The reason for which the demo did not end as it should.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum DemoError {
    /// The throw-away certificates cannot be used.
    #[error(transparent)]
    Certificates(TrustError),
    /// Something that it needs has failed.
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
    /// Something is not as it should be.
    #[error("{0}")]
    Wrong(String),
    /// Something is not as it should be, as it may be on a machine that is busy with other things.
    #[error("{0}")]
    Slow(String),
    #[error("cannot make a directory for the demo: {0}")]
    NoDirectory(io::Error),
    #[error("port {} on {} is taken by {holder}", address.port(), address.ip())]
    PortTaken { address: SocketAddr, holder: String },
    #[error("{0} is not an address of this machine")]
    NoSuchAddress(IpAddr),
}

impl DemoError {
    pub(super) fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}
