//! Another authority under running nodes, in three stages.

use super::process::eventually;
use super::world::{ALL, Cluster, copy};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;

/// What a node shows of the certificates that it uses: how many authorities, and its own serial number.
fn in_use(cluster: &Cluster, id: model::NodeId) -> Result<(usize, String), String> {
    let snapshot: Value =
        serde_json::from_str(&cluster.get(id, "/health/snapshot")?.body).map_err(|e| e.to_string())?;
    let all = snapshot["certificates"].as_object().ok_or("no certificates")?;
    // A second authority is called ca-2.
    let authorities = all.keys().filter(|kind| kind.split('-').next() == Some("ca")).count();
    Ok((authorities, all["node"]["serial"].as_str().unwrap_or_default().to_owned()))
}

/// The serial number of a node's certificate where certificates are made.
fn issued(cluster: &Cluster, id: model::NodeId) -> String {
    let file = cluster.path(&format!("certs/{id}/node.pem")).display().to_string();
    let said = cluster.canary(&["pki", "inspect", &file, "--output", "json"]).exits(0).json();
    said.as_array().and_then(|all| all.first()).map_or(&said, |one| one).to_string()
}

#[test]
fn the_authority_changes_under_running_nodes_without_one_refusal() {
    let cluster = Cluster::running(56);
    cluster.set_weight("20");
    for (stage, authorities) in [("prepare", 2), ("activate", 2), ("retire", 1)] {
        cluster.canary(&["pki", "rotate-ca", "--stage", stage]).exits(0);
        for id in ALL {
            let certs = cluster.machine(id).join("certs");
            copy(&cluster.path("certs/ca.pem"), &certs);
            copy(&cluster.path(&format!("certs/{id}")), &certs);
            cluster.signal(id, Signal::HUP);
            let issued = issued(&cluster, id);
            eventually(&format!("{id} uses what {stage} made"), || {
                let (found, serial) = in_use(&cluster, id)?;
                if found == authorities && issued.contains(&serial) { Ok(()) } else { Err(format!("{found} {serial}")) }
            });
        }
        cluster.wait_synchronized();
        // The operator goes on, too, with what is in the folder now.
        cluster.set_weight(if stage == "activate" { "20" } else { "10" });
    }
    for id in ALL {
        assert!(!cluster.log(id).contains("peer_rejected"), "{}", cluster.log(id));
        assert!(
            !fs::exists(cluster.machine(id).join("certs/ca")).expect("readable"),
            "no key of an authority left its place"
        );
    }
    cluster.canary(&["pki", "verify"]).exits(0);
}
