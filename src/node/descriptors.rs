//! The number of files, connections among them, that this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than a node can use: its clients, as many connections to model servers, and those that each thread keeps.
const ENOUGH: u64 = 16_384;
/// With fewer, a busy node may run out of them before it turns clients away: it takes 900, each may have a request at a
/// model server, and hundreds of connections to these are kept.
const FEW: u64 = 4_096;

/// Takes as many as there may be. Most systems give a process 1024 at first, and leave it to the process to take more.
pub(super) fn take_what_is_allowed() {
    let before = getrlimit(Resource::Nofile);
    let (now, most) = (before.current.unwrap_or(u64::MAX), before.maximum.unwrap_or(u64::MAX));
    let wanted = most.min(ENOUGH);
    if now < wanted
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..before })
    {
        tracing::debug!(%error, "The limit of open files stays as it was");
    }
    let open = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if open < FEW {
        tracing::warn!(limit = open, "This process may have few files open: a busy node needs up to {FEW}");
    }
}
