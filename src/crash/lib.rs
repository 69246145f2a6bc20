//! The steps at which a test can make a node die: before and after everything that is written, forced, renamed, sent
//! or shown.
//!
//! A test in `tests/house.rs` sees to it that no such call is outside of a step. Where debug assertions are off, in every
//! release build, all of this is nothing: `around` calls what it is given, and there is no list, no name and no variable.

#[cfg(debug_assertions)]
mod armed;

/// The name in the environment that makes a node die; none where nothing reads it.
#[cfg(debug_assertions)]
pub const VARIABLE: Option<&str> = Some(armed::VARIABLE);
/// The name in the environment that makes a node die; none where nothing reads it.
#[cfg(not(debug_assertions))]
pub const VARIABLE: Option<&str> = None;

/// One kind of thing that leaves a trace outside of this process's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The data directory is made.
    DirectoryMake,
    /// The name of something made is forced to disk.
    DirectoryForce,
    /// The lock is marked with the process.
    LockWrite,
    /// A segment is written full of zeros.
    SegmentMake,
    /// That is forced to disk.
    SegmentForce,
    /// Records are written, or wiped.
    RecordWrite,
    /// They are forced to disk.
    RecordForce,
    /// The identity is written beside its place.
    IdentityWrite,
    /// That is forced to disk.
    IdentityForce,
    /// It takes its place.
    IdentityRename,
    /// What was decided is written down for people.
    HistoryWrite,
    /// That goes on in a new file.
    HistoryRename,
    /// The oldest of it goes.
    HistoryRemove,
    /// Lines of the audit record are written.
    AuditWrite,
    /// They are forced to disk.
    AuditForce,
    /// Its end is named, or it goes on in a new file.
    AuditRename,
    /// The oldest of it goes.
    AuditRemove,
    /// A view becomes visible to everybody here.
    Publish,
    /// A message is handed to the mesh.
    Send,
    /// A caller is answered.
    Reply,
    /// Bytes go to a peer.
    LinkWrite,
}

/// On which side of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It has not happened.
    Before,
    /// It has.
    After,
}

/// Does `act`, which is this step.
#[inline]
pub fn around<T>(step: Step, act: impl FnOnce() -> T) -> T {
    point(step, When::Before);
    let done = act();
    point(step, When::After);
    done
}

/// Passes one side of a step; for steps that wait in between.
#[cfg(debug_assertions)]
pub fn point(step: Step, when: When) {
    armed::pass(step, when);
}

/// Passes one side of a step; for steps that wait in between.
#[cfg(not(debug_assertions))]
#[inline]
pub const fn point(_: Step, _: When) {}
