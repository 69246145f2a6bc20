//! The log's records as bytes: what a member must not forget, and whose memory it is.
//!
//! The format that a snapshot names is that of all records in its segment. So the first record of a new version needs a
//! segment of its own, begun by a snapshot of that version.

use super::v5::log as form;
use super::{Inexpressible, Kept, State, Unreadable, Version, v5, v6};
use model::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};
use service::{Durable, Proposal, Record, RoutingState};
use std::sync::Arc;

/// Room for most records, in bytes, so that few have to be moved while they are written down.
const USUAL: usize = 1_024;

/// All that a member knew when a segment was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The member.
    pub node: NodeId,
    /// The trust domain of its cluster.
    pub cluster: String,
    /// Its memory.
    pub durable: Durable,
}

/// Whose memory a directory holds, and in which format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The format of the directory, which may be an older one than any program writes now.
    pub format: u64,
    /// The member.
    pub node: NodeId,
    /// The trust domain of its cluster.
    pub cluster: String,
    /// The life of its disk.
    pub incarnation: Incarnation,
}

/// Only this is read until the format is known.
#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

/// The number that JSON names as its format, whatever else it says. Fails when it names none, or is no JSON.
pub fn format_in(json: &[u8]) -> Result<u64, Unreadable> {
    let FormatOnly { format } = serde_json::from_slice(json)?;
    Ok(format)
}

/// The version that a format on disk belongs to. Fails when it is newer or older than any that is read.
pub fn version_of(format: u64) -> Result<Version, Unreadable> {
    match format {
        0 => Err(Unreadable::Older { found: format, oldest: Version::OLDEST_DISK }),
        Version::OLDEST_DISK..=2 => Ok(Version::V5),
        3 => Ok(Version::V6),
        _ => Err(Unreadable::Newer { found: format, newest: Version::NEWEST.disk() }),
    }
}

/// The oldest version that has words for all of `records`.
pub fn version_for(records: &[Record]) -> Version {
    records.iter().filter_map(proposal_in).map(|proposal| Version::of(&proposal.state)).max().unwrap_or(Version::V5)
}

/// The snapshot of what a member of a cluster remembers, as bytes. Fails when `version` has no words for it.
pub fn encode_snapshot(
    node: NodeId,
    cluster: &str,
    durable: &Durable,
    version: Version,
) -> Result<Vec<u8>, Inexpressible> {
    match version {
        Version::V5 => written_snapshot::<v5::RoutingState<'_>>(node, cluster, durable),
        Version::V6 => written_snapshot::<v6::RoutingState<'_>>(node, cluster, durable),
    }
}

/// The snapshot in these bytes, and the version of all records of its segment. Fails when there is none that this
/// program reads.
pub fn decode_snapshot(bytes: &[u8]) -> Result<(Version, Snapshot), Unreadable> {
    let version = version_of(format_in(bytes)?)?;
    let snapshot = match version {
        Version::V5 => read_snapshot::<v5::RoutingState<'_>>(bytes),
        Version::V6 => read_snapshot::<v6::RoutingState<'_>>(bytes),
    };
    Ok((version, snapshot?))
}

/// A record as bytes. Fails when `version` has no words for it.
pub fn encode_record(record: &Record, version: Version) -> Result<Vec<u8>, Inexpressible> {
    match version {
        Version::V5 => written_record::<v5::RoutingState<'_>>(record),
        Version::V6 => written_record::<v6::RoutingState<'_>>(record),
    }
}

/// The record in these bytes, of a segment of this version. Fails when they are no record.
pub fn decode_record(bytes: &[u8], version: Version) -> Result<Record, Unreadable> {
    match version {
        Version::V5 => read_record::<v5::RoutingState<'_>>(bytes),
        Version::V6 => read_record::<v6::RoutingState<'_>>(bytes),
    }
}

fn written_snapshot<'a, S: State<'a>>(
    node: NodeId,
    cluster: &'a str,
    durable: &'a Durable,
) -> Result<Vec<u8>, Inexpressible> {
    [&durable.accepted, &durable.committed].into_iter().flatten().try_for_each(|kept| S::VERSION.check(&kept.state))?;
    let (format, node, cluster) = (S::VERSION.disk(), node.into(), cluster.into());
    Ok(json(&form::Snapshot { format, node, cluster, durable: form::Durable::<'a, S>::from(durable) }))
}

fn read_snapshot<'de, S: Kept<Arc<RoutingState>> + Deserialize<'de>>(bytes: &'de [u8]) -> Result<Snapshot, Unreadable> {
    let form::Snapshot::<'de, S> { format: _, node, cluster, durable } = serde_json::from_slice(bytes)?;
    Ok(Snapshot { node: node.try_into()?, cluster: cluster.into(), durable: durable.try_into()? })
}

fn written_record<'a, S: State<'a>>(record: &'a Record) -> Result<Vec<u8>, Inexpressible> {
    proposal_in(record).map_or(Ok(()), |proposal| S::VERSION.check(&proposal.state))?;
    Ok(json(&form::Record::<'a, S>::from(record)))
}

fn proposal_in(record: &Record) -> Option<&Proposal> {
    match record {
        Record::Accepted(proposal) | Record::Committed(proposal) => Some(proposal),
        Record::Joined(_) | Record::Promised(_) | Record::AcceptedIsCommitted => None,
    }
}

fn read_record<'de, S: Kept<Arc<RoutingState>> + Deserialize<'de>>(bytes: &'de [u8]) -> Result<Record, Unreadable> {
    Ok(serde_json::from_slice::<form::Record<'de, S>>(bytes)?.try_into()?)
}

/// The text that says whose memory a directory holds, in the format of `version`.
pub fn encode_identity(node: NodeId, cluster: &str, incarnation: Incarnation, version: Version) -> Vec<u8> {
    let (node, cluster, incarnation) = (node.as_str().into(), cluster.into(), incarnation.into());
    let identity = form::Identity { format: version.disk(), node, cluster, incarnation };
    let mut text = serde_json::to_vec_pretty(&identity).expect("plain text fields are always JSON");
    text.push(b'\n');
    text
}

/// Whose memory it is, by this text. Fails when it does not say, or the format is none that this program reads.
pub fn decode_identity(bytes: &[u8]) -> Result<Identity, Unreadable> {
    version_of(format_in(bytes)?)?;
    let form::Identity { format, node, cluster, incarnation } = serde_json::from_slice(bytes)?;
    let node = node.as_str().parse().map_err(|error: model::NodeIdError| Unreadable::Malformed(error.to_string()))?;
    Ok(Identity { format, node, cluster: cluster.into(), incarnation: incarnation.into() })
}

fn json(form: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL);
    serde_json::to_writer(&mut bytes, form).expect("what a room gives out is always JSON");
    bytes
}
