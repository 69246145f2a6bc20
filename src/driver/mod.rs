//! Floor 3: the one task that owns the engine, and the handle that all others hold.

mod clock;
mod handle;

pub use clock::{boottime, unix_millis};
pub use handle::{Handle, HistoryEntry, Outcome, Publisher, Request, Stopped};

// What a handle shows and answers, for the floors above, which know the agreement only through it.
pub use crate::commit::{Answer, IsolationPolicy, PeerView, Pending, Reason, Refusal, Stage, View, Vote, Votes};
