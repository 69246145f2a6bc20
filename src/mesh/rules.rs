//! Who may send which message: what can be told from the message and the sender's certificate alone.
//!
//! Whether a message makes sense now is for the engine to judge.

use model::NodeId;
use service::Message;
use tls::{Reason, Refusal};

/// Checks one message of `sender`. Fails when it drives a transaction of another member, or uses another member's
/// ballot.
pub(crate) fn check_sender(sender: NodeId, message: &Message) -> Result<(), Refusal> {
    match message {
        Message::Prepare { next, .. } => drives(sender, next.txid.map(|txid| txid.node), message),
        Message::Abort { txid, .. } => drives(sender, Some(txid.node), message),
        Message::Campaign { ballot } => proposes(sender, ballot.node, message),
        Message::Accept { proposal } => proposes(sender, proposal.ballot.node, message),
        // Answers go to whomever they concern, and a decision may be passed on by everybody who knows it.
        Message::Heartbeat(_)
        | Message::Vote { .. }
        | Message::Promise { .. }
        | Message::Accepted { .. }
        | Message::Reject { .. }
        | Message::Decision { .. }
        | Message::Applied { .. }
        | Message::Report(_)
        | Message::Testimony(_) => Ok(()),
    }
}

fn drives(sender: NodeId, driver: Option<NodeId>, message: &Message) -> Result<(), Refusal> {
    if Some(sender) == driver {
        return Ok(());
    }
    let driver = driver.map_or_else(|| "nobody".to_owned(), |driver| driver.to_string());
    let detail = format!("{sender} sent {} for a transaction that {driver} drives", message.kind());
    Err(Refusal::new(Reason::RoleViolation, detail))
}

fn proposes(sender: NodeId, proposer: NodeId, message: &Message) -> Result<(), Refusal> {
    if sender == proposer {
        return Ok(());
    }
    let detail = format!("{sender} sent {} under a ballot of {proposer}", message.kind());
    Err(Refusal::new(Reason::IdentityFrameMismatch, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Actor, Ballot, Incarnation};

    fn reason(sender: NodeId, message: &Message) -> Option<Reason> {
        check_sender(sender, message).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn ballots_and_transactions_belong_to_their_sender() {
        let b = NodeId::from_index(1).expect("a letter");
        let campaign = Message::Campaign { ballot: Ballot { round: 1, node: NodeId::A, incarnation: Incarnation(1) } };
        assert_eq!(reason(NodeId::A, &campaign), None);
        assert_eq!(reason(b, &campaign), Some(Reason::IdentityFrameMismatch));
        let txid = "node-a.00c0ffee00c0ffee.1.7".parse().expect("a txid");
        let by = Actor { id: "operator/x".into(), serial: "1".into(), remote: "-".into() };
        let abort = Message::Abort { txid, version: 1, by, votes: Default::default() };
        assert_eq!(reason(NodeId::A, &abort), None);
        assert_eq!(reason(b, &abort), Some(Reason::RoleViolation));
    }
}
