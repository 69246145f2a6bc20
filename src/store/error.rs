//! What can go wrong with the store, and whose matter it is.

use super::frame::MAX_BODY;
use format::Version;
use model::NodeId;
use std::io;
use std::path::{Path, PathBuf};

/// The store cannot be opened or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused or failed.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An earlier write failed, so nobody knows what the disk holds.
    #[error("the store in {} failed before and takes no more records: start the node again", dir.display())]
    Failed {
        /// The directory.
        dir: PathBuf,
    },
    /// Another process has the directory.
    #[error("{} is in use by {}: two nodes never share a directory", dir.display(), holder(*pid))]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process that holds it, if it has said so yet.
        pid: Option<u32>,
    },
    /// Bytes that were on disk have changed.
    #[error("{} is corrupt at offset {offset}: {what}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// The first byte of the record that is wrong.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The data of another member.
    #[error("{} holds the data of {found}, this node is {wanted}: give each node its own directory", dir.display())]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// Whose data it is.
        found: NodeId,
        /// Who wants to use it.
        wanted: NodeId,
    },
    /// The data of a member of another cluster.
    #[error("{} holds data of the cluster {found:?}, this node's certificate is of {wanted:?}", dir.display())]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// The cluster whose data it is.
        found: String,
        /// The cluster of the node that wants to use it.
        wanted: String,
    },
    /// Written by a version of this program that is too old.
    #[error(
        "{} has format {found}, this program reads {} to {}: start it once with the canary in between, or empty the \
         directory and start with --rejoin",
        file.display(), Version::OLDEST_DISK, Version::NEWEST.disk()
    )]
    OlderFormat {
        /// The file that says so.
        file: PathBuf,
        /// The format that it names.
        found: u64,
    },
    /// Written by a later version of this program.
    #[error("{} has format {found}, this program reads up to {}: start a newer canary", file.display(), Version::NEWEST.disk())]
    NewerFormat {
        /// The file that says so.
        file: PathBuf,
        /// The format that it names.
        found: u64,
    },
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
