//! The versions of what is said after TLS: this one, and the one before it, so that a mesh can be upgraded, and taken back,
//! one node after the other.
//!
//! A greeting names a span, the oldest and the newest version that its sender speaks; a connection uses the newest that
//! both know.

use format::Version as WireVersion;
use tls::{Reason, Refusal};

/// The versions that a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spoken {
    /// The oldest; the newest, too, once all members have left the one before behind.
    pub(super) oldest: WireVersion,
    /// The newest that it is not held back from.
    pub(super) newest: WireVersion,
}

impl Spoken {
    /// Those of a node that speaks none newer than `newest`.
    pub(super) const fn up_to(newest: WireVersion) -> Self {
        Self { oldest: WireVersion::V5, newest }
    }

    /// As a greeting names them.
    pub(super) const fn numbers(self) -> (u16, u16) {
        (self.oldest.wire(), self.newest.wire())
    }

    /// The version for a connection with a node whose greeting names `theirs`. Fails when there is none that both
    /// speak.
    pub(super) fn agree(self, theirs: (u16, u16)) -> Result<WireVersion, Refusal> {
        let (oldest, newest) = theirs;
        let version = WireVersion::of_wire(newest.min(self.newest.wire())).filter(|version| version.wire() >= oldest);
        let version = version.ok_or_else(|| {
            let what =
                if oldest > self.newest.wire() { ": run the others' program here, without --wire-version" } else { "" };
            let (theirs, ours) = (range(theirs), range(self.numbers()));
            let detail = format!("the other side speaks version {theirs} of the protocol, this node {ours}{what}");
            Refusal::new(Reason::WireVersion, detail)
        })?;
        self.allow(version)
    }

    /// The version, unless it was left behind. Fails when it was.
    pub(super) fn allow(self, version: WireVersion) -> Result<WireVersion, Refusal> {
        let Self { oldest, .. } = self;
        if version >= oldest {
            return Ok(version);
        }
        let detail = format!(
            "all members speak version {oldest} of the protocol for good, the other side none newer than {version}: \
             run the others' program there, without --wire-version"
        );
        Err(Refusal::new(Reason::WireVersion, detail))
    }
}

fn range((oldest, newest): (u16, u16)) -> String {
    if oldest < newest { format!("{oldest} to {newest}") } else { oldest.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_that_both_speak_is_used() {
        use WireVersion::{V5, V6};
        for (ours, theirs, wanted) in [
            (V6, (5, 6), Some(V6)),
            (V6, (5, 5), Some(V5)),
            (V6, (4, 5), Some(V5)),
            (V5, (5, 6), Some(V5)),
            (V5, (4, 5), Some(V5)),
            (V6, (6, 7), Some(V6)),
            (V5, (6, 7), None),
            (V6, (7, 8), None),
            (V6, (4, 4), None),
            (V6, (6, 5), None),
            (V6, (0, 0), None),
            (V6, (0, u16::MAX), Some(V6)),
        ] {
            let agreed = Spoken::up_to(ours).agree(theirs);
            assert_eq!(agreed.as_ref().ok(), wanted.as_ref(), "{ours} with {theirs:?}: {agreed:?}");
        }
        assert_eq!(Spoken::up_to(V6).agree((7, 8)).map_err(|refusal| refusal.reason), Err(Reason::WireVersion));
    }

    #[test]
    fn both_sides_come_to_the_same() {
        for ours in [WireVersion::V5, WireVersion::V6] {
            for theirs in [WireVersion::V5, WireVersion::V6] {
                let (ours, theirs) = (Spoken::up_to(ours), Spoken::up_to(theirs));
                assert_eq!(ours.agree(theirs.numbers()).ok(), theirs.agree(ours.numbers()).ok());
            }
        }
    }

    #[test]
    fn a_version_that_all_have_left_behind_is_spoken_no_more_and_the_refusal_says_what_to_do() {
        let (closed, old) = (Spoken { oldest: WireVersion::V6, ..Spoken::up_to(WireVersion::V6) }, (5, 5));
        assert_eq!(closed.agree(Spoken::up_to(WireVersion::V6).numbers()).ok(), Some(WireVersion::V6));
        for refusal in [closed.agree(old).expect_err("5"), closed.agree((4, 5)).expect_err("5")] {
            assert_eq!(refusal.reason, Reason::WireVersion);
            assert!(refusal.detail.contains("for good") && refusal.detail.len() < 200, "{refusal:?}");
        }
        assert!(Spoken::up_to(WireVersion::V5).agree(closed.numbers()).is_err(), "the other side comes to the same");
    }

    #[test]
    fn a_setting_names_a_version_that_is_spoken() {
        assert_eq!("5".parse(), Ok(WireVersion::V5));
        for wrong in ["4", "7", "", "v5", "5.0"] {
            assert!(wrong.parse::<WireVersion>().is_err(), "{wrong:?} must be refused");
        }
    }
}
