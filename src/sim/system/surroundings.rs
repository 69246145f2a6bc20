//! The surroundings that a simulated member acts on: it keeps what the member does, in order, until the world carries it out; and the
//! traffic that its node gets, made up.

use bytes::Bytes;
use judge::{Arms, Measured, Samples};
use member::{Asked, Outside};
use mesh::{WireVersion, codec};
use model::{Counts, NodeId, Testimony, Time, Weight};
use rollout::{Next, Status, Trial};
use service::{Answer, Envelope, Event, Input, Message, Probe, Proposal, Rate, Record, View, serving_weight};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Room;

/// The number of a caller's question.
pub(super) type Question = u32;

/// One thing that a member did.
pub(super) enum Effect {
    /// It sent a message, as these bytes. Of heartbeats nobody looks at more.
    Send { to: NodeId, frame: Bytes, message: Option<Message> },
    /// It made this visible.
    Publish(Box<View>),
    /// It answered.
    Answer(Question, Answer),
    /// It asks its upstream.
    Probe(Probe),
    /// It tells the log.
    Event(Event),
    /// It has stopped serving the canary by itself, or serves it again.
    Ejected,
    /// It speaks version 5 of the wire with nobody any more.
    Close,
}

/// How a canary does on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quality {
    /// Requests that the node gets in a second.
    pub(super) rate: u64,
    /// One in so many requests to the canary fails; none at 0.
    pub(super) fails_one_in: u64,
}

/// What a node's users do, and what it counts.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    pub(super) quality: Quality,
    /// The share that the canary gets.
    share: Weight,
    trial: Option<Trial>,
    /// Until when the requests have been counted, by the node's clock.
    until: Time,
    /// Ten-thousandths of a request.
    stable: u64,
    canary: u64,
}

/// The member's surroundings.
pub(super) struct Surroundings {
    pub(super) effects: Vec<Effect>,
    /// What it accepted, is on disk, and was not yet looked at.
    pub(super) accepted: Vec<Arc<Proposal>>,
    pub(super) traffic: Traffic,
    /// The node's clock.
    pub(super) now: Time,
    /// The version of the wire on its link to each other member.
    pub(super) spoken: BTreeMap<NodeId, WireVersion>,
    /// A message that had no words in version 5 of the wire, and was not sent.
    pub(super) unsaid: bool,
    /// Whether a message could not be written down.
    pub(super) unsendable: Option<String>,
}

impl Traffic {
    pub(super) const fn new(quality: Quality) -> Self {
        Self { quality, share: Weight::ZERO, trial: None, until: Time::ZERO, stable: 0, canary: 0 }
    }

    /// Counts the requests up to `now`.
    fn flow(&mut self, now: Time) {
        let passed = u64::try_from(now.since(self.until).as_micros()).unwrap_or(u64::MAX);
        self.until = self.until.max(now);
        if self.trial.is_none() || self.quality.rate == 0 {
            return;
        }
        let requests = passed.saturating_mul(self.quality.rate) / 1_000_000;
        // Whoever counts often must not lose what is less than one request.
        self.until = self.until - std::time::Duration::from_micros(passed - requests * 1_000_000 / self.quality.rate);
        let share = u64::from(self.share.basis_points());
        self.canary += requests * share;
        self.stable += requests * (10_000 - share);
    }

    fn share(&mut self, now: Time, share: Weight) {
        self.flow(now);
        self.share = share;
    }

    fn count(&mut self, now: Time, trial: Option<&Trial>) {
        self.trial = trial.cloned();
        (self.until, self.stable, self.canary) = (now, 0, 0);
    }

    /// The epoch that is counted for, and the requests to its canary.
    pub(super) fn measured(&self) -> Option<(u64, u64)> {
        self.trial.as_ref().map(|trial| (trial.epoch, self.canary / 10_000))
    }

    fn samples(&mut self, now: Time) -> Samples {
        self.flow(now);
        let (stable, canary) = (self.stable / 10_000, self.canary / 10_000);
        let failed = canary.checked_div(self.quality.fails_one_in).unwrap_or(0);
        Samples { routed: Arms { stable: measured(stable, 0), canary: measured(canary, failed) }, ..Samples::default() }
    }
}

fn measured(requests: u64, errors: u64) -> Measured {
    if requests == 0 {
        return Measured::default();
    }
    let good = u32::try_from(requests - errors).unwrap_or(u32::MAX);
    let latencies = vec![(5_000, good)];
    Measured::from_counts(&Counts { requests, errors, latencies, ..Counts::default() })
}

impl Outside for Surroundings {
    type Caller = Question;

    fn send(&mut self, to: NodeId, message: &Message) {
        let wire = self.spoken.get(&to).copied().unwrap_or(WireVersion::V5);
        match codec::pack(message, wire) {
            Err(_) if wire == WireVersion::V5 && codec::pack(message, WireVersion::V6).is_ok() => self.unsaid = true,
            Ok(frame) => {
                let message = (!matches!(message, Message::Heartbeat(_))).then(|| message.clone());
                self.effects.push(Effect::Send { to, frame, message });
            }
            Err(error) => self.unsendable = Some(error),
        }
    }

    fn publish(&mut self, view: View) {
        self.traffic.share(self.now, serving_weight(&view, self.now));
        self.effects.push(Effect::Publish(Box::new(view)));
    }

    fn show(&mut self, _: Option<Arc<Status>>) {}

    fn close(&mut self) {
        self.effects.push(Effect::Close);
    }

    fn answer(&mut self, asked: Asked<Question>, answer: Answer) {
        self.effects.push(Effect::Answer(asked.caller, answer));
    }

    fn probe(&mut self, probe: Probe) {
        self.effects.push(Effect::Probe(probe));
    }

    fn count(&mut self, trial: Option<&Trial>) {
        self.traffic.count(self.now, trial);
    }

    fn counted(&mut self) -> Samples {
        self.traffic.samples(self.now)
    }

    fn rate(&mut self) -> Rate {
        Rate(self.traffic.quality.rate.saturating_mul(1_000_000))
    }

    fn held_up(&mut self, _: &Next) {}

    fn received(&mut self, _: &Input) {}

    fn heard(&mut self, _: NodeId, _: Box<Testimony>) {}

    fn sent(&mut self, _: &[Envelope]) {}

    fn wrote(&mut self, records: &[Record]) {
        self.accepted.extend(records.iter().filter_map(|record| match record {
            Record::Accepted(proposal) => Some(Arc::clone(proposal)),
            Record::Joined(_) | Record::Promised(_) | Record::Committed(_) | Record::AcceptedIsCommitted => None,
        }));
    }

    fn happened(&mut self, event: Event) {
        self.effects.push(Effect::Event(event));
    }

    fn ejected(&mut self, why: Option<&str>) {
        if why.is_some() {
            self.effects.push(Effect::Ejected);
        }
    }

    fn room(&mut self, _: Room) {}
}
