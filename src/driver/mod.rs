//! Floor 3: the one task that owns the engine, and the handle that all others hold.

mod clock;
mod handle;

pub use clock::{boottime, unix_millis};
pub use handle::{Handle, HistoryEntry, Outcome, Publisher, Request, Stopped};
