//! What every connection between members sets on its socket.

use rustix::net::sockopt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// Data that is not acknowledged for this long ends the connection, in milliseconds. Shorter than the lease, longer
/// than what a congested link between data centres loses and repairs.
const USER_TIMEOUT_MS: u32 = 5_000;
/// An idle connection is probed after this time. Heartbeats come sooner, so this costs nothing in the steady state.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// The time between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Probes without an answer after which the connection is given up.
const KEEPALIVE_PROBES: u32 = 3;

/// Small messages go out at once, and a dead peer is noticed.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT_MS)?;
    Ok(())
}

/// Connects to `target` from `source`, which is how the other side knows this node's address. An unspecified source,
/// or one of the other address family, leaves the choice to the system.
pub(crate) async fn connect(source: IpAddr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !source.is_unspecified() && source.is_ipv4() == target.is_ipv4() {
        let wrong = |error: io::Error| {
            let hint = "is it an address of this machine? --bind or CANARY_BIND names another";
            io::Error::new(error.kind(), format!("cannot connect from {source}: {error}; {hint}"))
        };
        socket.bind(SocketAddr::new(source, 0)).map_err(wrong)?;
    }
    let stream = socket.connect(target).await?;
    tune(&stream)?;
    Ok(stream)
}
