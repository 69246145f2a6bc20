//! The places where a node listens: its own address, its two ports, and who holds them if it is not the node.

use model::{Host, NodeId};
use procfs::process::{FDInfo, FDTarget, Process};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

/// How long a taken port is tried again. The ports 50051 … lie in Linux's ephemeral range, so that an outgoing
/// connection of any program may hold one for a while.
const RETRY_FOR: Duration = Duration::from_secs(10);
const RETRY_EVERY: Duration = Duration::from_millis(250);
/// The inode of a socket that nobody has open any more.
const CLOSED: u64 = 0;

/// A place to listen that cannot be had.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum BindError {
    /// The own host name has no address.
    #[error("{variable}={name}, this node's own host name, cannot be resolved: {source}")]
    Unresolvable { variable: String, name: String, source: io::Error },
    /// The address is not one of this machine's.
    #[error(
        "{0} is not an address of this machine: correct the node's own PEERS_NODE_* variable, or, behind NAT, say where to listen with --bind"
    )]
    NotHere(IpAddr),
    /// Something else has the port.
    #[error("port {} on {} is taken{}: stop what holds it, or reserve the range with sysctl net.ipv4.ip_local_reserved_ports", address.port(), address.ip(), holder.as_deref().map(|holder| format!(" by {holder}")).unwrap_or_default())]
    Taken { address: SocketAddr, holder: Option<String> },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Io { address: SocketAddr, source: io::Error },
}

/// The address that a node listens on: as told, or its own as configured.
pub(super) fn own_address(me: NodeId, bind: Option<IpAddr>, host: &Host) -> Result<IpAddr, BindError> {
    if let Some(address) = bind {
        return Ok(address);
    }
    match host {
        Host::Ip(address) => Ok(*address),
        Host::Name(name) => {
            let unresolvable = |source| BindError::Unresolvable { variable: me.variable(), name: name.clone(), source };
            let mut addresses = (name.as_str(), 0).to_socket_addrs().map_err(unresolvable)?;
            let first = addresses.next().map(|address| address.ip().to_canonical());
            let address = first.ok_or_else(|| unresolvable(io::Error::other("it has no address")))?;
            if address.is_loopback() {
                tracing::warn!(
                    name,
                    %address,
                    "The own host name is a loopback address (Debian puts 127.0.1.1 into /etc/hosts): the others cannot \
                     reach it; use the machine's address or --bind"
                );
            }
            Ok(address)
        }
    }
}

/// Listens on `address`; a port that is taken is tried again for a while.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, BindError> {
    let give_up = Instant::now() + RETRY_FOR;
    let mut told = false;
    loop {
        let error = match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => error,
        };
        if error.kind() == io::ErrorKind::AddrNotAvailable {
            return Err(BindError::NotHere(address.ip()));
        }
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(BindError::Io { address, source: error });
        }
        if Instant::now() >= give_up {
            return Err(BindError::Taken { address, holder: holder_of(address) });
        }
        if !told {
            let holder = holder_of(address).unwrap_or_else(|| "another program".into());
            tracing::warn!(%address, holder, "The port is taken; trying again for 10 s");
            told = true;
        }
        thread::sleep(RETRY_EVERY);
    }
}

/// The program that has a socket on a local TCP port of an address, or of all addresses, as /proc shows it: the socket's
/// inode in the table of sockets, then the process that has it open. Only processes that this user may look into are
/// found.
pub fn holder_of(address: SocketAddr) -> Option<String> {
    let sockets = [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten();
    let in_the_way = sockets.filter(|socket| covers(socket.local_address, address));
    let inodes: Vec<u64> = in_the_way.map(|socket| socket.inode).filter(|inode| *inode != CLOSED).collect();
    let is_one = |file: FDInfo| if let FDTarget::Socket(inode) = file.target { inodes.contains(&inode) } else { false };
    let is_holder = |process: &Process| process.fd().is_ok_and(|files| files.flatten().any(is_one));
    let process = procfs::process::all_processes().ok()?.flatten().find(is_holder)?;
    let name = process.stat().map(|facts| facts.comm).unwrap_or_default();
    Some(format!("{name} (process {})", process.pid))
}

/// Whether a socket on `local` keeps others from `address`: it is on that one, also as mapped into IPv6, or on all.
fn covers(local: SocketAddr, address: SocketAddr) -> bool {
    let same_address = local.ip().to_canonical() == address.ip() || local.ip().is_unspecified();
    same_address && local.port() == address.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let holder = holder_of(address).expect("this very process");
        assert!(holder.ends_with(&format!("(process {})", std::process::id())), "{holder}");
        assert_eq!(holder_of(SocketAddr::new([127, 0, 0, 99].into(), address.port())), None, "another address");
        drop(listener);
        assert_eq!(holder_of(address), None);
    }

    #[test]
    fn a_socket_on_all_addresses_holds_each() {
        let listener = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0")).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        assert!(holder_of(SocketAddr::new([127, 0, 0, 99].into(), port)).is_some());
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let error = listen("192.0.2.1:0".parse().expect("an address")).expect_err("not an address of this machine");
        assert!(error.to_string().contains("192.0.2.1 is not an address of this machine"), "{error}");
    }
}
