//! Scenes of a member whose disk was lost: whose answers it needs before it takes part again.

use agreement::{Heartbeat, IsolationPolicy, OnEmptyDisk, Readiness, Stage, Timing};
use model::{Ballot, Digest, Incarnation, NodeId, NodeSet, Time};
use service::{Config, Durable, Engine, Input, Message, RoutingState};
use std::sync::Arc;

const NOW: Time = Time::from_micros(1_000_000_000);

/// node-a of five members, whose disk was lost, with links to all others, and the ballot that it asks them under.
fn rejoining() -> (Engine, Ballot) {
    let (members, timing) = (NodeSet::first(5), Timing::default());
    let config = Config {
        me: NodeId::A,
        members,
        initial: Arc::new(RoutingState::initial("v1".parse().expect("a model id"))),
        on_isolation: IsolationPolicy::default(),
        on_empty_disk: OnEmptyDisk::Rejoin,
        timing,
    };
    let mut engine = Engine::new(Arc::new(config), Durable::blank(Incarnation(9)), NOW);
    let mut asked = None;
    let peers = members.without(NodeId::A).iter().map(|peer| (NOW, Input::PeerUp(peer)));
    for (now, input) in peers.chain([(NOW + timing.resend, Input::Timeout)]) {
        for envelope in engine.step(now, input).send {
            if let Message::Campaign { ballot } = envelope.message {
                asked = Some(ballot);
            }
        }
    }
    (engine, asked.expect("it asks"))
}

fn promise((engine, ballot): &mut (Engine, Ballot), from: NodeId) {
    let message = Message::Promise { ballot: *ballot, accepted: None };
    let _ = engine.step(NOW, Input::Receive { from, message });
}

fn says((engine, _): &mut (Engine, Ballot), from: NodeId, stage: Stage) {
    let heartbeat = Heartbeat {
        sent: NOW,
        echo: None,
        wants_echo: false,
        stage,
        incarnation: Incarnation(5),
        committed: (0, Digest([0; 32])),
        accepted: 0,
        promise: Ballot::ZERO,
        readiness: Readiness::Follows,
        hears: Vec::new(),
    };
    let _ = engine.step(NOW, Input::Receive { from, message: Message::Heartbeat(Box::new(heartbeat)) });
}

#[test]
fn everybody_is_asked_who_may_have_heard_a_promise_of_the_lost_disk() {
    let [b, c, d, e] = ['b', 'c', 'd', 'e'].map(|letter| NodeId::from_letter(letter).expect("a letter"));
    let mut member = rejoining();
    for peer in [c, d, e] {
        promise(&mut member, peer);
    }
    assert!(!member.0.has_joined(), "node-b may go on under a ballot that the lost disk promised");
    promise(&mut member, b);
    assert!(member.0.has_joined());
}

#[test]
fn two_lost_disks_do_not_wait_for_each_other() {
    let [b, c, d, e] = ['b', 'c', 'd', 'e'].map(|letter| NodeId::from_letter(letter).expect("a letter"));
    let mut member = rejoining();
    says(&mut member, e, Stage::Rejoining);
    for peer in [b, c] {
        promise(&mut member, peer);
    }
    assert!(!member.0.has_joined());
    promise(&mut member, d);
    assert!(member.0.has_joined());
    // Those that are left must be a majority of the others all the same.
    let mut member = rejoining();
    for peer in [d, e] {
        says(&mut member, peer, Stage::Rejoining);
    }
    for peer in [b, c] {
        promise(&mut member, peer);
    }
    assert!(!member.0.has_joined());
}
