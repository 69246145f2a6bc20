//! What the tests of this room begin with.

use super::{InitPlan, init};
use model::Peers;
use std::path::PathBuf;
use tempfile::TempDir;

/// The certificates of three members at 127.0.0.1, made anew, and what removes them in the end.
pub(super) fn tree() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let certs = dir.path().join("certs");
    init(&InitPlan::for_peers(&certs, &Peers::local())).expect("a tree");
    (dir, certs)
}
