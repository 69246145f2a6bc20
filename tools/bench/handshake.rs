//! What a full mutual handshake of the control plane costs: CPU time of both sides together, in memory, without sockets.
//!
//! `cargo bench --bench handshake`; prints the least, median and largest of ten rounds.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use issue::{InitPlan, init};
use model::{NodeId, Peers};
use rustix::time::{ClockId, clock_gettime};
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, SideData};
use rustls_pki_types::ServerName;
use std::error::Error;
use std::sync::Arc;
use tls::{ControlPlane, CrlPolicy};
use trust::NodeFiles;

const ROUNDS: usize = 10;
const HANDSHAKES: u32 = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let certs = dir.path().join("certs");
    let peers = Peers::local();
    init(&InitPlan::for_peers(&certs, &peers))?;
    let peer: NodeId = "node-b".parse()?;
    let plane = |id| -> Result<ControlPlane, Box<dyn Error>> {
        Ok(ControlPlane::new(&NodeFiles::load(&certs, id)?, id, peers.members(), CrlPolicy::Enforce)?)
    };
    let (dialing, answering) = (plane(NodeId::A)?, plane(peer)?);
    let mut figures = Vec::new();
    let mut group = String::new();
    for _ in 0..ROUNDS {
        let before = cpu_us();
        for _ in 0..HANDSHAKES {
            group = shake(&dialing.clients[&peer], &answering.server)?;
        }
        figures.push((cpu_us() - before) / f64::from(HANDSHAKES));
    }
    figures.sort_by(f64::total_cmp);
    let (least, median, largest) = (figures[0], figures[ROUNDS / 2], figures[ROUNDS - 1]);
    println!("full mutual handshake, {group}: {median:.0} µs CPU for both sides ({least:.0} to {largest:.0})");
    Ok(())
}

/// CPU time of this process so far, in microseconds.
fn cpu_us() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (f64::from(i32::try_from(spent.tv_sec).unwrap_or(i32::MAX)), spent.tv_nsec as f64);
    seconds * 1e6 + nanos / 1e3
}

/// One handshake to its end; gives the group in which keys were exchanged.
fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<String, Box<dyn Error>> {
    let mut client = ClientConnection::new(Arc::clone(client), ServerName::try_from("127.0.0.1")?)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    while client.is_handshaking() || server.is_handshaking() {
        carry(&mut client, &mut server)?;
        carry(&mut server, &mut client)?;
    }
    if server.peer_certificates().is_none() || client.peer_certificates().is_none() {
        return Err("not mutual".into());
    }
    Ok(format!("{:?}", client.negotiated_key_exchange_group().ok_or("no group")?.name()))
}

fn carry<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<(), Box<dyn Error>> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes)?;
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest)?;
        to.process_new_packets()?;
    }
    Ok(())
}
