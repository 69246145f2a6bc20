//! The memory of a member on disk: all that it must not forget.
//!
//! An append-only log in two files that are written full of zeros once and used in turn ever after. So a record costs
//! one write and one `fdatasync` that touches no metadata, and a full disk stops no record of the protocol. A record
//! that was cut short was never answered and is dropped; one that has changed is named by file and offset, and the
//! store refuses to open. It does not repair, guess, compress or cache, and knows nothing of what its records mean
//! beyond [`Durable::apply`].
//!
//! On file systems that never overwrite in place (btrfs, ZFS) the room is not kept; the rest holds there too.

mod disk;
mod error;
pub mod frame;
mod history;
mod identity;
mod inspect;
mod log;
mod rules;
pub mod segment;

pub use disk::{Disk, Side};
pub use error::{StoreError, StoreFault};
pub use frame::SECTOR;
pub use history::{History, HistoryLook};
pub use inspect::{Holder, Look, SegmentLook};
pub use log::Log;
pub use rules::{All, Rules, StartStep};

use disk::{Directory, Lock};
use model::{Incarnation, NodeId};
use service::{Durable, Record};
use std::path::{Path, PathBuf};

/// With less than this free, in bytes, the member votes against advances. What else a node writes to its data
/// directory, its history, is a few hundred bytes a change, so this leaves hours to make room in.
const LOW_WATER: u64 = 16 * 1024 * 1024;

/// Whose memory a directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreIdentity {
    /// The member.
    pub node: NodeId,
    /// The trust domain of its cluster.
    pub cluster: String,
}

/// Whether there is room for more than the protocol's own records, whose room is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Plenty,
    /// There is not: advances must wait, retreats need not.
    Full,
}

/// The memory of one member, for as long as its process runs.
pub struct Store {
    log: Log,
    lock: Lock,
}

impl Store {
    /// Opens the directory `dir`, making it if it is missing, and gives what the member remembers.
    ///
    /// In an empty directory that is [`Durable::blank`] with the incarnation `fresh`; in any other one `fresh` is not
    /// used, and the epoch is one more than at the start before. Both are on disk when this returns. Fails when
    /// another process has the directory, it holds the data of another member, another cluster or a newer version,
    /// its data is corrupt, or the file system fails. [`StoreError::fault`] says which kind it is.
    pub fn open(dir: &Path, identity: StoreIdentity, fresh: Incarnation) -> Result<(Self, Durable), StoreError> {
        let directory = Directory::open(dir)?;
        let lock = Lock::take(dir)?;
        let log = Log::open(Box::new(directory), dir, identity, fresh)?;
        let durable = log.durable().clone();
        Ok((Self { log, lock }, durable))
    }

    /// The directory.
    pub fn dir(&self) -> PathBuf {
        self.log.dir().to_owned()
    }
}

/// A store of all that a member must not forget, on a disk or on a simulated one.
pub trait Memory {
    /// Adds `records`; unless all are lazy, all that were ever added are on disk when this returns. Fails with
    /// [`StoreError::TooLarge`] before anything is written. After any other error nobody knows what is on disk: every
    /// further call fails, and the process should end.
    fn append(&mut self, records: &[Record]) -> Result<(), StoreError>;
    /// Brings lazy records to disk; worth doing when the node stops. Fails as for [`append`](Self::append).
    fn force(&mut self) -> Result<(), StoreError>;
    /// Whether there is room for more than the protocol's own records.
    fn has_room(&self) -> Room;
}

impl Memory for Store {
    /// One write and, unless all records are lazy, one `fdatasync`. Every few hundred commits a new segment is begun, at
    /// the cost of a second, nearly idle, `fdatasync`.
    fn append(&mut self, records: &[Record]) -> Result<(), StoreError> {
        self.log.append(records)
    }

    fn force(&mut self) -> Result<(), StoreError> {
        self.log.force()
    }

    /// A file system that cannot say counts as full.
    fn has_room(&self) -> Room {
        match self.lock.free_bytes() {
            Ok(free) if free >= LOW_WATER => Room::Plenty,
            Ok(_) | Err(_) => Room::Full,
        }
    }
}
