//! What a directory says of itself: whose memory it holds, and in which format.

use super::error::StoreError;
use format::{Unreadable, Version, disk};
use std::path::Path;

/// Reads what stands in `file`; it is written last, so that a directory with it is complete.
pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<disk::Identity, StoreError> {
    disk::decode_identity(bytes).map_err(|error| unreadable(file, error))
}

/// Whether this program reads data of the format `found`.
pub(super) fn check_format(file: &Path, found: u64) -> Result<Version, StoreError> {
    disk::version_of(found).map_err(|error| unreadable(file, error))
}

fn unreadable(file: &Path, error: Unreadable) -> StoreError {
    let file = file.to_owned();
    match error {
        Unreadable::Older { found, .. } => StoreError::OlderFormat { file, found },
        Unreadable::Newer { found, .. } => StoreError::NewerFormat { file, found },
        Unreadable::Malformed(_) | Unreadable::Surplus(_) | Unreadable::Invalid(_) => {
            StoreError::Corrupt { file, offset: 0, what: error.to_string() }
        }
    }
}
