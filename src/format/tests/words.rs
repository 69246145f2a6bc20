//! The words within messages and records: each must stand somewhere in the files.

use super::kinds::{EVENTS, MESSAGES};
use super::{Bytes, lines};
use crate::v5::audit::{Event, Line};
use crate::v5::wire::Message;
use crate::v5::{
    Heartbeat, Mode, Outcome, Phase, Proposal, Reason, RoutingState, Said, Shield, Stage, Standing, Testimony, Then,
    Vote, Votes,
};
use std::collections::BTreeSet;

/// The words that were met.
#[derive(Default)]
struct Met(BTreeSet<&'static str>);

macro_rules! words {
    ($($see:ident: $name:ident = $type:ty { $($word:ident)+ })+) => {
        /// Every word that there is.
        const ALL: &[&str] = &[$($(concat!(stringify!($name), "::", stringify!($word))),+),+];

        impl Met {
            $(fn $see(&mut self, word: &$type) {
                self.0.insert(match word {
                    $($name::$word { .. } => concat!(stringify!($name), "::", stringify!($word))),+
                });
            })+
        }
    };
}

words! {
    vote: Vote = Vote<'_> { Commit Abort }
    reason: Reason = Reason<'_> {
        MayNotCoordinate BaseDiffers Isolated PlanForbids UpstreamNotReady Unhealthy StorageFull Unreachable NoAnswer
        OvertakenByRetreat CoordinatorReplaced CoordinatorStops
    }
    stage: Stage = Stage<'_> { Blank Rejoining Member Founder }
    standing: Standing = Standing { Follows Ready Leads Leaves }
    said: Said = Said<'_> { Vote Accepted Decided }
    phase: Phase = Phase { Progressing Paused Ended }
    outcome: Outcome = Outcome { Promoted FastPromoted Aborted RolledBack Superseded }
    then: Then = Then { Continue AwaitPromotion }
    mode: Mode = Mode { Enforce Pause Observe }
    shield: Shield = Shield { On Off }
}

impl Met {
    fn message(&mut self, message: &Message<'_>) {
        match message {
            Message::Heartbeat(heartbeat) => self.heartbeat(heartbeat),
            Message::Prepare { next, .. } => self.state(next),
            Message::Vote { vote, .. } => self.one_vote(vote),
            Message::Abort { votes, .. } => self.votes(votes),
            Message::Promise { accepted, .. } => accepted.iter().for_each(|proposal| self.proposal(proposal)),
            Message::Accept { proposal } | Message::Decision { proposal } => self.proposal(proposal),
            Message::Testimony(Testimony { signed, .. }) => {
                signed.clone().into_forms().iter().for_each(|signed| self.said(&signed.statement.said));
            }
            Message::Campaign { .. }
            | Message::Accepted { .. }
            | Message::Reject { .. }
            | Message::Applied { .. }
            | Message::Report(_) => {}
        }
    }

    fn heartbeat(&mut self, heartbeat: &Heartbeat<'_>) {
        self.stage(&heartbeat.stage);
        self.standing(&heartbeat.standing);
        heartbeat.hears.clone().into_forms().iter().for_each(|hearing| self.standing(&hearing.2));
    }

    fn proposal(&mut self, proposal: &Proposal<'_>) {
        self.state(&proposal.state);
        self.votes(&proposal.votes);
    }

    fn votes(&mut self, votes: &Votes<'_>) {
        votes.clone().into_entries().iter().for_each(|(_, vote)| self.one_vote(vote));
    }

    fn one_vote(&mut self, vote: &Vote<'_>) {
        self.vote(vote);
        if let Vote::Abort(reason) = vote {
            self.reason(reason);
        }
    }

    fn state(&mut self, state: &RoutingState<'_>) {
        let Some(rollout) = &state.rollout else { return };
        self.phase(&rollout.phase);
        if let Phase::Ended(outcome) = &rollout.phase {
            self.outcome(outcome);
        }
        let plan = &rollout.plan;
        plan.steps.clone().into_forms().iter().for_each(|step| self.then(&step.then));
        let gates = &plan.gates;
        let gates = [gates.error_rate, gates.p95, gates.error_rate_difference, gates.p95_ratio];
        gates.iter().for_each(|gate| self.mode(&gate.mode));
        self.shield(&plan.shield);
    }
}

#[test]
fn every_word_is_in_a_message() {
    let mut met = Met::default();
    for line in MESSAGES.iter().flat_map(|kind| lines(kind.v5)) {
        let Bytes { bytes, .. } = Bytes::of(line);
        met.message(&postcard::from_bytes(bytes).expect("a message"));
    }
    assert_eq!(met.0, ALL.iter().copied().collect());
}

/// What lines of the audit hold is JSON, where words are spelled out: so those are met there, too.
#[test]
fn every_word_of_states_and_statements_is_in_the_audit() {
    let mut met = Met::default();
    for line in EVENTS.iter().flat_map(|kind| lines(kind.v5)) {
        let line: Line<'_> = serde_json::from_str(line).expect("a line");
        match line.event {
            Event::Decided { state, .. } => met.state(&state),
            Event::Said { signed } => met.said(&signed.statement.said),
            Event::Started { .. }
            | Event::Stopped
            | Event::Certificate { .. }
            | Event::Aborted { .. }
            | Event::Refused { .. }
            | Event::Peer { .. }
            | Event::Rejected { .. }
            | Event::Reloaded { .. }
            | Event::Disbelieved { .. }
            | Event::Lost { .. }
            | Event::Shortened { .. } => {}
        }
    }
    let not_there = ["Vote", "Reason", "Stage", "Standing"];
    let expected = ALL.iter().copied().filter(|word| {
        let kind = word.split("::").next().unwrap_or_default();
        !not_there.contains(&kind)
    });
    assert_eq!(met.0, expected.collect());
}
