//! The stages in which a node stops, each cancelled once.

use tokio_util::sync::CancellationToken;

/// One tree of tokens: a later stage implies all before it, so whatever ends a node from within need cancel only one.
#[derive(Clone, Debug)]
pub(super) struct Stages {
    /// Told to stop: `/readyz` says so, and the others are to coordinate.
    pub(super) leaving: CancellationToken,
    /// The HTTPS port closes, and requests in flight are finished.
    pub(super) closing: CancellationToken,
    /// There are none any more, and nobody can ask the agreement anything.
    pub(super) served: CancellationToken,
    /// The agreement has ended, and with it the links.
    pub(super) ended: CancellationToken,
}

impl Stages {
    pub(super) fn new() -> Self {
        let ended = CancellationToken::new();
        let served = ended.child_token();
        let closing = served.child_token();
        Self { leaving: closing.child_token(), closing, served, ended }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_implies_those_before_it_and_none_after() {
        let stages = Stages::new();
        let reached = || {
            let Stages { leaving, closing, served, ended } = &stages;
            [leaving, closing, served, ended].map(CancellationToken::is_cancelled)
        };
        stages.leaving.cancel();
        assert_eq!(reached(), [true, false, false, false]);
        stages.served.cancel();
        assert_eq!(reached(), [true, true, true, false]);
        stages.ended.cancel();
        assert_eq!(reached(), [true; 4]);
    }
}
