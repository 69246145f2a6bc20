//! The exchange that begins a connection, after TLS: who each side is, and whether the other takes it in.

use super::frame::{Decoder, FrameError, Greeting, Introduction, MAX_GREETING, Nonce, encode_greeting};
use super::link::{End, write};
use super::version::Spoken;
use format::Version as WireVersion;
use model::{Digest, Incarnation, NodeId, NodeSet, Peers, UnixMillis};
use sha2::{Digest as _, Sha256};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tls::{Reason, Refusal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

/// A greeting must have come after this time: two round trips to the other side of the world, four times over.
pub(crate) const GREETING_TIMEOUT: Duration = Duration::from_secs(2);
/// Clocks that differ by more are worth a warning: certificates and people's time stamps suffer, the agreement does not.
const MAX_SKEW_MS: u64 = 5_000;
/// How long a refused peer may take to read why.
const LINGER: Duration = Duration::from_millis(250);

/// What this node says of itself on every connection.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) me: NodeId,
    pub(crate) members: NodeSet,
    pub(crate) peers_digest: Digest,
    pub(crate) incarnation: Incarnation,
    /// The versions of the wire that it speaks.
    pub(crate) spoken: watch::Sender<Spoken>,
}

impl Identity {
    pub(crate) fn new(me: NodeId, peers: &Peers, incarnation: Incarnation, wire: WireVersion) -> Self {
        let spoken = watch::Sender::new(Spoken::up_to(wire));
        Self { me, members: peers.members(), peers_digest: peers_digest(peers), incarnation, spoken }
    }

    /// What to say on a new connection.
    pub(crate) fn introduce(&self, cluster: &str) -> Introduction {
        let (oldest, newest) = self.spoken.borrow().numbers();
        Introduction {
            version: oldest,
            newest: (newest > oldest).then_some(newest),
            cluster: cluster.to_owned(),
            members: self.members,
            peers_digest: self.peers_digest,
            node: self.me,
            incarnation: self.incarnation,
            nonce: Nonce::new(
                getrandom::u64().expect("the system's source of random numbers does not fail once it has started"),
            ),
            clock: now_millis(),
        }
    }

    /// Whether the other side may be linked with, and in which version of the wire. Fails when it is not who its
    /// certificate says, or of another cluster, or another set of members, or when there is no version that both
    /// speak.
    pub(crate) fn judge(&self, peer: NodeId, theirs: &Introduction, cluster: &str) -> Result<WireVersion, Refusal> {
        let wire = self.spoken.borrow().agree((theirs.version, theirs.newest.unwrap_or(theirs.version)))?;
        if theirs.node != peer {
            let detail = format!("the certificate is of {peer}, the greeting of {}", theirs.node);
            return Err(Refusal::new(Reason::IdentityFrameMismatch, detail));
        }
        if theirs.cluster != cluster {
            let theirs: String = theirs.cluster.chars().take(64).collect();
            return Err(Refusal::new(Reason::ClusterMismatch, format!("{peer} is of the cluster {theirs:?}")));
        }
        if theirs.members != self.members {
            let detail = format!("{peer} has other members configured: {}; here: {}", theirs.members, self.members);
            return Err(Refusal::new(Reason::MembersDiffer, detail));
        }
        if theirs.peers_digest != self.peers_digest {
            tracing::warn!(%peer, "A peer has other addresses in PEERS_NODE_* than this node");
        }
        Ok(wire)
    }

    /// Waits until this version of the wire is spoken no more, and says why.
    pub(crate) async fn left_behind(&self, wire: WireVersion) -> End {
        let mut spoken = self.spoken.subscribe();
        loop {
            let allowed = spoken.borrow_and_update().allow(wire);
            if let Err(refusal) = allowed {
                return End::Refused(refusal);
            }
            spoken.changed().await.expect("this node holds the other end");
        }
    }
}

/// SHA-256 over the members and their addresses, in id order.
fn peers_digest(peers: &Peers) -> Digest {
    let mut hash = Sha256::new();
    for (id, host) in peers.iter() {
        hash.update(format!("{id}={host}\n"));
    }
    Digest(hash.finalize().into())
}

/// By how much the other side's wall clock is ahead, in milliseconds; half a round trip is in it.
pub(crate) fn skew_ms(peer: NodeId, theirs: UnixMillis) -> i64 {
    let ours = now_millis();
    if theirs.0.abs_diff(ours.0) > MAX_SKEW_MS {
        tracing::warn!(event = "clock_skew", %peer, ours = ours.0, theirs = theirs.0, "A peer's clock differs by more than 5 s");
    }
    i64::try_from(i128::from(theirs.0) - i128::from(ours.0)).unwrap_or(i64::MAX)
}

fn now_millis() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Why no greeting came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GreetError {
    #[error("no greeting within {GREETING_TIMEOUT:?}")]
    Timeout,
    #[error("the connection was closed before the greeting")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl GreetError {
    /// The refusal in it; none when the connection was simply lost.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Timeout => Some(Refusal::new(Reason::HandshakeTimeout, self.to_string())),
            Self::Closed => None,
            Self::Io(error) => Refusal::in_io(error),
            Self::Frame(error) => Some(Refusal::new(error.reason(), error.to_string())),
        }
    }
}

/// Sends a greeting.
pub(crate) async fn send(stream: &mut (impl AsyncWrite + Unpin), greeting: &Greeting) -> io::Result<()> {
    write(stream, &encode_greeting(greeting)).await
}

/// Waits for a greeting; what follows it stays in the decoder.
pub(crate) async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    decoder: &mut Decoder,
) -> Result<Greeting, GreetError> {
    let reading = async {
        loop {
            if let Some(greeting) = decoder.next_greeting()? {
                return Ok(greeting);
            }
            decoder.buffer.reserve(MAX_GREETING);
            if stream.read_buf(&mut decoder.buffer).await? == 0 {
                return Err(GreetError::Closed);
            }
        }
    };
    timeout(GREETING_TIMEOUT, reading).await.unwrap_or(Err(GreetError::Timeout))
}

/// Says why, closes, and lets the other side read it: closing with bytes unread would reset the connection and take
/// the explanation with it. What comes meanwhile is thrown away unseen.
pub(crate) async fn reject<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, refusal: &Refusal) {
    let farewell = async {
        send(stream, &Greeting::reject(refusal.reason, &refusal.detail)).await?;
        stream.shutdown().await?;
        let mut ignored = [0; 1024];
        while stream.read(&mut ignored).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    let _ = timeout(LINGER, farewell).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_measured() {
        for ahead in [0, 10_000, -10_000] {
            let theirs = UnixMillis(now_millis().0.saturating_add_signed(ahead));
            let skew = skew_ms(NodeId::A, theirs);
            // The time from one reading to the next is in it.
            assert!((ahead - 5_000..=ahead).contains(&skew), "{skew}");
        }
        assert_eq!(skew_ms(NodeId::A, UnixMillis(u64::MAX)).signum(), 1);
    }
}
