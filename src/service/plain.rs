//! The routing state as it is written, in the shape that version 5 of the wire gives it. The mark of a later version, for
//! which that has no place, stands as a link of no version before all others.

use crate::{Canary, Link, Model, Rollout, RoutingState};
use model::{Digest, Incarnation, NodeId, NodeSet, TxId, UnixMillis};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The version of that link.
const NONE: u64 = u64::MAX;

#[derive(Serialize, Deserialize)]
pub(crate) struct Plain {
    version: u64,
    txid: Option<TxId>,
    coordinator: NodeId,
    timestamp: UnixMillis,
    stable: Model,
    canary: Option<Canary>,
    drained: NodeSet,
    #[serde(default)]
    earlier: Vec<Model>,
    #[serde(default)]
    rollout: Option<Arc<Rollout>>,
    chain: Vec<Link>,
}

impl From<RoutingState> for Plain {
    fn from(state: RoutingState) -> Self {
        let RoutingState {
            version,
            txid,
            coordinator,
            timestamp,
            stable,
            canary,
            drained,
            earlier,
            rollout,
            chain,
            wire,
        } = state;
        let mark = wire.map(|wire| Link {
            version: NONE,
            txid: TxId { node: NodeId::A, incarnation: Incarnation(0), epoch: 0, sequence: u64::from(wire) },
            digest: Digest::default(),
        });
        let chain = mark.into_iter().chain(chain).collect();
        Self { version, txid, coordinator, timestamp, stable, canary, drained, earlier, rollout, chain }
    }
}

impl From<Plain> for RoutingState {
    fn from(plain: Plain) -> Self {
        let Plain { version, txid, coordinator, timestamp, stable, canary, drained, earlier, rollout, mut chain } =
            plain;
        let mark = chain.first().filter(|link| link.version == NONE).map(|link| link.txid.sequence);
        let wire = mark.and_then(|wire| u16::try_from(wire).ok());
        chain.drain(..usize::from(mark.is_some()));
        Self { version, txid, coordinator, timestamp, stable, canary, drained, earlier, rollout, chain, wire }
    }
}
