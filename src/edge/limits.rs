//! The limits of the entrance, for one address or for all together.

use std::time::Duration;

/// Limits of what one address or all together may take of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time from the TCP connection to the end of the TLS handshake. A slow mobile link needs one or two seconds.
    pub handshake: Duration,
    /// Time from there to the end of the first request's headers.
    pub first_request: Duration,
    /// Time for the headers of each later request, the silence before it included: how long an idle connection is kept.
    /// A little over the minute after which most clients give theirs up, so that the client is the one to close it.
    pub idle: Duration,
    /// Connections that are open. Each takes about 50 KiB, and a file descriptor of the 1024 that many systems give.
    pub connections: usize,
    /// Handshakes under way. Each takes a core for a third of a millisecond, so even these are worked off in 50 ms.
    pub handshakes: usize,
    /// Of those, from one address; more of them wait. Below the number above, so that one address cannot take all.
    pub handshakes_of_address: usize,
    /// Streams of one HTTP/2 connection that are open, as many as nginx allows.
    pub streams: u32,
    /// How long requests in flight may take when the node stops. Operators are promised a stop within 2 s.
    pub drain: Duration,
    /// Of that, how long connections stay open that have no request in flight: the next one may be on its way. It is
    /// answered, and the client told to make another connection elsewhere.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            connections: 900,
            handshakes: 256,
            handshakes_of_address: 128,
            streams: 128,
            drain: Duration::from_millis(1_800),
            grace: Duration::from_millis(1_000),
        }
    }
}

impl Limits {
    /// How long a client may rest on the fast way: whoever has rested there gets the time for a first request once more,
    /// from the server.
    pub(crate) const fn rest(&self) -> Duration {
        self.idle.saturating_sub(self.first_request)
    }
}
