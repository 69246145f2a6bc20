//! The events of a simulated mesh, trouble among them.

use super::surroundings::Effect;
use crate::disk::Fate;
use agreement::OnEmptyDisk;
use bytes::Bytes;
use member::Progress;
use mesh::WireVersion;
use model::{NodeId, TxId};
use service::Change;

/// What is to happen at some time.
pub(super) enum Event {
    /// A message arrives.
    Arrive {
        from: NodeId,
        to: NodeId,
        connection: Option<u32>,
        frame: Bytes,
    },
    /// A member tries to connect to another one.
    Dial(NodeId, NodeId),
    /// A member may notice that a link is dead.
    Notice(NodeId, NodeId),
    /// An upstream answers.
    Probed(NodeId, u32, TxId),
    /// The disk has done what took so long.
    Written {
        node: NodeId,
        run: u32,
        effects: Vec<Effect>,
        progress: Progress,
        looked: bool,
    },
    /// A machine goes on.
    GoOn(NodeId),
    /// Nobody can ask a process any more that was told to stop; a while later it must be gone.
    End(NodeId, u32),
    MustHaveLeft(NodeId, u32),
    /// A process is started.
    Start(NodeId, OnEmptyDisk),
    /// An operator asks a node for something.
    Ask {
        node: NodeId,
        change: Change,
        by: u8,
        tries: u8,
    },
    /// A member ends its links of a version of the wire that it has left behind.
    Shut(NodeId),
    /// Trouble begins or ends.
    Trouble(Trouble),
}

/// One kind of trouble, or the end of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The next messages are lost; or arrive twice.
    Lose(NodeId, NodeId, u32),
    Double(NodeId, NodeId, u32),
    /// Everything takes so much longer, in microseconds, or overtakes one another; until it is over.
    Delay(NodeId, NodeId, u64),
    Disorder(NodeId, NodeId),
    /// A message from long ago comes once more.
    Late,
    /// Nothing gets through in this direction, for so many milliseconds; in both; or to and from a machine at all.
    CutOneWay(NodeId, NodeId, u64),
    CutBothWays(NodeId, NodeId, u64),
    Isolate(NodeId, u64),
    /// A connection is lost, and made anew, this many times.
    Flap(NodeId, NodeId, u8),
    Mend(NodeId, NodeId),
    /// A process is killed; the power of a machine is cut; or of all.
    Kill(NodeId),
    PowerCut(NodeId),
    PowerCutOfAll,
    /// The disk does this after so many operations; the power is cut then, or only the process dies.
    Disk(NodeId, usize, Fate),
    /// The process dies after so many effects; or in so many pauses.
    DieAfterEffects(NodeId, usize),
    DieInPause(NodeId, usize),
    /// A disk and all that is on it are lost.
    LoseDisk(NodeId),
    /// The disk is full, or as slow as this in microseconds, for a while.
    Full(NodeId, u64),
    Slow(NodeId, u64),
    Recover(NodeId),
    /// A clock goes at another rate, in millionths; or the one on the wall is set, by so many milliseconds.
    Drift(NodeId, i64),
    SetWall(NodeId, i64),
    /// A process is stopped for so many milliseconds.
    Stop(NodeId, u64),
    /// A process is told to stop, as a service manager does; it goes on serving for so many milliseconds.
    Leave(NodeId, u64),
    /// Another program takes the place of a process, which speaks no newer version of the wire than this one.
    Replace(NodeId, WireVersion),
    /// The upstream does not answer, for so many milliseconds.
    SpoilUpstream(NodeId, u64),
    Upstream(NodeId),
}
