//! What a directory says of itself: whose memory it holds, and in which format.

use super::error::StoreError;
use super::{FORMAT, OLDEST_FORMAT, StoreIdentity};
use model::Incarnation;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The file; it is written last, so that a directory with it is complete.
#[derive(Debug, Serialize, Deserialize)]
struct IdentityFile {
    format: u64,
    node: String,
    cluster: String,
    incarnation: Incarnation,
}

/// Only this is read until the format is known.
#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identified {
    pub(super) format: u64,
    pub(super) owner: StoreIdentity,
    pub(super) incarnation: Incarnation,
}

/// Reads what stands in `file`.
pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Identified, StoreError> {
    let corrupt =
        |error: &dyn ToString| StoreError::Corrupt { file: file.to_owned(), offset: 0, what: error.to_string() };
    let format = format_in(bytes).map_err(|error| corrupt(&error))?;
    check_format(file, format)?;
    let found: IdentityFile = serde_json::from_slice(bytes).map_err(|error| corrupt(&error))?;
    let node = found.node.parse().map_err(|error| corrupt(&error))?;
    let owner = StoreIdentity { node, cluster: found.cluster };
    Ok(Identified { format, owner, incarnation: found.incarnation })
}

/// What the file of a directory in the present format says.
pub(super) fn text(owner: &StoreIdentity, incarnation: Incarnation) -> Vec<u8> {
    let StoreIdentity { node, cluster } = owner.clone();
    let file = IdentityFile { format: FORMAT, node: node.to_string(), cluster, incarnation };
    let mut text = serde_json::to_vec_pretty(&file).expect("plain text fields are always JSON");
    text.push(b'\n');
    text
}

/// The format that JSON names, whatever else it says.
pub(super) fn format_in(json: &[u8]) -> Result<u64, serde_json::Error> {
    serde_json::from_slice(json).map(|FormatOnly { format }| format)
}

/// Whether this program reads data of the format `found`.
pub(super) fn check_format(file: &Path, found: u64) -> Result<(), StoreError> {
    let file = file.to_owned();
    match found {
        OLDEST_FORMAT..=FORMAT => Ok(()),
        0..OLDEST_FORMAT => Err(StoreError::OlderFormat { file, found }),
        _ => Err(StoreError::NewerFormat { file, found }),
    }
}
