//! The listing of all certificates that were issued; it needs no key of the authority.

use super::error::IssueError;
use super::index::{Index, IndexEntry, Status};
use jiff::{SignedDuration, Timestamp};
use std::path::Path;
use trust::layout;

/// List every certificate that was ever issued, in the order in which that was, each with what holds for it now. Fails
/// when the index is missing or cannot be read.
pub fn list(dir: &Path) -> Result<Vec<IndexEntry>, IssueError> {
    Ok(Index::read(&dir.join(layout::AUTHORITY))?.current)
}

impl IndexEntry {
    /// Tell whether it is in use and has less than this time left, or none.
    pub fn expires_within(&self, time: SignedDuration, now: Timestamp) -> bool {
        self.status == Status::Valid && self.not_after.duration_since(now) < time
    }
}
