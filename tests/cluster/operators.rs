//! Further operators, with certificates of their own.

use super::world::Cluster;

/// Makes `operator-NAME`.
pub(crate) fn enroll(cluster: &Cluster, name: &str) {
    cluster.canary(&["pki", "operator", name]).exits(0);
}
