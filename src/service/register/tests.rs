//! A member before a coordinator that does not look after the approvals of a rollout, or lies about them, or about the mark of a
//! version of the wire.

use super::*;
use crate::{Plan, Rollout, Step, WhenOpen};
use agreement::{Alarm, Base, Heartbeat, IsolationPolicy, OnEmptyDisk, Readiness, Reason, Stage, Timing, Vote, Votes};
use model::{Actor, Ballot, Incarnation};
use std::sync::Arc;

const NOW: Time = Time::from_micros(1_000_000_000);

fn model(id: &str) -> Model {
    Model { id: id.parse().expect("a model id"), upstream: None }
}

fn actor(id: &str) -> Actor {
    Actor { id: id.into(), serial: "1".into(), remote: "-".into() }
}

fn follow(base: &RoutingState, change: &Change) -> RoutingState {
    let txid = TxId { node: NodeId::A, incarnation: Incarnation(1), epoch: 1, sequence: base.version + 1 };
    change.apply(base, NodeSet::first(3), txid, UnixMillis(0)).expect("it fits")
}

/// 5 %, then all with two approvals; alice has given hers.
fn half_approved() -> RoutingState {
    let step = |weight| Step::new(weight, Plan::HOLD);
    let first = step(Weight::from_percent("5").expect("a weight"));
    let plan = Plan::of(vec![first, Step { approvals: 2, ..step(Weight::FULL) }]).expect("a plan");
    let start = Change::Start { canary: model("v2"), plan: Arc::new(plan), when_open: WhenOpen::Refuse };
    follow(&follow(&RoutingState::initial(model("v1").id), &start), &approval("operator/alice"))
}

fn approval(operator: &str) -> Change {
    Change::Approve { operator: operator.into() }
}

/// The last step at the word of a coordinator that counts one approval as two.
fn forced(base: &RoutingState) -> RoutingState {
    let enough = follow(base, &approval("operator/bob"));
    let change = Change::Next { epoch: base.rollout.as_ref().expect("a rollout").epoch };
    let next = follow(&RoutingState { version: base.version, chain: base.chain.clone(), ..enough }, &change);
    let known = &base.rollout.as_ref().expect("a rollout").approvals;
    let rollout = next.rollout.as_deref().cloned().map(|rollout| Rollout { approvals: known.clone(), ..rollout });
    RoutingState { rollout: rollout.map(Arc::new), chain: base.extended_chain(), ..next }
}

fn proposal(state: RoutingState, by: &str) -> Arc<Proposal> {
    let ballot = Ballot { round: 1, node: NodeId::A, incarnation: Incarnation(1) };
    let votes: Votes = NodeSet::first(3).iter().map(|id| (id, Vote::Commit)).collect();
    Arc::new(Proposal { ballot, state: Arc::new(state), by: Some(actor(by)), votes, evidence: Default::default() })
}

/// node-b, which serves `state` and is in touch with node-a.
fn member(state: RoutingState) -> Engine {
    let config = Config {
        me: NodeId::from_letter('b').expect("a letter"),
        members: NodeSet::first(3),
        initial: Arc::new(RoutingState::initial(model("v1").id)),
        on_isolation: IsolationPolicy::default(),
        on_empty_disk: OnEmptyDisk::default(),
        timing: Timing::default(),
    };
    let committed = Some(proposal(state, "operator/alice"));
    let accepted = committed.clone();
    let blank = Durable::blank(Incarnation(2));
    let disk = Durable { joined: Some(Default::default()), accepted, committed, ..blank };
    let mut engine = Engine::new(Arc::new(config), disk, NOW);
    let hello = engine.step(NOW, Input::PeerUp(NodeId::A));
    let sent = hello.send.iter().find_map(|envelope| {
        if let Message::Heartbeat(heartbeat) = &envelope.message { Some(heartbeat.sent) } else { None }
    });
    let echo = Message::Heartbeat(Box::new(Heartbeat {
        sent: NOW,
        echo: sent,
        wants_echo: false,
        stage: Stage::Member,
        incarnation: Incarnation(1),
        committed: (engine.committed().state.version, engine.committed().state.digest()),
        accepted: engine.committed().state.version,
        promise: Ballot::ZERO,
        readiness: Readiness::Leads,
        hears: Vec::new(),
    }));
    let _ = engine.step(NOW, Input::Receive { from: NodeId::A, message: echo });
    assert!(!engine.is_isolated(NOW), "it has a lease");
    engine
}

fn receive(engine: &mut Engine, message: Message) -> Output {
    engine.step(NOW, Input::Receive { from: NodeId::A, message })
}

/// The vote on `next`, which `by` is said to have asked for.
fn vote(next: RoutingState, by: &str) -> Vote {
    let state = half_approved();
    let base = Base { version: state.version, digest: state.digest() };
    let out = receive(&mut member(state), Message::Prepare { base, next: Arc::new(next), by: actor(by) });
    let vote = out
        .send
        .into_iter()
        .find_map(|envelope| if let Message::Vote { vote, .. } = envelope.message { Some(vote) } else { None });
    vote.expect("it votes")
}

