//! Addresses, directory and certificates of the demo, made before a node starts.

use super::error::DemoError;
use issue::InitPlan;
use model::{Host, NodeId, NodeSet, Peers};
use node::holder_of;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// As many nodes as the smallest mesh has.
const NODES: usize = 3;
/// The last number of node-a's address; the others follow. Each node has its own, as on machines of their own.
const FIRST_HOST: u8 = 11;

/// Addresses, directory and certificates; the directory goes when this is dropped.
pub(super) struct Stage {
    directory: TempDir,
    pub(super) peers: Peers,
}

impl Stage {
    pub(super) fn build() -> Result<Self, DemoError> {
        let places: Vec<(NodeId, Ipv4Addr)> =
            NodeSet::first(NODES).iter().zip(FIRST_HOST..).map(|(id, host)| (id, [127, 0, 0, host].into())).collect();
        for (node, address) in &places {
            for port in [node.control_port(), node.data_port()] {
                must_be_free(SocketAddr::new((*address).into(), port))?;
            }
        }
        let hosts = places.into_iter().map(|(node, address)| (node, Host::Ip(address.into())));
        let peers = Peers::new(hosts).map_err(DemoError::failed)?;
        let directory = tempfile::Builder::new().prefix("canary-demo-").tempdir().map_err(DemoError::NoDirectory)?;
        let stage = Self { directory, peers };
        for folder in [stage.logs(), stage.data()] {
            std::fs::create_dir(&folder).map_err(DemoError::failed)?;
        }
        issue::init(&InitPlan::for_peers(stage.certs(), &stage.peers)).map_err(DemoError::failed)?;
        // Nothing more is issued; as on real machines, the authority's key is not where nodes run.
        let authority = stage.certs().join("ca");
        std::fs::remove_dir_all(&authority)
            .map_err(|error| DemoError::Wrong(format!("cannot remove {}: {error}", authority.display())))?;
        Ok(stage)
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn certs(&self) -> PathBuf {
        self.path().join("certs")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.path().join("logs")
    }

    /// `node`'s address; every node of the demo has one.
    pub(super) fn host(&self, node: NodeId) -> String {
        self.peers.host(node).map(Host::in_url).unwrap_or_default()
    }

    /// Removes the directory, and tells when that cannot be done.
    pub(super) fn clear(self) -> Result<(), DemoError> {
        let path = self.path().to_owned();
        self.directory
            .close()
            .map_err(|error| DemoError::Wrong(format!("{} cannot be removed: {error}", path.display())))
    }
}

/// A node would try a taken port for a while; who only wants to see the demo is told at once.
fn must_be_free(address: SocketAddr) -> Result<(), DemoError> {
    let Err(error) = TcpListener::bind(address) else { return Ok(()) };
    if error.kind() == ErrorKind::AddrInUse {
        let holder = holder_of(address).unwrap_or_else(|| "another program".into());
        return Err(DemoError::PortTaken { address, holder });
    }
    if error.kind() == ErrorKind::AddrNotAvailable {
        return Err(DemoError::NoSuchAddress(address.ip()));
    }
    Err(DemoError::Wrong(format!("cannot listen on {address}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_with_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let text = must_be_free(address).expect_err("it is taken").to_string();
        let start = format!("port {} on 127.0.0.1 is taken by ", address.port());
        assert!(text.starts_with(&start) && text.contains(&std::process::id().to_string()), "{text}");
        drop(listener);
        must_be_free(address).expect("free again");
    }

    #[test]
    fn an_address_of_another_machine_is_told_with_what_macos_needs() {
        let text = must_be_free("192.0.2.1:0".parse().expect("an address")).expect_err("not here").to_string();
        assert!(text.contains("192.0.2.1 is not an address of this machine"), "{text}");
    }
}
