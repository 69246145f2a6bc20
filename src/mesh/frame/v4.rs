//! What version 4 of the wire has no words for, in the words that it has.
//!
//! Its shapes are those of the newest version without two variants, which stand last in their enums: so a message without
//! them has the same bytes in both, and nothing needs shapes of its own.

use agreement::{Heartbeat, Reason, Standing, Vote, Votes};
use model::NodeId;
use service::Message;
use std::borrow::Cow;

/// `message` as version 4 can say it.
///
/// * That a member leaves is told as "it follows": others take its place all the same, if only when everybody's next
///   heartbeat says so, or when its silence is noticed.
/// * That an advance ended because the coordinator stops is told as "another member coordinates now".
pub(super) fn told(message: &Message) -> Cow<'_, Message> {
    match message {
        Message::Heartbeat(heartbeat) if has_leaver(heartbeat) => {
            let mut heartbeat = heartbeat.clone();
            heartbeat.standing = standing(heartbeat.standing);
            for hearing in &mut heartbeat.hears {
                hearing.2 = standing(hearing.2);
            }
            Cow::Owned(Message::Heartbeat(heartbeat))
        }
        Message::Abort { txid, version, by, votes } if votes.values().any(is_stop) => {
            let votes = votes.iter().map(vote).collect::<Votes>();
            Cow::Owned(Message::Abort { txid: *txid, version: *version, by: by.clone(), votes })
        }
        // A vote of a member never has the coordinator's reasons in it, and what is accepted has no vote against it.
        Message::Heartbeat(_)
        | Message::Abort { .. }
        | Message::Prepare { .. }
        | Message::Vote { .. }
        | Message::Campaign { .. }
        | Message::Promise { .. }
        | Message::Accept { .. }
        | Message::Accepted { .. }
        | Message::Reject { .. }
        | Message::Decision { .. }
        | Message::Applied { .. }
        | Message::Report(_)
        | Message::Testimony(_) => Cow::Borrowed(message),
    }
}

fn has_leaver(heartbeat: &Heartbeat) -> bool {
    let of_others = heartbeat.hears.iter().map(|hearing| hearing.2);
    of_others.chain([heartbeat.standing]).any(|standing| standing == Standing::Leaves)
}

const fn standing(standing: Standing) -> Standing {
    match standing {
        Standing::Leaves => Standing::Follows,
        Standing::Follows | Standing::Ready | Standing::Leads => standing,
    }
}

fn is_stop(vote: &Vote) -> bool {
    *vote == Vote::Abort(Reason::CoordinatorStops)
}

fn vote((id, vote): (&NodeId, &Vote)) -> (NodeId, Vote) {
    (*id, if is_stop(vote) { Vote::Abort(Reason::CoordinatorReplaced) } else { vote.clone() })
}