/// The alarm about `next` when it is sent for acceptance without a question before, and whether it was accepted.
fn acceptance(next: RoutingState, by: &str) -> (Option<Alarm>, bool) {
    let out = receive(&mut member(half_approved()), Message::Accept { proposal: proposal(next, by) });
    let accepted = out.send.iter().any(|envelope| matches!(envelope.message, Message::Accepted { .. }));
    assert_eq!(accepted, !out.append.is_empty(), "what is said is on disk");
    let alarm =
        out.events.into_iter().find_map(|event| if let Event::Alarm(alarm) = event { Some(alarm) } else { None });
    (alarm, accepted)
}

#[test]
fn a_step_without_its_approvals_gets_no_vote_and_no_acceptance() {
    let state = half_approved();
    let told = "it waits for 1 more approval of step 2 (100 %): alice approved";
    assert_eq!(vote(forced(&state), "rollout/node-a"), Vote::Abort(Reason::PlanForbids(told.into())));
    let (alarm, accepted) = acceptance(forced(&state), "rollout/node-a");
    assert!(matches!(alarm, Some(Alarm::NotApproved { why, .. }) if why == told));
    assert!(!accepted);
}

#[test]
fn an_approval_counts_for_who_asks_for_it_and_for_nobody_else() {
    let bob = || follow(&half_approved(), &approval("operator/bob"));
    assert_eq!(vote(bob(), "operator/bob"), Vote::Commit);
    assert_eq!(acceptance(bob(), "operator/bob"), (None, true));
    for other in ["operator/alice", "operator/mallory", "rollout/node-a"] {
        assert!(matches!(vote(bob(), other), Vote::Abort(Reason::PlanForbids(_))), "{other}");
        let (alarm, accepted) = acceptance(bob(), other);
        assert!(matches!(alarm, Some(Alarm::NotApproved { .. })) && !accepted, "{other}");
    }
}

#[test]
fn what_takes_traffic_away_is_accepted_without_approvals() {
    let abort = Change::Abort { why: "because".into(), started: None };
    assert_eq!(acceptance(follow(&half_approved(), &abort), "operator/mallory"), (None, true));
}

#[test]
fn a_vote_is_on_what_is_true_when_the_upstream_has_answered() {
    let initial = RoutingState::initial(model("v1").id);
    let weight = |percent| {
        let weight = Weight::from_percent(percent).expect("a weight");
        follow(&initial, &Change::Weight { weight, canary: Some(model("v2")) })
    };
    let base = Base { version: 0, digest: initial.digest() };
    let next = Arc::new(weight("5"));
    let txid = next.txid.expect("a transaction");
    for meanwhile in [None, Some(weight("0"))] {
        let mut engine = member(initial.clone());
        let prepare = Message::Prepare { base: base.clone(), next: Arc::clone(&next), by: actor("operator/alice") };
        assert!(receive(&mut engine, prepare.clone()).probe.is_some(), "v2 gets more");
        if let Some(other) = meanwhile.clone() {
            let _ = receive(&mut engine, Message::Decision { proposal: proposal(other, "operator/bob") });
        }
        let again = receive(&mut engine, prepare);
        assert!(again.send.is_empty() && again.probe.is_none(), "one question, one answer: {again:?}");
        let out = engine.step(NOW, Input::Probed { txid, result: Ok(()) });
        let votes = out
            .send
            .into_iter()
            .filter_map(|envelope| if let Message::Vote { vote, .. } = envelope.message { Some(vote) } else { None });
        let expected = if meanwhile.is_some() { Vote::Abort(Reason::BaseDiffers { has: 1 }) } else { Vote::Commit };
        assert_eq!(votes.collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn no_decision_takes_a_mark_off_or_brings_one_that_nobody_knows() {
    let marked = RoutingState { wire: Some(crate::MARK), ..half_approved() };
    let far = |wire| {
        let later = follow(&follow(&half_approved(), &approval("operator/bob")), &Change::Drain(NodeId::A));
        RoutingState { version: 40, wire, ..later }
    };
    for (own, next, allowed) in [
        (half_approved(), far(None), true),
        (half_approved(), far(Some(crate::MARK)), true),
        (half_approved(), far(Some(7)), false),
        (marked.clone(), far(Some(crate::MARK)), true),
        (marked.clone(), far(None), false),
        (marked, far(Some(5)), false),
    ] {
        for message in [
            Message::Decision { proposal: proposal(next.clone(), "x") },
            Message::Accept { proposal: proposal(next.clone(), "x") },
        ] {
            let out = receive(&mut member(own.clone()), message);
            let alarmed = out.events.iter().any(|event| matches!(event, Event::Alarm(Alarm::NotApproved { .. })));
            assert_eq!(alarmed, !allowed, "{:?} to {:?}", own.wire, next.wire);
            assert_eq!(out.append.is_empty() && out.note.is_empty(), !allowed, "{:?} to {:?}", own.wire, next.wire);
        }
    }
}
