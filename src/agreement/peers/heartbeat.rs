//! Heartbeats: what a member says of itself, what it learns of the others, and the lease that their echoes give.

use super::Peers;
use crate::acceptor::Acceptor;
use crate::{Alarm, Config, Engine, Envelope, Event, Heartbeat, Lease, Message, Output, Register, Rules, Stage};
use model::{NodeId, NodeSet, Time};
use std::sync::Arc;

/// A lease that ends sooner than this many heartbeats from now is renewed with an echo asked for at once.
const RENEW_BEFORE: u32 = 2;

impl Peers {
    /// An echo counts when neither its sender nor this member holds anything accepted above what is committed here:
    /// then nothing that this member does not know was decided before the echoed heartbeat was sent.
    fn count_echo<V: Register>(
        &mut self,
        now: Time,
        from: NodeId,
        heartbeat: &Heartbeat,
        acceptor: &Acceptor<V>,
        rules: &impl Rules,
    ) {
        // An echo of what an earlier process sent says nothing of what this one has forgotten.
        let Some(sent) = heartbeat.echo.filter(|sent| *sent >= self.started) else { return };
        let committed = acceptor.committed().state.version();
        let counts = rules.echoes_count(&heartbeat.stage);
        let clean_echo = rules.is_clean_echo(heartbeat.accepted.max(heartbeat.committed.0), committed);
        let clean_self = rules.is_clean_self(acceptor.accepted_version(), committed);
        if counts && clean_echo && clean_self && acceptor.disk().joined.is_some() {
            self.credit(from, rules.lease_begins(sent, now));
        }
    }

    fn lease_end<V>(&self, config: &Config<V>, rules: &impl Rules) -> Time {
        let timing = &config.timing;
        let at_start = rules.lease_at_start(self.started, timing);
        let counted = self.counted_lease(rules.echoes(config.members), timing.lease);
        rules.lease_end(counted.map_or(at_start, |end| end.max(at_start)), self.shown_lease, timing)
    }
}

impl<V: Register, R: Rules> Engine<V, R> {
    pub(crate) fn on_peer_up(&mut self, now: Time, id: NodeId, out: &mut Output<V>) {
        if let Some(peer) = self.peers.peer_mut(id) {
            peer.connected = true;
        }
        out.publish = true;
        self.send_heartbeat(now, id, EchoWish::IfNeeded, out);
        self.proposer.remind(id, out);
    }

    pub(crate) fn on_peer_down(&mut self, now: Time, id: NodeId, out: &mut Output<V>) {
        if let Some(peer) = self.peers.peer_mut(id) {
            peer.connected = false;
        }
        out.publish = true;
        self.proposer.count_as_unreachable(id);
        self.answer_questions(now, out);
    }

    pub(crate) fn on_heartbeat(&mut self, now: Time, from: NodeId, heartbeat: &Heartbeat, out: &mut Output<V>) {
        let was_heard = self.peers.heard_readiness(from, now).is_some();
        self.peers.on_heartbeat(now, self.config.me, from, heartbeat);
        self.proposer.hear(heartbeat.promise.round);
        out.publish = true;
        self.on_stage(from, heartbeat, out);
        self.peers.count_echo(now, from, heartbeat, &self.acceptor, &self.rules);
        // One that was not heard for a while wants to know soon that it is heard again.
        if heartbeat.wants_echo || !was_heard {
            self.send_heartbeat(now, from, EchoWish::Never, out);
        }
        if !self.has_joined() {
            return;
        }
        let (version, digest) = heartbeat.committed;
        if version == self.acceptor.committed().state.version()
            && digest != self.acceptor.digest()
            && heartbeat.stage.has_joined()
        {
            out.events.push(Event::Alarm(Alarm::Diverged { from, version }));
        }
        if version < self.acceptor.committed().state.version() && heartbeat.stage.has_joined() {
            let proposal = Arc::clone(self.acceptor.committed());
            self.send(from, Message::Decision { proposal }, out);
        }
        self.on_applied(now, from, version, out);
    }

