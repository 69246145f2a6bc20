//! The surroundings of a member: the disk and the world that it acts on, and what happens to it from there.

use agreement::Stop;
use judge::Samples;
use mesh::WireVersion;
use model::{Actor, NodeId, Testimony, UnixMillis};
use rollout::{Next, Status, Trial};
use service::{Answer, Change, Envelope, Event, Input, Message, Probe, Rate, Record, View};
use std::sync::Arc;
use store::{Room, StoreError};

/// The reason for which the driver ended, other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The member cannot go on.
    #[error(transparent)]
    Stop(#[from] Stop),
}

/// The surroundings that a member acts on. Nothing here answers, waits or fails: what comes back comes back as something that happened.
pub trait Outside {
    /// Where the answer to a caller goes.
    type Caller;

    /// Hands a message to the mesh.
    fn send(&mut self, to: NodeId, message: &Message);
    /// Makes this picture of the member the one that everyone sees.
    fn publish(&mut self, view: View);
    /// Makes this what everyone sees of the canary.
    fn show(&mut self, status: Option<Arc<Status>>);
    /// Speaks version 5 of the wire with nobody from now on.
    fn close(&mut self);
    /// Answers a caller.
    fn answer(&mut self, asked: Asked<Self::Caller>, answer: Answer);
    /// Finds out whether an upstream is ready, and comes back with [`Input::Probed`].
    fn probe(&mut self, probe: Probe);
    /// Counts for this trial from now on, from nothing; or for none.
    fn count(&mut self, trial: Option<&Trial>);
    /// What was counted since.
    fn counted(&mut self) -> Samples;
    /// The rate at which requests have come to this node of late.
    fn rate(&mut self) -> Rate;
    /// Notes that the present step is held up, and by what.
    fn held_up(&mut self, next: &Next);
    /// Notes what the engine is about to be told.
    fn received(&mut self, input: &Input);
    /// Notes what a peer puts its name to.
    fn heard(&mut self, from: NodeId, testimony: Box<Testimony>);
    /// Notes what is on its way.
    fn sent(&mut self, envelopes: &[Envelope]);
    /// Notes what is on disk.
    fn wrote(&mut self, records: &[Record]);
    /// Notes what came of it.
    fn happened(&mut self, event: Event);
    /// Notes that the member has stopped serving the canary by itself and why, or that it serves it again.
    fn ejected(&mut self, why: Option<&str>);
    /// Notes that the disk is full, or no longer.
    fn room(&mut self, room: Room);
}

/// A caller's request for a change.
#[derive(Debug)]
pub struct Asked<Caller> {
    /// What to change.
    pub change: Change,
    /// The version that the caller bases it on, if it names one.
    pub base_version: Option<u64>,
    /// Who asks.
    pub by: Actor,
    /// Where the answer goes.
    pub caller: Caller,
}

/// One thing that happens to a member.
pub enum Happened<Caller> {
    /// There is a link to this member now, and this version of the wire is spoken on it.
    Up(NodeId, WireVersion),
    /// The link to this member is lost.
    Down(NodeId),
    /// A member says something.
    Message(NodeId, Message),
    /// A probe has come back, or a deadline has come.
    Input(Input),
    /// A caller asks for a change, at this time of the wall clock.
    Asked(Asked<Caller>, UnixMillis),
    /// It is time to look how much room there is on the disk.
    LookAtRoom,
    /// Nothing that concerns the agreement.
    Nothing,
}

/// Whether all is done that follows from what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// It is.
    Done,
    /// Whoever else has to do with what was sent should have a turn before [`Member::go_on`](crate::Member::go_on): what is left takes its
    /// time, and what was sent need not wait for it.
    Pause,
}
