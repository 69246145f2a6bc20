//! Certificates that are bad in exactly one way, and what each verifier says of them.

mod encoding;
mod identity;
mod issue;
mod usage;

use super::mint::{Chain, Mint};
use tls::Reason;

/// What ours says: nothing when it lets the holder in, else the stable word and a piece of the detail.
pub(crate) type Verdict = Option<(Reason, &'static str)>;

/// The peer is let in by what a handshake shows: what is wrong does not count on this side.
const LET_IN: Verdict = None;

/// One bad certificate.
pub(crate) struct Bad {
    pub(crate) name: &'static str,
    /// Nothing, where a program that is needed to make it is missing.
    pub(crate) made: fn(&Mint) -> Option<Chain>,
    /// Shown by whoever dials this node.
    pub(crate) as_client: Verdict,
    /// Shown by whoever answers where this node dials the peer.
    pub(crate) as_server: Verdict,
    /// The letters of the other verifiers that refuse it; the rest are known to accept it.
    pub(crate) refused_by: &'static str,
}

/// Every row, in the order of its subjects.
pub(crate) fn all() -> Vec<Bad> {
    [issue::rows(), usage::rows(), identity::rows(), encoding::rows()].into_iter().flatten().collect()
}

/// A row that ours refuses alike on both sides.
fn bad(
    name: &'static str,
    made: fn(&Mint) -> Option<Chain>,
    (reason, detail): (Reason, &'static str),
    refused_by: &'static str,
) -> Bad {
    let verdict = Some((reason, detail));
    Bad { name, made, as_client: verdict, as_server: verdict, refused_by }
}

/// A row that ours sees differently on each side.
fn differs(
    name: &'static str,
    made: fn(&Mint) -> Option<Chain>,
    as_client: Verdict,
    as_server: Verdict,
    refused_by: &'static str,
) -> Bad {
    Bad { name, made, as_client, as_server, refused_by }
}
