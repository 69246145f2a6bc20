//! The record of who did what, and the proof that the members agreed.
//!
//! Each node keeps a file of its own, `audit.jsonl` in its data directory, that only grows: one line of JSON for each thing
//! that happened, and in each line the SHA-256 of the line before, so that none can be changed, dropped or moved without
//! a trace. Votes, acceptances and decisions carry the signature of the member that says them, its own and those of its
//! peers, so that [`verify`] can prove from the file alone that a state was agreed.
//!
//! Nothing waits for this file: it is written by a thread of its own, a moment later. The agreement never reads it. When
//! it cannot be written, or there is more to write than the thread can keep up with, the node goes on, the log says so, and
//! the file says how much is missing.

mod batch;
mod file;
mod form;
mod line;
mod log;
mod proof;
mod verify;
mod writer;

pub use batch::{Batch, Outgoing, Word};
pub use file::{AUDIT_FILE, files_in};
pub use line::{Event, Line, Verdicts};
pub use log::{Closing, Log, Opened};
pub use proof::Decision;
pub use verify::{Finding, Source, Verification, verify};