    /// When the lease ends.
    pub(crate) fn lease_end(&self) -> Time {
        self.peers.lease_end(&self.config, &self.rules)
    }

    /// Tells the log when the lease comes or goes. What is served does not wait for this.
    pub(crate) fn report_lease(&mut self, now: Time, out: &mut Output<V>) {
        let lease = if now < self.lease_end() { Lease::Holds } else { Lease::Over };
        if lease == self.peers.shown_lease {
            return;
        }
        self.peers.shown_lease = lease;
        out.publish = true;
        match lease {
            Lease::Holds => out.events.push(Event::Confirmed { version: self.acceptor.committed().state.version() }),
            Lease::Over => {
                out.events.push(Event::Isolated);
                self.send_heartbeats(now, out);
            }
        }
    }

    /// The members in touch both ways, this one included.
    pub(crate) fn in_touch(&self, now: Time) -> NodeSet {
        self.peers.in_touch(now).with(self.config.me)
    }

    /// Whether this member is in touch with a majority and could tell it something now: a link that is known to be closed
    /// says so before the silence does.
    pub(crate) fn reaches_majority(&self, now: Time) -> bool {
        let reachable = self.in_touch(now).and(self.peers.connected().with(self.config.me));
        reachable.len() >= self.config.members.majority()
    }

    pub(crate) fn send_due_heartbeats(&mut self, now: Time, out: &mut Output<V>) -> bool {
        let due = now >= self.peers.next_heartbeat;
        if due {
            self.send_heartbeats(now, out);
        }
        due
    }

    /// Sends a heartbeat to every connected member.
    pub(crate) fn send_heartbeats(&mut self, now: Time, out: &mut Output<V>) {
        self.peers.next_heartbeat = now + self.config.timing.heartbeat;
        for to in self.peers.connected().iter() {
            self.send_heartbeat(now, to, EchoWish::IfNeeded, out);
        }
    }

    fn send_heartbeat(&mut self, now: Time, to: NodeId, wish: EchoWish, out: &mut Output<V>) {
        let timing = &self.config.timing;
        let renew = now + timing.heartbeat * RENEW_BEFORE >= self.lease_end();
        let stage = self.stage(Some(to));
        let committed = (self.acceptor.committed().state.version(), self.acceptor.digest());
        let heartbeat = Heartbeat {
            sent: now,
            echo: self.peers.stamp_of(to).filter(|_| self.rules.echoes_count(&stage)),
            wants_echo: wish == EchoWish::IfNeeded && renew,
            stage,
            incarnation: self.acceptor.disk().incarnation,
            committed,
            accepted: self.acceptor.accepted_version().max(committed.0),
            promise: self.acceptor.disk().promise,
            readiness: self.readiness(now),
            hears: self.peers.hears(now),
        };
        out.send.push(Envelope { to, message: Message::Heartbeat(Box::new(heartbeat)) });
    }

    /// This member's stage, as it shows it to everyone or to one member.
    pub(crate) fn stage(&self, to: Option<NodeId>) -> Stage {
        let Some(founders) = &self.acceptor.disk().joined else { return self.joining.stage() };
        // Only those who may still be blank need the proof of the first boot; the others are spared its bytes.
        let says = to.and_then(|to| self.peers.peer(to)).and_then(|peer| peer.says.as_ref());
        if founders.is_empty() || to.is_none() || says.is_some_and(|says| says.stage.has_joined()) {
            return Stage::Member;
        }
        Stage::Founder { founders: founders.clone() }
    }

    /// Notes that `from` serves `version`, or a later one.
    pub(crate) fn on_applied(&mut self, now: Time, from: NodeId, version: u64, out: &mut Output<V>) {
        // Who watches wants to see who serves what; for others this is no news.
        out.publish |= self.peers.on_applied(from, version) && self.acceptor.committed().state.is_watched();
        self.answer_questions(now, out);
    }
}

/// Whether a heartbeat may ask for an echo at once. One that answers such a wish does not, or two members without a
/// lease would answer each other for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EchoWish {
    IfNeeded,
    Never,
}
