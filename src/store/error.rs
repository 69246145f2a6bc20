//! What can go wrong with the store, and whose matter it is.

use super::frame::MAX_BODY;
use format::Version;
use model::NodeId;
use std::io;
use std::path::{Path, PathBuf};

/// The store cannot be opened or cannot go on.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum StoreError {
    /// The operating system refused or failed.
    #[error("cannot {doing} {}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    /// An earlier write failed, so nobody knows what the disk holds.
    #[error("the store in {} failed before and takes no more records: start the node again", dir.display())]
    Failed { dir: PathBuf },
    /// Another process has the directory, of which nothing else is known before it has written its id.
    #[error("{} is in use by {}: two nodes never share a directory", dir.display(), holder(*pid))]
    InUse { dir: PathBuf, pid: Option<u32> },
    /// Bytes that were on disk have changed, of the record that begins at the offset.
    #[error("{} is corrupt at offset {offset}: {what}", file.display())]
    Corrupt { file: PathBuf, offset: u64, what: String },
    /// The data of another member.
    #[error("{} holds the data of {found}, this node is {wanted}: give each node its own directory", dir.display())]
    OtherNode { dir: PathBuf, found: NodeId, wanted: NodeId },
    /// The data of a member of another cluster.
    #[error("{} holds data of the cluster {found:?}, this node's certificate is of {wanted:?}", dir.display())]
    OtherCluster { dir: PathBuf, found: String, wanted: String },
    /// Written by a version of this program that is too old.
    #[error(
        "{} has format {found}, this program reads {} to {}: start it once with the canary in between, or empty the \
         directory and start with --rejoin",
        file.display(), Version::OLDEST_DISK, Version::NEWEST.disk()
    )]
    OlderFormat { file: PathBuf, found: u64 },
    /// Written by a later version of this program.
    #[error("{} has format {found}, this program reads up to {}: start a newer canary", file.display(), Version::NEWEST.disk())]
    NewerFormat { file: PathBuf, found: u64 },
    /// A record that has no place in a segment. Nothing was written.
    #[error("a record of {0} bytes is too large to keep: the limit is {MAX_BODY}")]
    TooLarge(usize),
}

/// Whose matter an error is; the command line turns it into an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// The data is not what was written.
    CorruptData,
    /// The disk or the operating system failed.
    Storage,
    /// The node is pointed at the wrong directory, or at one that is in use.
    Configuration,
}

impl StoreError {
    /// What the operating system refused to do with `path`.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }

    /// The file that is wrong, and the offset of what is wrong in it.
    pub fn place(&self) -> Option<(&Path, u64)> {
        match self {
            Self::Corrupt { file, offset, .. } => Some((file, *offset)),
            Self::OlderFormat { file, .. } | Self::NewerFormat { file, .. } => Some((file, 0)),
            Self::Io { .. }
            | Self::Failed { .. }
            | Self::InUse { .. }
            | Self::OtherNode { .. }
            | Self::OtherCluster { .. }
            | Self::TooLarge(_) => None,
        }
    }

    /// Whose matter it is.
    pub const fn fault(&self) -> StoreFault {
        match self {
            Self::Corrupt { .. } => StoreFault::CorruptData,
            Self::Io { .. } | Self::Failed { .. } | Self::TooLarge(_) => StoreFault::Storage,
            Self::InUse { .. }
            | Self::OtherNode { .. }
            | Self::OtherCluster { .. }
            | Self::OlderFormat { .. }
            | Self::NewerFormat { .. } => StoreFault::Configuration,
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}
