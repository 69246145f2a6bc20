//! The one task that owns the agreement and the controller of rollouts, and the handle that all others hold.

mod audit_tap;
mod clock;
mod door;
mod entry;
mod facts;
mod handle;
mod history;
mod journal;
mod member;
mod outside;
mod rules;
mod run;

pub use clock::{boottime, unix_millis};
pub use door::oldest_spoken;
pub use entry::{Decision, HistoryEntry, Split};
pub use handle::{Handle, Publisher, Request, Stopped};
pub use member::Member;
pub use outside::{Asked, DriverError, Happened, Outside, Progress};
pub use rules::{All, Effect, Rules};
pub use run::{Driver, Inbox, Probing, Stopping, Traffic};

// What the node configures, and what a handle shows and answers, for the rooms above, which know the agreement only through it.
pub use agreement::{IsolationPolicy, OnEmptyDisk, PeerView, Pending, Reason, Stage, Stop, Timing, Vote, Votes};
pub use service::{Answer, Config, Engine, Refusal, View};
