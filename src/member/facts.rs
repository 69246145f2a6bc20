//! The facts that the controller of rollouts is told.

use agreement::{Vote, Votes};
use judge::Samples;
use model::NodeSet;
use rollout::{Facts, MayPropose};
use service::{Answer, View};

/// What the controller sees of `view`.
pub(super) fn facts<'a>(view: &'a View, own: &'a Samples) -> Facts<'a> {
    let epoch = view.state.open_rollout().map_or(view.state.version, |rollout| rollout.epoch);
    let connected: NodeSet = view.peers.iter().filter(|(_, peer)| peer.connected).map(|(id, _)| *id).collect();
    let serving = view.peers.iter().filter(|(_, peer)| peer.applied >= epoch).map(|(id, _)| *id).collect();
    let may_propose = match view.coordinator {
        Some(coordinator) if coordinator == view.me => MayPropose::All,
        Some(_) => MayPropose::Nothing,
        None => MayPropose::Retreats,
    };
    Facts { state: &view.state, may_propose, connected, serving, members: view.members, own }
}

/// Why a change was not made, in words; none when it was.
pub(super) fn refused(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Committed { .. } => None,
        Answer::Aborted { votes, .. } => Some(against(votes)),
        Answer::Superseded { by, .. } => Some(format!("{by} was decided first")),
        Answer::Refused(refusal) => Some(refusal.to_string()),
        Answer::Unknown { txid, .. } => Some(format!("{txid} is not settled yet")),
    }
}

/// The votes against a change, in words.
pub(super) fn against(votes: &Votes) -> String {
    let against = votes.iter().filter_map(|(voter, vote)| match vote {
        Vote::Abort(reason) => Some(format!("{voter}: {reason}")),
        Vote::Commit => None,
    });
    against.collect::<Vec<_>>().join("; ")
}
