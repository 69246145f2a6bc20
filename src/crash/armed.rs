//! What kills the process, in builds with debug assertions only.
//!
//! `CANARY_CRASH=record-force.before` dies at the first passing of that side of that step, `CANARY_CRASH=send.after:3` at the
//! third. With `@FILE` behind it, only passings count that happen while that file exists.

use super::{Step, When};
use rustix::process::{Signal, getpid, kill_process};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const VARIABLE: &str = "CANARY_CRASH";

impl Step {
    /// Every step.
    pub const ALL: [Self; 21] = [
        Self::DirectoryMake,
        Self::DirectoryForce,
        Self::LockWrite,
        Self::SegmentMake,
        Self::SegmentForce,
        Self::RecordWrite,
        Self::RecordForce,
        Self::IdentityWrite,
        Self::IdentityForce,
        Self::IdentityRename,
        Self::HistoryWrite,
        Self::HistoryRename,
        Self::HistoryRemove,
        Self::AuditWrite,
        Self::AuditForce,
        Self::AuditRename,
        Self::AuditRemove,
        Self::Publish,
        Self::Send,
        Self::Reply,
        Self::LinkWrite,
    ];

    /// Its name in the variable.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DirectoryMake => "directory-make",
            Self::DirectoryForce => "directory-force",
            Self::LockWrite => "lock-write",
            Self::SegmentMake => "segment-make",
            Self::SegmentForce => "segment-force",
            Self::RecordWrite => "record-write",
            Self::RecordForce => "record-force",
            Self::IdentityWrite => "identity-write",
            Self::IdentityForce => "identity-force",
            Self::IdentityRename => "identity-rename",
            Self::HistoryWrite => "history-write",
            Self::HistoryRename => "history-rename",
            Self::HistoryRemove => "history-remove",
            Self::AuditWrite => "audit-write",
            Self::AuditForce => "audit-force",
            Self::AuditRename => "audit-rename",
            Self::AuditRemove => "audit-remove",
            Self::Publish => "publish",
            Self::Send => "send",
            Self::Reply => "reply",
            Self::LinkWrite => "link-write",
        }
    }
}

impl When {
    /// Both sides.
    pub const BOTH: [Self; 2] = [Self::Before, Self::After];

    /// Its name in the variable.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// What this process was told.
struct Armed {
    step: Step,
    when: When,
    /// At which passing it dies.
    passing: u64,
    passed: AtomicU64,
    /// Must be there.
    trigger: Option<PathBuf>,
}

pub(super) fn pass(step: Step, when: When) {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let Some(armed) = ARMED.get_or_init(armed) else { return };
    if (armed.step, armed.when) != (step, when) || armed.trigger.as_ref().is_some_and(|file| !file.exists()) {
        return;
    }
    if armed.passed.fetch_add(1, Ordering::Relaxed) + 1 == armed.passing {
        let _ = kill_process(getpid(), Signal::KILL);
        std::process::abort();
    }
}

fn armed() -> Option<Armed> {
    let text = std::env::var(VARIABLE).ok()?;
    let (text, trigger) = text.split_once('@').map_or((text.as_str(), None), |(text, file)| (text, Some(file.into())));
    let (point, passing) = text.split_once(':').unwrap_or((text, "1"));
    let (step, when) = point.split_once('.')?;
    let step = Step::ALL.into_iter().find(|known| known.name() == step)?;
    let when = When::BOTH.into_iter().find(|known| known.name() == when)?;
    Some(Armed { step, when, passing: passing.parse().ok()?, passed: AtomicU64::new(0), trigger })
}
