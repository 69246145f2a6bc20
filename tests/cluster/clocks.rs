//! A machine whose wall clock is wrong, by libfaketime: certificates notice, the agreement does not.

use super::needs::Need;
use super::process::eventually;
use super::world::{A, ALL, B, C, Cluster};
use model::NodeId;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Where Debian's package faketime has it, by the machine's kind.
const LIBRARIES: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];

/// The library; none where this run does without.
pub(crate) fn library() -> Option<&'static str> {
    if !Need::Faketime.is_met() {
        return None;
    }
    let found = LIBRARIES.into_iter().find(|path| Path::new(path).exists());
    found.or_else(|| Need::Faketime.missing(&format!("there is none of {LIBRARIES:?}")))
}

/// The command of a node whose wall clock is off by what `offset` holds at any moment. Its other clocks are the system's.
pub(crate) fn off(cluster: &Cluster, id: NodeId, library: &str, offset: &Path) -> Command {
    let mut command = cluster.node_command(id, &[]);
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", offset);
    command.envs([("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
    command
}

#[test]
fn a_clock_that_jumps_is_said_so_and_the_agreement_goes_on() {
    let Some(library) = library() else { return };
    let mut cluster = Cluster::new(99);
    let offset = cluster.path("offset");
    let set = |to: &str| fs::write(&offset, format!("{to}\n")).expect("a file");
    set("-2d");
    let said = cluster.refused(off(&cluster, C, library, &offset));
    said.fails(78, &["certificate not yet valid: local clock", "check this machine's clock"]);
    set("+0d");
    for id in [A, B] {
        cluster.start(id);
    }
    cluster.start_command(C, off(&cluster, C, library, &offset));
    cluster.wait_synchronized();
    set("-2d");
    cluster.wait_log(C, &["The wall clock of this machine has jumped", "clock_jump", "\"jump_ms\":-172"]);
    // Two days are many leases; none has run out, and nothing that was linked is not.
    for id in ALL {
        assert_eq!(cluster.state(id).expect("it answers")["isolated"], false, "{id}");
    }
    let told = cluster.set_weight("20");
    cluster.wait_state(C, "the change", |state| state["txid"] == told["state"]["txid"] && state["isolated"] == false);
    // A new link is another matter: to that clock, no certificate counts yet.
    cluster.kill(B);
    cluster.start(B);
    cluster.wait_log(C, &["not_yet_valid", "certificate not yet valid: local clock"]);
    assert_eq!(cluster.state(C).expect("it answers")["isolated"], false, "it still has the other one");
    set("+0d");
    cluster.wait_log(C, &["The wall clock of this machine has jumped", "\"jump_ms\":172"]);
    cluster.wait_synchronized();
    eventually("an advance is decided by all", || {
        let said = cluster.try_weight("40");
        if said.code == Some(0) { Ok(()) } else { Err(format!("{said:?}")) }
    });
}
