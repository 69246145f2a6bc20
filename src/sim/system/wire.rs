//! Messages on their way, and the connections that they take.

use super::event::Event;
use super::sometimes::Sometimes;
use super::world::World;
use crate::search::observer::{Broken, Promise, broken};
use bytes::Bytes;
use member::Happened;
use mesh::{WireVersion, codec};
use model::NodeId;
use std::time::Duration;

impl World {
    /// Hands a message over that has come.
    pub(super) fn arrive(
        &mut self,
        from: NodeId,
        to: NodeId,
        connection: Option<u32>,
        frame: Bytes,
    ) -> Result<(), Broken> {
        if !self.is_up(to) || connection.is_some_and(|sent_on| sent_on != self.network.link(from, to).connection) {
            return Ok(());
        }
        if connection.is_some() && self.network.link(from, to).wire == Some(WireVersion::V5) {
            if self.node(from).closed || self.node(to).closed {
                return Ok(());
            }
            self.watch.said_in_5(from, to)?;
        }
        self.mark(1, to, &frame);
        match codec::unpack(from, frame) {
            Ok(message) => {
                self.tell(|| format!("  {to} hears {} of {from}", message.kind()));
                self.take(to, Happened::Message(from, message))
            }
            Err(error) => broken(Promise::NoAlarm, format!("{to} cannot read what {from} sent: {error}")),
        }
    }

    /// Puts a message on its way.
    pub(super) fn post(&mut self, from: NodeId, to: NodeId, frame: Bytes) {
        let takes = match self.dice.below(16) {
            0 => self.dice.below(30_000) as u64,
            _ => 200 + self.dice.below(1_500) as u64,
        };
        let now = self.now;
        if self.dice.once_in(16) && self.old.len() < 16 {
            self.old.push((from, to, frame.clone()));
        }
        let link = self.network.link(from, to);
        if !link.up || link.cut {
            return;
        }
        if link.losing > 0 {
            link.losing -= 1;
            return;
        }
        let (at, overtook) = link.arrival(now, takes);
        let (connection, twice) = (Some(link.connection), link.doubling > 0);
        link.doubling = link.doubling.saturating_sub(1);
        self.watch.seen.note_if(overtook, Sometimes::Reordered);
        if twice {
            let again = at + Duration::from_micros(self.dice.below(20_000) as u64);
            self.at(again, Event::Arrive { from, to, connection, frame: frame.clone() });
        }
        self.at(at, Event::Arrive { from, to, connection, frame });
    }

    /// Connects, if both ends live and nothing lies between them.
    pub(super) fn dial(&mut self, from: NodeId, to: NodeId) -> Result<(), Broken> {
        let blocked = self.network.is_cut(from, to) || self.network.is_cut(to, from);
        if !self.is_up(from) || !self.is_up(to) || blocked || self.network.link(from, to).up {
            return Ok(());
        }
        let (one, other) = (self.node(from), to);
        let (wire, closed) = (one.wire, one.closed);
        let other = self.node(other);
        let (wire, closed) = (wire.min(other.wire), closed || other.closed);
        if closed && wire == WireVersion::V5 {
            self.watch.seen.note(Sometimes::RefusedForItsVersion);
            return Ok(());
        }
        let link = self.network.link(from, to);
        (link.up, link.connection, link.wire) = (true, link.connection + 1, Some(wire));
        self.node(from).surroundings.spoken.insert(to, wire);
        self.take(from, Happened::Up(to, wire))
    }

    /// Ends the links of a member on which version 5 of the wire is spoken.
    pub(super) fn shut(&mut self, id: NodeId) -> Result<(), Broken> {
        for other in self.ids().filter(|other| *other != id) {
            for (from, to) in [(id, other), (other, id)] {
                if self.network.link(from, to).wire == Some(WireVersion::V5) {
                    self.break_link(from, to)?;
                }
            }
        }
        Ok(())
    }

    /// Notices that the other end of a link is gone, or cannot be reached.
    pub(super) fn notice(&mut self, from: NodeId, to: NodeId) -> Result<(), Broken> {
        let blocked = self.network.is_cut(from, to) || self.network.is_cut(to, from);
        if !self.network.link(from, to).up || !self.is_up(from) {
            return Ok(());
        }
        if blocked || !self.is_up(to) {
            return self.break_link(from, to);
        }
        // The other end is back already: that the old connection is dead shows when the new one comes.
        self.break_link(from, to)?;
        self.dial(from, to)
    }

    /// Ends a connection.
    pub(super) fn break_link(&mut self, from: NodeId, to: NodeId) -> Result<(), Broken> {
        let link = self.network.link(from, to);
        if !std::mem::replace(&mut link.up, false) {
            return Ok(());
        }
        link.connection += 1;
        self.take(from, Happened::Down(to))
    }
}
