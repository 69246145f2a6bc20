//! The network between the machines: for each direction a link that may be up or down, cut, slow or out of order.

use mesh::WireVersion;
use model::{NodeId, Time};

/// One direction between two machines: what the first one sends.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    /// The sender's connection is up, as far as it knows.
    pub(super) up: bool,
    /// The version of the wire that is spoken on it.
    pub(super) wire: Option<WireVersion>,
    /// Which connection it is: what was sent on an earlier one does not arrive.
    pub(super) connection: u32,
    /// Nothing gets through.
    pub(super) cut: bool,
    /// How much longer than usual everything takes, in microseconds.
    pub(super) delay_us: u64,
    /// Messages overtake one another.
    pub(super) disordered: bool,
    /// So many of the next messages are lost.
    pub(super) losing: u32,
    /// So many of the next messages arrive twice.
    pub(super) doubling: u32,
    last_arrival: Time,
}

/// All links.
#[derive(Clone, Debug)]
pub(super) struct Network {
    members: usize,
    links: Vec<Link>,
}

impl Link {
    /// When a message arrives that takes so long, and whether it overtakes another.
    pub(super) fn arrival(&mut self, now: Time, takes_us: u64) -> (Time, bool) {
        let at = Time::from_micros(now.as_micros() + takes_us + self.delay_us);
        let overtakes = at < self.last_arrival;
        let at = if self.disordered { at } else { at.max(Time::from_micros(self.last_arrival.as_micros() + 1)) };
        self.last_arrival = self.last_arrival.max(at);
        (at, overtakes && self.disordered)
    }
}

impl Network {
    pub(super) fn new(members: usize) -> Self {
        Self { members, links: vec![Link::default(); members * members] }
    }

    pub(super) fn link(&mut self, from: NodeId, to: NodeId) -> &mut Link {
        &mut self.links[usize::from(from.index()) * self.members + usize::from(to.index())]
    }

    pub(super) fn is_cut(&mut self, from: NodeId, to: NodeId) -> bool {
        self.link(from, to).cut
    }

    /// Everything works as it should.
    pub(super) fn mend(&mut self) {
        for link in &mut self.links {
            (link.cut, link.delay_us, link.disordered, link.losing, link.doubling) = (false, 0, false, 0, 0);
        }
    }
}
